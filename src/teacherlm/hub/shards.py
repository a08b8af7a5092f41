"""The data files of one split: streamed, typed as `datasets` types them, and the same bytes for the same rows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import disk_errors
from teacherlm.core.keys import file_digest
from teacherlm.hub.manifest import DataFile, Split
from teacherlm.schemas.records import KINDS, Record

if TYPE_CHECKING:
    import pyarrow as pa

STEP = 1_000
"""Rows handled at once."""

CHUNKING = {"min_chunk_size": 64 * 1024, "max_chunk_size": 256 * 1024, "norm_level": 0}
"""Bytes of a page before compression, whose bounds depend on its content: an upload after a change sends the changed
chunks alone. A quarter of what `datasets` takes: about as fine as the storage of the Hub cuts."""

ONCE = {"sample_id", "question", "human_rationale", *KINDS, "call_key", "score"}
ONCE |= {"content", "prompt", "completion", "text"}  # of the training formats
"""Columns whose values hardly ever stand twice: no dictionary, which would change with any of its first rows."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """When a row group and a file are large enough."""

    group_rows: int = 20_000
    group_bytes: int = 64_000_000
    """Arrow bytes; readers hold a group in memory."""
    shard_bytes: int = 500_000_000
    """Bytes on disk; the file is closed after the group that passes it."""


def write_split(
    parts: Sequence[Path],
    root: Path,
    dataset: str,
    split: str,
    *,
    columns: Record,
    reads: Record | None = None,
    shape: Callable[[pa.Table], pa.Table] = lambda table: table,
    alone: bool = False,
    look: Callable[[pa.Table], None] = lambda table: None,
    sizes: Sizes = Sizes(),
) -> Split:
    """Write `data/DATASET/SPLIT-00000-of-0000N.parquet` below `root`.

    Memory holds one row group, whatever the number of rows. The bytes depend on the rows and their order, not on how
    they are spread over the parts. Without rows there is one file with the types and no row group.

    Args:
        parts: Parquet files of the augmented record.
        columns: the contract of what is written.
        reads: the columns that are read; None: those that are written.
        shape: makes the rows to write of up to STEP rows read; it may leave rows out.
        alone: take out texts that come from the source itself (strategy `human`).
        look: called with the rows as they will be published.

    Raises:
        MachineFailed: a part is damaged or lacks a column; the disk is full.
    """
    schema = columns.features().arrow_schema
    source = reads.features().arrow_schema if reads else schema
    shards = _Shards(root, f"data/{dataset}/{split}", schema, sizes)
    explained = 0
    try:
        for table in _steps(parts, source):
            if alone:
                table = _without_human_texts(table)
            look(table)
            explained += _explained(table)
            if (shaped := shape(table)).num_rows:
                shards.add(shaped.cast(schema))
        files = shards.end()
    finally:
        shards.abandon()
    rows = sum(file.rows for file in files)
    return Split(files=files, rows=rows, arrow_bytes=shards.arrow_bytes, explained=explained)


class _Shards:
    """Parquet files of one split: a row group when enough rows have come, a new file when the last is large enough."""

    def __init__(self, root: Path, stem: str, schema: pa.Schema, sizes: Sizes) -> None:
        self._root, self._stem, self._schema, self._sizes = root, stem, schema, sizes
        self._group: list[pa.Table] = []
        self._group_bytes = 0
        self._sink: BinaryIO | None = None
        self._writer: Any = None
        self._rows: list[int] = []
        self.arrow_bytes = 0
        (root / stem).parent.mkdir(parents=True, exist_ok=True)

    def add(self, table: pa.Table) -> None:
        import pyarrow as pa

        # The size as IPC counts it does not depend on offsets into shared buffers, as `nbytes` does.
        self._group_bytes += sum(pa.ipc.get_record_batch_size(batch) for batch in table.to_batches())
        self._group.append(table)
        rows = sum(part.num_rows for part in self._group)
        if rows >= self._sizes.group_rows or self._group_bytes >= self._sizes.group_bytes:
            self._write_group()

    def end(self) -> tuple[DataFile, ...]:
        """Close the last file and give all their final names."""
        if self._group:
            self._write_group()
        if not self._rows:
            self._open()
        self._close()
        count = len(self._rows)
        files = []
        for number, rows in enumerate(self._rows):
            name = f"{self._stem}-{number:05d}-of-{count:05d}.parquet"
            path = self._part(number).rename(self._root / name)
            files.append(DataFile(path=name, rows=rows, bytes=path.stat().st_size, sha256=file_digest(path)))
        return tuple(files)

    def abandon(self) -> None:
        """Close what is open, after a failure; its files are the caller's to remove."""
        if self._sink is None:
            return
        # The footer of a file that is thrown away may fail on the disk that failed before; pyarrow would try it again
        # when the writer is collected.
        with contextlib.suppress(OSError, ValueError):
            self._writer.close()
        self._writer.is_open = False
        with contextlib.suppress(OSError):
            self._sink.close()

    def _write_group(self) -> None:
        import pyarrow as pa

        table = pa.concat_tables(self._group).combine_chunks()
        if self._sink is None:
            self._open()
        assert self._sink is not None
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._rows[-1] += table.num_rows
        self.arrow_bytes += self._group_bytes
        self._group, self._group_bytes = [], 0
        if self._sink.tell() >= self._sizes.shard_bytes:
            self._close()

    def _open(self) -> None:
        import pyarrow.parquet as pq

        self._sink = self._part(len(self._rows)).open("wb")
        self._rows.append(0)
        leaves = [leaf for field in self._schema for leaf in _leaves(field, field.name)]
        self._writer = pq.ParquetWriter(
            self._sink,
            self._schema,
            compression="zstd",
            write_statistics=True,
            write_page_index=True,
            use_dictionary=[leaf for leaf in leaves if leaf.rpartition(".")[2] not in ONCE],
            use_content_defined_chunking=CHUNKING,
        )
        self._writer.add_key_value_metadata({"content_defined_chunking": json.dumps(CHUNKING)})

    def _close(self) -> None:
        if self._sink is not None:
            self._writer.close()
            self._sink.close()
            self._sink = None

    def _part(self, number: int) -> Path:
        return self._root / f"{self._stem}-{number:05d}.part"


