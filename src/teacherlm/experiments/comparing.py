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
    """nan where no cell was found; so are the bounds."""
    low: float
    high: float
    """Over questions and seeds."""
    runs: tuple[float, ...]
    """Of each seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One level against another, on the same questions and seeds.

    Where the verdict is `not tested`, p is 1 and the numbers that are not known are nan.
    """

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
    """Over questions and seeds."""
    p: float
    """Two-sided, of this comparison alone; over questions and seeds, and never below that of these very models."""
    p_adjusted: float
    """Corrected for all comparisons of the experiment."""
    p_of_models: float
    """Corrected too; over questions alone, for the models of these seeds."""
    effect: float
    """Cohen's h."""
    verdict: Verdict
    """`better` and `worse`: p_adjusted is small enough, the interval leaves 0 out, and something is known of seeds."""
    why: str | None = None
    """Why it was not tested; where it was, what is lacking, such as a seed of which a cell failed."""
    detectable: float | None = None
    """The smallest difference that would have been found with a probability of about 0.8; None: not tested."""
    cells: tuple[str, ...] = ()
    """Of the first side, by seed."""
    baseline_cells: tuple[str, ...] = ()
