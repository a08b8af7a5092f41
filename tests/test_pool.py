"""A teacher behind several endpoints: what each bears is used, one that dies costs nothing, none is another model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import teacherlm
from replies import BUSY, INCOMPLETE, Asked, Behaviour, Reply, fails, plain, says, slow
from teacherlm.core.errors import Mistake
from teacherlm.schemas.records import KINDS
from teacherlm.teacher.asker import Asker
from teacherlm.teacher.budget import Allowance
from teacherlm.teacher.calls import Call, make_call
from teacherlm.teacher.client import Retry, Teacher, Timeout
from teacherlm.teacher.errors import TeacherLost
from teacherlm.teacher.pool import EJECT_AFTER
from teacherlm.teacher.wire import Info
from unkind import INFO, Unkind, unkind_in_a_thread

RUST = says("Rust.")
ANSWERS: Behaviour = [RUST]
ANOTHER = plain(200, json.dumps({**INFO, "model_sha": "another"}), "application/json")
LOADING = fails(503, "the model is loading", "loading")


def calls_of(samples: int, kinds: Sequence[str] = KINDS) -> Iterator[Call]:
    for sample in range(samples):
        for kind in kinds:
            yield make_call(
                sample_id=f"made/train/{sample}",
                dataset="made",
                split="train",
                kind=kind,
                repeat=0,
                prompt=f"Q: {sample} {kind}",
                parameters={"max_new_tokens": 8},
                stops=(),
                info=Info(str(INFO["model_id"]), str(INFO["model_sha"])),
            )


Meanwhile = Callable[[Asker, Sequence[Unkind]], Awaitable[None]]


def run(
    behaviours: Sequence[Behaviour],
    samples: int,
    meanwhile: Meanwhile | None = None,
    *,
    infos: Mapping[int, Reply] | None = None,
    absent: Sequence[int] = (),
    concurrency: int | None = 4,
    retry: Retry | None = None,
    allowance: Allowance | None = None,
) -> tuple[Asker, list[Unkind], list[Mapping[str, Any]]]:
    """Ask a pool of unkind servers; `absent` ones do not listen at first."""

    async def meet() -> tuple[Asker, list[Unkind], list[Mapping[str, Any]]]:
        async with AsyncExitStack() as stack:
            servers = [
                await stack.enter_async_context(Unkind(behaviour, info=(infos or {}).get(number)))
                for number, behaviour in enumerate(behaviours)
            ]
            for number in absent:
                await servers[number].leave()
            teacher = await stack.enter_async_context(
                Teacher(
                    [server.url for server in servers],
                    retry=retry or Retry(first_s=0.0),
                    timeout=Timeout(patience_s=5.0),
                )
            )
            lines: list[Mapping[str, Any]] = []
            asker = Asker(teacher, lines.append, concurrency, allowance=allowance)
            async with asyncio.timeout(30):
                await asyncio.gather(
                    asker.run(calls_of(samples)), *([meanwhile(asker, servers)] if meanwhile is not None else [])
                )
            return asker, servers, lines

    return asyncio.run(meet())


def test_all_endpoints_answer_and_nothing_is_asked_twice() -> None:
    asker, servers, lines = run([ANSWERS] * 3, 60)
    assert asker.tally.answered == len(lines) == 180
    asked = Counter(prompt for server in servers for prompt in server.prompts)
    assert set(asked.values()) == {1} and len(asked) == 180
    assert all(len(server.seen) > 20 for server in servers)
    assert {str(line["endpoint"]) for line in lines} == {server.url for server in servers}
    assert sum(endpoint.answered for endpoint in asker.tally.endpoints) == 180


def test_calls_about_one_sample_go_to_one_endpoint() -> None:
    """Its prefix cache then has to read the question once."""
    _, servers, _ = run([ANSWERS] * 3, 60)
    places: dict[str, set[str]] = {}
    for server in servers:
        for prompt in server.prompts:
            places.setdefault(prompt.rpartition(" ")[0], set()).add(server.url)
    split_up = sum(len(urls) > 1 for urls in places.values())
    assert split_up <= 3  # at the end of a run an idle endpoint takes what another has not sent yet


def test_a_slow_endpoint_does_not_hold_up_the_others() -> None:
    gate = asyncio.Event()

    async def meanwhile(asker: Asker, servers: Sequence[Unkind]) -> None:
        await servers[1].until(lambda: len(servers[1].seen) >= 60)
        gate.set()

    asker, servers, _ = run([lambda _: slow(gate, RUST), ANSWERS], 30, meanwhile)
    assert asker.tally.answered == 90
    assert len(servers[0].seen) <= 30


def test_endpoints_of_different_models_are_refused() -> None:
    with pytest.raises(TeacherLost, match=r"the endpoints differ: .*revision 5eed.*revision another"):
        run([ANSWERS, ANSWERS], 1, infos={1: ANOTHER})


@pytest.mark.parametrize("urls", [[], ["http://127.0.0.1:1", "127.0.0.1:1/"], ["http://h:1", "http://H:1/v1"]])
def test_endpoints_are_named_once(urls: list[str]) -> None:
    with pytest.raises(Mistake):
        Teacher(urls)


def test_nobody_there_at_all() -> None:
    with pytest.raises(TeacherLost, match="no server answers"):
        run([ANSWERS, ANSWERS], 1, absent=[0, 1])


def test_an_endpoint_that_is_not_there_at_first_is_used_when_it_comes() -> None:
    gate = asyncio.Event()

    async def meanwhile(asker: Asker, servers: Sequence[Unkind]) -> None:
        await servers[0].until(lambda: servers[0].at_work == 4)
        assert asker.tally.endpoints[1].away
        await servers[1].come_back()
        await servers[1].until(lambda: len(servers[1].seen) > 0)
        gate.set()

    asker, servers, _ = run([lambda _: slow(gate, RUST), ANSWERS], 20, meanwhile, absent=[1])
    assert asker.tally.answered == 60
    assert len(servers[1].seen) > 10
    assert asker.tally.endpoints[1].away is None


def test_a_run_does_not_wait_for_an_endpoint_that_stays_away() -> None:
    hours = Retry(first_s=3600, longest_s=3600)
    asker, _, _ = run([ANSWERS, ANSWERS], 10, absent=[1], retry=hours)
    assert asker.tally.answered == 30
    assert "no server answers" in (asker.tally.endpoints[1].away or "")


def test_an_endpoint_that_dies_midway_and_comes_back() -> None:
    """Nothing is lost, no attempt counts against a row, and it takes its share again."""
    seen_before = 0

    async def meanwhile(asker: Asker, servers: Sequence[Unkind]) -> None:
        nonlocal seen_before
        await servers[0].until(lambda: len(servers[0].seen) >= 30)
        await servers[0].leave()
        seen_before = len(servers[0].seen)
        await servers[1].until(lambda: len(servers[1].seen) >= 150)
        await servers[0].come_back()
        await servers[0].until(lambda: len(servers[0].seen) > seen_before)

    asker, servers, lines = run([ANSWERS, ANSWERS], 2000, meanwhile)
    assert asker.tally.answered == len(lines) == 6000
    assert asker.tally.exhausted == 0
    assert len(servers[0].seen) > seen_before


def test_an_endpoint_that_fails_everything_is_ejected() -> None:
    """Its calls are answered elsewhere; it is probed, and one more fault ejects it again."""
    asker, servers, _ = run([[INCOMPLETE], ANSWERS], 200, concurrency=2)
    assert asker.tally.answered == 600
    assert len(servers[1].seen) == 600
    assert len(servers[0].seen) < 300
    assert asker.tally.exhausted == 0
    assert asker.tally.endpoints[0].faults >= EJECT_AFTER


def test_a_draining_endpoint_finishes_what_it_has() -> None:
    """It answers 503 to what is new, as servers do after SIGTERM; then it is gone."""
    draining, gate = False, asyncio.Event()

    def drains(asked: Asked) -> Reply:
        return LOADING if draining else RUST

    async def meanwhile(asker: Asker, servers: Sequence[Unkind]) -> None:
        nonlocal draining
        await servers[0].until(lambda: len(servers[0].seen) >= 20)
        draining = True
        await servers[0].until(lambda: len(servers[0].seen) >= 24)
        await servers[0].leave()
        gate.set()

    asker, _, lines = run([drains, lambda _: slow(gate, RUST)], 200, meanwhile)
    assert asker.tally.answered == len(lines) == 600
    assert asker.tally.exhausted == 0


def test_an_endpoint_that_comes_back_as_another_model_is_left_out() -> None:
    gate, never = asyncio.Event(), asyncio.Event()

    async def meanwhile(asker: Asker, servers: Sequence[Unkind]) -> None:
        await servers[0].until(lambda: servers[0].at_work == 4)
        await servers[0].leave()
        servers[0].info = ANOTHER
        await servers[0].come_back()
        await servers[0].until(lambda: servers[0].looks.count("/info") >= 3)
        gate.set()

    def held(asked: Asked) -> Reply:
        return slow(never, RUST) if 10 < asked.number <= 14 else RUST

    asker, _, lines = run([held, lambda _: slow(gate, RUST)], 500, meanwhile)
    assert asker.tally.answered == 1500
    assert "is unkind/teacher (revision another) now" in (asker.tally.endpoints[0].away or "")
    assert {line["teacher_revision"] for line in lines} == {"5eed"}


def test_a_busy_endpoint_leaves_the_work_to_the_other() -> None:
    asker, servers, _ = run([[BUSY], ANSWERS], 100, concurrency=None)
    assert asker.tally.answered == 300
    assert len(servers[1].seen) == 300


def test_calls_that_were_refused_do_not_wait_for_an_endpoint_that_hangs() -> None:
    """The one that had no room for a moment is free again; the other has all of its places taken for ever."""
    never = asyncio.Event()
    refused: set[str] = set()

    def once_busy(asked: Asked) -> Reply:
        if asked.prompt in refused or len(refused) >= 5:
            return RUST
        refused.add(asked.prompt)
        return BUSY

    async def meanwhile(asker: Asker, servers: Sequence[Unkind]) -> None:
        await servers[0].until(lambda: len(servers[0].seen) >= 60 - 4 + 5)
        while asker.tally.settled < 60 - 4:  # noqa: ASYNC110 - the asker has no event for it
            await asyncio.sleep(0)
        asker.stop()
        await servers[1].leave()

    asker, servers, _ = run([once_busy, lambda _: slow(never, RUST)], 20, meanwhile)
    assert asker.tally.settled == 56
    assert servers[1].at_work == 0


@pytest.mark.parametrize("status", [401, 404])
def test_an_endpoint_that_is_lost_does_not_stop_the_others(status: int) -> None:
    asker, _, lines = run([[RUST] * 5 + [fails(status, "no")], ANSWERS], 60)
    assert asker.tally.answered == len(lines) == 180
    assert asker.tally.faults["not there"] >= 1
    assert asker.tally.endpoints[0].answered == 5


def test_the_last_endpoint_that_is_lost_is_named() -> None:
    with pytest.raises(TeacherLost, match=r"http://127\.0\.0\.1:\d+: the teacher does not let us in"):
        run([[fails(401, "no")], [fails(401, "no")]], 10)


def test_an_endpoint_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teacherlm.teacher.asker.DRAIN_S", 0.05)
    never = asyncio.Event()

    async def meanwhile(asker: Asker, servers: Sequence[Unkind]) -> None:
        await servers[0].until(lambda: servers[0].at_work == 4)
        asker.stop(soon=True)

    asker, _, lines = run([lambda _: slow(never, RUST)], 10, meanwhile)
    assert asker.tally.settled == len(lines) == 0
    assert asker.tally.in_flight == 0


class FourCalls:
    """An allowance."""

    def __init__(self) -> None:
        self.left = 4

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def spent(self, prompt_tokens: int, generated_tokens: int) -> None: ...


def test_a_limit_that_is_reached_gives_up_nothing_that_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the answers take that are in flight then."""
    monkeypatch.setattr("teacherlm.teacher.asker.DRAIN_S", 0.0)
    gate, allowance = asyncio.Event(), FourCalls()

    async def meanwhile(asker: Asker, servers: Sequence[Unkind]) -> None:
        await servers[0].until(lambda: servers[0].at_work == 4)
        for _ in range(50):
            await asyncio.sleep(0)
        gate.set()

    asker, _, lines = run([lambda _: slow(gate, RUST)], 10, meanwhile, concurrency=8, allowance=allowance)
    assert allowance.left < 0
    assert asker.tally.answered == len(lines) == 4


