"""The asker against an unkind server: nothing is lost, nothing is asked twice, the server is never overrun."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import disk_failure
from teacherlm.schemas.records import KINDS
from teacherlm.teacher.asker import CROWD, Asker
from teacherlm.teacher.calls import Call, answer_line, make_call
from teacherlm.teacher.client import Retry, Teacher, Timeout
from teacherlm.teacher.errors import TeacherLost, worst
from teacherlm.teacher.limit import SHARE, START
from teacherlm.teacher.tally import Tally
from teacherlm.teacher.wire import Completion, Info
from unkind import (
    BUSY,
    BUSY_REPLIES,
    DROP,
    FAULTS,
    INCOMPLETE,
    INFO,
    TOO_LONG,
    UNWELL,
    Asked,
    Behaviour,
    Reply,
    Unkind,
    cut,
    fails,
    plain,
    says,
    slow,
)

ATTEMPTS = 3
AT_ONCE = Retry(attempts=ATTEMPTS, first_s=0.0)
TEACHER = Info(str(INFO["model_id"]), str(INFO["model_sha"]), 128, 2048)
BUDGET = 8


def calls_of(samples: int, kinds: Sequence[str] = KINDS) -> list[Call]:
    return [
        make_call(
            sample_id=f"made/train/{sample}",
            dataset="made",
            split="train",
            kind=kind,
            repeat=0,
            prompt=f"Q: {sample} {kind}",
            parameters={"max_new_tokens": BUDGET},
            stops=("\nQ:",),
            info=TEACHER,
        )
        for sample in range(samples)
        for kind in kinds
    ]


@dataclass
class Run:
    """A run of the asker against an unkind server."""

    server: Unkind
    asker: Asker
    lines: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def tally(self) -> Tally:
        return self.asker.tally

    async def until(self, happened: Callable[[], object]) -> None:
        """Let the loop turn until the asker's state is as wanted."""
        while not happened():  # noqa: ASYNC110 - the asker has no event for it
            await asyncio.sleep(0)

    def last_lines(self) -> dict[tuple[str, str], Mapping[str, Any]]:
        return {(line["sample_id"], line["kind"]): line for line in self.lines}


def run(
    behaviour: Behaviour,
    calls: Sequence[Call] | Iterator[Call | None],
    meanwhile: Callable[[Run], Awaitable[None]] | None = None,
    *,
    concurrency: int | None = 4,
    retry: Retry = AT_ONCE,
    patience_s: float = 60.0,
    record: Callable[[Mapping[str, Any]], None] | None = None,
    info: Mapping[str, Any] = INFO,
    seen: list[Run] | None = None,
) -> Run:
    """Ask all calls; `meanwhile` runs beside it."""

    async def meet() -> Run:
        timeout = Timeout(patience_s=patience_s)
        async with (
            Unkind(behaviour, info=plain(200, str(dict(info)).replace("'", '"'))) as server,
            Teacher(server.url, retry=retry, timeout=timeout) as teacher,
        ):
            lines: list[Mapping[str, Any]] = []
            made = Run(server, Asker(teacher, record or lines.append, concurrency), lines)
            if seen is not None:
                seen.append(made)
            async with asyncio.timeout(30):
                if meanwhile is None:
                    await made.asker.run(iter(calls))
                else:
                    await asyncio.gather(made.asker.run(iter(calls)), meanwhile(made))
            return made

    return asyncio.run(meet())


def failing_run(error: type[BaseException], match: str, *arguments: Any, **options: Any) -> Run:
    """A run that must end with an error."""
    seen: list[Run] = []
    with pytest.raises(error, match=match):
        run(*arguments, seen=seen, **options)
    return seen[0]


# --- the books -------------------------------------------------------------------------------------------------------

FINALS = {"ok": says("Rust."), "refused": TOO_LONG, "cut": cut("Ru")}
SCHEDULE = st.tuples(
    st.lists(st.sampled_from([*BUSY_REPLIES, *FAULTS]), max_size=5),
    st.sampled_from(["ok", "ok", "refused", "cut"]),
    st.sampled_from(["ok", "refused", "cut"]),
)


