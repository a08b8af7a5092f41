"""The setting of an experiment in the words of its report: data, tests, factors, cells, costs and failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from teacherlm.experiments.declaration import Experiment, Made, Test
from teacherlm.experiments.estimates import Row
from teacherlm.experiments.grid import combinations
from teacherlm.experiments.report_groups import WAYS
from teacherlm.experiments.results import Results
from teacherlm.experiments.words import counted, listed, percent


class Asked(Protocol):
    """What a teacher was asked for a dataset."""

    @property
    def samples(self) -> int: ...
    @property
    def calls(self) -> Mapping[str, int]: ...
    @property
    def tokens(self) -> Mapping[str, int]: ...
    @property
    def accepted(self) -> float | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the declaration and the results do not say."""

    command: str
    """Runs it again."""
    machine: str = ""
    """Such as `2 cores, no GPU; torch 2.13.0`."""
    seconds: float | None = None
    """Of the run, from its start to its end."""
    spent: Mapping[str, Asked] = field(default_factory=dict)
    """By dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A dataset of the experiment."""

    name: str
    about: str
    samples: int | None
    calls: int | None
    tokens: int | None
    accepted: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A test."""

    name: str
    about: str
    questions: int
    clusters: int
    chance: float | None
    ways: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that stands in the section on the setting."""

    data: tuple[Data, ...]
    tests: tuple[Asking, ...]
    factors: tuple[tuple[str, tuple[str, ...], str], ...]
    """Name, levels, the usual level; those with one level alone come last."""
    student: str
    seeds: tuple[int, ...]
    planned: int
    """Cells."""
    done: int
    failed: int
    absent: int
    models: int
    """Different ones of those that are done."""
    failures: tuple[tuple[str, tuple[str, ...]], ...]
    """Reason, and the cells that failed for it."""
    cpu_seconds: float
    """Of training and tests, each model once."""
    costs: tuple[tuple[str, Row], ...]
    """Setting and its row, each combination of levels once."""

    @property
    def cells(self) -> str:
        """`84 cells: 82 done, 2 failed`."""
        parts = [f"{self.done:,} done"]
        parts += [f"{self.failed:,} failed"] if self.failed else []
        parts += [f"{self.absent:,} not run yet"] if self.absent else []
        return f"{counted(self.planned, 'cell')}: {', '.join(parts)}"


def facts(experiment: Experiment, results: Results, rows: Sequence[Row], setting: Setting) -> Facts:
    """What was declared, and what became of it."""
    states = {(tuple(one.factors.items()), one.seed): one for one in results.outcomes}
    failures: dict[str, dict[str, None]] = {}
    for one in states.values():
        if one.status == "failed":
            cell = f"{told(experiment, one.factors)}, seed {one.seed}"
            failures.setdefault(one.failure or "no reason was kept", {})[cell] = None
    failed = sum(len(cells) for cells in failures.values())
    planned = len(combinations(experiment)) * len(experiment.seeds)
    trained = {one.cell: one.train_cpu_seconds for one in results.outcomes if one.status == "done"}
    tested = {(one.cell, one.test, one.way): one.test_cpu_seconds for one in results.outcomes if one.status == "done"}
    costs: dict[str, Row] = {}
    for row in rows:
        if row.cells:
            costs.setdefault(told(experiment, row.factors), row)
    factors = [(name, experiment.levels(name), experiment.default(name)) for name in experiment.factors]
    return Facts(
        data=tuple(_data(name, made, setting.spent.get(name)) for name, made in experiment.datasets.items()),
        tests=tuple(_test(name, test, rows) for name, test in experiment.tests.items()),
        factors=tuple(sorted(factors, key=lambda one: len(one[1]) < 2)),
        student=str(experiment.train.get("extends", "")),
        seeds=experiment.seeds,
        planned=planned,
        done=len(states) - failed,
        failed=failed,
        absent=max(0, planned - len(states)),
        models=len(trained),
        failures=tuple((reason, tuple(cells)) for reason, cells in failures.items()),
        cpu_seconds=sum(trained.values()) + sum(tested.values()),
        costs=tuple(costs.items()),
    )


