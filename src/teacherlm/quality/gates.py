"""Gates: thresholds on the books that stop publishing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Annotated

from annotated_types import Ge, Le
from pydantic.dataclasses import dataclass

from teacherlm.project.bind import SPEC_CONFIG
from teacherlm.quality.books import Books, Count
from teacherlm.quality.measures import Measures

Share = Annotated[float, Ge(0), Le(1)]
"""Of the rows that were asked, from 0 to 1."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Gates:
    """What a dataset must keep to be published. Shares hold for the dataset and for each of its kinds."""

    max_rejected: Share = 0.5
    """Share of the rows that rules may reject. A teacher that fails half of the time needs another prompt."""
    max_truncated: Share = 0.1
    """Share that may be cut at the token limit."""
    max_failed: Share = 0.05
    """Share that may have no answer."""
    min_accepted: Annotated[int, Ge(0)] = 0
    """Rationales that the dataset needs at least, all kinds together."""
    min_score: Share | None = None
    """Mean score of the accepted rationales that have one; single rationales are held by the rule `low_score`."""
    max_contaminated: Share | None = None
    """Share of the samples of training splits that may share text with an evaluation set. Where it is declared, a check
    that could not look at any set fails."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateResult:
    """One gate, held against the books."""

    name: str
    """The gate, and the kind that it was held against: `max_rejected`, `max_rejected[chain_of_thought]`."""
    limit: float
    value: float
    passed: bool
    remedy: str
    """What helps where it did not pass; empty where it did."""


def judge_gates(
    books: Books, gates: Gates, measures: Measures | None = None, not_run: Sequence[str] = ()
) -> tuple[GateResult, ...]:
    """Hold the gates against the books: `asked`, each share for the dataset and for each kind, and the rest.

    Shares are held against each kind too: a specialised teacher that fails at one kind would hide behind the other two.

    Args:
        measures: what `min_score` and `max_contaminated` are held against.
        not_run: evaluation sets that should have been looked at and were not.
    """
    asked = books.asked
    if asked == 0:
        remedy = "nothing was augmented yet: run  teacherlm augment  first"
        return (GateResult(name="asked", limit=1, value=0, passed=False, remedy=remedy),)
    results = [GateResult(name="asked", limit=1, value=asked, passed=True, remedy="")]
    parts: dict[str, list[Count]] = {"": list(books.counts)}
    for count in books.counts:
        parts.setdefault(count.kind, []).append(count)
    for verdict, limit, advice in (
        ("rejected", gates.max_rejected, "look at the rejected rows, then change the prompt, the teacher or the rule"),
        ("truncated", gates.max_truncated, "raise max_new_tokens or ask for shorter texts"),
        ("failed", gates.max_failed, "augment again: what failed for want of a server is asked again"),
    ):
        for kind, counts in parts.items():
            share = sum(getattr(count, verdict) for count in counts) / sum(count.asked for count in counts)
            name = f"max_{verdict}[{kind}]" if kind else f"max_{verdict}"
            remedy = "" if share <= limit else advice
            results.append(GateResult(name=name, limit=limit, value=share, passed=share <= limit, remedy=remedy))
    enough = books.accepted >= gates.min_accepted
    remedy = "" if enough else "augment more samples"
    results.append(
        GateResult(name="min_accepted", limit=gates.min_accepted, value=books.accepted, passed=enough, remedy=remedy)
    )
    return (*results, *_measured(measures or Measures(), gates, not_run))


def _measured(measures: Measures, gates: Gates, not_run: Sequence[str]) -> Iterator[GateResult]:
    if gates.min_score is not None:
        mean = measures.mean_score
        passed = mean is not None and mean >= gates.min_score
        remedy = "no rationale has a score; the scorer speaks of other kinds" if mean is None else ""
        remedy = remedy or "reject the lowest (rules: {low_score: {min_score: …}}), or take another teacher"
        yield GateResult(
            name="min_score", limit=gates.min_score, value=mean or 0.0, passed=passed, remedy="" if passed else remedy
        )
    if gates.max_contaminated is not None:
        share, looked = measures.contaminated_share, measures.by_task is not None
        passed = looked and not not_run and share <= gates.max_contaminated
        remedies = []
        if looked and share > gates.max_contaminated:
            remedies.append("take the samples out of the training splits (the view `contamination` names them)")
        if not_run or not looked:
            missing = f" ({', '.join(not_run)})" if not_run else ""
            remedies.append(f"not run: evaluation sets were not read{missing}; name a file: --against TASK=PATH")
        remedy = "; ".join(remedies)
        limit = gates.max_contaminated
        yield GateResult(
            name="max_contaminated", limit=limit, value=share, passed=passed, remedy="" if passed else remedy
        )