def test_tokens_are_counted_by_an_endpoint_that_is_there() -> None:
    async def meet() -> int | None:
        async with Unkind(ANSWERS) as server, Teacher(["http://127.0.0.1:9", server.url]) as teacher:
            await teacher.info()
            return await teacher.tokens("Q: Why?")

    assert asyncio.run(meet()) is None  # that one does not count, and says so


# --- on the command line ---------------------------------------------------------------------------------------------

RECIPE = """
title: Made
source: {files: made.jsonl}
license: CC0-1.0
redistribution: allowed
task: made
sample: {id: id, question: q, choices: "['True', 'False']", answer: "'True'"}
"""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    (tmp_path / "builders").mkdir()
    (tmp_path / "catalog.yaml").write_text("teachers: {}\n")
    (tmp_path / "builders" / "made.yaml").write_text(RECIPE)
    rows = "".join(json.dumps({"id": f"q{n}", "q": f"Does iron rust in {n} days?"}) + "\n" for n in range(20))
    (tmp_path / "builders" / "made.jsonl").write_text(rows)
    teacherlm.open(tmp_path, workspace=tmp_path / "workspace").build("made")
    return tmp_path


def command(project: Path, *more: str) -> list[str]:
    place = ["-p", str(project), "-w", str(project / "workspace")]
    return [sys.executable, "-m", "teacherlm", "augment", "made", *place, *more]