def fate(schedule: tuple[list[Reply], str, str]) -> tuple[str, int]:
    """What has to become of a call with such a schedule, and after how many requests."""
    faults, final, longer = schedule
    counted = 0
    for number, reply in enumerate(faults, start=1):
        counted += reply not in BUSY_REPLIES
        if counted == ATTEMPTS:
            return "exhausted", number
    if final != "cut":
        return final, len(faults) + 1
    return {"ok": "ok", "refused": "truncated", "cut": "truncated"}[longer], len(faults) + 2


@settings(max_examples=60, deadline=None)
@given(st.lists(SCHEDULE, min_size=1, max_size=12), st.integers(1, 5))
def test_the_books_close_whatever_goes_wrong(schedules: list[Any], concurrency: int) -> None:
    calls = calls_of(len(schedules), KINDS[:1])
    by_prompt = {call.prompt: schedule for call, schedule in zip(calls, schedules, strict=True)}

    def behaviour(asked: Asked) -> Reply:
        faults, final, longer = by_prompt[asked.prompt]
        if asked.budget != BUDGET:
            return FINALS[longer]
        return faults[asked.attempt - 1] if asked.attempt <= len(faults) else FINALS[final]

    done = run(behaviour, calls, concurrency=concurrency)
    tally, fates = done.tally, [fate(schedule) for schedule in schedules]
    # Every call is settled once, as it must be.
    expected = Counter(name for name, _ in fates)
    found = Counter(ok=tally.answered, truncated=tally.truncated, refused=tally.refused, exhausted=tally.exhausted)
    assert +found == expected
    assert tally.settled == len(calls)
    # Nothing is asked again that has its answer, and nothing less than the attempts that it may have.
    assert Counter(done.server.prompts) == {
        call.prompt: requests for call, (_, requests) in zip(calls, fates, strict=True)
    }
    assert tally.requests == len(done.server.seen) == sum(requests for _, requests in fates)
    assert done.server.most_at_work <= tally.most_in_flight <= concurrency
    # The ledger: one line for each key, and the last line of a call tells its fate.
    assert max(Counter(line["call_key"] for line in done.lines).values()) == 1
    for call, (name, _) in zip(calls, fates, strict=True):
        line = done.last_lines()[call.sample_id, call.kind]
        assert line["status"] == {"ok": "ok", "truncated": "truncated"}.get(name, "failed")
        if name in ("refused", "exhausted"):
            assert line["failure"].startswith(f"{name}: ")
        if name == "truncated":
            assert line["text"] == "Ru"
    assert (tally.in_flight, tally.waiting) == (0, 0)


def test_nothing_to_ask() -> None:
    assert run([BUSY], []).tally.settled == 0


# --- how many at a time ----------------------------------------------------------------------------------------------


def test_concurrency_is_used_and_never_exceeded() -> None:
    gate = asyncio.Event()

    async def meanwhile(now: Run) -> None:
        await now.server.until(lambda: now.server.at_work == 5)
        assert now.tally.in_flight == 5
        gate.set()

    done = run(lambda _: slow(gate, says("Rust.")), calls_of(9), meanwhile, concurrency=5)
    assert done.tally.answered == 27
    assert done.server.most_at_work == done.tally.most_in_flight == 5


def test_the_kinds_of_a_sample_are_next_to_each_other() -> None:
    gate = asyncio.Event()

    async def meanwhile(now: Run) -> None:
        await now.server.until(lambda: now.server.at_work == 6)
        assert {prompt.split()[1] for prompt in now.server.prompts} == {"0", "1"}
        gate.set()

    run(lambda _: slow(gate, says("Rust.")), calls_of(4), meanwhile, concurrency=6)
    in_order = run([says("Rust.")], calls_of(5), concurrency=1)
    assert in_order.server.prompts == [call.prompt for call in calls_of(5)]
    # Also where the longer question of a cut answer comes between.
    extended = run(lambda asked: (cut if asked.budget == BUDGET else says)("Ru"), calls_of(3), concurrency=1)
    assert [prompt.split()[1] for prompt in extended.server.prompts] == [n for n in "012" for _ in range(6)]


def test_a_call_that_waits_holds_no_place() -> None:
    """With one place, the second call is answered while the first waits for an hour."""

    async def meanwhile(now: Run) -> None:
        await now.server.until(lambda: len(now.server.seen) >= 3 and not now.server.at_work)
        await now.until(lambda: now.tally.answered == 2)
        assert now.tally.waiting == 1
        assert now.tally.in_flight == 0
        now.asker.stop()

    def behaviour(asked: Asked) -> Reply:
        return INCOMPLETE if asked.prompt == "Q: 0 fundamentals" else says("Rust.")

    hours = Retry(first_s=3600, longest_s=3600)
    done = run(behaviour, calls_of(3, KINDS[:1]), meanwhile, concurrency=1, retry=hours)
    assert done.tally.settled == 2


