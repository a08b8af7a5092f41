"""How long a client waits, and when it asks again."""

from __future__ import annotations

import random
from dataclasses import dataclass

DRAIN_S = 30.0
"""How long an interrupted run waits at least; where answers take long, three times as long as the slowest."""

PROBE_EVERY_S = 2.0
"""Longest pause between two looks at an endpoint that is away: they cost nothing, and work waits for it."""

BUSY_S = 0.02
"""First wait after a refusal for lack of room: some time of an answer's."""


@dataclass(frozen=True, kw_only=True)
class Timeout:
    """One limit for each kind of wait, in seconds."""

    connect_s: float = 5.0
    read_s: float = 300.0
    """Longest silence of a server that works on an answer."""
    patience_s: float = 120.0
    """How long a teacher may fail everything, or be away, before the run stops."""
    look_s: float = 10.0
    """Longest wait for `/info` and `/health`, which need no model."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """When a failed attempt is made again."""

    attempts: int = 6
    """Attempts that may fail before the row is marked failed. Refusals for lack of room do not count."""
    first_s: float = 0.25
    longest_s: float = 10.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures: doubled each time, anywhere between half and whole.

        Jitter keeps clients that failed together from coming back together.
        """
        doublings = min(failures - 1, 30)  # a float bears no more than a thousand
        whole: float = min(self.longest_s, self.first_s * 2**doublings)
        return whole * random.uniform(0.5, 1.0)

    def delay_of_busy(self, refusals: int) -> float:
        """Seconds to wait after a call was refused so many times for lack of room.

        Short at first, since a place may be free in the next moment; doubled, since a server that refuses everything
        must not be asked at the speed of its refusals.
        """
        whole: float = min(self.longest_s, min(self.first_s, BUSY_S) * 2 ** min(refusals - 1, 30))
        return whole * random.uniform(0.5, 1.0)
