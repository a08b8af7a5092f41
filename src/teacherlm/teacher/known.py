"""The settled lines of a ledger in columns of numbers: what is known of a million answers in some tens of megabytes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from teacherlm.core.errors import MachineFailed
from teacherlm.schemas.records import record
from teacherlm.teacher.segments import Segment, list_segments, read_lines

if TYPE_CHECKING:
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

EXHAUSTED = "exhausted: "
REFUSED = "refused: "

NOTHING, IS_REFUSED, FIRST_DIGEST = -1, -2, -3
"""Notes of keys; see `Keys.note`."""

DIGITS = 32
"""Of a key's digits, those that are compared: 128 bits."""


class Keys(NamedTuple):
    """Keys in columns."""

    high: Array
    """The first 64 bits of each."""
    low: Array
    """The next 64 bits."""
    note: Array
    """Of a cut answer the number of the segment that holds it; else below 0: that the call was refused, or the digest
    of `predicted_answer`."""
    segment: Array
    """The number of the segment that holds it."""
    last: Array
    """Whether it is the last line of its row: of (sample_id, kind, repeat)."""


class KnownKind(NamedTuple):
    """What one folder of a ledger holds, which has all answers of its rows."""

    keys: Keys
    rows: Array
    """For each of the keys, the digest of its row and teacher."""


TYPES = (np.uint64, np.uint64, np.int32, np.int32, np.bool_)
"""Of the columns of `Keys`."""


class Column:
    """A column that comes in parts. They are let go one after the other, so that there are never two copies."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._parts: list[Array] = []

    def add(self, part: Array) -> None:
        self._parts.append(part)

    def joined(self) -> Array:
        whole = np.empty(sum(map(len, self._parts)), dtype=self._kind)
        end = len(whole)
        while self._parts:
            part = self._parts.pop()
            whole[end - len(part) : end] = part
            end -= len(part)
        return whole


def note_of(answer: str) -> int:
    return FIRST_DIGEST - (zlib.crc32(answer.encode()) >> 2)


def halves(keys: str) -> tuple[Array, Array]:
    """The halves of keys that stand one behind the other, `DIGITS` of each."""
    packed = np.frombuffer(bytes.fromhex(keys), dtype=">u8").reshape(-1, 2)
    return packed[:, 0].astype(np.uint64), packed[:, 1].astype(np.uint64)


def text_digests(texts: Any) -> Array:
    """64 bits of each text of an Arrow array, and others in every process."""
    found = texts.to_pylist()
    return np.fromiter(map(hash, found), np.int64, len(found)).view(np.uint64)


def row_digests(sample_ids: Array, repeats: Any) -> Array:
    """Digests of rows, within one kind.

    Args:
        sample_ids: digests.
    """
    mixed: Array = sample_ids + np.uint64(0x9E3779B97F4A7C15) * np.atleast_1d(np.asarray(repeats)).astype(np.uint64)
    return mixed


def teacher_digest(model: str | None, revision: str | None) -> np.uint64:
    """What is added to a row's digest, for the row as a teacher answers it."""
    return np.uint64(hash((model, revision)) % 2**64)


def read_kind(folder: Path, first: int) -> tuple[KnownKind, list[Segment]]:
    """The settled keys of one folder of a ledger.

    Args:
        first: the number to give to its first segment.

    Raises:
        MachineFailed: a damaged segment.
    """
    segments = list_segments(folder)
    lines, rows, columns = Column(np.uint64), Column(np.uint64), [Column(kind) for kind in TYPES]
    for number, segment in enumerate(segments, first):
        read = _read_segment(segment, number)
        lines.add(read.lines)
        rows.add(read.rows)
        for column, part in zip(columns, (*read.columns, read.settled), strict=True):
            column.add(part)
    # Rows are compared by 64 bits: where two meet, an answer may be recorded once more, or once less.
    last = _last_of_each(lines.joined())
    *others, settled = (column.joined() for column in columns)
    high, low, note, held_by = others
    return KnownKind(Keys(high, low, note, held_by, last[settled]), rows.joined()), segments


