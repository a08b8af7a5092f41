"""How far seeds move a mean, learned from all settings of an experiment at once.

Three seeds of one setting tell little of it: their standard deviation may well be half or twice the true one, and
Student's distribution, which answers for that, makes intervals so wide that nothing can be said. Settings of one test
are trainings of one kind. Where their variances are alike, each is pulled towards what they have in common, which is
then worth some more degrees of freedom; where they are not, that is worth little. A setting whose seeds differ by more
keeps its own variance with its own degrees of freedom: one that learns among many that do not is none of their kind.

Source: Smyth 2004, "Linear models and empirical Bayes methods for assessing differential expression in microarray
experiments", sections 4 and 6.2. That larger variances are left alone is ours.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import TypeVar

Pool = TypeVar("Pool", bound=Hashable)

NONE = 1e-12
"""Shares that differ by less are equal, but for rounding."""

FEWEST = 3
"""Of fewer variances nobody can tell whether they are alike."""


@dataclass(frozen=True, slots=True)
class Variance:
    """A variance between seeds."""

    value: float
    freedom: float
    """Degrees of freedom that it was estimated with; 0: nothing is known."""


def own_variance(means: Sequence[float]) -> Variance:
    """That of one setting's seeds alone."""
    return Variance(variance(means), len(means) - 1) if len(means) > 1 else Variance(0.0, 0)


def as_sure_as(lead: Variance, first: Variance, second: Variance, own: float) -> Variance:
    """The variance of a difference by seed, known no better than those of its two sides together.

    Differences from one baseline all vary with its seeds, which makes them alike, but tells of these few seeds alone:
    the baseline's own degrees of freedom hold for them however many there are (Satterthwaite 1946).

    Args:
        lead: of the differences, with what others tell of it.
        first, second: of both sides, with what others tell of them.
        own: degrees of freedom of the differences' own variance; it never has fewer.

    >>> learned, few = Variance(1.0, 20), Variance(1.0, 2)
    >>> round(as_sure_as(Variance(2.0, 40), learned, few, 2).freedom, 1)
    7.3
    """
    parts = sum(one.value**2 / one.freedom for one in (first, second) if one.freedom)
    together = (first.value + second.value) ** 2 / parts if parts else lead.freedom
    return Variance(lead.value, max(own, min(lead.freedom, together)))


@dataclass(frozen=True, slots=True)
class Prior:
    """What the other settings tell of a variance between seeds."""

    variance: float
    freedom: float
    """As many degrees of freedom it is worth; 0: nothing is known."""

    def with_own(self, own: Variance) -> Variance:
        """The variance to reckon with, never below the own one.

        >>> known = Prior(4.0, 2.0)
        >>> known.with_own(Variance(1.0, 2)), known.with_own(Variance(9.0, 2)), known.with_own(Variance(0.0, 0))
        (Variance(value=2.5, freedom=4.0), Variance(value=9.0, freedom=2), Variance(value=4.0, freedom=2.0))
        """
        together = own.freedom + self.freedom
        if not self.freedom:
            return own
        pooled = (self.freedom * self.variance + own.freedom * own.value) / together
        return own if own.freedom and own.value > pooled else Variance(pooled, together)


NOTHING = Prior(0.0, 0.0)


def priors(runs: Iterable[tuple[Pool, Sequence[float]]]) -> dict[Pool, Prior]:
    """What the settings of each pool have in common.

    Args:
        runs: the pool of each setting, and the mean of each of its seeds.
    """
    pools: dict[Pool, list[tuple[float, int]]] = {}
    for pool, means in runs:
        if len(means) > 1:
            pools.setdefault(pool, []).append((variance(means), len(means) - 1))
    return {pool: prior(several) for pool, several in pools.items()}


def prior(variances: Sequence[tuple[float, int]]) -> Prior:
    """The scaled inverse chi-square distribution that these variances, with their degrees of freedom, were drawn from.

    Variances of 0 are left out: seeds that agree to the last answer tell nothing of others.

    >>> same, other = prior([(4.0, 2)] * 6), prior([(0.001, 2), (1.0, 2), (1000.0, 2), (0.1, 2)])
    >>> round(same.freedom), round(other.freedom, 1), prior([(1.0, 2), (2.0, 2)]) == NOTHING
    (12, 0.4, True)
    """
    from scipy.special import digamma, polygamma

    known = [(value, freedom) for value, freedom in variances if value > NONE]
    if len(known) < FEWEST:
        return NOTHING
    # Of logarithms, less what chance alone moves them by: Smyth 2004, section 6.2.
    logs = [math.log(value) - float(digamma(of / 2)) + math.log(of / 2) for value, of in known]
    beyond = variance(logs) - fmean(float(polygamma(1, of / 2)) for _, of in known)
    # They cannot be worth more than all that was measured.
    most = float(sum(of for _, of in known))
    freedom = min(most, 2 * _trigamma_inverse(beyond)) if beyond > 0 else most
    shift = float(digamma(freedom / 2)) - math.log(freedom / 2) if beyond > 0 else 0.0
    return Prior(math.exp(fmean(logs) + shift), freedom)


def _trigamma_inverse(value: float) -> float:
    """Where the trigamma function has this value, by Newton's method on its reciprocal: Smyth 2004, appendix."""
    from scipy.special import polygamma

    found = 0.5 + 1 / value
    for _ in range(50):
        at = float(polygamma(1, found))
        step = at * (1 - at / value) / float(polygamma(2, found))
        found += step
        if abs(step) < 1e-8 * found:
            break
    return found
