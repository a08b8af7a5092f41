"""The comparisons of an experiment as a report shows them: by factor and test, and in them by setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from statistics import fmean

from teacherlm.experiments.comparing import Compared, Estimate, Verdict
from teacherlm.experiments.conclusions import paragraph
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.estimates import Row
from teacherlm.experiments.results import Outcome, Results

WAYS = {
    "writing": "by writing",
    "options": "by the options",
    "votes": "by the majority of its writings",
    "exactness": "by texts equal to the gold ones",
    "benchmark": "as the benchmark says",
}

OPEN_ROWS, ALL_ROWS = 24, 36
"""Of a group with more rows than the second, settings beyond the first are folded away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the models of one side took: means over its seeds."""

    parameters: float
    texts: float
    tokens: float
    calls: float
    call_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A level in one setting: compared with the baseline, or the baseline itself."""

    level: str
    estimate: Estimate | None
    """None: no cell is done."""
    cost: Cost | None
    number: int = 0
    """Of the comparison, from 1, as the report goes; 0: the baseline, or a level that nothing is compared with."""
    compared: Compared | None = None
    sentence: str = ""
    """The comparison in words."""
    is_baseline: bool = False

    @property
    def tone(self) -> str:
        """`better`, `worse`, `same`, `untested` or `baseline`: what it is drawn as."""
        if self.is_baseline:
            return "baseline"
        return TONES[self.compared.verdict if self.compared else "not tested"]


