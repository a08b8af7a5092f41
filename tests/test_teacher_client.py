"""One teacher over real sockets: each status and each broken connection has its type, and the key stays secret."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm.core.errors import Mistake
from teacherlm.teacher.client import Retry, Teacher, Timeout
from teacherlm.teacher.errors import TeacherAway, TeacherBusy, TeacherFault, TeacherLost, TeacherRefused
from teacherlm.teacher.tgi import TGI
from teacherlm.teacher.wire import Completion, Info, Prompt, read_error
from unkind import (
    BAD_GATEWAY,
    BUSY,
    DROP,
    DROP_IN_BODY,
    INCOMPLETE,
    MALFORMED,
    NO_TEXT,
    SHARD,
    TOO_LONG,
    UNWELL,
    Behaviour,
    Reply,
    Unkind,
    cut,
    fails,
    plain,
    says,
    slow,
)

AT_ONCE = Retry(attempts=3, first_s=0.0)
QUESTION = "Q: Why does iron rust? A:"
RUST = says("Rust is iron oxide.")

Result = TypeVar("Result")


def talk(
    behaviour: Behaviour,
    with_it: Callable[[Teacher, Unkind], Awaitable[Result]],
    *,
    server: dict[str, Any] | None = None,
    **settings: Any,
) -> tuple[Result, Unkind]:
    """Let a teacher and a server meet."""

    async def meet() -> tuple[Result, Unkind]:
        async with (
            Unkind(behaviour, **(server or {})) as unkind,
            Teacher(unkind.url, **{"retry": AT_ONCE} | settings) as teacher,
        ):
            return await with_it(teacher, unkind), unkind

    return asyncio.run(meet())


async def once(teacher: Teacher, _: Unkind) -> Completion:
    return await teacher.once(QUESTION, {"max_new_tokens": 8})


async def ask(teacher: Teacher, _: Unkind) -> Completion:
    return await teacher.ask(QUESTION, {"max_new_tokens": 8})


async def info(teacher: Teacher, _: Unkind) -> Info:
    return await teacher.info()


def test_a_text_is_continued() -> None:
    completion, server = talk([says("Rust is iron oxide.", "stop_sequence", 5)], once)
    assert completion == Completion("Rust is iron oxide.", "stop_sequence", 7, 5)
    assert not completion.is_cut
    (asked,) = server.seen
    assert asked.path == "/generate"
    assert asked.headers["content-type"] == "application/json"
    assert asked.body == {
        "inputs": QUESTION,
        "parameters": {"do_sample": False, "max_new_tokens": 8, "details": True, "return_full_text": False},
    }
    assert talk([cut("Rust is")], once)[0].is_cut


def test_a_chat_is_answered() -> None:
    messages: Prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why does iron rust?"}]
    parameters = {"max_new_tokens": 8, "do_sample": True, "temperature": 0.5, "seed": 3, "top_p": 0.9}

    async def chat(teacher: Teacher, _: Unkind) -> tuple[Completion, Completion]:
        sampled = await teacher.once(messages, parameters, ("Q:",))
        return sampled, await teacher.once(messages, {"max_new_tokens": 8})

    (sampled, _), server = talk([RUST], chat)
    assert sampled == Completion("Rust is iron oxide.", "eos_token", 7, 3)
    first, greedy = (asked.body for asked in server.seen)
    assert {asked.path for asked in server.seen} == {"/v1/chat/completions"}
    wanted = {"max_tokens": 8, "temperature": 0.5, "seed": 3, "top_p": 0.9, "stop": ["Q:"], "stream": False}
    assert first == {"model": "tgi", "messages": messages, **wanted}
    assert greedy == {"model": "tgi", "messages": messages, "max_tokens": 8, "temperature": 0.0, "stream": False}


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (BUSY, TeacherBusy, "429 overloaded: Model is overloaded"),
        (UNWELL, TeacherBusy, "503 healthcheck: unhealthy"),
        (INCOMPLETE, TeacherFault, "500 incomplete_generation"),
        (SHARD, TeacherFault, "424 generation: Request failed during generation: CUDA out of memory"),
        (plain(408, ""), TeacherFault, "408"),
        (BAD_GATEWAY, TeacherFault, "502 <html><h1>502 Bad Gateway"),
        (plain(204, ""), TeacherFault, "204"),
        (TOO_LONG, TeacherRefused, "422 validation: Input validation error"),
        (
            plain(422, "Failed to deserialize the JSON body\n into the type"),
            TeacherRefused,
            "422 Failed to .* the type",
        ),
        (plain(422, '{"error": {"message": "too long"}}'), TeacherRefused, "422 too long"),
        (plain(400, "not JSON"), TeacherRefused, "400 not JSON"),
        (fails(413), TeacherRefused, "^413$"),
        (fails(415), TeacherRefused, "^415$"),
        (fails(401), TeacherLost, r"does not let us in \(401\)"),
        (plain(403, "forbidden"), TeacherLost, r"does not let us in \(403 forbidden\)"),
        (fails(404), TeacherLost, "no such route"),
        (fails(405), TeacherLost, "no such route"),
        (DROP, TeacherFault, "connection closed before message completed"),
        (DROP_IN_BODY, TeacherFault, "end of file before message length reached"),
        (MALFORMED, TeacherFault, "cannot be read"),
        (NO_TEXT, TeacherFault, "cannot be read"),
        (plain(200, ""), TeacherFault, "cannot be read"),
        (plain(200, "[]"), TeacherFault, "cannot be read"),
        (plain(200, '{"generated_text": "lone \\ud800"}'), TeacherFault, "cannot be read"),
    ],
)
def test_every_failure_has_its_type(reply: Reply, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        talk([reply], once)
    assert type(caught.value) is kind


@given(st.integers(300, 599), st.binary(max_size=300))
def test_every_status_says_whether_to_ask_again(status: int, body: bytes) -> None:
    error = read_error(status, body)
    assert isinstance(error, TeacherBusy | TeacherFault | TeacherRefused | TeacherLost)
    assert isinstance(error, TeacherBusy) == (status in (429, 503))
    assert len(str(error).splitlines()[0]) < 700


@given(st.sampled_from([QUESTION, [{"role": "user", "content": "?"}]]), st.binary(max_size=60))
def test_no_body_breaks_the_reader(prompt: Prompt, body: bytes) -> None:
    with pytest.raises(TeacherFault):
        TGI().completion(prompt, body, "²")


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
)


@given(JSONS, JSONS, JSONS)
def test_odd_details_never_reach_the_ledger(details: Any, reason: Any, tokens: Any) -> None:
    shapes = [details, {"finish_reason": reason, "generated_tokens": tokens}]
    for shape in shapes:
        body = json.dumps({"generated_text": "a", "details": shape}).encode()
        try:
            completion = TGI().completion(QUESTION, body, None)
        except TeacherFault:
            continue
        assert completion.finish_reason is None or isinstance(completion.finish_reason, str)
        assert completion.generated_tokens is None or type(completion.generated_tokens) is int


def test_a_silent_teacher_is_a_fault() -> None:
    async def impatient(teacher: Teacher, server: Unkind) -> None:
        with pytest.raises(TeacherFault, match=r"no answer within 0\.05 s"):
            await once(teacher, server)

    talk(lambda _: slow(asyncio.Event(), RUST), impatient, timeout=Timeout(read_s=0.05))


def test_nobody_there() -> None:
    async def after_it_left(teacher: Teacher, server: Unkind) -> None:
        await server.leave()
        with pytest.raises(TeacherAway):
            await once(teacher, server)
        assert not await teacher.healthy()
        with pytest.raises(TeacherLost, match=f"no server answers at {server.url}") as caught:
            await teacher.info()
        assert "--teacher http://HOST:PORT" in caught.value.remedy

    talk([RUST], after_it_left)


def test_info_is_asked_once() -> None:
    async def twice(teacher: Teacher, server: Unkind) -> Info:
        assert await teacher.info() is await teacher.info()
        return await teacher.info()

    known, server = talk([RUST], twice)
    assert known == Info("unkind/teacher", "5eed", 128, 2048, None)
    assert server.looks == ["/info"]
    old = plain(200, '{"model_id": "old", "max_input_length": 9, "model_sha": 3, "max_concurrent_requests": "many"}')
    assert talk([RUST], info, server={"info": old})[0] == Info("old", None, None, None, 9)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (plain(404, "<html>nginx</html>", "text/html"), "not text-generation-inference .*404"),
        (plain(200, "<html>welcome</html>", "text/html"), "not text-generation-inference .*200"),
        (plain(200, "[1]"), "not text-generation-inference"),
        (plain(200, '{"model": "another"}'), "not text-generation-inference"),
        (plain(401, ""), "does not let us in"),
        (plain(503, "loading"), r"not ready .*503"),
    ],
)
def test_info_of_what_is_no_teacher(reply: Reply, words: str) -> None:
    with pytest.raises(TeacherLost, match=words):
        talk([RUST], info, server={"info": reply})


def test_info_and_health_do_not_wait_for_long() -> None:
    async def look(teacher: Teacher, server: Unkind) -> None:
        assert not await teacher.healthy()
        with pytest.raises(TeacherLost, match="no server answers"):
            await teacher.info()

    never = slow(asyncio.Event(), Reply())
    talk([RUST], look, server={"info": never, "health": never}, timeout=Timeout(look_s=0.05))


def test_an_unwell_teacher_says_so() -> None:
    async def healthy(teacher: Teacher, _: Unkind) -> bool:
        return await teacher.healthy()

    assert talk([RUST], healthy)[0]
    assert not talk([RUST], healthy, server={"health": UNWELL})[0]


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHERLM_TEACHER_TOKEN", "s3cret")
    shown: list[str] = []

    async def all_of_it(teacher: Teacher, server: Unkind) -> None:
        await teacher.info()
        await teacher.healthy()
        shown.append(repr(teacher))
        for _ in range(4):
            try:
                await once(teacher, server)
            except Exception as error:
                shown.append(f"{error!r} {error} {error.__cause__!r} {vars(error)}")
        await server.leave()
        try:
            await once(teacher, server)
        # A connection that was kept may be used once more before it is known to be closed.
        except (TeacherAway, TeacherFault) as error:
            shown.append(f"{error!r} {error.__cause__!r}")

    _, server = talk([fails(401), DROP, BUSY, MALFORMED], all_of_it)
    assert {asked.headers["authorization"] for asked in server.seen} == {"Bearer s3cret"}
    assert {headers["authorization"] for headers in server.looked} == {"Bearer s3cret"}
    assert len(shown) == 6
    assert "s3cret" not in " ".join(shown)
    assert "token=***" in shown[0]
    monkeypatch.delenv("TEACHERLM_TEACHER_TOKEN")
    assert "authorization" not in talk([RUST], once)[1].seen[0].headers


@pytest.mark.parametrize("url", ["ftp://host", "http://", "http://host:port", "http://host:99999", "http://[::1", ""])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(Mistake, match="is no URL of a teacher"):
        Teacher(url)


def test_a_key_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(Mistake) as caught:
        Teacher("http://user:s3cret@host:80")
    assert "s3cret" not in str(caught.value)
    assert Teacher("host:8080/").url == "http://host:8080"


def test_a_teacher_is_used_inside_its_block() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(Teacher("http://127.0.0.1:1").once(QUESTION, {}))


def test_a_teacher_in_trouble_is_asked_again() -> None:
    completion, server = talk([BUSY, DROP, UNWELL, BUSY, INCOMPLETE, RUST], ask)
    assert completion.text == "Rust is iron oxide."
    assert len(server.seen) == 6
    assert len({json.dumps(asked.body) for asked in server.seen}) == 1


def test_attempts_end() -> None:
    with pytest.raises(TeacherFault, match="502"):
        talk([BUSY, INCOMPLETE, MALFORMED, BAD_GATEWAY, RUST], ask)


def test_a_refusal_is_not_asked_again() -> None:
    async def refused(teacher: Teacher, server: Unkind) -> None:
        with pytest.raises(TeacherRefused) as caught:
            await ask(teacher, server)
        assert caught.value.status == 422

    assert len(talk([TOO_LONG, RUST], refused)[1].seen) == 1


def test_patience_ends() -> None:
    with pytest.raises(TeacherLost, match=re.escape("is away or busy: 429")):
        talk([BUSY], ask, timeout=Timeout(patience_s=0.02))


@given(st.integers(1, 10_000), st.floats(0, 60), st.floats(0, 600))
def test_delays_double_and_are_bounded(failures: int, first_s: float, longest_s: float) -> None:
    delay = Retry(first_s=first_s, longest_s=longest_s).delay(failures)
    assert 0 <= delay <= longest_s
    assert delay >= min(longest_s, first_s) / 2
