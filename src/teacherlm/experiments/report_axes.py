"""Places of what is drawn: across in percent of the width that there is, down in pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

HEIGHT = 210
"""Of a chart, in pixels, without the labels of its axis."""

BESIDE = 3.4
"""Percent of the width between marks that would else lie on each other."""

LABEL = 11.0
"""Pixels that a label is tall."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    place: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A mark with its interval."""

    x: float
    y: float
    low: float
    high: float
    """Lower and upper end; the page counts downwards, so `high` is the smaller number."""
    tone: str
    said: str
    runs: tuple[float, ...] = ()
    """Of each seed."""
    label: str = ""
    label_y: float = 0.0


class Across:
    """Percent of the width for values between two ends.

    >>> across = Across(0, 10, inset=5)
    >>> across(0), across(10), Across(3, 3, inset=5)(3)
    (5.0, 95.0, 50.0)
    """

    def __init__(self, low: float, high: float, *, inset: float) -> None:
        self._low, self._high, self._inset = low, high, inset

    def __call__(self, value: float) -> float:
        if self._high <= self._low:
            return 50.0
        return round(self._inset + (100 - 2 * self._inset) * (value - self._low) / (self._high - self._low), 2)

    def ticks(self, text: Callable[[float], str]) -> Iterator[Tick]:
        """About four round numbers."""
        step = nice((self._high - self._low) / 4)
        for count in range(math.ceil(self._low / step), math.floor(self._high / step) + 1):
            yield Tick(self(count * step), text(count * step))


class Down:
    """Pixels from the top for shares between two ends."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, max(high, low + 0.1)

    def __call__(self, share: float) -> float:
        return round(HEIGHT * (self._high - share) / (self._high - self._low), 1)

    def ticks(self, text: Callable[[float], str]) -> Iterator[Tick]:
        """Tens, twenties or fifties."""
        reach = self._high - self._low
        step = 0.1 if reach <= 0.55 else 0.2 if reach <= 1.05 else 0.5
        for count in range(math.ceil(self._low / step - 1e-9), math.floor(self._high / step + 1e-9) + 1):
            yield Tick(self(count * step), text(count * step))


def nice(rough: float) -> float:
    """The next greater of 1, 2, 5 times a power of ten.

    >>> nice(0.3), nice(7), nice(120)
    (0.5, 10.0, 200.0)
    """
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough * (1 - 1e-9))


def reach(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis of differences, from -1 to 1: whole tens of points around all, and 0 well inside.

    >>> reach([0.02, math.nan], [0.57, math.nan])
    (-0.1, 0.6)
    """
    low = min((one for one in lows if not math.isnan(one)), default=0.0)
    high = max((one for one in highs if not math.isnan(one)), default=0.0)
    return min(-0.1, math.floor(low * 10) / 10), max(0.1, math.ceil(high * 10) / 10)


def apart(points: Sequence[Point]) -> list[Point]:
    """Marks of one place side by side, in their order, and labels above their intervals where none hides another."""
    clusters: list[list[Point]] = []
    for one in sorted(points, key=lambda one: one.x):
        if clusters and one.x - clusters[-1][-1].x < BESIDE / 2:
            clusters[-1].append(one)
        else:
            clusters.append([one])
    moved: dict[int, float] = {}
    for cluster in clusters:
        middle = sum(one.x for one in cluster) / len(cluster)
        width = min(BESIDE, 30 / len(cluster))
        for place, one in enumerate(one for one in points if any(one is other for other in cluster)):
            moved[id(one)] = round(middle + width * (place - (len(cluster) - 1) / 2), 2)
    taken: list[tuple[float, float]] = []
    placed = []
    for one in sorted(points, key=lambda one: moved[id(one)]):
        x, at = moved[id(one)], one.high - 5
        while one.label and any(abs(x - other) < BESIDE * 1.1 and abs(at - y) < LABEL for other, y in taken):
            at -= 1
        if one.label:
            taken.append((x, at))
        placed.append(replace(one, x=x, label_y=round(at, 1)))
    return placed
