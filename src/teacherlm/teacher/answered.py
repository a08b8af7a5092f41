"""What a ledger holds already: the keys that need no asking again, and their answers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from teacherlm.core.errors import MachineFailed
from teacherlm.schemas.records import record
from teacherlm.teacher.segments import Segment, kind_folders, list_segments, read_lines

if TYPE_CHECKING:
    import pyarrow as pa

KEPT_SEGMENTS = 4
"""Segments that stay in memory while answers are taken up again: a sample's kinds lie in one each."""

EXHAUSTED = "exhausted: "
REFUSED = "refused: "


class AnsweredCalls:
    """The keys that need no asking again: answered, truncated, or refused for good. 25 bytes a key.

    Keys are compared by their first 128 bits.
    """

    def __init__(self, keys: _Keys, segments: Sequence[Segment] = ()) -> None:
        order = np.lexsort((keys.low, keys.high))
        self._keys = _Keys(*(column[order] for column in keys))
        self._segments = segments
        self._lines: dict[int, tuple[pa.Table, dict[str, int]]] = {}
        self._texts: tuple[int, dict[str, str]] = (-1, {})

    def __len__(self) -> int:
        return len(self._keys.high)

    @classmethod
    def read(cls, folder: Path) -> AnsweredCalls:
        """The keys of a dataset's ledger.

        Raises:
            MachineFailed: a damaged segment.
        """
        segments: list[Segment] = []
        found = [_NO_KEYS]
        for kind_folder in kind_folders(folder):  # which holds all answers of its rows
            listed = list_segments(kind_folder)
            seen = np.empty(0, dtype=np.uint64)
            parts = []
            for number in range(len(segments) + len(listed) - 1, len(segments) - 1, -1):
                keys, seen = _read_keys(listed[number - len(segments)], number, seen)
                parts.append(keys)
            segments += listed
            found += reversed(parts)
        return cls(_Keys(*(np.concatenate(parts) for parts in zip(*found, strict=True))), segments)

    def look_up(self, keys: Sequence[str]) -> list[str | None]:
        """For each key `answered`, `truncated`, or None where it has to be asked."""
        if not len(self) or not keys:
            return [None] * len(keys)
        return [self._state(hits) if hits else None for hits in self._find(keys)]

    def _state(self, hits: list[int]) -> str:
        return "truncated" if all(self._keys.note[hit] >= 0 for hit in hits) else "answered"

    def reached(self, key: str, answer: str) -> bool | None:
        """Whether the text of a known key was found to reach an answer; None where the call was refused.

        Answers are compared by 30 bits of their digest.
        """
        notes = [int(self._keys.note[hit]) for hit in self._find([key])[0]]
        if notes and all(note == _REFUSED for note in notes):
            return None
        return _note_of(answer) in notes

    def text_of(self, key: str) -> str:
        """The text of a truncated answer; empty where the key is not one. The segment that was read last is kept."""
        if not len(self):
            return ""
        number = max((int(self._keys.note[hit]) for hit in self._find([key])[0]), default=-1)
        if number < 0:
            return ""
        if number != self._texts[0]:
            self._texts = (number, _cut_texts(self._segments[number]))
        return self._texts[1].get(key, "")

    def is_last(self, key: str) -> bool:
        """Whether the last line of its row is that of a key."""
        return any(self._keys.last[hit] for hit in self._find([key])[0])

    def lines_of(self, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The lines of known keys, the last one of each. The segments that were read last are kept."""
        for key, hits in zip(keys, self._find(keys) if keys else [], strict=True):
            number = max(int(self._keys.segment[hit]) for hit in hits)
            if number not in self._lines:
                while len(self._lines) >= KEPT_SEGMENTS:
                    del self._lines[next(iter(self._lines))]
                self._lines[number] = _settled_lines(self._segments[number])
            table, places = self._lines[number]
            yield table.slice(places[key], 1).to_pylist()[0]

    def _find(self, keys: Sequence[str]) -> list[list[int]]:
        """For each key its positions."""
        high, low = _split(keys)
        first = np.searchsorted(self._keys.high, high, side="left").tolist()
        last = np.searchsorted(self._keys.high, high, side="right").tolist()
        ranges = zip(first, last, low, strict=True)
        return [[hit for hit in range(start, end) if self._keys.low[hit] == half] for start, end, half in ranges]


class _Keys(NamedTuple):
    """Keys in columns."""

    high: np.ndarray[Any, Any]
    """The first 64 bits of each."""
    low: np.ndarray[Any, Any]
    """The next 64 bits."""
    note: np.ndarray[Any, Any]
    """Of a cut answer the number of the segment that holds it; else below 0: that the call was refused, or the digest
    of `predicted_answer`."""
    segment: np.ndarray[Any, Any]
    """The number of the segment that holds it."""
    last: np.ndarray[Any, Any]
    """Whether it is the last line of its row: of (sample_id, kind, repeat)."""


_NO_KEYS = _Keys(*(np.empty(0, dtype=kind) for kind in (">u8", ">u8", np.int32, np.int32, np.bool_)))


_NOTHING, _REFUSED, _FIRST_DIGEST = -1, -2, -3


def _note_of(answer: str) -> int:
    return _FIRST_DIGEST - (zlib.crc32(answer.encode()) >> 2)


def _split(keys: Sequence[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    packed = np.frombuffer(bytes.fromhex("".join([key[:32] for key in keys])), dtype=">u8").reshape(-1, 2)
    return packed[:, 0], packed[:, 1]


def _read_keys(segment: Segment, number: int, seen: np.ndarray[Any, Any]) -> tuple[_Keys, np.ndarray[Any, Any]]:
    """The settled keys of a segment.

    Args:
        seen: digests of the rows that later segments hold.

    Returns:
        Also these with the segment's own.
    """
    import polars as pl
    import pyarrow.compute as pc

    table = _read(segment, ["sample_id", "repeat", "call_key", "status", "failure", "predicted_answer"])
    # Rows are compared by 64 bits: where two meet, an answer may be recorded once more, or once less.
    rows = pl.DataFrame(pl.from_arrow(table.select(["sample_id", "repeat"]))).hash_rows().to_numpy()
    found, from_end = np.unique(rows[::-1], return_index=True)
    last = np.zeros(len(rows), dtype=np.bool_)
    last[len(rows) - 1 - from_end[~np.isin(found, seen)]] = True
    seen = np.union1d(seen, found)
    is_settled = _is_settled(table)
    settled = table.filter(is_settled)
    keys = settled["call_key"].to_pylist()
    if not keys:
        return _NO_KEYS, seen
    is_cut = pc.equal(settled["status"], "truncated").to_numpy(zero_copy_only=False)
    is_refused = pc.equal(settled["status"], "failed").to_numpy(zero_copy_only=False)
    answers = settled["predicted_answer"]
    notes = np.full(len(keys), _NOTHING, dtype=np.int32)
    if answers.null_count < len(keys):
        digests = (_NOTHING if answer is None else _note_of(answer) for answer in answers.to_pylist())
        notes = np.fromiter(digests, np.int32, len(keys))
    notes = np.where(is_refused, np.int32(_REFUSED), notes)
    notes = np.where(is_cut, np.int32(number), notes)
    held_by = np.full(len(keys), number, dtype=np.int32)
    return _Keys(*_split(keys), notes, held_by, last[is_settled.to_numpy(zero_copy_only=False)]), seen


def _is_settled(table: pa.Table) -> Any:
    import pyarrow.compute as pc

    again = pc.fill_null(pc.starts_with(table["failure"], EXHAUSTED), False)
    return pc.and_(pc.invert(again), pc.is_valid(table["call_key"])).combine_chunks()


def _settled_lines(segment: Segment) -> tuple[pa.Table, dict[str, int]]:
    """The settled lines of a segment, and the place of each key's last one."""
    table = _read(segment, record("rationale").arrow().names)
    table = table.filter(_is_settled(table))
    return table, {key: place for place, key in enumerate(table["call_key"].to_pylist())}


def _cut_texts(segment: Segment) -> dict[str, str]:
    import pyarrow.compute as pc

    table = _read(segment, ["call_key", "status", "text"])
    cut = table.filter(pc.equal(table["status"], "truncated"))
    return dict(zip(cut["call_key"].to_pylist(), cut["text"].to_pylist(), strict=True))


def _read(segment: Segment, columns: list[str]) -> pa.Table:
    if not segment.is_sealed:
        return read_lines(segment.path).select(columns)
    import pyarrow as pa
    import pyarrow.parquet

    try:
        # With the schema, columns that a ledger of old times lacks are null.
        return pyarrow.parquet.read_table(segment.path, columns=columns, schema=record("rationale").arrow())
    except (pa.ArrowException, OSError) as error:
        raise MachineFailed(
            f"the sealed ledger segment cannot be read: {error}",
            "restore it from a backup, or move it away: its questions are then asked again",
            str(segment.path),
        ) from None