def told(experiment: Experiment, factors: Mapping[str, str]) -> str:
    """`chain, answer-last`: the levels, but for the usual ones of factors after the first two.

    Levels of the first factors always stand, so that rows below each other read alike.
    """
    varied = [factor for factor in experiment.factors if len(experiment.levels(factor)) > 1]
    first = varied[:2]
    said = [factors[factor] for factor in first if factor in factors]
    said += [
        f"{factor} {factors[factor]}"
        for factor in varied[2:]
        if factor in factors and factors[factor] != experiment.default(factor)
    ]
    return ", ".join(said) or "the training"


def statistics(experiment: Experiment, tested: int) -> tuple[str, ...]:
    """How the figures were made, for those who ask."""
    level = f"{100 * experiment.level:g} %"
    alpha = f"{1 - experiment.level:.2g}"
    return (
        f"Intervals hold with {level} and are over questions and seeds at once: questions are drawn with replacement "
        "(bootstrap), all questions of one content together; seeds, of which there are few, enter by Student's "
        "distribution, with the variance between seeds that all settings of a test have in common, where they are "
        "alike, and never below a setting's own (empirical Bayes). Accuracies have Wilson's form of such an interval. "
        "Of one seed it is over questions alone, unless others tell.",
        "Differences are paired: both sides answer the same questions with the same seeds. p is two-sided and over "
        "questions and seeds: one less the level at which the interval would end at 0, or that of sign flips where it "
        "is larger (if neither side were the better one, each content's lead would be as likely the other way).",
        f"p adjusted is Holm's: corrected for all {tested:,} comparisons that were tested. A difference is called "
        f"better or worse where p adjusted is below {alpha} and the interval leaves 0 out; else it is called not "
        "significant, which is not the same as equal: the smallest difference that would have been found about three "
        "times in four stands beside it. Intervals hold for each comparison by itself, so that one may leave 0 out and "
        "its comparison not be significant.",
        "h is Cohen's effect size of two shares: about 0.2 is small, 0.5 medium, 0.8 large.",
    )


def _data(name: str, made: Made, spent: Asked | None) -> Data:
    recipe = f"{made.recipe}{': ' + listed(made.families, most=12) if made.families else ''}"
    said = [recipe]
    if made.splits:
        said.append(", ".join(f"{split} {count:,}" for split, count in made.splits.items()))
    if made.teacher or made.trained:
        teacher = f"explained by {made.teacher or made.trained}{'' if made.teacher else ', trained first'}"
        kinds = f" ({listed([kind.replace('_', ' ') for kind in made.kinds])})" if made.kinds else ""
        what = "" if made.augmentation == "rationales" else f", {made.augmentation}"
        said.append(teacher + kinds + what)
    return Data(
        name=name,
        about="; ".join(said),
        samples=spent.samples if spent else None,
        calls=sum(spent.calls.values()) if spent else None,
        tokens=sum(spent.tokens.values()) if spent else None,
        accepted=spent.accepted if spent else None,
    )


def _test(name: str, test: Test, rows: Sequence[Row]) -> Asking:
    own = [row for row in rows if row.test == name]
    if test.procedural is not None:
        asked = test.procedural
        what = f"curriculum: {listed(asked.families, most=12)}" if asked.families else "curriculum"
        what += f"; {asked.count:,} of its split {asked.split}, seed {asked.seed}"
    else:
        what = f"task {test.task}" if test.task else f"dataset {test.dataset}, split {test.split}"
    return Asking(
        name=name,
        about=f"{test.about} {what}".strip(),
        questions=max((row.questions for row in own), default=0),
        clusters=max((row.clusters for row in own), default=0),
        chance=next((row.chance for row in own if row.chance is not None), None),
        ways=listed([WAYS[way] for way in test.asked]),
    )


def duration(seconds: float) -> str:
    """
    >>> duration(4.21), duration(75), duration(5400)
    ('4.2 s', '1 min 15 s', '1 h 30 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def accepted(share: float | None) -> str:
    """Share of texts that the rules let pass; empty where nothing was asked."""
    return "" if share is None else percent(share)
