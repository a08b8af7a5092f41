"""What a planned comparison came to; statistics.py works it out, the report shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["better", "worse", "not significant", "not tested"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Accuracy of the cells that differ by their seed alone, from 0 to 1."""

    mean: float
    low: float
    high: float
    """Over questions and seeds."""
    runs: tuple[float, ...]
    """Of each seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One level against another, on the same questions and seeds."""

    vary: str
    """The factor; `way` or several factors joined by ` + ` where two sides were named."""
    level: str
    baseline: str
    fixed: Mapping[str, str]
    """Levels of the other factors."""
    test: str
    way: str
    baseline_way: str
    seeds: tuple[int, ...]
    """That both sides have."""
    questions: int
    clusters: int
    first: Estimate
    second: Estimate
    """Of the baseline."""
    difference: float
    low: float
    high: float
    p: float
    """Two-sided, of this comparison alone."""
    p_adjusted: float
    """Corrected for all comparisons of the experiment."""
    effect: float
    """Cohen's h."""
    verdict: Verdict
    why: str | None = None
    """Why it was not tested."""