def test_several_endpoints_on_the_command_line(made: Path) -> None:
    with unkind_in_a_thread(ANSWERS) as one, unkind_in_a_thread(ANSWERS) as other:
        done = subprocess.run(
            command(made, "--teacher", f"{one.url},{other.url}", "--format", "json"),
            capture_output=True,
            text=True,
            check=True,
        )
    (row,) = json.loads(done.stdout)["rows"]
    assert row["answered"] == 60
    assert {endpoint["url"] for endpoint in row["endpoints"]} == {one.url, other.url}
    assert len(one.seen) + len(other.seen) == 60


def test_each_kind_may_have_a_pool_of_its_own(made: Path) -> None:
    with (
        unkind_in_a_thread(ANSWERS) as one,
        unkind_in_a_thread(ANSWERS) as other,
        unkind_in_a_thread(ANSWERS) as mistakes,
    ):
        teachers = {
            "lab": {"kinds": {"fundamentals": "two", "chain_of_thought": "two", "common_mistakes": "third"}},
            "two": {"urls": [one.url, other.url]},
            "third": {"url": mistakes.url},
        }
        (made / "catalog.yaml").write_text(json.dumps({"teachers": teachers}))
        state = teacherlm.open(made, workspace=made / "workspace").augment("made", teacher="lab")
    assert state.tally.answered == 60
    assert {prompt.rpartition("The")[2] for prompt in mistakes.prompts} == {" common mistakes are:"}
    assert len(mistakes.seen) == 20
    assert one.seen and other.seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_finishes_what_is_in_flight(made: Path, number: int) -> None:
    gate = asyncio.Event()

    with unkind_in_a_thread(lambda _: slow(gate, RUST)) as server:
        process = subprocess.Popen(
            command(made, "--teacher", server.url, "--concurrency", "6", "--format", "json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "120"},
        )
        server.wait_until(lambda: server.at_work == 6)
        process.send_signal(number)
        server.loop.call_soon_threadsafe(gate.set)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    answered = json.loads(out)["rows"][0]["answered"]
    lines = (
        sum(path.read_bytes().count(b"\n") for path in (made / "workspace" / "rationales").rglob("*.jsonl"))
        or teacherlm.open(made, workspace=made / "workspace").sql("SELECT count(*) FROM rationales").fetchall()[0][0]
    )
    assert 6 <= answered == lines < 60