def _last_of_each(values: Array) -> Array:
    """Where each value stands for the last time, as a mask."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    last = np.zeros(len(values), dtype=np.bool_)
    last[order[np.append(ordered[1:] != ordered[:-1], len(values) > 0)[: len(values)]]] = True
    return last


class _Read(NamedTuple):
    """One segment."""

    lines: Array
    """For each line, the digest of its row."""
    settled: Array
    """Which lines are settled: all but those that are asked again in the next run."""
    columns: tuple[Array, ...]
    """The first four of `Keys`, of the settled lines."""
    rows: Array
    """Digests of rows and teachers, of the settled lines."""


def _read_segment(segment: Segment, number: int) -> _Read:
    import pyarrow as pa
    import pyarrow.compute as pc

    pa.default_memory_pool().release_unused()  # of the last one; else some tens of megabytes stay
    columns = ["sample_id", "repeat", "call_key", "status", "failure", "predicted_answer"]
    table = read_columns(segment, [*columns, "teacher_model", "teacher_revision"])
    lines = row_digests(text_digests(table["sample_id"]), table["repeat"])
    is_settled = settled_lines(table)
    settled = is_settled.to_numpy(zero_copy_only=False)
    rows = (lines + _teachers(table))[settled]
    table = table.filter(is_settled)
    digits = pc.utf8_slice_codeunits(table["call_key"], 0, DIGITS)
    high, low = halves("".join(digits.to_pylist()))
    is_cut, is_refused = (
        pc.equal(table["status"], status).to_numpy(zero_copy_only=False) for status in ("truncated", "failed")
    )
    notes = np.where(is_refused, np.int32(IS_REFUSED), _notes(table["predicted_answer"]))
    notes = np.where(is_cut, np.int32(number), notes)
    held_by = np.full(len(table), number, dtype=np.int32)
    return _Read(lines, settled, (high, low, notes, held_by), rows)


def _teachers(table: pa.Table) -> Array:
    """For each line the digest of its teacher."""
    columns = [table["teacher_model"], table["teacher_revision"]]
    if len(table) and all(map(_is_one_value, columns)):
        model, revision = (column[0].as_py() for column in columns)
        return np.full(len(table), teacher_digest(model, revision), dtype=np.uint64)
    teachers = list(zip(*(column.to_pylist() for column in columns), strict=True))
    digests = {teacher: teacher_digest(*teacher) for teacher in set(teachers)}
    return np.fromiter((digests[teacher] for teacher in teachers), np.uint64, len(teachers))


def _is_one_value(column: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    if column.null_count:
        return bool(column.null_count == len(column))
    return bool(pc.all(pc.equal(column, column[0])).as_py())


def _notes(answers: pa.ChunkedArray) -> Array:
    """The notes of predicted answers; most lines have none."""
    if answers.null_count == len(answers):
        return np.full(len(answers), NOTHING, dtype=np.int32)
    found = answers.to_pylist()
    notes = {answer: NOTHING if answer is None else note_of(answer) for answer in set(found)}
    return np.fromiter((notes[answer] for answer in found), np.int32, len(found))


def settled_lines(table: pa.Table) -> Any:
    """Which lines of a segment need no asking again, as a mask."""
    import pyarrow.compute as pc

    again = pc.fill_null(pc.starts_with(table["failure"], EXHAUSTED), False)
    return pc.and_(pc.invert(again), pc.is_valid(table["call_key"])).combine_chunks()


def read_columns(segment: Segment, columns: Sequence[str]) -> pa.Table:
    """Columns of a segment. Those that a ledger of old times lacks are null.

    Raises:
        MachineFailed: a damaged segment.
    """
    if not segment.is_sealed:
        return read_lines(segment.path).select(columns)
    import pyarrow as pa
    import pyarrow.parquet

    schema = record("rationale").arrow()
    try:
        with pyarrow.parquet.ParquetFile(segment.path) as file:
            there = file.schema_arrow.names
            table = file.read([name for name in columns if name in there], use_threads=False)
        for name in columns:
            if name not in there:
                table = table.append_column(name, pa.nulls(len(table), schema.field(name).type))
        return table.select(columns).cast(pa.schema([schema.field(name) for name in columns]))
    except (pa.ArrowException, OSError) as error:
        raise MachineFailed(
            f"the sealed ledger segment cannot be read: {error}",
            "restore it from a backup, or move it away: its questions are then asked again",
            str(segment.path),
        ) from None
