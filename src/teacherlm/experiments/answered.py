"""The answers behind outcomes: the questions that several have in common, summed by content, and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from teacherlm.evaluate.intervals import share
from teacherlm.experiments.comparing import Estimate
from teacherlm.experiments.results import Outcome, Results
from teacherlm.experiments.seed_variance import Prior, Variance, own_variance
from teacherlm.experiments.two_levels import Spread, spreads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Answered:
    """What several outcomes made of the questions that all of them were asked."""

    right: Counts
    """Shape (outcomes, clusters): right answers."""
    sizes: Counts
    """Shape (clusters,): questions."""

    def __getitem__(self, rows: slice) -> Answered:
        return Answered(self.right[rows], self.sizes)

    @property
    def rates(self) -> tuple[float, ...]:
        """Of each outcome, the share of right answers."""
        return tuple(float(one) for one in self.right.sum(axis=1) / self.sizes.sum())

    def of_seeds(self, prior: Prior) -> Variance:
        """The variance between the outcomes, which are those of seeds, with what others tell of it."""
        return prior.with_own(own_variance(self.rates))


@dataclass(frozen=True, slots=True)
class Tables:
    """Counts of one set of questions to be measured."""

    counts: Sequence[Counts]
    """Each of shape (seeds, clusters)."""
    sizes: Counts
    """Shape (clusters,)."""
    of_seeds: Sequence[Variance | None]
    """Of each table, the variance between seeds to reckon with; None: that of its own."""


class Answers:
    """The items of results, each outcome's looked at once."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._read: dict[tuple[str, str, str], tuple[tuple[str, ...], tuple[str, ...], list[bool]]] = {}

    def together(self, outcomes: Sequence[Outcome]) -> Answered | None:
        """Of the questions that all of the outcomes have; None where there is none."""
        import numpy as np

        read = [self._of(one) for one in outcomes]
        if not read:
            return None
        names, clusters, _ = read[0]
        if all(one[0] == names for one in read):
            columns = np.array([one[2] for one in read], dtype=np.int64)
        else:
            found = [dict(zip(one[0], one[2], strict=True)) for one in read]
            kept = [place for place, name in enumerate(names) if all(name in one for one in found)]
            columns = np.array([[one[names[place]] for place in kept] for one in found], dtype=np.int64)
            clusters = tuple(clusters[place] for place in kept)
        if not clusters:
            return None
        places = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
        index = np.array([places[name] for name in clusters])
        right = np.zeros((len(read), len(places)), dtype=np.int64)
        for row, column in zip(right, columns, strict=True):
            np.add.at(row, index, column)
        return Answered(right, np.bincount(index, minlength=len(places)))

    def _of(self, outcome: Outcome) -> tuple[tuple[str, ...], tuple[str, ...], list[bool]]:
        key = (outcome.cell, outcome.test, outcome.way)
        if key not in self._read:
            items = self._results.of(outcome)
            names, clusters = (tuple(one.sample_id for one in items), tuple(one.cluster for one in items))
            self._read[key] = (names, clusters, [one.correct for one in items])
        return self._read[key]


def measure(tables: Sequence[Tables | None], *, level: float, resamples: int) -> list[list[Spread]]:
    """Spreads of each set's tables; sets of the same sizes are drawn together. None: nothing to measure."""
    import numpy as np

    same: dict[bytes, list[int]] = {}
    for place, one in enumerate(tables):
        if one is not None:
            same.setdefault(one.sizes.tobytes(), []).append(place)
    found: list[list[Spread]] = [[] for _ in tables]
    for places in same.values():
        sets = [one for place in places if (one := tables[place]) is not None]
        made = spreads(
            [table.astype(np.float64) for one in sets for table in one.counts],
            sets[0].sizes.astype(np.float64),
            of_seeds=[variance for one in sets for variance in one.of_seeds],
            level=level,
            resamples=resamples,
        )
        left = iter(made)
        for place, one in zip(places, sets, strict=True):
            found[place] = [next(left) for _ in one.counts]
    return found


def as_estimate(answered: Answered, spread: Spread, level: float) -> Estimate:
    """An accuracy with Wilson's interval on as many independent answers as are as sure as these.

    Unlike the drawn interval it stays between 0 and 1, and says something where all answers are right.

    Source: Korn, Graubard 1998, as `intervals.clustered_share`, the effective number here from the spread.
    """
    count, total = int(answered.right.sum()), int(answered.sizes.sum()) * len(answered.right)
    rate, half = count / total, (spread.high - spread.low) / 2
    effective = float(spread.clusters)
    if 0 < rate < 1 and half > 0 and spread.clusters > 1:
        z = NormalDist().inv_cdf((1 + level) / 2)
        effective = min(float(total), rate * (1 - rate) * (z / half) ** 2)
    made = share(count, total, level, effective=effective)
    return Estimate(mean=made.share, low=made.low, high=made.high, runs=spread.runs)
