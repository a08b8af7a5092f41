"""Asking many calls: as many in flight as the teacher bears, every answer in the ledger, nothing lost.

There is no semaphore. A place of an endpoint is a task that sends one call after the other while there are calls and
room; places come and go with the endpoint's limit. A call that waits for another attempt holds none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from teacherlm.teacher.answered import EXHAUSTED, REFUSED
from teacherlm.teacher.budget import Allowance
from teacherlm.teacher.calls import Call, answer_lines, failure_lines, following_call, refusal_lines
from teacherlm.teacher.client import Teacher
from teacherlm.teacher.errors import TeacherAway, TeacherBusy, TeacherError, TeacherLost, TeacherRefused, worst
from teacherlm.teacher.patience import DRAIN_S, PROBE_EVERY_S
from teacherlm.teacher.pool import EJECT_AFTER, Member, Pending, Pool
from teacherlm.teacher.queue import Calls
from teacherlm.teacher.tally import Tally

CROWD = 4
"""Calls that may wait for another attempt, for each place. More mean a teacher in trouble: new ones would join them."""


@dataclass
class Asker:
    """Asks all calls of an iterator.

    Args:
        teacher: an entered Teacher.
        record: takes the ledger line of each answer; whatever it raises stops the run.
        concurrency: requests in flight at each endpoint; None: learnt.
        tally: counts, updated in place.
        allowance: what may be spent; None: no end.
    """

    teacher: Teacher
    record: Callable[[Mapping[str, Any]], None]
    concurrency: int | None = None
    tally: Tally = field(default_factory=Tally)
    allowance: Allowance | None = None

    def __post_init__(self) -> None:
        self._in_flight: set[int] = set()
        """Numbers of the requests that are on their way; the lowest is the oldest."""
        self._resting: set[asyncio.Task[None]] = set()
        """Tasks that wait for a moment; `stop` ends them."""
        self._working: set[asyncio.Task[None]] = set()
        """Places: tasks that send calls."""
        self._longest_s = 0.0
        """Latency of the slowest answer."""
        self._failing_since: float | None = None
        self._stopping = self._looking = False

    async def run(self, calls: Iterator[Call | None]) -> Tally:
        """Ask every call until it is settled, or until `stop`.

        Args:
            calls: see `queue.Calls`.

        Raises:
            TeacherLost: the teacher cannot be used (any more). What was answered is kept.
            TeacherlmError: what `record` raised, such as a full disk.
        """
        self._pool = await Pool.open(self.teacher, self.concurrency)
        self._clock = asyncio.get_running_loop().time
        self._info, members = self._pool.info, self._pool.members
        self.tally.endpoints = [member.tally for member in members]
        self._calls = Calls(calls, members)
        try:
            async with asyncio.TaskGroup() as self._group:
                for member in members:
                    if member.away:
                        self._rest(self._probe(member, TeacherAway(member.tally.away or "", is_doubtful=True)))
                self._send()
        except ExceptionGroup as group:
            raise worst(group) from None
        return self.tally

    def stop(self, *, soon: bool = False) -> None:
        """Send nothing more; what is in flight is still answered and kept.

        Args:
            soon: do not wait for a server that hangs.
        """
        if soon and self._working:
            self._launch(self._end())
        self._stopping = True
        for task in self._resting:
            task.cancel()

    async def _end(self) -> None:
        """Give up what is not answered when it should long have been: a server may hang."""
        deadline = self._clock() + min(self.teacher.timeout.read_s, max(DRAIN_S, 3 * self._longest_s))
        while self._working and self._clock() < deadline:
            await asyncio.wait(self._working, timeout=deadline - self._clock())
        for task in self._working:
            task.cancel()

    def _send(self) -> None:
        """Open places, those of the least busy endpoints first, while there is room and something to send."""
        self.tally.places = self._pool.places
        open_to_calls = [member for member in self._pool.members if member.has_room]
        while open_to_calls:
            member = min(open_to_calls, key=lambda one: (one.tally.in_flight + 1) / one.limit.places)
            pending = self._next(member)
            if pending is not None and (task := self._launch(self._ask_on(member, pending))):
                self._working.add(task)
                task.add_done_callback(self._working.discard)
            if pending is None or not member.has_room:
                open_to_calls.remove(member)
        if self._calls.not_yet and not self._looking and not self._stopping:
            self._looking = True
            self._launch(self._look_again())
        if self._is_done:
            for task in self._resting:  # whoever is away is needed no more
                task.cancel()

    async def _look_again(self) -> None:  # for new calls, once answers have been let in
        await asyncio.sleep(0)
        self._looking = False
        self._send()

    def _next(self, member: Member) -> Pending | None:
        """The next call for an endpoint, counted as sent; None where there is none now."""
        if self._stopping:
            return None
        crowded = self.tally.waiting and self.tally.waiting >= CROWD * self._pool.ceiling
        pending = self._calls.next(member, may_begin=not crowded)
        if pending is None:
            return None
        if self.allowance is not None and not self.allowance.take():
            self.stop()
            return None
        tally = self.tally
        tally.requests += 1
        tally.retries += pending.requests > 0
        pending.requests += 1
        pending.number = tally.requests
        self._in_flight.add(pending.number)
        member.tally.requests += 1
        member.count(+1)
        tally.in_flight += 1
        tally.most_in_flight = max(tally.most_in_flight, tally.in_flight)
        return pending

    async def _ask_on(self, member: Member, first: Pending) -> None:
        """One place of an endpoint: send a call, then the next."""
        pending: Pending | None = first
        while pending is not None:
            await self._ask(member, pending)
            pending = self._next(member) if member.has_room else None
            if pending is not None and member.has_room:  # the limit has grown
                self._send()
        self._send()

    async def _ask(self, member: Member, pending: Pending) -> None:
        """Make one attempt: it settles the call, or the call waits for another."""
        call, sent_at = pending.call, self._clock()
        try:
            completion = await self._pool.once(member, call)
            now = self._clock()
            self._longest_s = max(self._longest_s, now - sent_at)
            lines = answer_lines(call, completion, now - sent_at, pending.requests, member.endpoint.url)
        except TeacherRefused as error:
            self._failing_since = None
            member.went_well(pending.number, sent_at, self._clock(), 0)
            lines = refusal_lines(call, f"{REFUSED}{error}", pending.requests, member.endpoint.url)
            self._settle(member, pending, lines, error.reason)
        except TeacherError as error:
            self._went_wrong(member, pending, error, sent_at)
        else:
            self._failing_since = None
            member.went_well(pending.number, sent_at, now, completion.generated_tokens or 0)
            self._settle(member, pending, lines, None)
        finally:
            self._in_flight.discard(pending.number)
            member.count(-1)
            self.tally.in_flight -= 1

    def _went_wrong(self, member: Member, pending: Pending, error: TeacherError, sent_at: float) -> None:
        now = self._clock()
        member.is_doubtful = member.is_doubtful or error.is_doubtful
        self.tally.faults[error.reason] += 1
        self.tally.busy += isinstance(error, TeacherBusy)
        if self._failing_since is None:
            self._failing_since = now
        if isinstance(error, TeacherAway):
            self._calls.ready.append(pending)
            self._eject(member, error)
            return
        # A request that was sent before this one may still be worked on: a long answer is no failure.
        if pending.number == min(self._in_flight) and self._out_of_patience():
            raise self._lost(error)
        member.went_wrong(pending, error, sent_at, now)
        if member.is_failing and self._pool.others_work(member):
            self._eject(member, error)
        if pending.faults >= self.teacher.retry.attempts:
            found = f"{EXHAUSTED}{error}"
            lines = failure_lines(pending.call, found, pending.requests, member.endpoint.url)
            self._settle(member, pending, lines, error.reason)
        elif not self._stopping:
            self.tally.waiting += 1
            self._rest(self._come_back(pending, pending.delay(error, self.teacher.retry)))

    def _eject(self, member: Member, error: TeacherError) -> None:
        """Send nothing to an endpoint until it is well again."""
        member.tally.away = str(error)
        if not member.away and not self._stopping:
            member.away = True
            self._calls.give_back(member)
            self._rest(self._probe(member, error))

    def _settle(
        self, member: Member, pending: Pending, lines: Sequence[Mapping[str, Any]], failure: str | None
    ) -> None:
        """Write the lines; count their texts, or ask what follows: a cut text once more, or the call's sequel."""
        for line in lines:
            self.record(line)
        call, tally, line = pending.call, self.tally, lines[0]
        tokens_in, tokens_out = line["prompt_tokens"] or 0, line["generated_tokens"] or 0
        tally.prompt_tokens += tokens_in
        tally.generated_tokens += tokens_out
        if self.allowance is not None:
            self.allowance.spent(tokens_in, tokens_out)
        if line["status"] == "truncated" and call.can_be_extended:
            member.own.appendleft(Pending(call.with_twice_the_budget(self._info, line["text"])))
        elif (following := following_call(call, line)) is not None:
            tally.followed += 1
            member.own.appendleft(Pending(following))
        else:
            status = line["status"]
            outcome = {"ok": "answered", "truncated": "truncated"}.get(status)
            if outcome is None:
                outcome = "refused" if line["failure"].startswith(REFUSED) else "exhausted"
                if outcome == "refused":
                    tally.first_refusal = tally.first_refusal or line["failure"].removeprefix(REFUSED)
            for line in lines:
                tally.settle(line["kind"], outcome, failure if status == "failed" else None)
        if member.away:
            self._calls.give_back(member)

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

    async def _come_back(self, pending: Pending, delay: float) -> None:
        """Let a call wait for its next attempt."""
        await asyncio.sleep(delay)
        self.tally.waiting -= 1
        self._calls.ready.append(pending)
        self._send()

    async def _probe(self, member: Member, error: TeacherError) -> None:
        """Wait for an endpoint that is away; nothing is sent there meanwhile."""
        probes = 0
        while member.away and not self._is_done:  # a cancellation may get lost in a request
            if not self._pool.others_work(member) and self._out_of_patience():
                raise self._lost(error)
            probes += 1
            await asyncio.sleep(min(PROBE_EVERY_S, self.teacher.retry.delay(probes)))
            if await member.endpoint.healthy():
                try:
                    await self._pool.verify(member)
                    member.away = False
                except (TeacherAway, TeacherLost) as still:
                    if isinstance(still, TeacherLost) and len(self._pool.members) == 1:
                        raise
                    member.tally.away = still.found if isinstance(still, TeacherLost) else str(still)
        if not member.away:
            member.tally.away = None
            member.faults_in_a_row = EJECT_AFTER - 1  # one more fault, and it is away again
            self._send()

    @property
    def _is_done(self) -> bool:
        return not self._in_flight and (self._stopping or (self._calls.is_empty and not self.tally.waiting))

    def _out_of_patience(self) -> bool:
        since = self._failing_since
        return since is not None and self._clock() - since > self.teacher.timeout.patience_s

    def _lost(self, error: TeacherError) -> TeacherLost:
        return TeacherLost(
            f"{self.teacher.url} has answered nothing for {self.teacher.timeout.patience_s:g} s ({error})",
            "look at the server and run the same command again; everything that was answered is kept",
        )
