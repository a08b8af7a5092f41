"""Near-duplicates: questions and rationales that say nearly what an earlier one says.

MinHash finds the texts that may resemble each other (Broder 1997; banded as by Leskovec, Rajaraman and Ullman), and
the exact Jaccard similarity of their sets of three-word sequences decides, so that what is reported is true. Texts that
are equal after normalisation are found without it, all of them. Questions are compared with questions, and rationales
with those of their kind; repeats for one sample may agree, they are asked to.

Rows are read in one pass for each kind; what is kept of a text is 4 bytes a word and 128 for its signature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teacherlm.quality.shingles import QUESTION, batches, flat, shingles, words_sql
from teacherlm.schemas.records import KINDS, record

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Places = npt.NDArray[np.int64]
    Pair = tuple[int, int, float]

SHINGLE = 3
"""Words in a sequence. Rationales have 10 to 60 words: with the customary 5 one changed word in a text of 20 leaves a
similarity of 0.52, with 3 it leaves 0.71."""

FLOOR = 0.7
"""The least similarity that is reported. Below it real texts that share a form say different things."""

ROWS, BANDS = 4, 16
"""Of a signature of 64 numbers: two texts are compared where one of 16 groups of 4 is the same. Of pairs with a
similarity of 0.7 that finds 98.8 %, of 0.8 99.98 %, 1 - (1 - s^4)^16."""

NEAR = 4
"""Texts before it, in order, that a text is compared with in each group of texts with the same band, beside the first
of the group. It bounds the work where thousands of texts have one form."""

MARGIN = 0.2
"""Pairs whose signatures estimate less than FLOOR - MARGIN are not looked at: 3.5 standard deviations."""

SEED = 2310


@dataclass(frozen=True)
class _Texts:
    """Texts that are compared with one another, in order: datasets as they were named, sample_id, repeat."""

    keys: pa.Table
    """sample_id, dataset, split, repeat and a hash of the words."""
    words: npt.NDArray[np.uint32]
    begins: Places
    ends: Places
    signatures: npt.NDArray[np.uint16]
    """Shape (texts, ROWS * BANDS). Of each number of the MinHash its 16 lower bits, which agree by chance once in
    65,536 times (b-bit minwise hashing, Li and König 2010)."""

    def set_of(self, place: int) -> set[int]:
        """A text's sequences of words."""
        import numpy as np

        words = self.words[self.begins[place] : self.ends[place]].astype(np.uint64)
        return set(shingles(words, np.array([0, len(words)]), SHINGLE)[0].tolist())


def find_duplicates(con: duckdb.DuckDBPyConnection, floor: float = FLOOR) -> None:
    """Create the table `duplicates` (schemas/duplicate.yaml) out of the views `samples` and `rationales`.

    Every text that resembles an earlier one has a row, and names the earliest it resembles; so a group of texts that
    resemble one another is whole in the table but for its first, which one keeps. The order is that of (sample_id,
    repeat), whatever that of the rows. Questions are those that were asked about. Where the views hold several
    datasets, `like_sample_id` may be of another one.

    Args:
        floor: the least Jaccard similarity that is reported; below 0.6 MinHash overlooks many.

    Raises:
        MachineFailed: memory or disk did not suffice.
    """
    _find(con, floor, "sample_id", ())


def find_across(con: duckdb.DuckDBPyConnection, datasets: Sequence[str], floor: float = FLOOR) -> None:
    """Create the same table of texts that resemble one of an earlier dataset, and no other.

    Texts that are equal after normalisation are all found, so that without them no two datasets share any; of others as
    many as MinHash finds. Questions are all that were built, whether they were asked about or not.

    Args:
        datasets: those of the views, in order: of texts that resemble one another the first dataset's are kept.
        floor: as in `find_duplicates`.

    Raises:
        MachineFailed: memory or disk did not suffice.
    """
    _find(con, floor, "dataset", datasets)


def _find(con: duckdb.DuckDBPyConnection, floor: float, apart: str, datasets: Sequence[str]) -> None:
    contract = record("duplicate")
    con.execute(f"create or replace temp table duplicates as {contract.empty_select()}")
    for kind in (None, *KINDS):
        texts = _read(con, kind, datasets)
        pairs = sorted(_pairs(texts, floor, apart)) if len(texts.keys) > 1 else []
        if pairs:
            con.register("found_duplicates", _table(texts, kind, pairs))
            con.execute(f"insert into duplicates select {contract.cast_list()} from found_duplicates")
            con.unregister("found_duplicates")


