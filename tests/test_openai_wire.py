"""OpenAI-compatible servers: found by their answers, asked in their words, their answers and errors understood."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import teacherlm
from openai_shapes import (
    FASTAPI,
    LLAMA_CPP,
    SGLANG,
    TEXT,
    TGI,
    VLLM,
    Route,
    Shaped,
    card,
    chat,
    completion,
    models,
    shaped,
    transformers,
    vllm_card,
)
from random_teacher import MODEL_ID
from recipes import parquet, recipe
from serving import parrot, random_model, serving
from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.teacher.client import Retry, Teacher, Timeout
from teacherlm.teacher.errors import TeacherAway, TeacherBusy, TeacherFault, TeacherLost, TeacherRefused
from teacherlm.teacher.openai import OpenAI
from teacherlm.teacher.wire import Completion, Info, Prompt, json_of

QUESTION = "Q: Why does iron rust? A:"
MESSAGES: Prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why does iron rust?"}]
EIGHT = {"max_new_tokens": 8}
PINNED = transformers("org/tiny")

Result = TypeVar("Result")


def talk(
    routes: Mapping[str, Route], with_it: Callable[[Teacher], Awaitable[Result]], *, ending: str = "", **settings: Any
) -> tuple[Result, Shaped]:
    """Let a teacher and a server of this shape meet.

    Args:
        ending: what the URL has after the port.
    """

    async def meet(url: str) -> Result:
        async with Teacher(url + ending, **{"retry": Retry(attempts=2, first_s=0.0)} | settings) as teacher:
            return await with_it(teacher)

    with shaped(routes) as server:
        return asyncio.run(meet(server.url)), server


async def info(teacher: Teacher) -> Info:
    return await teacher.info()


async def once(teacher: Teacher) -> Completion:
    return await teacher.once(QUESTION, EIGHT)


async def converse(teacher: Teacher) -> Completion:
    return await teacher.once(MESSAGES, EIGHT)


# --- Who is there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routes", "known"),
    [
        (VLLM, Info("Qwen/Qwen3-8B", None, max_total_tokens=4096)),
        (SGLANG, Info("Qwen/Qwen3-8B", None, max_total_tokens=8192)),
        (LLAMA_CPP, Info("qwen3.gguf", None, max_total_tokens=2048)),
        (PINNED, Info("org/tiny", None)),
        (transformers("org/tiny@v2"), Info("org/tiny", "v2")),
        (transformers(cached=models(card("org/one@v1"))), Info("org/one", "v1")),
        (VLLM | {"/v1/models": models(vllm_card("lab", root="/models/qwen"))}, Info("lab", "/models/qwen", None, 4096)),
        (VLLM | {"/v1/models": models(card("bare"))}, Info("bare", None)),
        (VLLM | {"/v1/models": models(card("odd", max_model_len="many", meta=[1], root=3))}, Info("odd", None)),
        (
            LLAMA_CPP | {"/v1/models": models(card("old", owned_by="llamacpp", meta={"n_ctx_train": 512}))},
            Info("old", None, max_total_tokens=512),
        ),
    ],
)
def test_a_server_says_which_model_it_has(routes: Mapping[str, Route], known: Info) -> None:
    for ending in ("", "/", "/v1", "/v1/"):
        found, server = talk(routes, info, ending=ending)
        assert found == known
        assert {path for path, _ in server.asked} >= {"/info", "/v1/models"}


def test_the_url_chooses_the_protocol_where_a_server_knows_both() -> None:
    async def both(teacher: Teacher) -> tuple[Info, Completion]:
        return await teacher.info(), await teacher.once(QUESTION, EIGHT)

    (known, answer), server = talk(TGI, both, ending="/v1")
    assert known == Info("Qwen/Qwen3-8B", "5eed", 128)
    assert answer.text == TEXT
    assert [path for path, _ in server.asked] == ["/info", "/v1/completions"]
    with pytest.raises(TeacherLost, match="no such route"):  # this one has no /generate
        talk(TGI, once)


LORA = VLLM | {
    "/v1/models": models(
        vllm_card("base", root="Qwen/Qwen3-8B"),
        vllm_card("teacher-f", root="/lora/f", parent="base", max_model_len=None),
        vllm_card("teacher-c", root="/lora/c", parent="base", max_model_len=None),
    )
}


def test_of_several_models_one_is_chosen() -> None:
    with pytest.raises(Mistake, match="serves `base`, `teacher-f`, `teacher-c`") as caught:
        talk(LORA, info)
    assert "write  model: base  into the teacher's profile" in caught.value.remedy
    assert talk(LORA, info, model="teacher-f")[0] == Info("teacher-f", "/lora/f")
    with pytest.raises(Mistake, match="does not serve `teacher-x`; it serves `base`, `teacher-f`"):
        talk(LORA, info, model="teacher-x")
    assert talk(TGI, info, model="Qwen/Qwen3-8B")[0].revision == "5eed"
    with pytest.raises(Mistake, match="does not serve `other`; it serves `Qwen/Qwen3-8B`"):
        talk(TGI, info, model="other")
    many = VLLM | {"/v1/models": models(*(vllm_card(f"m{number}") for number in range(20)))}
    with pytest.raises(Mistake, match="`m7` and 12 more"):
        talk(many, info)


async def model_asked_for(teacher: Teacher) -> None:
    await teacher.once(QUESTION, EIGHT)
    await teacher.once(MESSAGES, EIGHT)


def test_transformers_serves_another_model_than_it_lists() -> None:
    cache = models(card("org/one"), card("org/two@v1"))
    found, server = talk(transformers("org/tiny", cache), info)
    assert found == Info("org/tiny", None)
    for model in (None, "org/tiny", "org/tiny@main"):
        _, server = talk(transformers("org/tiny", cache), model_asked_for, model=model)
        assert ["model" in body for _, body in server.prompts] == [False, False]
    with pytest.raises(Mistake, match="does not serve `org/one`; it serves `org/tiny`"):
        talk(transformers("org/tiny"), info, model="org/one")
    with pytest.raises(TeacherLost, match="Server is pinned to 'org/tiny'"):
        talk(transformers("org/tiny", cache), once, model="org/one")  # it lists that model, and refuses it
    with pytest.raises(Mistake, match="serves `org/one`, `org/two@v1`"):
        talk(transformers(cached=cache), info)
    with pytest.raises(Mistake, match="serves whatever model it is asked for"):
        talk(transformers(), info)
    assert talk(transformers(), info, model="./local")[0] == Info("./local", None)
    _, server = talk(transformers(cached=cache), model_asked_for, model="org/two@v1")
    assert [body["model"] for _, body in server.prompts] == ["org/two@v1"] * 2


@pytest.mark.parametrize(
    ("routes", "kind", "words"),
    [
        ({}, TeacherLost, r"not text-generation-inference \(GET /info: 404\).*\(GET /v1/models: 404\)"),
        ({"/v1/models": (200, b"<html>welcome</html>")}, TeacherLost, r"GET /v1/models: 200"),
        ({"/v1/models": (200, {"data": {}})}, TeacherLost, "lists no models"),
        ({"/v1/models": models()}, TeacherLost, "serves no model"),
        ({"/v1/models": (200, {"data": [3, {"id": 4}]})}, TeacherLost, "serves no model"),
        ({"/v1/models": (401, {"error": {"message": "Invalid API Key", "code": 401}})}, TeacherLost, "Invalid API Key"),
        ({"/v1/models": (503, b"starting")}, TeacherLost, r"not ready \(GET /v1/models: 503\)"),
        (
            {"/info": (503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}})},
            TeacherLost,
            r"not ready \(GET /info: 503\)",
        ),
        ({"/info": (401, {"error": {"message": "Invalid API Key"}})}, TeacherLost, "does not let us in"),
    ],
)
def test_what_is_no_teacher(routes: Mapping[str, Route], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        talk(FASTAPI | dict(routes), info)


def test_a_proxy_that_hides_everything_else_is_no_hindrance() -> None:
    hidden = dict.fromkeys(("/info", "/health", "/openapi.json", "/tokenize"), (403, b"forbidden"))
    (answer, _) = talk(VLLM | hidden, once, ending="/v1")
    assert answer.text == TEXT
    with pytest.raises(TeacherLost, match="does not let us in"):
        talk(VLLM | hidden, once)


def test_nobody_there_and_nobody_asked_before() -> None:
    async def alone() -> None:
        async with Teacher("http://127.0.0.1:9/v1", timeout=Timeout(connect_s=1.0)) as teacher:
            with pytest.raises(TeacherAway, match="no server answers"):
                await teacher.once(QUESTION, EIGHT)

    asyncio.run(alone())


@pytest.mark.parametrize("routes", [VLLM, SGLANG, LLAMA_CPP, PINNED, TGI])
def test_health_is_asked_where_it_is(routes: Mapping[str, Route]) -> None:
    async def healthy(teacher: Teacher) -> bool:
        return await teacher.healthy()

    assert talk(routes, healthy)[0]
    assert talk({path: route for path, route in (VLLM | dict(routes)).items() if path != "/health"}, healthy)[0] or (
        routes is PINNED  # its list of models needs a cache
    )
    assert not talk(dict(routes) | {"/health": (503, b"")}, healthy)[0]
    assert not talk({}, healthy)[0]


def test_another_model_in_its_place_is_found_out() -> None:
    async def swapped(teacher: Teacher) -> None:
        endpoint, known = teacher.endpoints[0], await teacher.info()
        await endpoint.verify(known)
        server.routes["/v1/models"] = models(vllm_card("Qwen/Qwen3-32B"))
        with pytest.raises(TeacherLost, match=r"was Qwen/Qwen3-8B .* as the run began, and is Qwen/Qwen3-32B"):
            await endpoint.verify(known)
        server.routes["/v1/models"] = models(vllm_card("a"), vllm_card("b"))
        with pytest.raises(TeacherLost, match=r"as the run began: .*serves `a`, `b`"):
            await endpoint.verify(known)
        server.routes["/v1/models"] = (503, b"")
        with pytest.raises(TeacherAway, match="not ready"):
            await endpoint.verify(known)
        server.routes["/v1/models"] = VLLM["/v1/models"]
        await endpoint.verify(known)

    async def meet() -> None:
        async with Teacher(server.url) as teacher:
            await swapped(teacher)

    with shaped(VLLM) as server:
        asyncio.run(meet())


# --- What is asked ---------------------------------------------------------------------------------------------------


def asked(routes: Mapping[str, Route], prompt: Prompt, parameters: Mapping[str, Any], *stops: str) -> Any:
    async def ask(teacher: Teacher) -> Completion:
        return await teacher.once(prompt, parameters, stops)

    completion, server = talk(routes, ask)
    assert completion == Completion(TEXT, "stop", 7, 5)
    ((path, body),) = server.prompts
    assert path == ("/v1/completions" if isinstance(prompt, str) else "/v1/chat/completions")
    return body


@pytest.mark.parametrize("routes", [VLLM, SGLANG, LLAMA_CPP, PINNED])
def test_only_what_is_set_is_asked(routes: Mapping[str, Route]) -> None:
    name = {} if routes is PINNED else {"model": routes["/v1/models"][1]["data"][0]["id"]}  # type: ignore[index]
    greedy = {**name, "max_tokens": 8, "temperature": 0.0}
    assert asked(routes, QUESTION, EIGHT) == {**greedy, "prompt": QUESTION}
    assert asked(routes, MESSAGES, EIGHT, "Q:") == {**greedy, "messages": MESSAGES, "stop": ["Q:"]}
    sampled = {"do_sample": True, "seed": 3, "top_p": 0.9, "frequency_penalty": 0.1}
    assert asked(routes, QUESTION, sampled) == {
        **name,
        "prompt": QUESTION,
        "temperature": 1.0,
        "seed": 3,
        "top_p": 0.9,
        "frequency_penalty": 0.1,
    }


def test_extensions_have_the_names_that_the_server_knows() -> None:
    parameters = {"do_sample": True, "temperature": 0.5, "top_k": 4, "typical_p": 0.9, "repetition_penalty": 1.1}
    same = {"prompt": QUESTION, "temperature": 0.5, "top_k": 4, "typical_p": 0.9}
    assert asked(VLLM, QUESTION, parameters) == {**same, "model": "Qwen/Qwen3-8B", "repetition_penalty": 1.1}
    assert asked(LLAMA_CPP, QUESTION, parameters) == {**same, "model": "qwen3.gguf", "repeat_penalty": 1.1}


def test_answers_are_held_to_a_schema() -> None:
    wanted = json_of(["a"])
    schema = wanted["grammar"]["value"]
    openai = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    for routes in (VLLM, SGLANG):
        assert asked(routes, QUESTION, wanted)["response_format"] == openai
        assert asked(routes, MESSAGES, wanted)["response_format"] == openai
    assert asked(LLAMA_CPP, MESSAGES, wanted)["response_format"] == openai
    assert asked(LLAMA_CPP, QUESTION, wanted)["json_schema"] == schema
    assert (
        OpenAI("m", is_tgi=True)
        .request(MESSAGES, wanted, ())[1]
        .endswith(b'"response_format":' + json.dumps(wanted["grammar"], separators=(",", ":")).encode() + b"}")
    )


@pytest.mark.parametrize(
    ("routes", "ending", "body"),
    [
        (VLLM, "", {"model": "Qwen/Qwen3-8B", "prompt": QUESTION}),
        (SGLANG, "/v1", {"model": "Qwen/Qwen3-8B", "prompt": QUESTION}),
        (LLAMA_CPP, "", {"model": "qwen3.gguf", "content": QUESTION, "add_special": True}),
        (TGI, "/v1", {"inputs": QUESTION}),
        (TGI, "", {"inputs": QUESTION}),
    ],
)
def test_tokens_are_counted_by_the_server(routes: Mapping[str, Route], ending: str, body: dict[str, Any]) -> None:
    async def count(teacher: Teacher) -> tuple[int | None, int | None]:
        return await teacher.tokens(QUESTION), await teacher.tokens(MESSAGES)

    (text, conversation), server = talk(routes, count, ending=ending)
    assert text == 9
    assert conversation == (None if routes is LLAMA_CPP else 9)
    assert next(sent for path, sent in server.asked if path == "/tokenize") == body


@pytest.mark.parametrize("told", [(404, {"detail": "Not Found"}), (200, b"<html>"), (200, {"count": "9"}), (200, 9)])
def test_tokens_that_nobody_counts(told: Route) -> None:
    async def count(teacher: Teacher) -> int | None:
        return await teacher.tokens(QUESTION)

    assert talk(VLLM | {"/tokenize": told}, count)[0] is None
    assert talk(PINNED, count)[0] is None


# --- What is answered ------------------------------------------------------------------------------------------------


def test_an_answer_that_the_limit_cut_is_known() -> None:
    cut = {"/v1/completions": completion("Rust is", "length"), "/v1/chat/completions": chat("Rust is", "length")}
    for routes in (VLLM, SGLANG, LLAMA_CPP):
        assert talk({**routes, **cut}, once)[0].is_cut
        assert talk({**routes, **cut}, converse)[0].is_cut


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_are_no_part_of_the_text(field: str) -> None:
    thinking = VLLM | {"/v1/chat/completions": chat(TEXT, **{field: "Let me think."})}
    assert talk(thinking, converse)[0] == Completion(TEXT, "stop", 7, 5)
    # The limit came while it was still thinking: nothing was said yet.
    thinking = VLLM | {"/v1/chat/completions": chat(None, "length", **{field: "Let me think."})}
    assert talk(thinking, converse)[0] == Completion("", "length", 7, 5)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, b""), "cannot be read"),
        ((200, b"<html>busy</html>"), "cannot be read"),
        ((200, {"choices": []}), "cannot be read"),
        ((200, {"error": {"message": "upstream"}}), "cannot be read"),
        (completion(None), "cannot be read"),
        (completion([TEXT]), "cannot be read"),
        (completion("Rust", "abort"), r"broke its answer off \(abort\)"),
        (completion("Rust", "error"), r"broke its answer off \(error\)"),
    ],
)
def test_answers_that_are_none(answer: Route, words: str) -> None:
    with pytest.raises(TeacherFault, match=words):
        talk(VLLM | {"/v1/completions": answer}, once)


NESTED = {"message": "The model `gone` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}
TOO_LONG = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (
            400,
            {"error": {"message": TOO_LONG, "type": "BadRequestError", "code": 400}},
            TeacherRefused,
            "^400 This",
        ),
        (400, {"object": "error", "message": TOO_LONG, "type": "BadRequestError"}, TeacherRefused, "^400 This model's"),
        (
            400,
            {"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error", "n_ctx": 256}},
            TeacherRefused,
            "^400 too long$",
        ),
        (422, {"detail": "Unexpected fields in the request: {'top_k'}"}, TeacherRefused, "^422 Unexpected fields"),
        (
            422,
            {"detail": [{"type": "missing", "loc": ["body", "prompt"], "msg": "Field required"}, {"msg": "b"}, "c"]},
            TeacherRefused,
            "^422 body.prompt: Field required; b; c$",
        ),
        (404, {"error": NESTED}, TeacherLost, r"no model `Qwen/Qwen3-8B` \(404 The model `gone` does not exist"),
        (404, {"object": "error", **NESTED}, TeacherLost, r"no model `Qwen/Qwen3-8B`"),
        (404, {"detail": "Not Found"}, TeacherLost, r"no such route or no model `Qwen/Qwen3-8B` \(404 Not Found\)"),
        (404, b"", TeacherLost, r"no such route or no model `Qwen/Qwen3-8B` \(404\)"),
        (401, {"error": "Unauthorized"}, TeacherLost, r"does not let us in \(401 Unauthorized\)"),
        (403, {"error": {"message": "no"}}, TeacherLost, r"does not let us in \(403 no\)"),
        (405, {"detail": "Method Not Allowed"}, TeacherLost, "no such route"),
        (429, {"error": {"message": "Rate limit", "type": "rate_limit_error"}}, TeacherBusy, "^429 Rate limit$"),
        (503, {"object": "error", "message": "The request queue is full."}, TeacherBusy, "^503 The request queue"),
        (503, {"error": {"message": "Loading model", "code": 503}}, TeacherBusy, "^503 Loading model$"),
        (
            500,
            {"error": {"message": "EngineCore died", "type": "InternalServerError"}},
            TeacherFault,
            "^500 Engine",
        ),
        (500, b"Internal Server Error", TeacherFault, "^500 Internal Server Error$"),
        (502, b"<html><h1>Bad Gateway</h1></html>", TeacherFault, "^502 <html>"),
    ],
)
def test_every_failure_has_its_type(status: int, body: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        talk(VLLM | {"/v1/completions": (status, body)}, once)
    assert type(caught.value) is kind


def test_a_busy_server_is_asked_again() -> None:
    replies = iter([(503, {"message": "The request queue is full."}), (500, b""), (429, b""), completion()])

    async def ask(teacher: Teacher) -> Completion:
        return await teacher.ask(QUESTION, EIGHT)

    # One attempt for the 500, and one for the connection that it closed.
    patient = Retry(attempts=3, first_s=0.0)
    assert talk(VLLM | {"/v1/completions": lambda _: next(replies)}, ask, retry=patient)[0].text == TEXT


def test_the_key_is_sent_and_never_shown() -> None:
    repeating = {"/v1/completions": (400, {"error": {"message": "wrong: Bearer s3cret"}})}
    with pytest.raises(TeacherRefused) as caught:
        talk(VLLM | repeating, once, token="s3cret")
    assert str(caught.value) == "400 wrong: Bearer ***"
    assert talk(VLLM, once, token="s3cret")[1].keys == {"Bearer s3cret"}


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
)


@given(st.sampled_from([QUESTION, MESSAGES]), st.binary(max_size=60))
def test_no_body_breaks_the_reader(prompt: Prompt, body: bytes) -> None:
    with pytest.raises(TeacherFault):
        OpenAI("m").completion(prompt, body, None, None)


@given(JSONS, JSONS, JSONS, JSONS)
def test_odd_answers_never_reach_the_ledger(text: Any, reason: Any, tokens: Any, usage: Any) -> None:
    for used in (usage, {"prompt_tokens": tokens, "completion_tokens": tokens}):
        for prompt, choice in ((QUESTION, {"text": text}), (MESSAGES, {"message": {"content": text}})):
            body = json.dumps({"choices": [{**choice, "finish_reason": reason}], "usage": used}).encode()
            try:
                read = OpenAI("m").completion(prompt, body, None, None)
            except TeacherFault:
                continue
            assert isinstance(read.text, str)
            assert read.finish_reason is None or isinstance(read.finish_reason, str)
            assert {type(read.prompt_tokens), type(read.generated_tokens)} <= {int, type(None)}


@given(st.integers(300, 599), JSONS | st.binary(max_size=300))
def test_every_status_says_whether_to_ask_again(status: int, body: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps({"error": body, "detail": body}).encode()
    error = OpenAI("m").error(status, raw, None)
    assert isinstance(error, TeacherBusy | TeacherFault | TeacherRefused | TeacherLost)
    assert isinstance(error, TeacherBusy) == (status in (429, 503))


# --- Whole runs ------------------------------------------------------------------------------------------------------


def project(tmp_path: Path, catalog: str, **entries: Any) -> teacherlm.Project:
    parquet(tmp_path / "p" / "builders" / "rows.parquet", [{"q": f"Why {n}?", "a": "x"} for n in range(3)])
    recipe(tmp_path / "p", max_new_tokens=8, **entries)
    (tmp_path / "p" / "catalog.yaml").write_text(catalog)
    opened = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    opened.build("d")
    return opened


def test_a_profile_chooses_the_model_and_the_key_covers_it(tmp_path: Path) -> None:
    with shaped(LORA) as server:
        profiles = "".join(
            f"  {name}: {{url: '{server.url}/v1', model: {name}, prompts: {prompts}}}\n"
            for name, prompts in (("teacher-f", "paper"), ("teacher-c", "chat"))
        )
        opened = project(tmp_path, f"teachers:\n{profiles}  lost: {{url: '{server.url}'}}\n")
        with pytest.raises(Mistake, match="serves `base`, `teacher-f`, `teacher-c`"):
            opened.augment("d", teacher="lost")
        assert server.prompts == []
        done = opened.augment("d", teacher="teacher-f", kinds=["fundamentals"])
        assert (done.model, done.revision, done.tally.answered) == ("teacher-f", "/lora/f", 3)
        assert opened.augment("d", teacher="teacher-f", kinds=["fundamentals"]).already == 3
        assert opened.augment("d", teacher="teacher-c", kinds=["fundamentals"]).tally.answered == 3
        asked_for = [(path, body["model"]) for path, body in server.prompts]
    assert asked_for == [("/v1/completions", "teacher-f")] * 3 + [("/v1/chat/completions", "teacher-c")] * 3
    rows = opened.sql(
        "SELECT DISTINCT teacher_model, text, status, prompt_tokens, generated_tokens FROM ledger"
    ).fetchall()
    assert sorted(rows) == [(f"teacher-{kind}", TEXT, "ok", 7, 5) for kind in "cf"]


def test_a_model_that_goes_away_stops_the_run(tmp_path: Path) -> None:
    with shaped(VLLM | {"/v1/completions": (404, {"error": NESTED})}) as server:
        opened = project(tmp_path, f"teachers: {{lab: {{url: '{server.url}', prompts: paper}}}}\n")
        with pytest.raises(TeacherLost, match="no model `Qwen/Qwen3-8B`"):
            opened.augment("d", teacher="lab")


def test_a_model_is_chosen_of_a_server_only(tmp_path: Path) -> None:
    with pytest.raises(Mistakes, match="`model` chooses among the models of a server"):
        project(tmp_path, "teachers: {own: {embedded: nano, model: nano}}\n").augment("d", teacher="own")


def test_our_own_server_is_asked_as_openais(tmp_path: Path) -> None:
    async def both(url: str) -> list[Any]:
        async with Teacher(url) as teacher:
            return [
                await teacher.info(),
                await teacher.once("Rust.</s>", {"max_new_tokens": 20}),
                await teacher.once("Rust. Q: more</s>", {"max_new_tokens": 20}, ("Q:",)),
                await teacher.tokens("Rust.</s>"),
            ]

    with serving(parrot()) as url:
        as_tgi, as_openai = (asyncio.run(both(address)) for address in (url, f"{url}/v1"))
    assert as_openai[0] == as_tgi[0]
    assert [answer.text for answer in as_openai[1:3]] == ["Rust.", "Rust. Q:"] == [a.text for a in as_tgi[1:3]]
    assert as_openai[1].finish_reason == "stop"
    assert as_openai[1].generated_tokens == as_tgi[1].generated_tokens
    assert as_openai[3] == as_tgi[3] == as_openai[1].prompt_tokens

    with serving(random_model()) as url:
        opened = project(tmp_path, f"teachers: {{own: {{url: '{url}/v1', prompts: chat}}}}\n")
        done = opened.augment("d", teacher="own")
    assert done.model == MODEL_ID
    assert done.tally.answered + done.tally.truncated == done.planned == 9