def _leaves(field: pa.Field, path: str) -> Iterator[str]:
    """Paths of the columns that a field becomes, as Parquet has them."""
    import pyarrow as pa

    if pa.types.is_struct(field.type):
        for part in field.type:
            yield from _leaves(part, f"{path}.{part.name}")
    elif pa.types.is_list(field.type):
        yield from _leaves(field.type.value_field, f"{path}.list.element")
    else:
        yield path


def _steps(parts: Sequence[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of all parts in tables of STEP rows, whatever the sizes of the parts and of their row groups."""
    import pyarrow as pa

    held = schema.empty_table()
    for part in parts:
        for table in _rows_of(part, schema):
            held = pa.concat_tables([held, table])
            while held.num_rows >= STEP:
                yield held.slice(0, STEP).combine_chunks()
                held = held.slice(STEP)
    if held.num_rows:
        yield held.combine_chunks()


def _rows_of(part: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """One part's rows with the published columns and types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    again = "run `teacherlm check` again for this dataset"
    try:
        with disk_errors(part), pq.ParquetFile(part) as file:
            there = file.schema_arrow.names
            if missing := [name for name in schema.names if name not in there]:
                raise MachineFailed(f"lacks the columns {', '.join(missing)}", again, str(part))
            for batch in file.iter_batches(batch_size=STEP, columns=schema.names):
                yield pa.Table.from_batches([batch]).select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise MachineFailed(f"is damaged: {error}", again, str(part)) from error


def _without_human_texts(table: pa.Table) -> pa.Table:
    """Empty the kinds whose text was taken from the source: they are the source's words, not a teacher's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    structs = {name: table.column(name).combine_chunks() for name in ("quality", "provenance")}
    for kind in KINDS:
        strategy = pc.struct_field(structs["provenance"], [kind, "strategy"])
        human = pc.equal(strategy, "human").fill_null(False)
        if not pc.any(human).as_py():
            continue
        place = table.schema.get_field_index(kind)
        table = table.set_column(place, table.schema.field(kind), _emptied(table.column(kind).combine_chunks(), human))
        for name, struct in structs.items():
            fields = list(struct.type)
            arrays = [pc.struct_field(struct, field.name) for field in fields]
            arrays = [_emptied(a, human) if f.name == kind else a for f, a in zip(fields, arrays, strict=True)]
            structs[name] = pa.StructArray.from_arrays(arrays, fields=fields, mask=struct.is_null())
    for name, struct in structs.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), struct)
    return table


def _emptied(values: pa.Array, where: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(where, pa.scalar(None, values.type), values)


def _explained(table: pa.Table) -> int:
    """Rows with a rationale of at least one kind."""
    import pyarrow.compute as pc

    present = [pc.is_valid(table.column(kind)) for kind in KINDS]
    either = present[0]
    for column in present[1:]:
        either = pc.or_(either, column)
    return int(pc.sum(either).as_py() or 0)
