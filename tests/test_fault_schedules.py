"""Whatever a server does, the books close, nothing is lost, and what has its answer is never asked again."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replies import ODD_ANSWERS, ODD_FAULTS, SHARD, STALL_IN_BODY
from strained import Strained, steady
from teacherlm.teacher.answered import AnsweredCalls
from teacherlm.teacher.asker import Asker
from teacherlm.teacher.calls import Call
from teacherlm.teacher.client import Retry, Teacher, Timeout
from teacherlm.teacher.ledger import Ledger
from teacherlm.teacher.tally import Tally
from test_teacher_asker import BUDGET, TEACHER, calls_of
from unkind import (
    BAD_GATEWAY,
    BUSY,
    DROP,
    DROP_IN_BODY,
    INCOMPLETE,
    MALFORMED,
    NO_TEXT,
    TOO_LONG,
    UNWELL,
    Asked,
    Reply,
    Unkind,
    cut,
    says,
)

ATTEMPTS = 4
AT_ONCE = Retry(attempts=ATTEMPTS, first_s=0.0)

WAITS = (BUSY, UNWELL)
FAULTS = (INCOMPLETE, SHARD, DROP, DROP_IN_BODY, MALFORMED, NO_TEXT, BAD_GATEWAY, *ODD_FAULTS)
ANSWERS = (says("Rust."), *ODD_ANSWERS)
ENDS = (*ANSWERS, cut("Ru"), TOO_LONG)

SCHEDULES = st.lists(
    st.tuples(st.lists(st.sampled_from([*WAITS, *FAULTS]), max_size=6), st.sampled_from(ENDS), st.sampled_from(ENDS)),
    min_size=1,
    max_size=10,
)
"""Of each call: what goes wrong, in order; what it then gets; and what the longer question after a cut answer gets."""


@dataclass
class Ran:
    """One run over a ledger."""

    tally: Tally = field(default_factory=Tally)
    requests: list[tuple[str, int]] = field(default_factory=list)
    """Prompt and budget of each request that reached the server."""
    asked_again: list[str] = field(default_factory=list)
    """Prompts whose answer was in the ledger as they were asked."""
    asked: int = 0
    """Calls that had to be asked at all."""


def run(folder: Path, calls: Sequence[Call], schedules: dict[str, Iterator[Reply]], concurrency: int | None) -> Ran:
    """Ask what the ledger does not settle. A schedule goes on where the last run left it."""
    known = AnsweredCalls.read(folder)
    open_calls = [_open(call, known) for call in calls]
    left = [call for call in open_calls if call is not None]
    ran = Ran(asked=len(left))

    def behaviour(asked: Asked) -> Reply:
        ran.requests.append((asked.prompt, asked.budget))
        if AnsweredCalls.read(folder).look_up([keys[asked.prompt, asked.budget]]) != [None]:
            ran.asked_again.append(asked.prompt)
        return next(schedules[f"{asked.prompt} {asked.budget}"])

    keys = {(str(call.prompt), BUDGET): call.key for call in calls}
    keys |= {(str(call.prompt), 2 * BUDGET): call.with_twice_the_budget(TEACHER).key for call in calls}

    async def meet() -> None:
        with Ledger(folder) as ledger:
            async with Unkind(behaviour) as server, Teacher(server.url, retry=AT_ONCE) as teacher:
                async with asyncio.timeout(30):
                    await Asker(teacher, ledger.append, concurrency, ran.tally).run(iter(left))

    asyncio.run(meet())
    return ran


def _open(call: Call, known: AnsweredCalls) -> Call | None:
    """What is left to ask of a call."""
    (state,) = known.look_up([call.key])
    if state != "truncated" or call.extended:
        return call if state is None else None
    return _open(call.with_twice_the_budget(TEACHER, "Ru"), known)


def script(schedule: tuple[list[Reply], Reply, Reply], budget: int) -> Iterator[Reply]:
    faults, end, longer = schedule
    if budget == BUDGET:
        yield from faults
        yield end
    else:
        yield longer


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(SCHEDULES, st.sampled_from([None, 1, 3]))
def test_the_books_close_and_no_answer_is_asked_for_twice(
    schedules: list[tuple[list[Reply], Reply, Reply]], concurrency: int | None
) -> None:
    calls = calls_of(len(schedules), ["fundamentals"])
    scripts = {
        f"{call.prompt} {budget}": script(schedule, budget)
        for call, schedule in zip(calls, schedules, strict=True)
        for budget in (BUDGET, 2 * BUDGET)
    }
    with tempfile.TemporaryDirectory() as name:
        folder, left = Path(name), len(calls)
        for _ in range(3):  # six faults are two exhausted runs at most
            ran = run(folder, calls, scripts, concurrency)
            tally = ran.tally
            assert ran.asked == left
            # Every call is settled, as one of four.
            assert tally.settled == ran.asked
            assert tally.answered + tally.truncated + tally.refused + tally.exhausted == ran.asked
            assert (tally.in_flight, tally.waiting) == (0, 0)
            # Every request that was counted was sent, and none was made in secret.
            assert tally.requests == len(ran.requests)
            assert ran.asked_again == []
            left = tally.exhausted
        # In the end everything has its answer, its refusal or its cut text, and a further run asks nothing.
        assert left == 0
        again = run(folder, calls, scripts, concurrency)
        assert (again.asked, again.requests) == (0, [])
        with_end = Counter(_kind(end, longer) for _, end, longer in schedules)
        states = AnsweredCalls.read(folder)
        assert sum(_settled_text(call, states) for call in calls) == with_end["answered"]


def _kind(end: Reply, longer: Reply) -> str:
    last = longer if end is ENDS[-2] else end
    return "answered" if last in ANSWERS else "other"


def _settled_text(call: Call, known: AnsweredCalls) -> bool:
    """Whether the ledger holds a whole answer, and not a refusal."""
    key = call.key
    if known.look_up([key]) == ["truncated"]:
        key = call.with_twice_the_budget(TEACHER).key
    return known.look_up([key]) == ["answered"] and next(known.lines_of([key]))["status"] == "ok"


def test_a_body_that_stalls_is_given_up_and_asked_again() -> None:
    replies = iter([STALL_IN_BODY, says("Rust.")])
    lines: list[object] = []

    async def meet() -> Tally:
        patience = Timeout(read_s=0.05)
        async with (
            Unkind(lambda _: next(replies)) as server,
            Teacher(server.url, retry=AT_ONCE, timeout=patience) as teacher,
        ):
            return await Asker(teacher, lines.append, 1).run(iter(calls_of(1, ["fundamentals"])))

    tally = asyncio.run(meet())
    assert (tally.answered, tally.requests, len(lines)) == (1, 2, 1)


def test_a_server_that_drains_and_comes_back() -> None:
    """It refuses what is new with a 503, finishes what it has, and goes; nothing is lost meanwhile."""
    lines: list[object] = []
    calls = calls_of(20)

    async def meet() -> tuple[Tally, int]:
        async with Strained(4, steady(0.0)) as server, Teacher(server.url, retry=AT_ONCE) as teacher:

            async def restart() -> None:
                await server.until(lambda: len(server.seen) >= 20)
                await server.drain()
                assert server.at_work == 0
                await server.come_back()

            asker = Asker(teacher, lines.append, 8)
            async with asyncio.timeout(30):
                tally, _ = await asyncio.gather(asker.run(iter(calls)), restart())
            return tally, server.refused

    tally, refused = asyncio.run(meet())
    assert tally.answered == len(lines) == len(calls)
    assert refused == 0


def test_random_faults_and_refusals_over_few_slots() -> None:
    """20 % 429, 2.5 % 500, 2.5 % resets on top of a server that holds six requests: complete, nothing twice."""
    lines: list[object] = []
    calls = calls_of(100)
    faults = [(0.2, BUSY), (0.025, INCOMPLETE), (0.025, DROP)]

    async def meet() -> tuple[Tally, Strained]:
        server = Strained(6, steady(0.0), refuses=True, faults=faults, seed=1)
        async with server, Teacher(server.url, retry=AT_ONCE) as teacher, asyncio.timeout(30):
            return await Asker(teacher, lines.append).run(iter(calls)), server

    tally, server = asyncio.run(meet())
    assert tally.settled == tally.answered == len(lines) == len(calls)
    assert tally.busy == server.refused
    assert tally.requests == len(server.seen)
