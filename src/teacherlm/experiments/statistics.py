"""The planned comparisons of an experiment, tested. docs/statistics.md says why it is done so.

Both sides answer the same questions with the same seeds, so all is paired. Questions of one content count as one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from teacherlm.evaluate.intervals import RESAMPLES, sign_flips
from teacherlm.experiments.answered import Answered, Answers, Tables, as_estimate, measure
from teacherlm.experiments.comparing import Compared, Estimate, Verdict
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.estimates import Row, estimate, estimates, seed_priors, settings
from teacherlm.experiments.pairs import Pair, Runs, pairs
from teacherlm.experiments.results import Results
from teacherlm.experiments.seed_variance import NOTHING, Prior, as_sure_as, own_variance, priors
from teacherlm.experiments.two_levels import Spread, detectable

__all__ = ["Row", "cohens_h", "compare", "detectable", "estimate", "estimates", "holm"]

UNKNOWN = Estimate(mean=math.nan, low=math.nan, high=math.nan, runs=())


def compare(experiment: Experiment, results: Results, *, resamples: int = RESAMPLES) -> list[Compared]:
    """All planned comparisons, in their order.

    The interval is over questions and seeds (two_levels.py), and so is p: the larger one of that with whose level the
    interval would end at 0, and of sign flips, which are exact for the models at hand: if neither side were the better
    one, each content's lead, summed over the seeds, would be as likely the other way. Of one seed it is that of sign
    flips, unless other settings tell how far seeds differ. A verdict takes p below 1 - level after Holm's correction,
    an interval that leaves 0 out, and some knowledge of seeds where several are declared.

    Args:
        resamples: of the intervals; the draws are the same each time.
    """
    answers, level = Answers(results), experiment.level
    of_settings = seed_priors(settings(experiment, results, answers))
    planned = pairs(experiment, results.outcomes)
    answered = [_both(pair, answers) for pair in planned]
    measured = measure(_tables(planned, answered, of_settings), level=level, resamples=resamples)
    found = [
        _tested(pair, first, second, spread, level)
        if first and second
        else _untested(pair, results, of_settings, level, resamples)
        for pair, (first, second), spread in zip(planned, answered, measured, strict=True)
    ]
    tested = sorted((place for place, one in enumerate(measured) if one), key=lambda place: found[place].p)
    corrected = holm([found[place].p for place in tested])
    of_models = holm([found[place].p_of_models for place in tested])
    for rank, (place, p, models) in enumerate(zip(tested, corrected, of_models, strict=True)):
        found[place] = replace(
            found[place],
            p_adjusted=p,
            p_of_models=models,
            verdict=_verdict(found[place], p, level, bool(measured[place][0].freedom) or len(experiment.seeds) == 1),
            detectable=detectable(measured[place][0], level=level, tests=len(tested) - rank),
        )
    return found


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for their number, in the same order; what is below a level holds for all at once.

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = highest
    return corrected


def cohens_h(first: float, second: float) -> float:
    """The effect size of two shares: a step near 0 or 1 counts for more than one in the middle.

    About 0.2 is called small, 0.5 medium, 0.8 large. Source: Cohen 1988, chapter 6.

    >>> round(cohens_h(0.81, 0.258), 2)
    1.17
    """
    return 2 * math.asin(math.sqrt(first)) - 2 * math.asin(math.sqrt(second))


def _both(pair: Pair, answers: Answers) -> tuple[Answered | None, Answered | None]:
    """Both sides' answers to the questions that all of their cells have."""
    if not pair.testable:
        return None, None
    together = answers.together([*pair.first.values(), *pair.second.values()])
    if together is None:
        return None, None
    seeds = len(pair.first)
    return together[:seeds], together[seeds:]


