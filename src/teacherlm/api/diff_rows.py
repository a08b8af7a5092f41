"""What differs between two places: keys and hashes are compared first, texts are read for the rows that are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from teacherlm.api.view_rows import BATCH, COLUMNS, TOLD, Seen, sample_row
from teacherlm.schemas.records import KINDS

if TYPE_CHECKING:
    import duckdb

SAMPLE = ("question", "choices", "answer", "answer_index", "human_rationale")
"""Columns whose change is a change of the sample."""

SHORT = {"question": "q", "choices": "c", "answer": "a", "human_rationale": "h"}
"""What the page calls them."""


def accepted(kind: str) -> str:
    """The accepted rationales of a kind in `augmented`, with the columns of `TOLD`; their warnings are findings."""
    columns = dict.fromkeys(COLUMNS, "null")
    columns |= {name: name for name in ("sample_id", "dataset", "split")}
    columns |= {name: f"provenance.{kind}.{name}" for name in ("teacher_model", "teacher_revision", "strategy")}
    columns |= {"kind": f"'{kind}'", "repeat": "0::bigint", "text": kind, "verdict": "'accepted'"}
    columns["score"] = f"quality.{kind}.score"
    columns["findings"] = f"[[flag, 'warn', ''] for flag in coalesce(quality.{kind}.flags, [])]"
    listed = ", ".join(f"{value} as {name}" for name, value in columns.items())
    return f"select {listed} from augmented where {kind} is not null"


def lay_out(con: duckdb.DuckDBPyConnection, *, is_augmented: bool) -> str:
    """Make the views `side_samples` and `side_rationales` of one side.

    Args:
        is_augmented: of the augmented table alone, as published places have no other.

    Returns:
        The query of the rationales.
    """
    told = " union all ".join(accepted(kind) for kind in KINDS) if is_augmented else TOLD
    con.execute(f"create view side_rationales as {told}")
    columns = ", ".join(("sample_id", "dataset", "split", "task", "subject", *SAMPLE))
    con.execute(f"create view side_samples as select {columns} from {'augmented' if is_augmented else 'samples'}")
    return told


def compare(a: duckdb.DuckDBPyConnection, b: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A session with the tables `samples` and `rationales`: keys of both sides, and what of them differs.

    Memory holds some hundred bytes for each rationale; no texts.
    """
    import duckdb

    con = duckdb.connect()
    con.execute("set enable_progress_bar = false")
    content = f"if(question is null, null, hash({', '.join(SAMPLE)}))"
    for name, side in (("a", a), ("b", b)):
        found = side.sql(f"select sample_id, dataset, split, {content} as content from side_samples").to_arrow_table()
        con.register("read", found)
        con.execute(f"create table samples_{name} as from read")
        found = side.sql(
            "select sample_id, dataset, split, kind, repeat, hash(text) as content, "
            "coalesce(verdict, 'unchecked') as verdict, round(score, 4) as score from side_rationales"
        ).to_arrow_table()
        con.register("read", found)
        con.execute(f"create table rationales_{name} as from read")
        con.unregister("read")
    con.execute(
        """
        create table samples as
        select
            coalesce(b.dataset, a.dataset) as dataset, coalesce(b.split, a.split) as split, sample_id,
            a.sample_id is null as is_new, b.sample_id is null as is_gone,
            coalesce(a.content <> b.content, false) as is_changed
        from samples_a a full join samples_b b using (sample_id);
        create table rationales as
        select
            coalesce(b.dataset, a.dataset) as dataset, coalesce(b.split, a.split) as split, sample_id, kind, repeat,
            a.verdict as was, b.verdict as verdict, a.score as score_was, b.score as score,
            a.verdict is null as is_new, b.verdict is null as is_gone,
            coalesce(a.content <> b.content, false) as text_changed,
            coalesce(a.verdict <> b.verdict, false) as verdict_changed,
            not is_new and not is_gone and a.score is distinct from b.score as score_changed,
            is_new or is_gone or text_changed or verdict_changed or score_changed as differs
        from rationales_a a full join rationales_b b using (sample_id, kind, repeat)
        """
    )
    return con