def _read(con: duckdb.DuckDBPyConnection, kind: str | None, datasets: Sequence[str]) -> _Texts:
    """The texts of a kind, or the questions, in order; those without a word are left out."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import rensa

    if kind is None:
        text, repeat = QUESTION, "0::bigint"
        asked = "sample_id in (select sample_id from rationales where status = 'ok')"
        rows = f"samples where {'true' if datasets else asked}"
    else:
        text, repeat = "text", "repeat"
        rows = f"rationales where status = 'ok' and kind = '{kind}'"
    query = f"""
        select sample_id, dataset, split, repeat, hash(words) as words_hash, [hash(word) for word in words] as marks
        from (select sample_id, dataset, split, {repeat} as repeat, {words_sql("text")} as words
              from (select *, {text} as text from {rows}))
        where len(words) > 0
    """
    if kind is not None:
        query = query.replace(f"select *, {text} as text from", "from")
    keys: list[pa.RecordBatch] = []
    words, lengths, signatures = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)], [_signatures([])]
    for batch in batches(con, query):
        marks, offsets = flat(batch.column("marks"))
        made, ends = shingles(marks & np.uint64(0xFFFFFFFF), offsets, SHINGLE)
        digests = rensa.RMinHash.digest_matrix_from_flat_token_hashes(made, ends.astype(np.uint64), ROWS * BANDS, SEED)
        keys.append(batch.drop_columns(["marks"]))
        words.append(marks.astype(np.uint32))
        lengths.append(np.diff(offsets))
        signatures.append(_signatures(digests.to_rows()))
    names = pa.array([], pa.string())
    table = pa.Table.from_batches(keys) if keys else pa.table({"sample_id": names, "dataset": names, "repeat": []})
    rank = pc.index_in(table["dataset"], pa.array(datasets, pa.string()))  # null where no order is given
    order = (
        table.append_column("row", pa.array(np.arange(len(table))))
        .append_column("rank", rank)
        .sort_by([("rank", "ascending"), ("sample_id", "ascending"), ("repeat", "ascending")])["row"]
        .to_numpy()
    )
    length = np.concatenate(lengths)
    ends = np.cumsum(length)
    return _Texts(
        table.take(order), np.concatenate(words), (ends - length)[order], ends[order], np.concatenate(signatures)[order]
    )


def _signatures(rows: list[list[int]]) -> npt.NDArray[np.uint16]:
    import numpy as np

    return np.array(rows, np.uint32).astype(np.uint16).reshape(-1, ROWS * BANDS)


def _pairs(texts: _Texts, floor: float, apart: str) -> Iterator[Pair]:
    """(later, earlier, similarity) of every text that resembles an earlier one of another sample, or dataset.

    Args:
        apart: the key in which the two differ: `sample_id` or `dataset`.
    """
    import numpy as np

    groups = texts.keys[apart].combine_chunks().dictionary_encode().indices.to_numpy()
    firsts, first_of = _first_of_each(texts.keys["words_hash"].to_numpy())
    copies = np.flatnonzero(first_of != np.arange(len(first_of)))
    found = dict(_near(texts, groups, firsts, floor))
    for place in copies.tolist():
        first = int(first_of[place])
        if groups[place] != groups[first]:
            yield place, first, 1.0
        elif first in found:  # what holds for a text holds for its copies
            yield place, *found[first]
    for place, like in found.items():
        yield place, *like


def _near(texts: _Texts, groups: Any, firsts: Places, floor: float) -> Iterator[tuple[int, tuple[int, float]]]:
    """Of texts that are all different: (later, (earlier, similarity))."""
    candidates = _candidates(texts.signatures[firsts], floor - MARGIN)
    later, earlier = firsts[candidates // len(firsts)], firsts[candidates % len(firsts)]
    other = groups[later] != groups[earlier]
    done, known = -1, -1
    for place, before in zip(later[other].tolist(), earlier[other].tolist(), strict=True):
        if place == done:
            continue
        if place != known:
            known, words = place, texts.set_of(place)
        similarity = jaccard(words, texts.set_of(before))
        if similarity >= floor:
            done = place
            yield place, (before, similarity)


def _first_of_each(values: Any) -> tuple[Places, Places]:
    """The places where a value stands first, in order; and for every place the one where its value stands first."""
    import numpy as np

    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return np.sort(first), first[inverse]


def _candidates(signatures: npt.NDArray[np.uint16], least: float) -> Places:
    """Pairs of texts that share a band and whose signatures agree well enough, as later * texts + earlier, in order."""
    import numpy as np

    count, found = len(signatures), [np.zeros(0, np.int64)]
    for band in range(BANDS):
        key = np.ascontiguousarray(signatures[:, ROWS * band : ROWS * (band + 1)]).view(np.uint64)[:, 0]
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        start = np.maximum.accumulate(np.where(new, np.arange(count), 0))
        position = np.arange(count)
        for step in range(1, NEAR + 2):
            partner = position - step if step <= NEAR else start
            there = np.flatnonzero((partner >= start) & (position - partner >= step))
            for some in np.array_split(there, len(there) // 500_000 + 1):
                later, earlier = order[some], order[partner[some]]
                agreed = (signatures[later] == signatures[earlier]).mean(axis=1, dtype=np.float32)
                fine = agreed >= least
                found.append(later[fine] * count + earlier[fine])
    return np.unique(np.concatenate(found))


def jaccard(one: set[int], other: set[int]) -> float:
    """Share of the members of either set that both have; 1 for two empty sets."""
    common = len(one & other)
    union = len(one) + len(other) - common
    return common / union if union else 1.0


def _table(texts: _Texts, kind: str | None, pairs: list[Pair]) -> pa.Table:
    import pyarrow as pa

    later, earlier, similarity = zip(*pairs, strict=True)
    own, like = texts.keys.take(pa.array(later)), texts.keys.take(pa.array(earlier))
    none = pa.nulls(len(pairs), pa.int64())
    kinds = pa.array([kind] * len(pairs), pa.string())
    return pa.table(
        {
            **{name: own[name] for name in ("sample_id", "dataset", "split")},
            "kind": kinds,
            "repeat": own["repeat"] if kind else none,
            "like_sample_id": like["sample_id"],
            "like_kind": kinds,
            "like_repeat": like["repeat"] if kind else none,
            "similarity": pa.array(similarity, pa.float64()),
        }
    )
