"""Accuracies of an experiment's models with their intervals, and what they cost: a row per combination of levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from teacherlm.evaluate.intervals import LEVEL, RESAMPLES
from teacherlm.experiments.answered import Answered, Answers, Tables, as_estimate, measure
from teacherlm.experiments.comparing import Estimate
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.grid import combinations
from teacherlm.experiments.pairs import Cells, Runs, done
from teacherlm.experiments.results import Outcome, Results
from teacherlm.experiments.seed_variance import NOTHING, Prior, priors
from teacherlm.experiments.two_levels import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Models of one combination of levels, in one test, asked in one way."""

    factors: Mapping[str, str]
    test: str
    way: str
    estimate: Estimate | None
    """None: no cell is done."""
    spread: Spread | None
    usual: Mapping[str, str] = field(default_factory=dict)
    """Level of each factor where nobody names one."""
    cells: tuple[str, ...] = ()
    """That are done, by seed; equal where two combinations are one training."""
    seeds: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    """Seeds of failed cells."""
    absent: tuple[int, ...] = ()
    """Seeds that were not run yet."""
    questions: int = 0
    """That all seeds have in common."""
    clusters: int = 0
    answers: int = 0
    """Over all seeds; of these are the next two."""
    unanswered: int = 0
    cut: int = 0
    chance: float | None = None
    parameters: int = 0
    texts: float = 0.0
    """A mean over seeds, as all that follow."""
    tokens: float = 0.0
    steps: float = 0.0
    loss: float | None = None
    train_seconds: float = 0.0
    train_cpu_seconds: float = 0.0
    test_seconds: float = 0.0
    test_cpu_seconds: float = 0.0
    calls: float = 0.0
    call_tokens: float = 0.0

    @property
    def setting(self) -> str:
        """For people: `kinds=chain, order=answer-last`; usual levels of several factors go without saying."""
        told = {factor: level for factor, level in self.factors.items() if level != self.usual.get(factor)}
        shown = told if len(self.factors) > 2 else self.factors
        return ", ".join(f"{factor}={level}" for factor, level in shown.items()) or (
            "the usual levels" if self.factors else "the training"
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """The cells of one combination of levels, in one test, asked in one way."""

    levels: Mapping[str, str]
    test: str
    way: str
    runs: Runs
    """All that were run; of these are the next."""
    finished: Runs
    answered: Answered | None
    """To the questions that all finished ones have; None: there are none."""


def settings(experiment: Experiment, results: Results, answers: Answers) -> list[Setting]:
    """Of each test, way and combination of levels, in their order; also where nothing was found."""
    cells, found = Cells(experiment, results.outcomes), []
    for name, test in experiment.tests.items():
        for way in test.asked:
            for levels in combinations(experiment):
                runs = cells.of(levels, name, way)
                finished = {seed: one for seed, one in done(runs).items() if results.of(one)}
                found.append(Setting(levels, name, way, runs, finished, answers.together(list(finished.values()))))
    return found


def seed_priors(found: Sequence[Setting]) -> dict[tuple[str, str], Prior]:
    """What the settings of each test and way tell of how far seeds differ; those that are one training count once."""
    different = {
        (one.test, one.way, tuple(outcome.cell for outcome in one.finished.values())): one.answered.rates
        for one in found
        if one.answered
    }
    return priors(((test, way), rates) for (test, way, _), rates in different.items())


def estimate(
    results: Results,
    outcomes: Sequence[Outcome],
    *,
    prior: Prior = NOTHING,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Estimate | None:
    """The mean accuracy of outcomes that differ by their seed alone; None where none of them is done.

    The interval is over questions and seeds; of one seed, where `prior` tells nothing of others, over questions alone.
    """
    answered = Answers(results).together([one for one in outcomes if one.status == "done" and results.of(one)])
    if answered is None:
        return None
    tables = Tables([answered.right], answered.sizes, [answered.of_seeds(prior)])
    ((spread,),) = measure([tables], level=level, resamples=resamples)
    return as_estimate(answered, spread, level)


def estimates(experiment: Experiment, results: Results, *, resamples: int = RESAMPLES) -> list[Row]:
    """A row for each test, way and combination of levels, in their order; also where nothing was found."""
    every = settings(experiment, results, Answers(results))
    known = seed_priors(every)
    tables = [
        Tables(
            [one.answered.right], one.answered.sizes, [one.answered.of_seeds(known.get((one.test, one.way), NOTHING))]
        )
        if one.answered
        else None
        for one in every
    ]
    measured = measure(tables, level=experiment.level, resamples=resamples)
    usual = {factor: experiment.default(factor) for factor in experiment.factors}
    found = []
    for one, spread in zip(every, measured, strict=True):
        answered = one.answered
        found.append(
            Row(
                factors=one.levels,
                usual=usual,
                test=one.test,
                way=one.way,
                estimate=as_estimate(answered, spread[0], experiment.level) if answered else None,
                spread=spread[0] if spread else None,
                cells=tuple(outcome.cell for outcome in one.finished.values()),
                seeds=tuple(one.finished),
                failed=tuple(seed for seed, outcome in one.runs.items() if outcome.status == "failed"),
                absent=tuple(seed for seed in experiment.seeds if seed not in one.runs),
                questions=int(answered.sizes.sum()) if answered else 0,
                clusters=len(answered.sizes) if answered else 0,
                **(_costs(list(one.finished.values())) if one.finished else {}),
            )
        )
    return found


def _costs(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Counts over the seeds, and means."""

    def mean(of: Callable[[Outcome], float]) -> float:
        return fmean(of(one) for one in outcomes)

    losses = [one.loss for one in outcomes if one.loss is not None]
    return {
        "answers": sum(one.items for one in outcomes),
        "unanswered": sum(one.unanswered for one in outcomes),
        "cut": sum(one.cut for one in outcomes),
        "chance": outcomes[0].chance,
        "parameters": outcomes[0].parameters,
        "texts": mean(lambda one: one.texts),
        "tokens": mean(lambda one: one.tokens),
        "steps": mean(lambda one: one.steps),
        "loss": fmean(losses) if len(losses) == len(outcomes) else None,
        "train_seconds": mean(lambda one: one.train_seconds),
        "train_cpu_seconds": mean(lambda one: one.train_cpu_seconds),
        "test_seconds": mean(lambda one: one.test_seconds),
        "test_cpu_seconds": mean(lambda one: one.test_cpu_seconds),
        "calls": mean(lambda one: one.calls),
        "call_tokens": mean(lambda one: one.call_tokens),
    }
