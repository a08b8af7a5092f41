"""The endpoints of a teacher while a run asks them: who may take how much, who is away.

Each endpoint has a limit of its own and pulls calls while it has places left: the fast ones pull more, and none waits
for another. Calls that share a prompt's beginning are pulled together by one endpoint, next to each other, so that its
prefix cache serves them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Self

from teacherlm.teacher.calls import Call
from teacherlm.teacher.client import Teacher
from teacherlm.teacher.endpoint import Endpoint
from teacherlm.teacher.errors import (
    TeacherAbsent,
    TeacherAway,
    TeacherBusy,
    TeacherError,
    TeacherLost,
    TeacherRefused,
    TeacherSlow,
)
from teacherlm.teacher.limit import Limit
from teacherlm.teacher.patience import Retry
from teacherlm.teacher.tally import EndpointTally
from teacherlm.teacher.wire import Completion, Info

VERIFY_EVERY_S = 60.0
"""How often an endpoint is asked who it is while all goes well: behind a proxy the model may change without a fault."""

EJECT_AFTER = 5
"""Faults one after the other, with no answer between, that eject an endpoint while others of the pool work."""


@dataclass(slots=True)
class Pending:
    """A call on its way."""

    call: Call
    number: int = 0
    """Of its last request, over the whole run."""
    requests: int = 0
    faults: int = 0
    """Attempts that count against the row; refusals for lack of room do not."""
    waits: int = 0
    failed_at: Member | None = None
    """Where the last attempt failed, if not for lack of room: the next one should be made elsewhere."""

    def delay(self, error: TeacherError, retry: Retry) -> float:
        """Seconds until it is sent again."""
        if isinstance(error, TeacherBusy):
            return retry.delay_of_busy(self.waits)
        return retry.delay(max(1, self.faults))


@dataclass(eq=False)
class Member:
    """One endpoint of the pool."""

    endpoint: Endpoint
    limit: Limit
    tally: EndpointTally
    away: bool = False
    is_doubtful: bool = False
    """Whether another model may stand in the endpoint's place: nothing is recorded before it has said who it is."""
    faults_in_a_row: int = 0
    verified_at: float | None = None
    newest_answered: int = 0
    """The number of the latest request that was answered."""
    own: deque[Pending] = field(default_factory=deque)
    """Calls that it has pulled and not sent yet."""
    verifying: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def has_room(self) -> bool:
        return self.tally.in_flight < self.tally.places and not self.away

    @property
    def is_unverified(self) -> bool:
        """Whether it has to say who it is, or is being asked just now."""
        return self.is_doubtful or self.verifying.locked()

    def count(self, change: int) -> None:
        self.tally.in_flight += change

    def went_well(self, number: int, sent_at: float, now: float, tokens: int) -> None:
        """A request was answered, if only by a refusal of its prompt."""
        self.faults_in_a_row = 0
        self.newest_answered = max(self.newest_answered, number)
        self.tally.answered += 1
        self.tally.generated_tokens += tokens
        self.limit.answered(sent_at, now, self.tally.in_flight, tokens)
        self.tally.places = self.limit.places
        if self.verified_at is None:
            self.verified_at = now
        elif now - self.verified_at > VERIFY_EVERY_S:
            self.verified_at, self.is_doubtful = now, True

    def went_wrong(self, pending: Pending, error: TeacherError, sent_at: float, now: float) -> None:
        """An attempt failed: find whether it is the row's fault or the server's load."""
        pending.failed_at = None if isinstance(error, TeacherBusy) else self
        # Where requests that were sent later have been answered, no queue explains the silence.
        waited = isinstance(error, TeacherSlow) and self.newest_answered < pending.number
        if isinstance(error, TeacherBusy) or waited:
            pending.waits += 1
            self.tally.busy += 1
            self.limit.refused(sent_at, now, self.tally.in_flight)
            self.tally.places = self.limit.places
        else:
            pending.faults += 1
            self.tally.faults += 1
        # A 429 says that the endpoint is alive; 503 may be its last word.
        self.faults_in_a_row += not isinstance(error, TeacherBusy) or error.is_doubtful

    @property
    def is_failing(self) -> bool:
        return self.faults_in_a_row >= EJECT_AFTER


@dataclass
class Pool:
    """The endpoints of one teacher."""

    info: Info
    members: list[Member]

    @classmethod
    async def open(cls, teacher: Teacher, concurrency: int | None) -> Self:
        """Ask all endpoints who they are; one that does not answer is away.

        Raises:
            TeacherLost: none answers, or they differ.
        """
        info, members = await teacher.info(), []
        for endpoint in teacher.endpoints:
            tally = EndpointTally(endpoint.url)
            try:
                most = (await endpoint.info()).max_concurrent_requests
            except TeacherAbsent as error:
                tally.away, most = error.found, None
            member = Member(endpoint, Limit.learn(concurrency, most), tally, away=tally.away is not None)
            member.is_doubtful = member.away
            tally.places = member.limit.places
            members.append(member)
        return cls(info, members)

    @property
    def places(self) -> int:
        return sum(member.limit.places for member in self.members if not member.away)

    @property
    def ceiling(self) -> int:
        return sum(member.limit.ceiling for member in self.members)

    def others_work(self, member: Member) -> bool:
        return any(not other.away for other in self.members if other is not member)

    async def once(self, member: Member, call: Call) -> Completion:
        """Send a request to one endpoint, once; the answer is the teacher's own.

        Raises:
            TeacherError: see `Endpoint.once`; `TeacherAway` also where the endpoint is lost while others work.
            TeacherLost: it is lost, and no other endpoint works.
        """
        try:
            completion = await member.endpoint.once(call.prompt, call.parameters, call.stops)
        except TeacherRefused:
            await self.verify(member)
            raise
        except TeacherLost as error:
            if len(self.members) == 1:
                raise
            if not self.others_work(member):
                raise TeacherLost(f"{member.endpoint.url}: {error.found}", error.remedy, error.where) from None
            raise TeacherAway(error.found, is_doubtful=True) from None
        if member.is_unverified:
            await self.verify(member)
        return completion

    async def verify(self, member: Member) -> None:
        """Once for all answers after a burst of faults: make sure that they are the teacher's own.

        Raises:
            TeacherAway: nobody can say so, or another model stands there while other endpoints work.
            TeacherLost: another model stands there, and no other endpoint works.
        """
        async with member.verifying:
            if not member.is_doubtful:
                return
            member.is_doubtful = False  # a fault that comes meanwhile raises it again
            try:
                await member.endpoint.verify(self.info)
            except TeacherLost as error:
                member.is_doubtful = True
                if not self.others_work(member):
                    raise
                raise TeacherAway(error.found, is_doubtful=True) from None
            except BaseException:
                member.is_doubtful = True
                raise
