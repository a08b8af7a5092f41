"""The options of `augment` and `plan`, for those who hand them on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypedDict

from teacherlm.teacher.budget import Budget

if TYPE_CHECKING:
    from teacherlm.api.augment import Augmented


class AugmentOptions(TypedDict, total=False):
    """See `Project.augment`."""

    teacher: str | None
    kinds: Sequence[str] | None
    limit: int | None
    repeats: int
    strategy: str | None
    concurrency: int | None
    max_calls: int | None
    max_tokens: int | None
    budget: float | Budget | None
    watch: Callable[[Augmented], None] | None
    estimate: bool


class PlanOptions(TypedDict, total=False):
    """What a plan is asked for."""

    teacher: str | None
    """A URL, a profile of the catalogue, or `nano`; it says its limits and counts tokens. None: nobody is asked."""
    kinds: Sequence[str] | None
    limit: int | None
    repeats: int
    strategy: str | None
    """As these of `augment`."""
    shown: int
    """Samples whose prompts are given whole."""
    tokenizer: str | None
    """Counts in place of the teacher's own: a folder, a `tokenizer.json` or a Hub id."""
    context: int | None
    """Tokens that the teacher takes; None: what it says itself."""
    probe: int | None
    """Samples, drawn over the dataset, that the teacher is really asked about to forecast the rest."""
    concurrency: int | None
    """Of the probe: requests in flight; None: learnt."""
    watch: Callable[[Augmented], None] | None
    """Called a few times a second with the state of the probe."""
    tell: Callable[[str], None]
