"""How many requests an endpoint may have in flight: additive increase, multiplicative decrease.

Source: Chiu and Jain 1989, as TCP uses it. A 429 is a signal, not an error: the server says that its queue is full.
"""

from __future__ import annotations

from dataclasses import dataclass

START = 8
"""Requests in flight before anything is known."""

CEILING = 256
"""Most requests in flight where the server does not tell its own limit."""

SHARE = 0.8
"""Of the server's `max_concurrent_requests`: other clients and health checks need places too."""

DECREASE = 0.7
"""Gentler than TCP's half: a refused call costs the server next to nothing."""


@dataclass(slots=True)
class Limit:
    """The present limit of one endpoint."""

    ceiling: int
    value: float
    _slow_start: bool = True
    _last_cut: float = 0.0

    @classmethod
    def learn(cls, concurrency: int | None, server: int | None) -> Limit:
        """A limit for an endpoint.

        Args:
            concurrency: requests in flight as the user fixed them; None: learnt from the server's answers.
            server: the `max_concurrent_requests` that the server tells.
        """
        if concurrency is not None:
            return cls(concurrency, float(concurrency), _slow_start=False)
        ceiling = max(1, int(server * SHARE)) if server else CEILING
        return cls(ceiling, float(min(START, ceiling)))

    @property
    def places(self) -> int:
        return max(1, int(self.value))

    def answered(self) -> None:
        """A call was answered: one place more for each round of answers, or for each answer until the first refusal."""
        if self.value < self.ceiling:
            self.value = min(self.ceiling, self.value + (1.0 if self._slow_start else 1.0 / self.value))

    def refused(self, sent_at: float, now: float) -> None:
        """A call was refused for lack of room. Those that were sent before the last cut tell nothing new."""
        self._slow_start = False
        if sent_at >= self._last_cut:
            self.value = max(1.0, self.value * DECREASE)
            self._last_cut = now
