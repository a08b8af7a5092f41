"""Contamination: questions and rationales of training splits that share text with the items of an evaluation set.

After GPT-3 (arXiv 2005.14165, appendix C), whose practice FLAN took over (arXiv 2109.01652): a text is contaminated
where it shares a run of 13 words with an item, case and punctuation aside; runs that stand in more than 10 items do not
count. Our items are questions of 8 to 15 words, for which GPT-3 would fall back to runs of 8, and one edited word would
hide them. So a text is contaminated too where it holds enough of an item's three-word sequences, in any order; one that
stands in several items counts that much less. docs/contamination.md tells what that finds and what it takes wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from teacherlm.quality.items import GAP, Items, read_items, shared_words
from teacherlm.quality.measures import TRAINING
from teacherlm.quality.shingles import QUESTION, batches, flat, shingles, words_sql
from teacherlm.schemas.records import record

if TYPE_CHECKING:
    import duckdb

MIN_SHARE, MIN_SHARE_OF_RATIONALE = 0.5, 0.6
"""Of an item's sequences, that a question, and a rationale, holds at least. A rationale is longer and speaks the
language of its task: more of its sequences are an item's by chance."""

MIN_SEQUENCES = 3
"""Of an item that a text holds at least; of an item that has fewer, all."""

NEAREST = 3
"""Items of a set that are named for a text at most, those of which it holds most."""

__all__ = ["GAP", "Reference", "find_contamination"]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An evaluation set that was read."""

    task: str
    path: Path
    """Parquet with its items: item, question, choices, answer."""
    items: int
    fingerprint: str


class _Hit(NamedTuple):
    key: dict[str, Any]
    """Columns of the text: sample_id, dataset, split, kind, repeat."""
    item: int
    share: float
    covered: tuple[tuple[int, int], ...]
    """Runs of the item's words that the text holds: first word, and the one after the last."""


def find_contamination(con: duckdb.DuckDBPyConnection, references: Sequence[Reference]) -> None:
    """Create the table `contamination` (schemas/contamination.yaml) out of the views `samples` and `rationales`.

    Training splits alone are looked at, those whose name begins with `train`; questions whether or not a teacher was
    asked about them yet, so that a leak shows before it is paid for.

    Raises:
        MachineFailed: an evaluation set's file is damaged; memory or disk did not suffice.
    """
    import pyarrow as pa

    contract = record("contamination")
    con.execute(f"create or replace temp table contamination as {contract.empty_select()}")
    if not references:
        return
    sets = [read_items(con, found.task, found.path) for found in references]
    hits: list[list[_Hit]] = [[] for _ in sets]
    for batch in batches(con, _TEXTS):
        marks, offsets = flat(batch.column("marks"))
        keys = batch.drop_columns(["marks"])
        for items, found in zip(sets, hits, strict=True):
            found += _hits(items, marks, offsets, keys)
    rows = [
        {**hit.key, "task": items.task, "item": name, "shared": shared, "share": hit.share}
        for items, found in zip(sets, hits, strict=True)
        for hit, (name, shared) in zip(
            found, shared_words(con, items, [(hit.item, hit.covered) for hit in found]), strict=True
        )
    ]
    if rows:
        con.register("found_contamination", pa.Table.from_pylist(rows, schema=contract.arrow()))
        con.execute(
            f"insert into contamination select {contract.cast_list()} from found_contamination "
            "order by sample_id, kind nulls first, repeat, task, share desc, item"
        )
        con.unregister("found_contamination")


_TEXTS = f"""
    select sample_id, dataset, split, kind, repeat, [hash(word) for word in words] as marks
    from (
        select sample_id, dataset, split, kind, repeat, {words_sql("text")} as words
        from (
            select sample_id, dataset, split, null::varchar as kind, null::bigint as repeat, {QUESTION} as text
            from samples
            where {TRAINING}
            union all
            select sample_id, dataset, split, kind, repeat, text from rationales where {TRAINING} and status = 'ok'
        )
    )
"""


def _hits(items: Items, marks: Any, offsets: Any, keys: Any) -> Iterator[_Hit]:
    """The items that the texts of a batch share words with."""
    import numpy as np

    made, ends = shingles(marks, offsets, items.size)
    is_rationale = keys.column("kind").is_valid().to_numpy(zero_copy_only=False)
    texts, found, held, weight = items.held_by(made, ends)
    share = weight / items.weights[found]
    enough = held >= np.minimum(MIN_SEQUENCES, items.sequences[found])
    least = np.where(is_rationale[texts], MIN_SHARE_OF_RATIONALE, MIN_SHARE)
    # Of an item with so few sequences nothing may be missing.
    least = np.where(items.sequences[found] < MIN_SEQUENCES, 1.0, least)
    chosen = enough & (share >= least - 1e-9)
    by_run = items.share_a_run(marks, offsets)
    chosen |= np.isin(texts * len(items.weights) + found, by_run)
    order = np.lexsort((found[chosen], -share[chosen], texts[chosen]))
    before, count = -1, 0
    for text, item, part in zip(
        texts[chosen][order].tolist(), found[chosen][order].tolist(), share[chosen][order].tolist(), strict=True
    ):
        count = count + 1 if text == before else 1
        before = text
        if count <= NEAREST:
            covered = items.covered(item, made[ends[text] : ends[text + 1]])
            yield _Hit(keys.slice(text, 1).to_pylist()[0], item, min(part, 1.0), covered)
