"""The items of an evaluation set, so that whole columns of texts can be looked up in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import MachineFailed
from teacherlm.quality.shingles import batches, flat, shingles, words_sql

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.uint64]
    Places = npt.NDArray[np.int64]

SEQUENCE, RUN = 3, 13
"""Words in the sequences that are counted, and in a run that is enough by itself."""

FREQUENT = 10
"""Items that a run of words stands in at most to count (GPT-3, appendix C)."""

SHORT = 8
"""Words of a question that is its item's whole text; a shorter one says too little without its options."""

LEAST = 4
"""Words that an item needs to be looked for: "What is rust?" stands in many texts that never saw it."""

GAP = " … "
"""Between runs of shared words."""

_BITS = 22
"""Of a number that are looked up first: most sequences of a text stand in no item, and are out at once."""


@dataclass(frozen=True)
class Items:
    """The items of one set, by their place in its file."""

    task: str
    path: Path
    made: Numbers
    """The sequences of all items, in order."""
    begins: Places
    """Where each item's sequences begin in `made`, and the last ends."""
    lengths: Places
    """Words of each item."""
    weights: npt.NDArray[np.float64]
    """Of each item: the sum over its different sequences of 1 / items that have it; frequent ones do not count."""
    sequences: Places
    """Of each item: its different sequences that count."""
    by_sequence: Postings
    by_run: Postings
    size: int = SEQUENCE

    def held_by(self, made: Numbers, ends: Places) -> tuple[Places, Places, Places, npt.NDArray[np.float64]]:
        """What texts share with items: text, item, different sequences, their weight.

        Args:
            made, ends: the texts' sequences; see `shingles`.
        """
        import numpy as np

        texts, numbers = self.by_sequence.find(made, ends)
        spread = self.by_sequence.counts[numbers]
        item = self.by_sequence.expand(numbers)
        pairs, which = np.unique(np.repeat(texts, spread) * len(self.weights) + item, return_inverse=True)
        held, weight = np.zeros(len(pairs), np.int64), np.zeros(len(pairs))
        np.add.at(held, which, 1)
        np.add.at(weight, which, np.repeat(1 / spread, spread))
        return pairs // len(self.weights), pairs % len(self.weights), held, weight

    def share_a_run(self, marks: Numbers, offsets: Places) -> Places:
        """The pairs that share a run of RUN words, as text * items + item."""
        import numpy as np

        texts, numbers = self.by_run.find(*shingles(marks, offsets, RUN))
        spread = self.by_run.counts[numbers]
        return np.unique(np.repeat(texts, spread) * len(self.weights) + self.by_run.expand(numbers))

    def covered(self, item: int, text: Numbers) -> tuple[tuple[int, int], ...]:
        """Runs of an item's words whose sequences a text holds: first word, and the one after the last."""
        import numpy as np

        runs: list[tuple[int, int]] = []
        for place in np.flatnonzero(np.isin(self.made[self.begins[item] : self.begins[item + 1]], text)).tolist():
            last = min(place + self.size, int(self.lengths[item]))
            if runs and place <= runs[-1][1]:
                runs[-1] = (runs[-1][0], last)
            else:
                runs.append((place, last))
        return tuple(runs)


@dataclass(frozen=True)
class Postings:
    """Which items a number stands in; one that stands in more than FREQUENT of them is left out."""

    numbers: Numbers
    """Different ones, ascending."""
    begins: Places
    counts: Places
    items: Places
    there: npt.NDArray[np.bool_]
    """By the lowest bits of a number: whether there may be one."""

    @classmethod
    def of(cls, made: Numbers, items: Places) -> Postings:
        import numpy as np

        order = np.lexsort((items, made))
        made, items = made[order], items[order]
        new = np.ones(len(made), bool)
        new[1:] = (made[1:] != made[:-1]) | (items[1:] != items[:-1])
        made, items = made[new], items[new]
        _, which, counts = np.unique(made, return_inverse=True, return_counts=True)
        few = counts[which] <= FREQUENT
        made, items = made[few], items[few]
        numbers, begins, counts = np.unique(made, return_index=True, return_counts=True)
        there = np.zeros(1 << _BITS, bool)
        there[_low(numbers)] = True
        return cls(numbers, begins, counts, items, there)

    def find(self, made: Numbers, ends: Places) -> tuple[Places, Places]:
        """The different numbers of each text that are here: text, and place in `numbers`."""
        import numpy as np

        there = np.flatnonzero(self.there[_low(made)])
        place = np.searchsorted(self.numbers, made[there])
        place = np.minimum(place, max(len(self.numbers) - 1, 0))
        same = self.numbers[place] == made[there] if len(self.numbers) else np.zeros(len(there), bool)
        text = np.searchsorted(ends, there[same], side="right") - 1
        pairs = np.unique(text * max(len(self.numbers), 1) + place[same])
        return pairs // max(len(self.numbers), 1), pairs % max(len(self.numbers), 1)

    def expand(self, places: Places) -> Places:
        """The items of each number, one after the other."""
        import numpy as np

        counts = self.counts[places]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        found: Places = self.items[np.repeat(self.begins[places], counts) + within]
        return found


