"""How far a training is, as plain numbers, for the terminal and for programs."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

WINDOW_S = 30.0
"""Rates are those of so many seconds before."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a stage is."""

    training: str
    stage: str
    number: int
    """Of the stage, from 1."""
    stages: int
    step: int
    steps: int
    tokens: int
    tokens_in_all: int
    loss: float | None
    learning_rate: float | None
    tokens_per_second: float
    seconds: float
    seconds_left: float | None
    """Of this stage, at the present rate."""

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Meter:
    """Tokens per second over the last WINDOW_S."""

    _moments: deque[tuple[float, int]] = field(default_factory=deque)

    def see(self, seconds: float, tokens: int) -> float:
        """Take note of a moment, and give the rate up to it."""
        self._moments.append((seconds, tokens))
        while len(self._moments) > 2 and self._moments[1][0] <= seconds - WINDOW_S:
            self._moments.popleft()
        then, before = self._moments[0]
        return (tokens - before) / (seconds - then) if seconds > then else 0.0
