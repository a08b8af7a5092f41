"""How sure a figure is: intervals of shares and of means, and paired comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """Exact McNemar test, two-sided."""


def share(count: int, total: int, level: float = LEVEL) -> Share:
    """A share with Wilson's interval, which holds for few items and for shares near 0 and 1.

    Raises:
        ValueError: no items, or a count outside of them.

    Source: Wilson 1927; Brown, Cai, DasGupta 2001, "Interval Estimation for a Binomial Proportion", section 3.1.

    >>> str(share(8, 10))
    '80.0% (49.0% to 94.3%)'
    """
    if total < 1 or not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is no share")
    z = NormalDist().inv_cdf((1 + level) / 2)
    rate, weight = count / total, z * z / total
    middle = (rate + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(rate * (1 - rate) / total + weight / (4 * total))
    low = 0.0 if count == 0 else max(0.0, middle - half)
    high = 1.0 if count == total else min(1.0, middle + half)
    return Share(count, total, rate, low, high)


def paired(
    first: Sequence[bool], second: Sequence[bool], *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Difference:
    """The difference of two accuracies on the same items.

    Args:
        first, second: whether each item was answered correctly, in the same order.
        seed: of the bootstrap.
        level, resamples: of the bootstrap's percentile interval.

    Raises:
        ValueError: no items, or unequally many.

    Source: McNemar 1947 (exact: the binomial test on the items that differ); Efron 1979 (bootstrap).
    """
    import numpy as np

    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} items cannot be compared in pairs")
    items = len(first)
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    shares = np.array([only_first, only_second, items - only_first - only_second]) / items
    # Drawing items with replacement draws the three kinds of item from a multinomial distribution.
    drawn = np.random.default_rng(seed).multinomial(items, shares, size=resamples)
    differences = (drawn[:, 0] - drawn[:, 1]) / items
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    return Difference(
        items,
        only_first,
        only_second,
        (only_first - only_second) / items,
        float(low),
        float(high),
        mcnemar(only_first, only_second),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p of McNemar's test: how likely so uneven a split of the differing items is by chance.

    >>> round(mcnemar(1, 9), 4), mcnemar(0, 0)
    (0.0215, 1.0)
    """
    differing = only_first + only_second
    tail = sum(math.comb(differing, k) for k in range(min(only_first, only_second) + 1))
    # Whole numbers until the last step: 2**differing may exceed every float.
    scale = 10**18
    doubled: int = 2 * tail * scale // 2**differing
    return min(1.0, doubled / scale)


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


def student_quantile(p: float, freedom: int) -> float:
    """Quantile of Student's t for p above 0.5, by halving.

    >>> round(student_quantile(0.975, 2), 3)
    4.303
    """
    low, high = 0.0, 1.0
    while _central(high, freedom) < 2 * p - 1:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _central(middle, freedom) < 2 * p - 1 else (low, middle)
    return high


def _central(t: float, freedom: int) -> float:
    """The probability between -t and t. Source: Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term = total = cosine if odd else 1.0
    for k in range(3 if odd else 2, freedom, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if freedom == 1:
        total = 0.0
    inner = math.sin(angle) * total
    return 2 / math.pi * (angle + inner) if odd else inner
