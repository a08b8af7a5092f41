"""Means over questions and seeds at once: how far they may be off because both are drawn.

A table has a row for each seed and a column for each cluster of questions. Its mean is off for two reasons: other
questions might have been asked, and other seeds trained. Drawing rows and columns with replacement answers for both
where there are many of each. Of three rows it is far too sure (it covers 75 to 80 % where seeds matter), because three
rows drawn from three hardly ever go beyond them. So columns are drawn, and rows are given Student's distribution, which
knows how few they are, with what other settings tell of their variance (seed_variance.py); what both hold, the noise of
single answers, counts once. docs/statistics.md has the measured coverage.

Source: Owen 2007, "The pigeonhole bootstrap" (rows and columns at once); Clark 1973, "The language-as-fixed-effect
fallacy" (the mean squares that tell rows, columns and noise apart); Field, Welsh 2007, "Bootstrapping clustered data".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from statistics import NormalDist
from typing import TYPE_CHECKING

from teacherlm.evaluate.intervals import LEVEL, RESAMPLES, student_quantile
from teacherlm.experiments.seed_variance import Variance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STRATA = 1_000
"""Quantiles of Student's distribution that stand for it."""

CELLS = 4_000_000
"""Drawn at a time: 64 MB."""

REACH, STEPS = 8.0, 2_001
"""Standard deviations of a normal distribution that are summed over, and points."""

POWER = 0.8
"""With this probability a difference is found that counts as one that can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A mean over questions and seeds, and how sure it is."""

    mean: float
    low: float
    high: float
    runs: tuple[float, ...]
    """Mean of each seed."""
    alone: float
    """Standard error over questions for these very seeds."""
    of_questions: float
    """Its part that other answers of the same models would not change."""
    of_seeds: float
    """Standard error over seeds, the noise of single answers included; 0 where nothing is known of other seeds."""
    freedom: float
    """Degrees of freedom of that; 0: nothing is known."""
    between: float
    """Standard deviation of the seeds' means; 0 for one seed."""
    noise: float
    """What it would be if the seeds differed by the noise of single answers alone."""
    clusters: int

    @property
    def error(self) -> float:
        """Standard error over both."""
        return max(self.alone, math.hypot(self.of_questions, self.of_seeds))

    @property
    def p(self) -> float:
        """Two-sided, that the mean of all questions and seeds is 0; 0.0 where there is no error to reckon with."""
        return self._beyond(abs(self.mean))

    def found_from(self, alpha: float) -> float:
        """The smallest mean of which `p` is not above alpha."""
        from scipy.optimize import brentq

        highest = 1.0
        while self._beyond(highest) > alpha:
            highest *= 2
        return float(brentq(lambda size: self._beyond(size) - alpha, 0.0, highest, xtol=1e-6)) if self.error else 0.0

    def _beyond(self, size: float) -> float:
        """How likely questions and seeds together put a mean of 0 so far off: a normal and Student's distribution."""
        import numpy as np
        from scipy.special import ndtr, stdtr

        if not size:
            return 1.0
        # Where seeds agree by luck, it is that of questions alone.
        least = 2 * float(ndtr(-size / self.alone)) if self.alone else 0.0
        if not self.of_seeds:
            return least
        steps = np.linspace(-REACH, REACH, STEPS)
        weights = np.exp(-(steps**2) / 2)
        shifted = self.of_questions * steps
        tails = stdtr(self.freedom, (shifted - size) / self.of_seeds)
        return max(least, 2 * float((weights * tails).sum() / weights.sum()))


def spreads(
    tables: Sequence[Floats],
    sizes: Floats,
    *,
    of_seeds: Sequence[Variance | None] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Spread]:
    """The mean of each table per question, with its interval.

    Args:
        tables: each of shape (seeds, clusters): sums over the questions of a cluster. The seeds' number may differ.
        sizes: shape (clusters,): questions of each.
        of_seeds: of each table, the variance between seeds to reckon with; None: that of its own.
        level, resamples: of the interval between percentiles.
        seed: of the draws. They are the same for all tables, and mirrored where a table is negated.

    Raises:
        ValueError: a table without rows or columns, or with other columns; not one variance for each.
    """
    import numpy as np

    if any(not table.size or table.shape[1] != len(sizes) for table in tables):
        raise ValueError(f"tables of shapes {[table.shape for table in tables]} do not match {len(sizes)} clusters")
    if not tables:
        return []
    means = _resampled(np.stack([table.mean(axis=0) for table in tables]), sizes, resamples, seed)
    known = [None] * len(tables) if of_seeds is None else of_seeds
    return [_spread(*one, sizes, level, seed) for one in zip(tables, means, known, strict=True)]


