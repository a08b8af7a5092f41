"""How many of a teacher's texts are the curriculum's own, word for word, by family and kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from teacherlm.evaluate.intervals import Share, clustered_share
from teacherlm.text.normalise import one_line


@dataclass(frozen=True, slots=True)
class Written:
    """A text of a teacher beside the gold one."""

    family: str
    kind: str
    text: str | None
    """None: the teacher failed; counts as not exact."""
    gold: str


@dataclass(frozen=True, slots=True)
class Exactness:
    """The share of exact texts of one family and kind."""

    family: str | None
    """None: all families."""
    kind: str
    exact: Share


def exactness(texts: Iterable[Written]) -> list[Exactness]:
    """Shares of exact texts with intervals that take those with the same gold text as one cluster; blanks do not count.

    Returns:
        Each kind over all families first, then family by family, in the order in which they came.

    >>> [str(one.exact) for one in exactness([Written("add", "fundamentals", " Sums  add up. ", "Sums add up.")])]
    ['100.0% (20.7% to 100.0%)', '100.0% (20.7% to 100.0%)']
    """
    same: dict[tuple[str | None, str], list[bool]] = {}
    gold: dict[tuple[str | None, str], list[str]] = {}
    for one in texts:
        for family in (None, one.family):
            key = family, one.kind
            same.setdefault(key, []).append(one.text is not None and one_line(one.text) == one_line(one.gold))
            gold.setdefault(key, []).append(one_line(one.gold))
    ordered = sorted(same, key=lambda key: key[0] is not None)
    return [Exactness(*key, clustered_share(same[key], gold[key])) for key in ordered]
