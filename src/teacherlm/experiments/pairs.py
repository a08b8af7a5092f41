"""Which cells are set against which: the planned comparisons of an experiment, each pair once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from teacherlm.experiments.declaration import Comparison, Experiment, Side
from teacherlm.experiments.grid import combinations
from teacherlm.experiments.results import Outcome

Runs = Mapping[int, Outcome]
"""By seed, in the order of the experiment's seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two sides of a comparison."""

    vary: str
    level: str
    baseline: str
    fixed: Mapping[str, str]
    test: str
    way: str
    baseline_way: str
    first: Runs
    second: Runs
    """Of the seeds that both sides have; of all that a side has where there is no such seed."""
    why: str | None
    """Why it cannot be tested, or what is lacking."""
    testable: bool
    """Both sides have a seed in common, and are not the same models."""
    same: bool = False
    """Both sides are the same models, asked in one way."""


class Cells:
    """What was found, by levels, test and way."""

    def __init__(self, experiment: Experiment, outcomes: Sequence[Outcome]) -> None:
        self._experiment = experiment
        self._planned = {self._key(levels) for levels in combinations(experiment)}
        self._found: dict[tuple[tuple[str | None, ...], str, str], dict[int, Outcome]] = {}
        for one in outcomes:
            if one.seed in experiment.seeds:
                self._found.setdefault((self._key(one.factors), one.test, one.way), {})[one.seed] = one

    def planned(self, levels: Mapping[str, str]) -> bool:
        """Whether a grid has these levels."""
        return self._key(levels) in self._planned

    def of(self, levels: Mapping[str, str], test: str, way: str) -> Runs:
        """Those that are done or failed; seeds that were not run yet are absent."""
        found = self._found.get((self._key(levels), test, way), {})
        return {seed: found[seed] for seed in self._experiment.seeds if seed in found}

    def _key(self, levels: Mapping[str, str]) -> tuple[str | None, ...]:
        return tuple(levels.get(factor) for factor in self._experiment.factors)


def done(runs: Runs) -> Runs:
    """Without those that failed."""
    return {seed: one for seed, one in runs.items() if one.status == "done"}


def pairs(experiment: Experiment, outcomes: Sequence[Outcome]) -> list[Pair]:
    """All planned pairs in the order of the comparisons.

    Combinations of levels whose cells are equal are one model: a pair of such cells comes once, under its first name,
    whichever of the two is the baseline. A comparison of which the grids have no pair comes as one that cannot be
    tested.
    """
    cells = Cells(experiment, outcomes)
    found: list[Pair] = []
    seen: set[object] = set()
    for comparison in experiment.comparisons:
        several = list(_varied(experiment, comparison, cells) if comparison.vary else _named(experiment, comparison))
        if not several:
            found.append(_none(comparison))
        for factors, first, second in several:
            one = _pair(experiment, comparison, factors, first, second, cells)
            sides = frozenset({_identity(one.first, one.way), _identity(one.second, one.baseline_way)})
            if one.first and one.second:
                if (one.test, sides) in seen:
                    continue
                seen.add((one.test, sides))
            found.append(one)
    return found


Levels = Mapping[str, str]


def _varied(
    experiment: Experiment, comparison: Comparison, cells: Cells
) -> Iterator[tuple[list[str], tuple[Levels, str], tuple[Levels, str]]]:
    factor, baseline = str(comparison.vary), str(comparison.baseline)
    for levels in combinations(experiment):
        wanted = all(levels[name] in several for name, several in comparison.where.items())
        other = {**levels, factor: baseline}
        if wanted and levels[factor] != baseline and cells.planned(other):
            yield [factor], (levels, comparison.way), (other, comparison.way)


def _named(
    experiment: Experiment, comparison: Comparison
) -> Iterator[tuple[list[str], tuple[Levels, str], tuple[Levels, str]]]:
    def whole(side: Side) -> tuple[Levels, str]:
        levels = {factor: side.levels.get(factor, experiment.default(factor)) for factor in experiment.factors}
        return levels, side.way or comparison.way

    if comparison.first and comparison.second:
        first, second = whole(comparison.first), whole(comparison.second)
        yield [factor for factor in experiment.factors if first[0][factor] != second[0][factor]], first, second


def _pair(
    experiment: Experiment,
    comparison: Comparison,
    factors: list[str],
    first: tuple[Levels, str],
    second: tuple[Levels, str],
    cells: Cells,
) -> Pair:
    (levels, way), (other, other_way) = first, second
    sides = [cells.of(levels, comparison.test, way), cells.of(other, comparison.test, other_way)]
    finished = [done(side) for side in sides]
    common = [seed for seed in finished[0] if seed in finished[1]]
    names = [_called(levels), _called(other)]
    if common:
        finished = [{seed: side[seed] for seed in common} for side in finished]
    lacking = _why(
        experiment, [(n, s, cells.planned(one)) for n, s, one in zip(names, sides, (levels, other), strict=True)]
    )
    same = bool(common) and _identity(finished[0], way) == _identity(finished[1], other_way)
    if same:
        lacking = "both sides are the same training, so there is nothing to compare"
    ways = way != other_way
    return Pair(
        vary=" + ".join([*factors, *(["way"] if ways or not factors else [])]),
        level=" + ".join([*(levels[one] for one in factors), *([way] if ways or not factors else [])]),
        baseline=" + ".join([*(other[one] for one in factors), *([other_way] if ways or not factors else [])]),
        fixed={factor: level for factor, level in levels.items() if factor not in factors},
        test=comparison.test,
        way=way,
        baseline_way=other_way,
        first=finished[0],
        second=finished[1],
        why=lacking,
        testable=bool(common) and not same,
        same=same,
    )


def _why(experiment: Experiment, sides: Sequence[tuple[str, Runs, bool]]) -> str | None:
    """What is lacking; None where every seed is done on both sides."""
    said = []
    for name, runs, planned in sides:
        failed = [one for one in runs.values() if one.status == "failed"]
        absent = [seed for seed in experiment.seeds if seed not in runs]
        if not planned:
            said.append(f"no grid has {name}")
            continue
        if failed:
            seeds = ", ".join(str(one.seed) for one in failed)
            said.append(
                f"{name} failed with {_seeds(len(failed))} {seeds}: {failed[0].failure or 'no reason was kept'}"
            )
        if absent:
            said.append(f"{name} was not run with {_seeds(len(absent))} {', '.join(map(str, absent))}")
    # Two ways of asking one cell lack the same.
    return "; ".join(dict.fromkeys(said)) or None


def _none(comparison: Comparison) -> Pair:
    return Pair(
        vary=str(comparison.vary),
        level="any other",
        baseline=str(comparison.baseline),
        fixed={},
        test=comparison.test,
        way=comparison.way,
        baseline_way=comparison.way,
        first={},
        second={},
        why=f"the grids have no two cells that differ in `{comparison.vary}` alone, one of them {comparison.baseline}",
        testable=False,
    )


def _identity(runs: Runs, way: str) -> tuple[object, ...]:
    return (way, *((seed, one.cell) for seed, one in sorted(runs.items())))


def _called(levels: Levels) -> str:
    return ", ".join(f"{factor}={level}" for factor, level in levels.items()) or "the training"


def _seeds(count: int) -> str:
    return "seed" if count == 1 else "seeds"
