"""How many of a teacher's texts are the curriculum's own, word for word, by family and kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from teacherlm.evaluate.intervals import Share, share
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
    """Shares of exact texts with Wilson's intervals; blanks do not count.

    Returns:
        Each kind over all families first, then family by family, in the order in which they came.

    >>> [str(one.exact) for one in exactness([Written("add", "fundamentals", " Sums  add up. ", "Sums add up.")])]
    ['100.0% (20.7% to 100.0%)', '100.0% (20.7% to 100.0%)']
    """
    asked: Counter[tuple[str | None, str]] = Counter()
    exact: Counter[tuple[str | None, str]] = Counter()
    for one in texts:
        same = one.text is not None and one_line(one.text) == one_line(one.gold)
        for family in (None, one.family):
            asked[family, one.kind] += 1
            exact[family, one.kind] += same
    ordered = sorted(asked, key=lambda key: key[0] is not None)
    return [Exactness(family, kind, share(exact[family, kind], asked[family, kind])) for family, kind in ordered]
