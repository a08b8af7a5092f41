"""What became of a stage's records, by source; the sums close, and what would train nothing is a mistake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from teacherlm.core.errors import Mistake, Mistakes, Problem
from teacherlm.train.declaration import Stage
from teacherlm.train.encode import Encoded
from teacherlm.train.windows import Outcome, Row


@dataclass
class Tally:
    """Counts of one source. Texts rendered = whole + too_long + cut + split."""

    source: str
    records: int = 0
    rendered: int = 0
    """Texts, before the window."""
    texts: int = 0
    """Rows that are trained on; a text that is split gives several."""
    tokens: int = 0
    fallback: int = 0
    """Records rendered in the fallback layout."""
    too_long: int = 0
    """Texts dropped since they exceed the window."""
    cut: int = 0
    split: int = 0
    """Texts, not their rows."""
    apart: int = 0
    """Texts whose prompt and response were encoded apart."""
    longest: int = 0
    """Tokens of the longest text before the window."""
    lacks: Counter[str] = field(default_factory=Counter)
    """Records that lack a kind, by layout."""
    kinds: dict[str, set[str]] = field(default_factory=dict)
    """The kinds that were lacking, by layout."""
    lengths: Counter[int] = field(default_factory=Counter)
    """Texts by their tokens before the window."""

    def lack(self, layout: str, kinds: Sequence[str]) -> None:
        """A record that a layout leaves out."""
        self.lacks[layout] += 1
        self.kinds.setdefault(layout, set()).update(kinds)

    def count(self, text: Encoded, outcome: Outcome, rows: Sequence[Row]) -> None:
        """A text and its rows."""
        self.rendered += 1
        self.texts += len(rows)
        self.tokens += sum(len(row.ids) for row in rows)
        self.too_long += outcome in ("dropped", "no_room")
        self.cut += outcome == "cut"
        self.split += outcome == "split"
        self.apart += text.apart
        self.lengths[len(text.ids)] += 1
        self.longest = max(self.longest, len(text.ids))

    def told(self) -> dict[str, Any]:
        """As JSON."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {"source": self.source, **counts, "longest": self.longest, "lacking": dict(sorted(self.lacks.items()))}


_COUNTS = ("records", "rendered", "texts", "tokens", "fallback", "too_long", "cut", "split", "apart")


def summed(tallies: Sequence[Tally]) -> dict[str, Any]:
    """The counts of all sources, and of each under `sources`.

    `lacking` is the number of renderings that fell away since a record lacks a kind; by layout in each source.
    """
    counts = {name: sum(getattr(tally, name) for tally in tallies) for name in _COUNTS}
    lacking = sum(tally.lacks.total() for tally in tallies)
    longest = max(tally.longest for tally in tallies)
    return {**counts, "lacking": lacking, "longest": longest, "sources": [tally.told() for tally in tallies]}


def holds(lengths: Counter[int], share: float) -> int:
    """The shortest window that holds this share of the texts.

    >>> holds(Counter({10: 98, 20: 1, 300: 1}), 0.99)
    20
    """
    wanted = share * lengths.total()
    seen = 0
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= wanted:
            return length
    return 0


def check(tallies: Sequence[Tally], stage: Stage, window: int, place: str) -> None:
    """Refuse a stage that would not train what it declares.

    Raises:
        Mistakes: for each source that gives nothing, or has no record for one of its layouts, why.
    """
    problems = []
    for tally in tallies:
        where = f"{place}, stage {stage.name}, {tally.source}"
        if not tally.records:
            edit = "look at its `split`, `where` and `configs`, or build and check the dataset first"
            problems.append(Problem(where, "there is no record", edit))
            continue
        for layout, count in sorted(tally.lacks.items()):
            if count == tally.records:
                kinds = " and ".join(sorted(tally.kinds[layout]))
                found = f"layout `{layout}` needs {kinds}, and none of the {count:,} records has all that it needs"
                problems.append(Problem(where, found, "name another layout, or augment the dataset first"))
        if tally.rendered and not tally.texts:
            best = holds(tally.lengths, 0.99)
            found = f"the window of {window:,} tokens holds none of the {tally.rendered:,} texts"
            problems.append(Problem(where, found, f"write  window: {best}  to hold 99 % of them"))
    if len(problems) == 1:
        raise Mistake(problems[0].found, problems[0].edit, problems[0].where)
    if problems:
        raise Mistakes(problems)
