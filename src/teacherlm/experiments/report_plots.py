"""Charts of a factor: accuracy over the quantity in which its levels differ, and gain against cost."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from teacherlm.experiments.report_axes import Across, Down, Point, Tick, apart, reach
from teacherlm.experiments.report_groups import Cost, Group, Line
from teacherlm.experiments.words import difference, signed, with_bounds

SERIES = 6
"""Lines of a chart at most: more cannot be told apart."""

STEP = 1.15
"""Levels whose neighbours differ by less are not drawn over the quantity."""

DEARER = 0.02
"""Costs that differ by a smaller share are equal."""

Of = Callable[[Cost], float]

QUANTITIES: tuple[tuple[str, Of], ...] = (
    ("parameters", lambda cost: cost.parameters),
    ("training texts", lambda cost: cost.texts),
    ("training tokens", lambda cost: cost.tokens),
)

PRICES: tuple[tuple[str, Of], ...] = (
    ("training tokens", lambda cost: cost.tokens),
    ("teacher calls", lambda cost: cost.calls),
)

_NUMBER = re.compile(r"[\d.,]+ ?[kKMBG%×x]?")


@dataclass(frozen=True, slots=True)
class Series:
    """Points that belong together."""

    name: str
    points: tuple[Point, ...]

    @property
    def joins(self) -> list[tuple[Point, Point]]:
        """Neighbours."""
        return list(pairwise(self.points))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Points over two axes."""

    title: str
    about: str
    series: tuple[Series, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    joined: bool
    """By a line in each series."""
    line: float | None
    """Where chance, or no difference, is; None: not known."""
    left_out: int = 0
    """Series that there was no room for."""


def short(number: float) -> str:
    """A number with two or three figures that count.

    >>> short(350), short(12_400), short(903_000), short(1_200_000), short(7.1e9), short(2e6), short(-0.0)
    ('350', '12.4k', '903k', '1.2M', '7.1B', '2M', '0')
    """
    if number < 0:
        return "−" + short(-number)
    for unit, of in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * of:
            scaled = number / of
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.1f}".removesuffix(".0") + unit
    return f"{abs(number):.0f}"


def charts(group: Group) -> list[Chart]:
    """Those that a group has something to show in."""
    over = scale(group)
    return [*([over] if over else []), *gains(group)]


def scale(group: Group) -> Chart | None:
    """Accuracy over the quantity in which a factor's levels differ; None where they are no more and less of anything.

    Parameters count for themselves; texts and tokens only where the levels' names are numbers, or three or more
    levels stand in the order of their texts: a longer rationale is not more of a shorter one.
    """
    for name, of in QUANTITIES:
        if _is_scale(group, name, of):
            return _over(group, name, of)
    return None


def _is_scale(group: Group, name: str, of: Of) -> bool:
    numbers = all(_NUMBER.fullmatch(line.level) for part in group.parts for line in part.lines)
    sizes = [[of(cost) for line, cost in _measured(part.lines)] for part in group.parts]
    for values in sizes:
        if any(b < STEP * a or a <= 0 for a, b in pairwise(sorted(values))):
            return False
    if max((len(values) for values in sizes), default=0) < 2:
        return False
    rises = all(values in (sorted(values), sorted(values, reverse=True)) and len(values) > 2 for values in sizes)
    return name == "parameters" or numbers or (name == "training texts" and rises)


def _over(group: Group, name: str, of: Of) -> Chart:
    shown = group.parts[:SERIES]
    found = [one for part in shown for one in _measured(part.lines)]
    values = [math.log(of(cost)) for _, cost in found]
    across = Across(min(values), max(values), inset=8)
    bounds = [bound for line, _ in found if line.estimate for bound in (line.estimate.low, line.estimate.high)]
    bounds += [] if group.chance is None else [group.chance]
    down = Down(max(0.0, math.floor(10 * min(bounds)) / 10), min(1.0, math.ceil(10 * max(bounds)) / 10))
    series = []
    for part in shown:
        points = [
            Point(
                x=across(math.log(of(cost))),
                y=down(line.estimate.mean),
                low=down(line.estimate.low),
                high=down(line.estimate.high),
                tone=line.tone,
                said=f"{part.title + ': ' if part.title else ''}{line.level}: {with_bounds(line.estimate)}",
                runs=tuple(down(one) for one in line.estimate.runs) if len(line.estimate.runs) > 1 else (),
            )
            for line, cost in _measured(part.lines)
            if line.estimate
        ]
        series.append(Series(part.title, tuple(sorted(points, key=lambda one: one.x))))
    return Chart(
        title=f"Accuracy by {name}",
        about=f"{name} on a logarithmic axis; lines join the levels of one setting; small dots: seeds",
        series=tuple(series),
        x_ticks=tuple(_level_ticks([of(cost) for _, cost in found], across)),
        y_ticks=tuple(down.ticks(lambda share: f"{100 * share:.0f} %")),
        joined=True,
        line=None if group.chance is None else down(group.chance),
        left_out=max(0, len(group.parts) - SERIES),
    )


def gains(group: Group) -> list[Chart]:
    """Differences over what they cost beyond their baseline: in training tokens, in teacher calls; where they do."""
    found = []
    for name, of in PRICES:
        dearer = [
            (line, of(line.cost) - of(base.cost))
            for part in group.parts
            for base in part.lines[:1]
            for line in part.lines[1:]
            if base.is_baseline and base.cost and line.cost and line.compared
            if line.compared.verdict != "not tested"
        ]
        highest = max((of(line.cost) for part in group.parts for line in part.lines if line.cost), default=0.0)
        if len(dearer) > 1 and any(abs(more) > DEARER * highest for _, more in dearer):
            found.append(_gain(name, dearer))
    return found


def _gain(name: str, dearer: Sequence[tuple[Line, float]]) -> Chart:
    across = Across(min(0.0, *(more for _, more in dearer)), max(0.0, *(more for _, more in dearer)), inset=8)
    compared = [line.compared for line, _ in dearer if line.compared]
    down = Down(*reach([one.low for one in compared], [one.high for one in compared]))
    points = [
        Point(x=across(0), y=down(0), low=down(0), high=down(0), tone="baseline", said="the baseline"),
        *(
            Point(
                x=across(more),
                y=down(one.difference),
                low=down(one.low),
                high=down(one.high),
                tone=line.tone,
                said=f"{line.number}: {line.level}: {difference(one)} points, {short(more)} {name}; {one.verdict}",
                label=str(line.number),
            )
            for (line, more), one in zip(dearer, compared, strict=True)
        ),
    ]
    return Chart(
        title=f"Gain against {name}",
        about=f"points over {name}, both beyond the baseline of the same setting; numbers as in the table; marks of "
        "equal cost stand side by side",
        series=(Series("", tuple(apart(points))),),
        x_ticks=tuple(across.ticks(lambda more: ("+" if more > 0 else "") + short(more))),
        y_ticks=tuple(down.ticks(lambda share: signed(share).removesuffix(".0"))),
        joined=False,
        line=down(0),
    )


def _measured(lines: Sequence[Line]) -> list[tuple[Line, Cost]]:
    return [(line, line.cost) for line in lines if line.cost and line.estimate]


def _level_ticks(values: Sequence[float], across: Across) -> Iterator[Tick]:
    """One where models are; a text that would touch its neighbour's is left out."""
    last = -math.inf
    for value in sorted(set(values)):
        place = across(math.log(value))
        if place - last >= 9:
            yield Tick(place, short(value))
            last = place
