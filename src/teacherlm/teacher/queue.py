"""What is to be sent: calls that come back for another attempt, and new ones from an iterator."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

from teacherlm.teacher.calls import Call
from teacherlm.teacher.pool import Member, Pending

MOST_TOGETHER = 48
"""Calls with one beginning that an endpoint pulls at once; more would keep the others waiting at the end of a run."""

LOOKED_AT = 32
"""Of the calls that come back, those among which one is looked for that another endpoint has failed."""

TRIED_AGAIN = 3
"""Faults up to which a call may come back to the endpoint where it failed, while others work but are full."""

DRAWN_AT_ONCE = 256
"""New calls made in one go: between answers, with all that they need out of the processor's caches, one takes four
times as long. A millisecond or two for all of them: no answer waits long."""


class Calls:
    """The calls of a run that are not sent yet.

    Args:
        new: the calls in their order; None where the next one is not known yet and answers should be let in first.
    """

    def __init__(self, new: Iterator[Call | None], members: list[Member]) -> None:
        self.ready: deque[Pending] = deque()
        """Calls to send before new ones."""
        self.not_yet = False
        """Whether the next new call has to be asked for again."""
        self._new = new
        self._drawn: deque[Call] = deque()
        self._members = members
        self._has_ended = False
        self._failure: Exception | None = None

    def next(self, member: Member, *, may_begin: bool) -> Pending | None:
        """The next call for an endpoint; None where there is none now.

        Args:
            may_begin: whether a new call may be begun.
        """
        if self.ready and (pending := self._comes_back(member)) is not None:
            return pending
        if member.own:
            return member.own.popleft()
        if not may_begin:
            return None
        if self._drawn or self._draw():
            first = self._drawn.popleft()
            if len(self._members) > 1:
                self._pull(member, first.beginning)
            return Pending(first)
        # Nothing is left but what others have pulled: the last one of the longest queue, which would wait longest.
        longest = max(self._members, key=lambda other: len(other.own))
        return longest.own.pop() if longest.own else None

    def _comes_back(self, member: Member) -> Pending | None:
        """The first of the calls that wait; where another endpoint works, one that has not just failed at this one."""
        others = [other for other in self._members if other is not member and not other.away]
        # Where the others have no room, as one that hangs has none, a call may be tried here twice more.
        most = 0 if any(other.has_room for other in others) else TRIED_AGAIN
        for place, pending in enumerate(islice(self.ready, LOOKED_AT)):
            if not others or pending.failed_at is not member or pending.faults < most:
                del self.ready[place]
                return pending
        return None

    def _pull(self, member: Member, beginning: str) -> None:
        """Let an endpoint take the calls that follow with the same beginning."""
        while len(member.own) < MOST_TOGETHER and (self._drawn or self._draw()):
            if self._drawn[0].beginning != beginning:
                return
            member.own.append(Pending(self._drawn.popleft()))

    def _draw(self) -> bool:
        """Make new calls; whether there are any."""
        self.not_yet = False
        if self._failure is not None:
            raise self._failure
        try:
            for call in () if self._has_ended else self._new:
                if call is None:
                    self.not_yet = True
                    break
                self._drawn.append(call)
                if len(self._drawn) >= DRAWN_AT_ONCE:
                    break
            else:
                self._has_ended = True
        except Exception as error:
            if not self._drawn:
                raise
            self._failure = error  # when those that were made before it are sent
        return bool(self._drawn)

    def give_back(self, member: Member) -> None:
        """Let the other endpoints take what one has pulled."""
        self.ready.extend(member.own)
        member.own.clear()

    @property
    def is_empty(self) -> bool:
        return self._has_ended and not self._drawn and not self.ready and not any(one.own for one in self._members)
