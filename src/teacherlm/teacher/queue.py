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


class Calls:
    """The calls of a run that are not sent yet."""

    def __init__(self, new: Iterator[Call], members: list[Member]) -> None:
        self.ready: deque[Pending] = deque()
        """Calls to send before new ones."""
        self._new = new
        self._following: Call | None = None
        self._members = members
        self.is_exhausted = False

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
        if not self.is_exhausted:
            self._pull(member)
        if member.own:
            return member.own.popleft()
        # Nothing is left but what others have pulled: the last one of the longest queue, which would wait longest.
        longest = max(self._members, key=lambda other: len(other.own))
        return longest.own.pop() if longest.own else None

    def _comes_back(self, member: Member) -> Pending | None:
        """The first of the calls that wait; where another endpoint works, one that has not just failed at this one."""
        others_work = any(not other.away for other in self._members if other is not member)
        for place, pending in enumerate(islice(self.ready, LOOKED_AT)):
            if not others_work or pending.failed_at is not member:
                del self.ready[place]
                return pending
        return None

    def _pull(self, member: Member) -> None:
        """Take the next call and those that follow it with the same beginning."""
        first = self._following if self._following is not None else next(self._new, None)
        self._following = None
        if first is None:
            self.is_exhausted = True
            return
        member.own.append(Pending(first))
        if len(self._members) == 1:
            return
        while len(member.own) < MOST_TOGETHER:
            following = next(self._new, None)
            if following is None:
                self.is_exhausted = True
                return
            if following.beginning != first.beginning:
                self._following = following
                return
            member.own.append(Pending(following))

    def give_back(self, member: Member) -> None:
        """Let the other endpoints take what one has pulled."""
        self.ready.extend(member.own)
        member.own.clear()

    @property
    def is_empty(self) -> bool:
        return self.is_exhausted and not self.ready and not any(member.own for member in self._members)