def differing(con: duckdb.DuckDBPyConnection, most: int) -> tuple[int, dict[str, dict[str, Any]]]:
    """How many samples differ in anything, and the first of them by dataset, split and id, with what differs."""
    con.execute(
        """
        create table shown as
        select sample_id, coalesce(s.dataset, r.dataset) as dataset, coalesce(s.split, r.split) as split
        from (from samples where is_new or is_gone or is_changed) s
        full join (select sample_id, any_value(dataset) as dataset, any_value(split) as split
                   from rationales where differs group by sample_id) r using (sample_id)
        order by all
        """
    )
    ((total,),) = con.execute("select count(*) from shown").fetchall()
    con.execute(f"create table picked as select * from shown order by dataset, split, sample_id limit {most}")
    rows: dict[str, dict[str, Any]] = {}
    names = ("added", "removed", "changed")
    for sample_id, dataset, split, *marks in con.execute(
        "select p.sample_id, p.dataset, p.split, s.is_new, s.is_gone, s.is_changed "
        "from picked p left join samples s using (sample_id) order by p.dataset, p.split, p.sample_id"
    ).fetchall():
        rows[sample_id] = {
            "d": dataset,
            "p": split,
            "z": [name for name, is_so in zip(names, marks, strict=True) if is_so],
        }
    return total, rows


def read_differences(
    a: duckdb.DuckDBPyConnection, b: duckdb.DuckDBPyConnection, rows: Mapping[str, dict[str, Any]], seen: Seen
) -> list[dict[str, Any]]:
    """The samples of `rows` as a page reads them: with both sides of what differs, and the rest of them beside it."""
    before, after = _read(a, rows, seen), _read(b, rows, seen)
    found = []
    for sample_id, marks in rows.items():
        old, new = before.get(sample_id), after.get(sample_id)
        base = (new or old or (sample_row(sample_id, *[None] * 9), {}))[0]
        row = {**base, **marks, "r": _items(old[1] if old else {}, new[1] if new else {})}
        if base["q"] is None:
            row["gone"] = True
        if "changed" in marks["z"] and old and new:
            row["was"] = {key: old[0].get(key) for key in SHORT.values() if old[0].get(key) != new[0].get(key)}
        found.append(row)
    return found


def _items(before: Mapping[Any, dict[str, Any]], after: Mapping[Any, dict[str, Any]]) -> list[dict[str, Any]]:
    """Rationales of a sample on both sides, and what of each differs."""
    items = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        how = ["new"] if old is None else ["gone"] if new is None else []
        if old is not None and new is not None:
            changed = {"text": "t", "verdict": "v", "score": "s"}
            how = [name for name, field in changed.items() if old.get(field) != new.get(field)]
        sides = {name: side for name, side in (("a", old), ("b", new)) if side is not None}
        items.append({"k": key[0], "n": key[1], **sides, "c": how})
    return items


def _read(
    con: duckdb.DuckDBPyConnection, rows: Mapping[str, Any], seen: Seen
) -> dict[str, tuple[dict[str, Any], dict[tuple[str, int], dict[str, Any]]]]:
    """One side of the rows: each sample, and its rationales by kind and repeat."""
    import pyarrow as pa

    con.register("wanted", pa.table({"sample_id": pa.array(list(rows), pa.string())}))
    found: dict[str, tuple[dict[str, Any], dict[tuple[str, int], dict[str, Any]]]] = {}
    columns = ", ".join(("sample_id", "dataset", "split", "task", "subject", *SAMPLE))
    samples = con.execute(f"select {columns} from side_samples semi join wanted using (sample_id)")
    while batch := samples.fetchmany(BATCH):
        for sample_id, dataset, split, task, subject, *rest in batch:
            found[sample_id] = (sample_row(sample_id, dataset, split, task, subject, *rest), {})
    rationales = con.execute(f"select {', '.join(COLUMNS)} from side_rationales semi join wanted using (sample_id)")
    while batch := rationales.fetchmany(BATCH):
        for sample_id, dataset, split, kind, repeat, *rest in batch:
            if sample_id not in found:
                found[sample_id] = (sample_row(sample_id, dataset, split, *[None] * 7), {})
            found[sample_id][1][kind, repeat] = seen.rationale([kind, repeat, *rest])
    return found