def _tables(
    planned: Sequence[Pair],
    answered: Sequence[tuple[Answered | None, Answered | None]],
    of_settings: Mapping[tuple[str, str], Prior],
) -> list[Tables | None]:
    """Of each pair its lead and both sides, with what other pairs and settings of the test tell of seeds."""

    def pool(pair: Pair) -> tuple[str, str, str]:
        return pair.test, pair.way, pair.baseline_way

    leads = [
        [above - below for above, below in zip(first.rates, second.rates, strict=True)] if first and second else []
        for first, second in answered
    ]
    of_leads = priors((pool(pair), lead) for pair, lead in zip(planned, leads, strict=True) if lead)
    found: list[Tables | None] = []
    for pair, lead, (first, second) in zip(planned, leads, answered, strict=True):
        if first is None or second is None:
            found.append(None)
            continue
        one = first.of_seeds(of_settings.get((pair.test, pair.way), NOTHING))
        other = second.of_seeds(of_settings.get((pair.test, pair.baseline_way), NOTHING))
        own = own_variance(lead)
        both = as_sure_as(of_leads.get(pool(pair), NOTHING).with_own(own), one, other, own.freedom)
        counts = [first.right - second.right, first.right, second.right]
        found.append(Tables(counts, first.sizes, [both, one, other]))
    return found


def _tested(pair: Pair, first: Answered, second: Answered, spread: Sequence[Spread], level: float) -> Compared:
    lead, *own = spread
    # Whole numbers: equal sides differ by exactly 0, and sides that change places by the same number.
    leads = (first.right - second.right).sum(axis=0)
    questions = int(first.sizes.sum())
    above, below = as_estimate(first, own[0], level), as_estimate(second, own[1], level)
    low, high = lead.low, lead.high
    if low == high:
        # No lead differs from another, so that nothing can be drawn: from both sides' intervals, as if unpaired.
        # Source: Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
        low = lead.mean - math.hypot(above.mean - above.low, below.high - below.mean)
        high = lead.mean + math.hypot(above.high - above.mean, below.mean - below.low)
    of_models = sign_flips([int(one) for one in leads])
    return _compared(
        pair,
        above,
        below,
        questions=questions,
        clusters=len(first.sizes),
        difference=int(leads.sum()) / (questions * len(pair.first)),
        low=max(-1.0, low),
        high=min(1.0, high),
        p=max(of_models, lead.p) if lead.freedom else of_models,
        p_of_models=of_models,
        effect=cohens_h(above.mean, below.mean),
        why=pair.why,
    )


def _untested(
    pair: Pair, results: Results, of_settings: Mapping[tuple[str, str], Prior], level: float, resamples: int
) -> Compared:
    def side(runs: Runs, way: str) -> Estimate:
        prior = of_settings.get((pair.test, way), NOTHING)
        return estimate(results, list(runs.values()), prior=prior, level=level, resamples=resamples) or UNKNOWN

    first, second = side(pair.first, pair.way), side(pair.second, pair.baseline_way)
    if pair.same:
        one = first
        return _compared(pair, one, one, difference=0.0, low=0.0, high=0.0, effect=0.0, why=pair.why)
    why = pair.why or ("the two sides have no question in common" if pair.testable else "they have no seed in common")
    nan = math.nan
    return _compared(pair, first, second, difference=nan, low=nan, high=nan, effect=nan, why=why)


def _compared(
    pair: Pair,
    first: Estimate,
    second: Estimate,
    *,
    difference: float,
    low: float,
    high: float,
    effect: float,
    why: str | None,
    questions: int = 0,
    clusters: int = 0,
    p: float = 1.0,
    p_of_models: float = 1.0,
) -> Compared:
    """Not tested, as long as nobody says what became of it beside the others."""
    return Compared(
        vary=pair.vary,
        level=pair.level,
        baseline=pair.baseline,
        fixed=pair.fixed,
        test=pair.test,
        way=pair.way,
        baseline_way=pair.baseline_way,
        seeds=tuple(seed for seed in pair.first if seed in pair.second),
        questions=questions,
        clusters=clusters,
        first=first,
        second=second,
        difference=difference,
        low=low,
        high=high,
        p=p,
        p_adjusted=p,
        p_of_models=p_of_models,
        effect=effect,
        verdict="not tested",
        why=why,
        cells=tuple(one.cell for one in pair.first.values()),
        baseline_cells=tuple(one.cell for one in pair.second.values()),
    )


def _verdict(one: Compared, p: float, level: float, sure: bool) -> Verdict:
    """Where seeds are to be covered and nothing is known of them, such as where all others failed, there is none."""
    if p >= 1 - level or one.low <= 0 <= one.high or not sure:
        return "not significant"
    return "better" if one.difference > 0 else "worse"
