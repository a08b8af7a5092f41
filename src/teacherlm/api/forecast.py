"""What is left to be asked, forecast from the samples that were: sums, and how far they may be off.

Sums are ratio estimates (Cochran, Sampling Techniques, 1977, chapter 6): what the drawn samples took, per text or per
character of their prompts, times the texts or characters that are left. Time is what the teacher writes while as many
requests are in flight as it bears, and what the probe took beyond that: starting, learning the limit, the last answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

FULL = 0.8
"""Share of the usual number in flight from which the teacher counts as full."""

ROUNDS = 2
"""Answers for each place that a full teacher must have given: with fewer, the probe hardly left its start."""

PARTS = 10
"""Parts of the full time, from whose differences the error of the throughput is estimated."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number to expect, and an interval that holds it in 95 of 100 cases."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a probe says about the run to come."""

    samples: int
    """Samples that the probe drew."""
    calls: int
    """What the probe took just now: answers, tokens, seconds, money; less, where it was known from before."""
    tokens_in: int
    tokens_out: int
    seconds: float
    cost: float | None
    texts_left: int
    """Texts to ask for; with all kinds in one call, these calls."""
    calls_left: Estimate
    """Answers, with those that cut or wrong ones make necessary."""
    tokens_in_left: Estimate
    tokens_out_left: Estimate
    cost_left: Estimate | None
    """In the currency of the teacher's prices."""
    seconds_left: Estimate | None
    """Of the clock; None where no probe measured it."""
    concurrency: float | None
    """Requests in flight while the teacher was full."""
    tokens_per_second: float | None
    """That it then wrote."""
    is_steady: bool
    """Whether the probe was long enough to measure the time; else the run may well be faster."""


@dataclass(frozen=True)
class Measured:
    """What one kind (or all in one call) took for each drawn sample, and what is left of it."""

    texts: Array
    """Texts of each sample, asked now or before."""
    characters: Array
    """Of their prompts."""
    calls: Array
    tokens_in: Array
    tokens_out: Array
    texts_left: float
    characters_left: float


def estimate(parts: Sequence[tuple[Array, Array, float]], left: float, *, weights: Sequence[float] = ()) -> Estimate:
    """The sum that is left.

    Args:
        parts: for each kind what the drawn samples took, per sample; what that goes by; and how much of this is left.
        left: samples that are left, about.
        weights: of each part, such as prices.
    """
    errors, total = np.zeros(len(parts[0][0]) if parts else 0), 0.0
    for number, (took, by, still) in enumerate(parts):
        if not by.sum():
            continue
        ratio = float(took.sum() / by.sum())
        weight = weights[number] if weights else 1.0
        total += weight * still * ratio
        errors = errors + weight * still / by.mean() * (took - ratio * by)
    count = len(errors)
    if count < 2 or not left:
        return Estimate(expected=total, low=total, high=total)
    # Of the mean, and of the samples to come about their own mean.
    deviation = float(np.std(errors, ddof=1) * np.sqrt(1 / count + 1 / left))
    return around(total, deviation, count - 1)


def around(expected: float, deviation: float, freedom: int) -> Estimate:
    """An interval of 95 %, from a standard deviation that was itself estimated."""
    times = 1.96 + 2.37 / freedom + 2.82 / freedom**2  # Student's t, to 1 % from 3 degrees on
    return Estimate(expected=expected, low=max(0.0, expected - times * deviation), high=expected + times * deviation)


@dataclass(frozen=True)
class Pace:
    """How fast a teacher was while it was full."""

    in_flight: float
    rate: float
    """Units of work a second."""
    deviation: float
    """Standard deviation of `rate`, relative."""
    is_steady: bool


def pace(sent: Array, done: Array, work: Array) -> Pace | None:
    """How fast answers came while the teacher was full.

    Each answer is taken to be written evenly between its sending and its end, so that those that were under way when
    the full time began or ended count by their share.

    Args:
        sent: when each request was sent, in seconds.
        done: when it was answered.
        work: its tokens.
    """
    if len(sent) < 2 or not work.sum() or done.max() <= sent.min():
        return None
    done = np.maximum(done, sent + 1e-6)
    times = np.concatenate([sent, done])
    changes = np.concatenate([np.ones_like(sent), -np.ones_like(done)])
    order = np.argsort(times, kind="stable")
    times, level = times[order], np.cumsum(changes[order])
    lasted = np.diff(times)
    by_level = np.argsort(level[:-1])
    share = np.cumsum(lasted[by_level]) / lasted.sum()
    usual = level[by_level][int(np.searchsorted(share, 0.75))]
    full = np.flatnonzero(level[:-1] >= FULL * usual)
    begin, end = float(times[full[0]]), float(times[full[-1] + 1])
    edges = np.linspace(begin, end, PARTS + 1)
    rates = work / (done - sent)
    written = np.array(
        [
            float((rates * np.clip(np.minimum(done, after) - np.maximum(sent, before), 0, None)).sum())
            for before, after in pairwise(edges)
        ]
    )
    mean = written.sum() / (end - begin)
    answered = int(((done > begin) & (done <= end)).sum())
    in_window = float((np.clip(np.minimum(done, end) - np.maximum(sent, begin), 0, None)).sum() / (end - begin))
    deviation = float(np.std(written, ddof=1) / max(written.mean(), 1e-9) / np.sqrt(PARTS))
    return Pace(in_window, float(mean), deviation, answered >= ROUNDS * in_window)


def time_left(paces: Sequence[tuple[Pace | None, Estimate, float]], seconds: float, freedom: int) -> Estimate | None:
    """How long the rest will take.

    Args:
        paces: of each teacher, all being asked at once: its pace, the work that is left, and the work of the probe.
        seconds: that the probe took.
        freedom: degrees of it.
    """
    slowest: tuple[float, float, float] | None = None
    for found, left, was in paces:
        if not left.expected:
            continue
        if found is None:
            return None
        error = (left.high - left.expected) / left.expected / 1.96
        one = left.expected / found.rate, float(np.hypot(error, found.deviation)), was / found.rate
        slowest = max(slowest or one, one)
    if slowest is None:
        return Estimate(expected=0.0, low=0.0, high=0.0)
    length, error, full = slowest
    return around(length + max(0.0, seconds - full), length * error, freedom)


def prices(
    measured: Mapping[Any, Measured], price_of: Mapping[Any, tuple[float, float]], left: float
) -> Estimate | None:
    """The money that is left; None where a price is not known."""
    if any(key not in price_of for key in measured):
        return None
    parts, weights = [], []
    for key, part in measured.items():
        parts += [
            (part.tokens_in, part.characters, part.characters_left),
            (part.tokens_out, part.texts, part.texts_left),
        ]
        weights += list(price_of[key])
    return estimate(parts, left, weights=weights)