def test_a_crowd_of_waiting_calls_lets_no_new_ones_in() -> None:
    async def meanwhile(now: Run) -> None:
        await now.until(lambda: now.tally.waiting >= CROWD * 2 and not now.tally.in_flight)
        for _ in range(20):
            await asyncio.sleep(0)
        now.asker.stop()

    done = run([INCOMPLETE], calls_of(100), meanwhile, concurrency=2, retry=Retry(first_s=3600, longest_s=3600))
    assert CROWD * 2 <= len(done.server.seen) <= CROWD * 2 + 2


def test_calls_that_are_not_known_yet_are_waited_for() -> None:
    """While an iterator finds out what is to be asked, answers come in."""
    settled_before: list[int] = []

    def calls() -> Iterator[Call | None]:
        first, *others = calls_of(30)
        yield first
        while not now[0].tally.settled:
            yield None
        settled_before.append(now[0].tally.settled)
        for call in others:
            yield call
            yield None

    now: list[Run] = []
    done = run([says("Rust.")], calls(), seen=now)
    assert done.tally.answered == 90
    assert settled_before == [1]


def test_a_run_that_is_told_to_end_waits_for_no_new_calls() -> None:
    now: list[Run] = []

    def calls() -> Iterator[Call | None]:
        for count in range(10_000_000):
            if count == 100:
                now[0].asker.stop()
            yield None

    assert run([says("Rust.")], calls(), seen=now).tally.requests == 0


def test_a_refusal_for_lack_of_room_lowers_the_limit_and_answers_raise_it() -> None:
    places: list[int] = []

    def behaviour(asked: Asked) -> Reply:
        return BUSY if asked.number in (9, 10, 11) else says("Rust.")

    done = run(behaviour, calls_of(60), lambda now: _note_places(now, places), concurrency=8)
    assert done.tally.busy == 3
    assert done.tally.answered == 180
    assert min(places) < 8
    assert places[-1] == 8
    assert max(places) == 8


async def _note_places(now: Run, places: list[int]) -> None:
    while now.tally.settled < 180:
        if now.tally.places:
            places.append(now.tally.places)
        await asyncio.sleep(0)
    places.append(now.tally.places)


def test_the_limit_is_learnt_from_the_server() -> None:
    """It starts with few, and grows to a share of what the server says that it bears."""
    first, then = asyncio.Event(), asyncio.Event()

    async def meanwhile(now: Run) -> None:
        await now.server.until(lambda: now.server.at_work == START)
        first.set()
        await now.server.until(lambda: now.server.at_work == int(20 * SHARE))
        then.set()

    done = run(
        lambda asked: slow(first if asked.number <= START else then, says("Rust.")),
        calls_of(20),
        meanwhile,
        concurrency=None,
        info={**INFO, "max_concurrent_requests": 20},
    )
    assert done.tally.answered == 60
    assert done.server.most_at_work == int(20 * SHARE)


# --- answers that were cut -------------------------------------------------------------------------------------------


def test_a_cut_answer_is_asked_once_more_with_twice_the_budget() -> None:
    (call,) = calls_of(1, KINDS[:1])
    done = run(lambda asked: cut("Ru") if asked.budget == BUDGET else says("Rust."), [call])
    assert [asked.budget for asked in done.server.seen] == [BUDGET, 2 * BUDGET]
    assert [(line["status"], line["text"]) for line in done.lines] == [("truncated", "Ru"), ("ok", "Rust.")]
    assert [line["call_key"] for line in done.lines] == [call.key, call.with_twice_the_budget(TEACHER).key]
    assert (done.tally.answered, done.tally.truncated) == (1, 0)
    assert done.tally.prompt_tokens == 14

    again = run([cut("Ru")], [call])
    assert len(again.server.seen) == 2
    assert [line["status"] for line in again.lines] == ["truncated", "truncated"]
    assert again.tally.truncated == again.tally.settled == 1


