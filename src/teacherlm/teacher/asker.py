"""Asking many calls: as many in flight as the teacher bears, every answer in the ledger, nothing lost.

There is neither a semaphore nor a pool of workers. A request is a task; whenever one ends, as many are sent as the
limit has places left. A call that waits for another attempt holds no place.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from teacherlm.core.errors import TeacherlmError
from teacherlm.teacher.answered import EXHAUSTED, REFUSED
from teacherlm.teacher.calls import Call, answer_lines, failure_lines, following_call
from teacherlm.teacher.client import Teacher
from teacherlm.teacher.errors import TeacherAway, TeacherBusy, TeacherError, TeacherFault, TeacherLost, TeacherRefused
from teacherlm.teacher.limit import Limit
from teacherlm.teacher.tgi import Info

CROWD = 4
"""Calls that may wait for another attempt, for each place. More mean a teacher in trouble: new ones would join them."""


@dataclass(slots=True)
class Tally:
    """What happened so far, texts and requests apart; progress and reports read it while the run goes on."""

    answered: int = 0
    """Texts, as the next three."""
    truncated: int = 0
    refused: int = 0
    exhausted: int = 0
    followed: int = 0
    """Answers that settled nothing: another question followed."""
    requests: int = 0
    retries: int = 0
    busy: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    places: int = 0
    waiting: int = 0
    """Calls that wait for another attempt."""
    first_refusal: str | None = None
    """The words of the first refusal."""

    @property
    def settled(self) -> int:
        return self.answered + self.truncated + self.refused + self.exhausted


@dataclass(slots=True)
class _Pending:
    """A call on its way."""

    call: Call
    requests: int = 0
    faults: int = 0
    """Attempts that count against the row; refusals for lack of room do not."""
    waits: int = 0


@dataclass
class Asker:
    """Asks all calls of an iterator.

    Args:
        teacher: an entered Teacher.
        record: takes the ledger line of each answer; whatever it raises stops the run.
        concurrency: requests in flight; None: learnt.
        tally: counts, updated in place.
    """

    teacher: Teacher
    record: Callable[[Mapping[str, Any]], None]
    concurrency: int | None = None
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._ready: deque[_Pending] = deque()
        """Calls to send before new ones."""
        self._in_flight: set[int] = set()
        """Numbers of the requests that are on their way; the lowest is the oldest."""
        self._resting: set[asyncio.Task[None]] = set()
        """Tasks that wait for a moment; `stop` ends them."""
        self._failing_since: float | None = None
        self._away = False
        self._is_doubtful = False
        """Whether another model may stand in the teacher's place: nothing is recorded before it has said who it is."""
        self._verifying = asyncio.Lock()
        self._stopping = False

    async def run(self, calls: Iterator[Call]) -> Tally:
        """Ask every call until it is settled, or until `stop`.

        Raises:
            TeacherLost: the teacher cannot be used (any more). What was answered is kept.
            TeacherlmError: what `record` raised, such as a full disk.
        """
        self._info = await self.teacher.info()
        self._limit = Limit.learn(self.concurrency, self._info.max_concurrent_requests)
        self._clock = asyncio.get_running_loop().time
        self._calls = calls
        try:
            async with asyncio.TaskGroup() as self._group:
                self._send()
        except ExceptionGroup as group:
            raise _worst(group) from None
        return self.tally

    def stop(self) -> None:
        """Send nothing more; what is in flight is still answered and kept."""
        self._stopping = True
        for task in self._resting:
            task.cancel()

    def _send(self) -> None:
        """Send calls while there are places."""
        self.tally.places = self._limit.places
        while len(self._in_flight) < self._limit.places and (pending := self._next()) is not None:
            self.tally.requests += 1
            self.tally.retries += pending.requests > 0
            pending.requests += 1
            self._in_flight.add(self.tally.requests)
            self._count_in_flight()
            self._launch(self._ask(pending, self.tally.requests))

    def _next(self) -> _Pending | None:
        """The next call to send; None where there is none now."""
        if self._stopping or self._away:
            return None
        if self._ready:
            return self._ready.popleft()
        if self.tally.waiting >= CROWD * self._limit.ceiling:
            return None
        call = next(self._calls, None)
        return _Pending(call) if call is not None else None

    async def _ask(self, pending: _Pending, number: int) -> None:
        """Make one attempt: it settles the call, or the call waits for another."""
        call, sent_at = pending.call, self._clock()
        try:
            try:
                completion = await self.teacher.once(call.prompt, call.parameters, call.stops)
            except TeacherRefused:
                await self._verify()
                raise
            await self._verify()
            lines = answer_lines(call, self._info, completion, self._clock() - sent_at, pending.requests)
        except TeacherRefused as error:
            self._went_well()
            self._settle(pending, _refusal(pending, self._info, error))
        except TeacherError as error:
            self._went_wrong(pending, error, sent_at, is_oldest=number == min(self._in_flight))
        else:
            self._went_well()
            self._settle(pending, lines)
        finally:
            self._in_flight.discard(number)
            self._count_in_flight()
        self._send()

    async def _verify(self) -> None:
        """Once for all answers after a burst of faults: make sure that they are the teacher's own."""
        async with self._verifying:
            if self._is_doubtful:
                self._is_doubtful = False  # a fault that comes meanwhile raises it again
                try:
                    await self.teacher.verify()
                except BaseException:
                    self._is_doubtful = True
                    raise

    def _went_well(self) -> None:
        self._failing_since = None
        self._limit.answered()

    def _went_wrong(self, pending: _Pending, error: TeacherError, sent_at: float, *, is_oldest: bool) -> None:
        now = self._clock()
        self._is_doubtful = self._is_doubtful or error.is_doubtful
        if self._failing_since is None:
            self._failing_since = now
        if isinstance(error, TeacherAway):
            self._ready.append(pending)
            if not self._away and not self._stopping:
                self._away = True
                self._rest(self._probe(error))
            return
        # A request that was sent before this one may still be worked on: a long answer is no failure.
        if is_oldest and self._out_of_patience():
            raise self._lost(error)
        if isinstance(error, TeacherFault):
            pending.faults += 1
            if pending.faults >= self.teacher.retry.attempts:
                lines = failure_lines(pending.call, self._info, f"{EXHAUSTED}{error}", pending.requests)
                self._settle(pending, lines)
                return
        else:
            pending.waits += 1
            if isinstance(error, TeacherBusy):
                self.tally.busy += 1
                self._limit.refused(sent_at, now)
        if not self._stopping:
            self.tally.waiting += 1
            self._rest(self._come_back(pending))

    def _settle(self, pending: _Pending, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write the lines; count their texts, or ask what follows: a cut text once more, or the call's sequel."""
        for line in lines:
            self.record(line)
        call, tally, line = pending.call, self.tally, lines[0]
        tally.prompt_tokens += line["prompt_tokens"] or 0
        tally.generated_tokens += line["generated_tokens"] or 0
        if line["status"] == "truncated" and call.can_be_extended:
            self._ready.appendleft(_Pending(call.with_twice_the_budget(self._info, line["text"])))
        elif (following := following_call(call, line)) is not None:
            tally.followed += 1
            self._ready.appendleft(_Pending(following))
        elif line["status"] == "truncated":
            tally.truncated += len(lines)
        elif line["status"] == "ok":
            tally.answered += len(lines)
        elif line["failure"].startswith(REFUSED):
            tally.refused += len(lines)
            tally.first_refusal = tally.first_refusal or line["failure"].removeprefix(REFUSED)
        else:
            tally.exhausted += len(lines)

    def _rest(self, waiting: Coroutine[Any, Any, None]) -> None:
        if task := self._launch(waiting):
            self._resting.add(task)
            task.add_done_callback(self._resting.discard)

    def _launch(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Start a task of the run; None where the run is ending, since what stopped it must not be hidden."""
        try:
            return self._group.create_task(work)
        except RuntimeError:  # the group is shutting down: another task has just failed
            work.close()
            return None

    async def _come_back(self, pending: _Pending) -> None:
        """Let a call wait for its next attempt."""
        await asyncio.sleep(self.teacher.retry.delay(pending.faults + pending.waits))
        self.tally.waiting -= 1
        self._ready.append(pending)
        self._send()

    async def _probe(self, error: TeacherError) -> None:
        """Wait for a teacher that is away; nothing is sent meanwhile."""
        probes = 0
        while self._away:
            if self._out_of_patience():
                raise self._lost(error)
            probes += 1
            await asyncio.sleep(self.teacher.retry.delay(probes))
            if await self.teacher.healthy():
                with contextlib.suppress(TeacherAway):
                    await self._verify()
                    self._away = False
        self._send()

    def _out_of_patience(self) -> bool:
        since = self._failing_since
        return since is not None and self._clock() - since > self.teacher.timeout.patience_s

    def _lost(self, error: TeacherError) -> TeacherLost:
        return TeacherLost(
            f"{self.teacher.url} has answered nothing for {self.teacher.timeout.patience_s:g} s ({error})",
            "look at the server and run the same command again; everything that was answered is kept",
        )

    def _count_in_flight(self) -> None:
        tally = self.tally
        tally.in_flight = len(self._in_flight)
        tally.most_in_flight = max(tally.most_in_flight, tally.in_flight)


def _refusal(pending: _Pending, info: Info, error: TeacherRefused) -> list[dict[str, Any]]:
    """The lines of a refused call. Where there is no room for twice the budget, the first text is all there will be."""
    call = pending.call
    kept = {"status": "truncated", "text": call.first_text} if call.extended else {}
    return [line | kept for line in failure_lines(call, info, f"{REFUSED}{error}", pending.requests)]


def _worst(group: BaseExceptionGroup[Exception]) -> Exception:
    """What stopped the run. A bug comes before this machine's failures, and those before the teacher's."""
    errors: list[Exception] = []
    for error in group.exceptions:
        errors += [_worst(error)] if isinstance(error, BaseExceptionGroup) else [error]
    return max(errors, key=lambda error: error.exit_code if isinstance(error, TeacherlmError) else 5)