TONES: Mapping[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "not significant": "same",
    "not tested": "untested",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One setting of the other factors."""

    title: str
    """Empty where the group has no other."""
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All levels of a factor, in one test and asked in one way."""

    vary: str
    baseline: str
    """Empty where no comparison was planned."""
    test: str
    way: str
    held: str
    """Levels that are not the usual ones, in all parts."""
    parts: tuple[Part, ...]
    said: str
    """The conclusion; empty where nothing was to be compared."""
    chance: float | None
    questions: int
    clusters: int

    @property
    def title(self) -> str:
        """`kinds, against none`."""
        return f"{self.vary}, against {self.baseline}" if self.baseline else self.vary

    @property
    def compared(self) -> list[Compared]:
        return [line.compared for part in self.parts for line in part.lines if line.compared]

    @property
    def lead(self) -> str:
        """The first sentence of a conclusion that has several."""
        first, mark, _ = self.said.partition(". ")
        return first + mark.rstrip()

    @property
    def rest(self) -> str:
        """What follows it."""
        return self.said.partition(". ")[2]

    @property
    def is_flat(self) -> bool:
        """Many settings of one comparison each: a row tells both sides."""
        return bool(self.baseline) and len(self.parts) > 1 and all(len(part.lines) == 2 for part in self.parts)

    @property
    def shown(self) -> int:
        """So many parts are open at first."""
        ends = list(accumulate(1 if self.is_flat else len(part.lines) for part in self.parts))
        return len(ends) if ends[-1] <= ALL_ROWS else max(1, sum(end <= OPEN_ROWS for end in ends))

    @property
    def tally(self) -> list[tuple[str, str, int]]:
        """Tone, verdict and how many comparisons came to it; none that is empty."""
        counted = Counter(one.verdict for one in self.compared)
        return [(tone, verdict, counted[verdict]) for verdict, tone in TONES.items() if counted[verdict]]


def groups(
    experiment: Experiment,
    results: Results,
    compared: Sequence[Compared],
    sentences: Sequence[str],
    rows: Sequence[Row],
) -> list[Group]:
    """The planned comparisons in their order, then the factors that no comparison varies.

    Args:
        sentences: one for each comparison.
    """
    costs = _Costs(results)
    chances = {(row.test, row.way): row.chance for row in rows if row.chance is not None}
    by_group: dict[tuple[str, ...], list[tuple[str, Compared]]] = {}
    for said, one in zip(sentences, compared, strict=True):
        key = (one.vary, one.baseline, one.test, one.way, one.baseline_way)
        by_group.setdefault(key, []).append((said, one))
    found, numbers = [], count(1)
    for (vary, baseline, test, way, other_way), several in by_group.items():
        alone = [one for _, one in several]
        found.append(
            Group(
                vary=vary,
                baseline=baseline,
                test=test,
                way=WAYS[way] if way == other_way else f"{WAYS[way]} against {WAYS[other_way]}",
                held=_held(experiment, [one.fixed for one in alone]),
                parts=tuple(_parts(experiment, several, costs, numbers)),
                said=paragraph(experiment, alone),
                chance=chances.get((test, way)),
                questions=max(one.questions for one in alone),
                clusters=max(one.clusters for one in alone),
            )
        )
    varied = {factor for one in compared for factor in one.vary.split(" + ")}
    return found + [
        group
        for factor in experiment.factors
        if factor not in varied and len(experiment.levels(factor)) > 1
        for group in _not_compared(experiment, factor, rows, costs)
    ]


def _parts(
    experiment: Experiment, several: Sequence[tuple[str, Compared]], costs: _Costs, numbers: Iterator[int]
) -> Iterator[Part]:
    by_setting: dict[tuple[tuple[str, str], ...], list[tuple[str, Compared]]] = {}
    for said, one in several:
        by_setting.setdefault(tuple(one.fixed.items()), []).append((said, one))
    for fixed, own in by_setting.items():
        first = next((one for _, one in own if one.second.runs), own[0][1])
        baseline = Line(
            level=first.baseline,
            estimate=first.second if first.second.runs else None,
            cost=costs.of(first.baseline_cells),
            is_baseline=True,
        )
        lines = [
            Line(
                level=one.level,
                estimate=one.first if one.first.runs else None,
                cost=costs.of(one.cells),
                number=next(numbers),
                compared=one,
                sentence=said,
            )
            for said, one in own
        ]
        yield Part(_setting(experiment, dict(fixed), [dict(other) for other in by_setting]), (baseline, *lines))


def _not_compared(experiment: Experiment, factor: str, rows: Sequence[Row], costs: _Costs) -> Iterator[Group]:
    """The levels of a factor in the first test, for the eye alone."""
    asked = [row for row in rows if (row.test, row.way) == (rows[0].test, rows[0].way)]
    by_setting: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in asked:
        by_setting.setdefault(tuple(one for one in row.factors.items() if one[0] != factor), []).append(row)
    several = {fixed: own for fixed, own in by_setting.items() if len(own) > 1}
    if not several:
        return
    parts = [
        Part(
            _setting(experiment, dict(fixed), [dict(other) for other in several]),
            tuple(Line(level=row.factors[factor], estimate=row.estimate, cost=costs.of(row.cells)) for row in own),
        )
        for fixed, own in several.items()
    ]
    yield Group(
        vary=factor,
        baseline="",
        test=asked[0].test,
        way=WAYS[asked[0].way],
        held=_held(experiment, [dict(fixed) for fixed in several]),
        parts=tuple(parts),
        said="",
        chance=next((row.chance for row in asked if row.chance is not None), None),
        questions=max(row.questions for row in asked),
        clusters=max(row.clusters for row in asked),
    )


def _setting(experiment: Experiment, fixed: Mapping[str, str], among: Sequence[Mapping[str, str]]) -> str:
    """`order answer-last, size 1M`: of the factors in which settings differ, the levels that are not the usual ones."""
    differ = [factor for factor in fixed if len({one.get(factor) for one in among}) > 1]
    told = {factor: f"{factor} {fixed[factor]}" for factor in differ}
    unusual = [said for factor, said in told.items() if len(differ) == 1 or fixed[factor] != experiment.default(factor)]
    return ", ".join(unusual) or (f"usual levels ({', '.join(told.values())})" if told else "")


def _held(experiment: Experiment, among: Sequence[Mapping[str, str]]) -> str:
    """`order answer-last`: levels that all settings have, and that are not the usual ones."""
    alike = {factor: level for factor, level in among[0].items() if all(one.get(factor) == level for one in among)}
    return ", ".join(f"{factor} {level}" for factor, level in alike.items() if level != experiment.default(factor))


class _Costs:
    """Costs by cell; they are the same in all tests."""

    def __init__(self, results: Results) -> None:
        self._outcomes: dict[str, Outcome] = {one.cell: one for one in results.outcomes if one.status == "done"}

    def of(self, cells: Sequence[str]) -> Cost | None:
        found = [self._outcomes[cell] for cell in cells if cell in self._outcomes]
        if not found:
            return None
        return Cost(
            parameters=fmean(one.parameters for one in found),
            texts=fmean(one.texts for one in found),
            tokens=fmean(one.tokens for one in found),
            calls=fmean(one.calls for one in found),
            call_tokens=fmean(one.call_tokens for one in found),
        )
