"""Asking many calls: as many in flight as the teacher bears, every answer in the ledger, nothing lost.

There is no semaphore. An endpoint has as many workers as its limit allows; a worker takes the next call when it has room,
so a call that waits for another attempt sits in the queue and holds no place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from teacherlm.core.errors import TeacherlmError
from teacherlm.teacher.calls import Call, answer_line, failure_line
from teacherlm.teacher.client import Teacher
from teacherlm.teacher.errors import TeacherAway, TeacherBusy, TeacherError, TeacherFault, TeacherLost, TeacherRefused
from teacherlm.teacher.ledger import EXHAUSTED, REFUSED
from teacherlm.teacher.limit import Limit

PROBE_S = (0.2, 5.0)
"""Seconds between questions to a teacher that is away: doubled from the first to the second."""


@dataclass(slots=True)
class Tally:
    """What happened so far; progress and reports read it while the run goes on."""

    answered: int = 0
    truncated: int = 0
    refused: int = 0
    exhausted: int = 0
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
    first_text: str = ""
    """What was written before the budget was doubled."""


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
        self._fresh: Iterator[Call] | None = None
        self._ready: deque[_Pending] = deque()
        self._waiting: set[asyncio.TimerHandle] = set()
        self._workers = 0
        self._away = False
        self._failing_since: float | None = None
        self._change = asyncio.Event()
        self._drained = asyncio.Event()
        self._stopping = False

    async def run(self, calls: Iterator[Call]) -> Tally:
        """Ask every call until it is settled, or until `stop`.

        Raises:
            TeacherLost: the teacher cannot be used (any more). What was answered is kept.
            TeacherlmError: what `record` raised, such as a full disk.
        """
        self._info = await self.teacher.info()
        self._limit = Limit.learn(self.concurrency, self._info.max_concurrent_requests)
        self._loop = asyncio.get_running_loop()
        self._fresh = calls
        try:
            async with asyncio.TaskGroup() as self._group:
                self._staff()
                await self._drained.wait()
        except* TeacherlmError as group:
            raise _first(group) from None
        finally:
            for handle in self._waiting:
                handle.cancel()
        return self.tally

    def stop(self) -> None:
        """Take no new calls; what is in flight is still answered and kept."""
        self._stopping = True
        self._change.set()
        self._look_whether_drained()

    def _staff(self) -> None:
        """As many workers as the limit has places, while there is work."""
        self.tally.places = self._limit.places
        while self._workers < self._limit.places and (self._ready or self._fresh is not None) and not self._stopping:
            self._workers += 1
            self._group.create_task(self._work())
            if self._fresh is None and self._workers >= len(self._ready) + self.tally.in_flight:
                break

    async def _work(self) -> None:
        try:
            while self._workers <= self._limit.places and (pending := await self._take()) is not None:
                await self._ask(pending)
                self._staff()
        finally:
            self._workers -= 1
            self._look_whether_drained()

    async def _take(self) -> _Pending | None:
        """The next call to send; None where there is none for this worker."""
        while not self._stopping:
            # Many waiting calls mean a teacher in trouble: new ones would only join them.
            if not self._away and self._ready:
                return self._ready.popleft()
            if self._fresh is None and not self._ready:
                return None
            if not self._away and len(self._waiting) < 4 * self._limit.ceiling:
                call = next(self._fresh, None) if self._fresh is not None else None
                if call is not None:
                    return _Pending(call)
                self._fresh = None
                continue
            self._change.clear()
            await self._change.wait()
        return None

    def _look_whether_drained(self) -> None:
        nothing_left = self._fresh is None and not self._ready and not self._waiting
        if (self._stopping or nothing_left) and not self.tally.in_flight:
            self._drained.set()

    async def _ask(self, pending: _Pending) -> None:
        tally, call = self.tally, pending.call
        tally.in_flight += 1
        tally.most_in_flight = max(tally.most_in_flight, tally.in_flight)
        tally.requests += 1
        pending.requests += 1
        sent_at = self._loop.time()
        try:
            completion = await self.teacher.once(call.prompt, call.parameters, call.stops)
        except TeacherRefused as error:
            self._went_well()
            self._refuse(pending, error)
        except TeacherError as error:
            self._retry(pending, error, sent_at)
        else:
            self._went_well()
            line = answer_line(call, self._info, completion, self._loop.time() - sent_at, pending.requests)
            self._settle(pending, line)
        finally:
            tally.in_flight -= 1

    def _went_well(self) -> None:
        self._failing_since = None
        self._limit.answered()

    def _settle(self, pending: _Pending, line: dict[str, Any]) -> None:
        """Write the line; count it, or ask once more where the limit cut it."""
        self.record(line)
        tally, status = self.tally, line["status"]
        tally.prompt_tokens += line["prompt_tokens"] or 0
        tally.generated_tokens += line["generated_tokens"] or 0
        if status == "truncated" and not pending.call.extended:
            self._ready.appendleft(_Pending(pending.call.with_twice_the_budget(self._info), first_text=line["text"]))
        elif status == "truncated":
            tally.truncated += 1
        elif status == "ok":
            tally.answered += 1
        elif line["failure"].startswith(REFUSED):
            tally.refused += 1
        else:
            tally.exhausted += 1

    def _refuse(self, pending: _Pending, error: TeacherRefused) -> None:
        line = failure_line(pending.call, self._info, f"{REFUSED}{error}", pending.requests)
        if pending.call.extended:
            # There is no room for twice the budget: what was written first is all there will be.
            line |= {"status": "truncated", "text": pending.first_text}
        self._settle(pending, line)

    def _retry(self, pending: _Pending, error: TeacherError, sent_at: float) -> None:
        now = self._loop.time()
        if self._failing_since is None:
            self._failing_since = now
        if isinstance(error, TeacherFault):
            pending.faults += 1
            if pending.faults >= self.teacher.retry.attempts:
                self._settle(pending, failure_line(pending.call, self._info, f"{EXHAUSTED}{error}", pending.requests))
                return
        elif isinstance(error, TeacherBusy):
            pending.waits += 1
            self.tally.busy += 1
            self._limit.refused(sent_at, now)
        if now - self._failing_since > self.teacher.timeout.patience_s:
            raise self._lost(error)
        self.tally.retries += 1
        if isinstance(error, TeacherAway):
            self._ready.append(pending)
            if not self._away:
                self._away = True
                self._group.create_task(self._probe(error))
            return
        delay = self.teacher.retry.delay(min(pending.faults + pending.waits, 8))
        handle: asyncio.TimerHandle = self._loop.call_later(delay, lambda: self._awake(handle, pending))
        self._waiting.add(handle)
        self.tally.waiting = len(self._waiting)

    def _awake(self, handle: asyncio.TimerHandle, pending: _Pending) -> None:
        self._waiting.discard(handle)
        self.tally.waiting = len(self._waiting)
        self._ready.append(pending)
        self._change.set()
        self._staff()

    async def _probe(self, error: TeacherError) -> None:
        """Wait for a teacher that is away; workers rest meanwhile."""
        pause, started = PROBE_S[0], self._loop.time()
        while not await self.teacher.healthy() and not self._stopping:
            if self._loop.time() - started > self.teacher.timeout.patience_s:
                raise self._lost(error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, PROBE_S[1])
        self._away = False
        self._failing_since = None
        self._change.set()
        self._staff()

    def _lost(self, error: TeacherError) -> TeacherLost:
        return TeacherLost(
            f"{self.teacher.url} has answered nothing for {self.teacher.timeout.patience_s:.0f} s ({error})",
            "look at the server and run the same command again; everything that was answered is kept",
        )


def _first(group: BaseExceptionGroup[TeacherlmError]) -> TeacherlmError:
    """What stopped the run. This machine's failures come before the teacher's."""
    errors: list[TeacherlmError] = []
    for error in group.exceptions:
        errors += [_first(error)] if isinstance(error, BaseExceptionGroup) else [error]
    return max(errors, key=lambda error: error.exit_code)
