"""Figures as people read them, the same in sentences, tables and plots; shares go in from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

from teacherlm.experiments.comparing import Compared, Estimate

UNKNOWN = "–"
"""In the place of a figure that is not there."""


def percent(share: float | None) -> str:
    """`81.0 %`.

    >>> percent(0.8104), percent(None)
    ('81.0 %', '–')
    """
    return UNKNOWN if share is None or math.isnan(share) else f"{100 * share:.1f} %"


def signed(share: float) -> str:
    """Points with their sign; none for zero.

    >>> signed(0.552), signed(-0.007), signed(-0.0001)
    ('+55.2', '−0.7', '0.0')
    """
    if math.isnan(share):
        return UNKNOWN
    text = f"{100 * share:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def plain(share: float) -> str:
    """Points with a sign where they are negative alone.

    >>> plain(0.018), plain(-0.031)
    ('1.8', '−3.1')
    """
    return signed(share).removeprefix("+")


def bounds(low: float, high: float) -> str:
    """`50.1 to 60.0`, in points."""
    return UNKNOWN if math.isnan(low) or math.isnan(high) else f"{plain(low)} to {plain(high)}"


def with_bounds(estimate: Estimate | None) -> str:
    """`81.0 % (78.2 to 83.5)`: a mean never stands without its interval."""
    if estimate is None or math.isnan(estimate.mean):
        return UNKNOWN
    return f"{percent(estimate.mean)} ({bounds(estimate.low, estimate.high)})"


def difference(one: Compared) -> str:
    """`+55.2 (50.1 to 60.0)`, in points."""
    if math.isnan(one.difference):
        return UNKNOWN
    return f"{signed(one.difference)} ({bounds(one.low, one.high)})"


def p_value(p: float) -> str:
    """
    >>> p_value(0.0004), p_value(0.0456), p_value(0.61), p_value(1.0)
    ('p < 0.001', 'p = 0.046', 'p = 0.61', 'p = 1')
    """
    if p < 0.001:
        return "p < 0.001"
    return "p = 1" if p > 0.995 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def effect(h: float) -> str:
    """`h = 1.18`."""
    return f"h = {h:.2f}".replace("-", "−")


def listed(names: Sequence[str], *, most: int = 6) -> str:
    """
    >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b", "c"], most=2)
    ('a', 'a, b and c', 'a, b and 1 more')
    """
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def counted(count: int, one: str, several: str | None = None) -> str:
    """
    >>> counted(1, "seed"), counted(1200, "seed")
    ('1 seed', '1,200 seeds')
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"