def test_where_there_is_no_room_for_twice_the_budget_the_first_text_stays() -> None:
    done = run(lambda asked: cut("Ru") if asked.budget == BUDGET else TOO_LONG, calls_of(1, KINDS[:1]))
    line = done.lines[-1]
    assert (line["status"], line["text"]) == ("truncated", "Ru")
    assert line["failure"].startswith("refused: 422")
    assert done.tally.truncated == done.tally.settled == 1


def test_a_cut_answer_without_a_budget_is_not_asked_again() -> None:
    call = make_call(
        sample_id="a",
        dataset="made",
        split="train",
        kind=KINDS[0],
        repeat=0,
        prompt="Q",
        parameters={},
        stops=(),
        info=TEACHER,
    )
    assert run([cut("Ru")], [call]).tally.truncated == 1


@pytest.mark.parametrize(
    ("text", "status", "kept"),
    [
        ("Rust. \nQ: Next", "ok", "Rust."),
        ("Rust. \nQ:", "ok", "Rust."),
        ("Rust. \nQ", "truncated", "Rust. \nQ"),
        ("<think>Rust. \nQ: Next", "truncated", ""),
        ("<think>a</think>Rust. \nQ: Next", "ok", "Rust."),
    ],
)
def test_a_text_that_went_past_its_stop_is_whole(text: str, status: str, kept: str) -> None:
    """Servers miss a stop string inside a token and run into the limit."""
    (call,) = calls_of(1, KINDS[:1])
    line = answer_line(call, Completion(text, "length", 7, 8), 0.1, 1)
    assert (line["status"], line["text"], line["finish_reason"]) == (status, kept, "length")


# --- teachers that go ------------------------------------------------------------------------------------------------


def test_a_teacher_that_goes_away_and_comes_back() -> None:
    gate, back = asyncio.Event(), asyncio.Event()

    def behaviour(asked: Asked) -> Reply:
        return says("Rust.") if asked.number <= 5 or back.is_set() else slow(gate, says("never"))

    async def meanwhile(now: Run) -> None:
        await now.server.until(lambda: now.server.at_work == 4)
        await now.server.leave()
        await now.until(lambda: now.asker.tally.requests and not now.tally.in_flight)
        assert now.tally.settled == 5
        back.set()
        await now.server.come_back()

    done = run(behaviour, calls_of(10), meanwhile)
    assert done.tally.answered == done.tally.settled == 30
    assert {line["status"] for line in done.lines} == {"ok"}
    assert len(done.lines) == 30


def test_a_teacher_that_never_comes_back() -> None:
    async def meanwhile(now: Run) -> None:
        await now.server.until(lambda: len(now.server.seen) >= 20)
        await now.server.leave()

    done = failing_run(
        TeacherLost, "has answered nothing for 0.05 s", [says("Rust.")], calls_of(100), meanwhile, patience_s=0.05
    )
    assert done.tally.exhausted == 0
    assert 10 <= len(done.lines) == done.tally.answered < 300


@pytest.mark.parametrize("reply", [UNWELL, BUSY, INCOMPLETE, DROP])
def test_a_teacher_that_fails_everything(reply: Reply) -> None:
    """No row is marked failed for it: the run stops before."""
    retry = Retry(attempts=1_000_000, first_s=0.0)
    done = failing_run(
        TeacherLost, "has answered nothing", [says("Rust."), reply], calls_of(5), patience_s=0.02, retry=retry
    )
    assert len(done.lines) == 1


def test_a_teacher_that_says_it_is_well_but_cannot_be_reached_is_given_up() -> None:
    """Its health is asked over a connection that was kept; new ones are refused. No endless circle, no row failed."""

    def behaviour(asked: Asked) -> Reply:
        return says("Rust.")

    async def always_well(*_: Any) -> bool:
        return True

    async def meanwhile(now: Run) -> None:
        await now.server.until(lambda: len(now.server.seen) >= 2)
        now.asker.teacher.endpoints[0].healthy = always_well  # type: ignore[method-assign]
        await now.server.leave()

    done = failing_run(TeacherLost, "has answered nothing", behaviour, calls_of(100), meanwhile, patience_s=0.05)
    assert done.tally.exhausted == 0