def detectable(spread: Spread, *, level: float = LEVEL, tests: int = 1, power: float = POWER) -> float:
    """The smallest difference that would have been found with about the probability `power`, from 0 to 1.

    To be found a difference has to be significant after correction for `tests` comparisons, and its interval has to
    leave 0 out. The spread of the answers is taken to be as it was here, which few seeds tell but roughly.

    Raises:
        ValueError: `tests` below 1, or `power` not above 0.5.
    """
    if tests < 1 or not 0.5 < power < 1:
        raise ValueError(f"{tests} tests of power {power} are none")
    normal, alpha = NormalDist(), (1 - level) / tests
    half = (spread.high - spread.low) / 2
    found = max(normal.inv_cdf(1 - alpha / 2) * spread.alone, spread.found_from(alpha), half)
    found += (student_quantile(power, spread.freedom) if spread.freedom else normal.inv_cdf(power)) * spread.error
    # So many clusters, all ahead, are the fewest that sign flips can tell from chance: each halves their p.
    fewest = 1
    while 2.0 ** (1 - fewest) >= alpha:
        fewest += 1
    return min(1.0, max(found, fewest / spread.clusters))


def _resampled(sums: Floats, sizes: Floats, resamples: int, seed: int) -> Floats:
    """Shape (tables, resamples): means over clusters drawn with replacement, the same ones for all tables."""
    import numpy as np

    random, clusters = np.random.default_rng(seed), len(sizes)
    found = np.empty((len(sums), resamples))
    at_once = max(1, CELLS // clusters)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = random.integers(0, clusters, size=(rows, clusters)) + clusters * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters).astype(np.float64)
        found[:, start : start + rows] = (times @ sums.T).T / (times @ sizes)
    return found


def _spread(table: Floats, drawn: Floats, known: Variance | None, sizes: Floats, level: float, seed: int) -> Spread:
    import numpy as np

    (seeds, clusters), questions = table.shape, float(sizes.sum())
    runs = table.sum(axis=1) / questions
    mean = float(runs.mean())
    between = float(runs.std(ddof=1)) if seeds > 1 else 0.0
    variance = Variance(between**2, seeds - 1) if known is None else known
    freedom = variance.freedom
    made = partial(Spread, mean=mean, runs=tuple(map(float, runs)), between=between, clusters=clusters)
    if clusters < 2:
        # One content: nothing is known of others.
        return made(low=-1.0, high=1.0, alone=1.0, of_questions=1.0, of_seeds=0.0, freedom=freedom, noise=0.0)
    # What a cluster is above the mean, for its size; of all seeds, and of each beside that.
    beyond = table - runs[:, None] * sizes
    shared = beyond.mean(axis=0)
    scale = clusters / (clusters - 1) / questions**2
    questions_variance = float((shared**2).sum()) * scale
    alone = questions_variance**0.5
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    if not freedom:
        made = partial(made, of_questions=alone, of_seeds=0.0, freedom=0.0, noise=0.0)
        return made(low=float(low), high=float(high), alone=alone)
    # One seed does not tell the noise of its answers from what questions are.
    noise_variance = float(((beyond - shared) ** 2).sum()) * scale / (seeds - 1) / seeds if seeds > 1 else 0.0
    own, of_seeds = max(0.0, questions_variance - noise_variance), variance.value / seeds
    kept = (own / questions_variance) ** 0.5 if questions_variance else 0.0
    # The sign makes the draws of a negated table the negated draws.
    sign = next((np.sign(one) for one in runs - mean if one), 0.0 if seeds > 1 else np.sign(mean))
    both = mean + kept * (drawn - mean) + sign * of_seeds**0.5 * _student(freedom, len(drawn), seed)
    # Three seeds may agree by luck; the interval is never narrower than that for these very seeds.
    bounds = np.stack([[low, high], np.quantile(both, [(1 - level) / 2, (1 + level) / 2])])
    return made(
        low=float(bounds[:, 0].min()),
        high=float(bounds[:, 1].max()),
        alone=alone,
        of_questions=own**0.5,
        of_seeds=of_seeds**0.5,
        freedom=freedom,
        noise=(noise_variance * seeds) ** 0.5,
    )


@lru_cache(maxsize=32)
def _student(freedom: float, draws: int, seed: int) -> Floats:
    """Shape (draws,): Student's distribution by its quantiles, evenly, in random order."""
    import numpy as np

    upper = [student_quantile(0.5 + (place + 0.5) / STRATA, freedom) for place in range(STRATA // 2)]
    quantiles = np.array([-one for one in reversed(upper)] + upper)
    # As many from either half, however many there are.
    evenly = quantiles[((np.arange(draws) + 0.5) * STRATA / draws).astype(int)]
    return np.random.default_rng(seed + 1).permutation(evenly)