def _low(numbers: Numbers) -> Places:
    import numpy as np

    return (numbers & np.uint64((1 << _BITS) - 1)).astype(np.int64)


def read_items(con: duckdb.DuckDBPyConnection, task: str, path: Path) -> Items:
    """The items of a set.

    Raises:
        MachineFailed: its file is damaged.
    """
    import duckdb
    import numpy as np

    marks, lengths = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    try:
        for batch in batches(
            con, f"select [hash(word) for word in words] as marks from ({_items_sql(path)}) order by place"
        ):
            some, offsets = flat(batch.column("marks"))
            marks.append(some)
            lengths.append(np.diff(offsets))
    except duckdb.Error as error:
        raise _damaged(path, error) from error
    words, length = np.concatenate(marks), np.concatenate(lengths)
    offsets = np.concatenate([[0], np.cumsum(length)])
    made, begins = shingles(words, offsets, SEQUENCE)
    runs, run_ends = shingles(words, offsets, RUN)
    places = np.arange(len(length))
    owner, run_owner = np.repeat(places, np.diff(begins)), np.repeat(places, np.diff(run_ends))
    told, long = length[owner] >= LEAST, length[run_owner] >= RUN
    by_sequence = Postings.of(made[told], owner[told])
    weights = np.zeros(len(length))
    np.add.at(weights, by_sequence.items, np.repeat(1 / by_sequence.counts, by_sequence.counts))
    return Items(
        task,
        path,
        made,
        begins,
        length,
        weights,
        np.bincount(by_sequence.items, minlength=len(length)),
        by_sequence,
        Postings.of(runs[long], run_owner[long]),
    )


def shared_words(
    con: duckdb.DuckDBPyConnection, items: Items, hits: Sequence[tuple[int, tuple[tuple[int, int], ...]]]
) -> list[tuple[str, str]]:
    """For each hit, an item with runs of its words: the item's id and those words."""
    if not hits:
        return []
    wanted = ", ".join(str(item) for item in sorted({item for item, _ in hits}))
    query = f"select place, item, words from ({_items_sql(items.path)}) where place in ({wanted})"
    found: dict[int, tuple[str, list[str]]] = {
        place: (name, words) for place, name, words in con.execute(query).fetchall()
    }
    return [
        (found[item][0], GAP.join(" ".join(found[item][1][start:end]) for start, end in runs)) for item, runs in hits
    ]


def _items_sql(path: Path) -> str:
    """Place, id and words of every item: its question, and where that is short its options too.

    Options that many items have, such as True and False, say nothing and are left out. The others stand in alphabetical
    order, as in QUESTION, so that another order is no other item.
    """
    rows = f"read_parquet('{str(path).replace(chr(39), chr(39) * 2)}', file_row_number = true)"
    return f"""
        with items as (
            select
                file_row_number as place, item, {words_sql("question")} as question_words,
                array_to_string(list_sort(choices), ' ') as options
            from {rows}
        )
        select place, item,
            if(
                len(question_words) >= {SHORT} or count(*) over (partition by options) > {FREQUENT},
                question_words, question_words || {words_sql("options")}
            ) as words
        from items
    """


def _damaged(path: Path, error: Any) -> MachineFailed:
    said = str(error).splitlines()[0][:200]
    return MachineFailed(f"cannot be read: {said}", f"read the set again: --against {path.stem}=PATH", str(path))