def test_a_long_answer_is_not_a_lost_teacher() -> None:
    """One request is worked on for longer than our patience, while all others fail."""
    gate = asyncio.Event()

    def behaviour(asked: Asked) -> Reply:
        if asked.prompt == "Q: 0 fundamentals":
            return slow(gate, says("Rust."))
        return says("Rust.") if gate.is_set() else INCOMPLETE

    async def meanwhile(now: Run) -> None:
        await now.server.until(lambda: len(now.server.seen) > 50)
        gate.set()

    done = run(behaviour, calls_of(4), meanwhile, patience_s=0.0, retry=Retry(attempts=1_000_000, first_s=0.0))
    assert done.tally.answered == 12


def test_a_teacher_that_does_not_let_us_in_stops_the_run_at_once() -> None:
    done = failing_run(TeacherLost, "does not let us in", [says("Rust."), fails(401)], calls_of(50), concurrency=1)
    assert len(done.server.seen) == 2
    assert len(done.lines) == 1


def test_what_is_no_teacher_is_not_asked() -> None:
    done = failing_run(TeacherLost, "not text-generation-inference", [BUSY], calls_of(1), info={"name": "else"})
    assert done.server.seen == []


# --- stopping --------------------------------------------------------------------------------------------------------


def test_stopping_keeps_what_is_in_flight() -> None:
    gate = asyncio.Event()

    async def meanwhile(now: Run) -> None:
        await now.server.until(lambda: now.server.at_work == 4)
        now.asker.stop()
        gate.set()

    done = run(lambda _: slow(gate, says("Rust.")), calls_of(10), meanwhile)
    assert done.tally.answered == len(done.lines) == len(done.server.seen) == 4


def test_stopping_does_not_wait_for_those_that_wait() -> None:
    async def meanwhile(now: Run) -> None:
        await now.until(lambda: now.tally.waiting >= 4)
        now.asker.stop()

    hours = Retry(first_s=3600, longest_s=3600)
    assert run([INCOMPLETE], calls_of(10), meanwhile, retry=hours).tally.settled == 0


def test_stopping_does_not_wait_for_a_teacher_that_is_away() -> None:
    async def meanwhile(now: Run) -> None:
        await now.server.until(lambda: now.server.at_work == 1)
        await now.server.leave()
        await now.until(lambda: now.asker.tally.requests and not now.tally.in_flight)
        now.asker.stop()

    hours = Retry(first_s=3600, longest_s=3600)
    never = asyncio.Event()
    assert run(lambda _: slow(never, BUSY), calls_of(3), meanwhile, retry=hours, concurrency=1).tally.settled == 0


def test_stopping_before_the_start() -> None:
    async def stopped() -> int:
        async with Unkind([BUSY]) as server, Teacher(server.url) as teacher:
            asker = Asker(teacher, print)
            asker.stop()
            await asker.run(iter(calls_of(3)))
            return len(server.seen)

    assert asyncio.run(stopped()) == 0


def test_a_cancelled_run_sends_nothing_more() -> None:
    async def meanwhile(now: Run) -> None:
        await now.server.until(lambda: now.server.at_work == 4)
        raise asyncio.CancelledError

    never = asyncio.Event()
    done = failing_run(asyncio.CancelledError, "^$", lambda _: slow(never, BUSY), calls_of(9), meanwhile)
    assert done.lines == []
    assert len(done.server.seen) == 4


def test_a_ledger_that_cannot_be_written_stops_the_run() -> None:
    lines: list[Mapping[str, Any]] = []

    def record(line: Mapping[str, Any]) -> None:
        if len(lines) == 3:
            raise disk_failure(Path(), OSError(errno.ENOSPC, "No space left on device"))
        lines.append(line)

    done = failing_run(MachineFailed, "the disk is full", [says("Rust.")], calls_of(50), record=record)
    assert done.tally.answered == len(lines) == 3
    assert len(done.server.seen) <= 3 + 2 * 4


def test_this_machine_comes_before_the_teacher() -> None:
    """A full disk and a teacher that locks us out in one moment: exit code 4, not 3."""
    errors = [TeacherLost("locked out"), ExceptionGroup("", [MachineFailed("the disk is full")])]
    assert str(worst(ExceptionGroup("", errors))) == "the disk is full"


def test_a_mistake_in_the_calls_is_shown_as_it_is() -> None:
    def calls() -> Iterator[Call]:
        yield from calls_of(1)
        raise KeyError("a bug")

    done = failing_run(KeyError, "a bug", [says("Rust.")], calls(), concurrency=1)
    assert len(done.lines) == 3
