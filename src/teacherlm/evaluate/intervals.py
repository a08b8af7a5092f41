"""How sure a figure is: intervals of shares and of means, and paired comparisons.

Items that have much in common (questions on one content, texts that are to be the same) are no independent ones: where
each item has a key, its cluster, intervals and tests count clusters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

LEVEL = 0.95
RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Share:
    """A share of items with its interval; all between 0 and 1."""

    count: int
    total: int
    share: float
    low: float
    high: float
    clusters: int | None = None
    """Different clusters of the items; None where each item counts for itself."""

    def __str__(self) -> str:
        return f"{self.share:.1%} ({self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over runs with its interval."""

    runs: int
    mean: float
    deviation: float | None
    """Of the sample (n - 1); None for one run, as are the bounds."""
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """How two systems differ on the same items: first minus second."""

    items: int
    only_first: int
    """Items that the first alone has right."""
    only_second: int
    difference: float
    low: float
    high: float
    p: float
    """Two-sided: McNemar's exact test; of clusters the exact sign-flip test."""
    clusters: int | None = None
    """Different clusters of the items; None where each item counts for itself."""


def share(count: int, total: int, level: float = LEVEL, *, effective: float | None = None) -> Share:
    """A share with Wilson's interval, which holds for few items and for shares near 0 and 1.

    Args:
        effective: so many independent items would tell as much; None: all are independent.

    Raises:
        ValueError: no items, or a count outside of them.

    Source: Wilson 1927; Brown, Cai, DasGupta 2001, "Interval Estimation for a Binomial Proportion", section 3.1.

    >>> str(share(8, 10))
    '80.0% (49.0% to 94.3%)'
    """
    if total < 1 or not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is no share")
    items = total if effective is None else effective
    z = NormalDist().inv_cdf((1 + level) / 2)
    rate, weight = count / total, z * z / items
    middle = (rate + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(rate * (1 - rate) / items + weight / (4 * items))
    low = 0.0 if count == 0 else max(0.0, middle - half)
    high = 1.0 if count == total else min(1.0, middle + half)
    return Share(count, total, rate, low, high)


def clustered_share(right: Sequence[bool], clusters: Sequence[Hashable], level: float = LEVEL) -> Share:
    """A share of items in clusters, with Wilson's interval for as many items as they are worth.

    Args:
        right: of each item, whether it counts.
        clusters: of each item, what it shares with others.

    Raises:
        ValueError: no items, or not one cluster for each.

    Source: Korn, Graubard 1998, "Confidence Intervals for Proportions with Small Expected Number of Positive Counts
    Estimated from Survey Data": the interval on the effective number of items.

    >>> str(clustered_share([True] * 8 + [False] * 2, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]))
    '80.0% (33.7% to 96.9%)'
    """
    made = share(sum(right), len(right), level, effective=_effective(right, clusters))
    return Share(made.count, made.total, made.share, made.low, made.high, len(set(clusters)))


def _effective(right: Sequence[bool], clusters: Sequence[Hashable]) -> float | None:
    """Items by the design effect, which is never taken below 1; clusters where all items are right, or all wrong."""
    _match(right, clusters)
    items, right_of, size = len(right), Counter[Hashable](), Counter(clusters)
    if len(size) == items:
        return None
    for hit, cluster in zip(right, clusters, strict=True):
        right_of[cluster] += hit
    rate = sum(right) / items
    if rate in (0, 1) or len(size) == 1:
        return len(size)
    # The variance of a ratio by linearisation, beside that of independent items: Kish 1965, sections 5.4 and 8.2.
    between = sum((right_of[cluster] - rate * of) ** 2 for cluster, of in size.items())
    effect = between * len(size) / (len(size) - 1) / (items * rate * (1 - rate))
    return max(1.0, items / max(1.0, float(effect)))


def alike(clusters: Sequence[Hashable]) -> float:
    """As how many independent items those of clusters count at the least: where all of a cluster are alike.

    >>> alike("abcd"), alike("aabb")
    (4.0, 2.0)
    """
    sizes = Counter(clusters).values()
    return float(sum(sizes) ** 2 / sum(size * size for size in sizes))


def paired(
    first: Sequence[bool],
    second: Sequence[bool],
    *,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Difference:
    """The difference of two accuracies on the same items.

    Args:
        first, second: whether each item was answered correctly, in the same order.
        seed: of the bootstrap.
        clusters: of each item, what it shares with others: whole clusters are drawn, and tested by sign flips.
        level, resamples: of the bootstrap's percentile interval.

    Raises:
        ValueError: no items, or unequally many.

    Source: McNemar 1947 (exact: the binomial test on the items that differ); Efron 1979 (bootstrap); Davison, Hinkley
    1997, section 3.8 (of clusters).
    """
    import numpy as np

    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} items cannot be compared in pairs")
    items = len(first)
    keys: Sequence[Hashable] = range(items) if clusters is None else clusters
    _match(first, keys)
    ahead: Counter[Hashable] = Counter()
    for a, b, key in zip(first, second, keys, strict=True):
        ahead[key] += a - b
    size = Counter(keys)
    # Drawing clusters with replacement draws their kinds, by lead and size, from a multinomial distribution.
    kinds = Counter((ahead[key], of) for key, of in size.items())
    leads, sizes = (np.array(column) for column in zip(*sorted(kinds), strict=True))
    shares = np.array([kinds[kind] for kind in sorted(kinds)]) / len(size)
    drawn = np.random.default_rng(seed).multinomial(len(size), shares, size=resamples)
    differences = (drawn @ leads) / (drawn @ sizes)
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    return Difference(
        items,
        only_first,
        only_second,
        (only_first - only_second) / items,
        float(low),
        float(high),
        mcnemar(only_first, only_second) if len(size) == items else sign_flips(list(ahead.values())),
        None if clusters is None else len(size),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p of McNemar's test: how likely so uneven a split of the differing items is by chance.

    Never 0, however small.

    >>> round(mcnemar(1, 9), 4), mcnemar(0, 0)
    (0.0215, 1.0)
    """
    differing = only_first + only_second
    tail = term = 1
    for k in range(min(only_first, only_second)):
        term = term * (differing - k) // (k + 1)
        tail += term
    # Division of whole numbers is exact to the last bit, even where either exceeds every float.
    return max(math.ulp(0.0), min(1.0, 2 * tail / (1 << differing)))


def sign_flips(leads: Sequence[int]) -> float:
    """The exact two-sided p of the sign-flip test: how likely so large a sum is where each lead may as well be against.

    All flips are counted, none is drawn. Never 0, however small.

    Args:
        leads: of each cluster, by how many items the first is ahead of the second.

    Source: Fisher 1935, "The Design of Experiments", section 21. With leads of 1 alone it is McNemar's exact test.

    >>> sign_flips([2, 2, 2, 2]), sign_flips([1, -1]), sign_flips([])
    (0.125, 1.0, 1.0)
    """
    import numpy as np

    reach = sum(map(abs, leads))
    # Probabilities of the sums from -reach to reach.
    chances = np.zeros(2 * reach + 1)
    chances[reach] = 1.0
    for lead in leads:
        if lead:
            # What falls off an end is 0: the sum so far does not reach it.
            chances = (np.roll(chances, lead) + np.roll(chances, -lead)) / 2
    found = abs(sum(leads))
    if not found:
        return 1.0
    return max(math.ulp(0.0), min(1.0, 2 * float(chances[reach + found :].sum())))


def _match(items: Sequence[bool], clusters: Sequence[Hashable]) -> None:
    if len(items) != len(clusters):
        raise ValueError(f"{len(items)} items and {len(clusters)} clusters do not match")


def over_runs(values: Sequence[float], level: float = LEVEL) -> Mean:
    """The mean over runs that differ by their seed, with Student's interval.

    Raises:
        ValueError: no values.

    >>> one = over_runs([0.69, 0.72, 0.66])
    >>> round(one.mean, 2), round(one.low, 3), round(one.high, 3)
    (0.69, 0.615, 0.765)
    """
    if not values:
        raise ValueError("no values to take the mean of")
    if len(values) == 1:
        return Mean(1, values[0], None, None, None)
    mean, deviation = fmean(values), stdev(values)
    half = student_quantile((1 + level) / 2, len(values) - 1) * deviation / math.sqrt(len(values))
    return Mean(len(values), mean, deviation, mean - half, mean + half)


def student_quantile(p: float, freedom: float) -> float:
    """Quantile of Student's t.

    >>> round(student_quantile(0.975, 2), 3)
    4.303
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, p))
