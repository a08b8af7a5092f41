"""What a ledger holds already: the keys that need no asking again, and their answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teacherlm.schemas.records import record
from teacherlm.teacher.known import (
    DIGITS,
    EXHAUSTED,
    IS_REFUSED,
    REFUSED,
    TYPES,
    Column,
    Keys,
    halves,
    note_of,
    read_columns,
    read_kind,
    row_digests,
    settled_lines,
    teacher_digest,
)
from teacherlm.teacher.segments import Segment, kind_folders

if TYPE_CHECKING:
    import pyarrow as pa

    from teacherlm.teacher.known import Array
    from teacherlm.teacher.wire import Info

__all__ = ["EXHAUSTED", "REFUSED", "AnsweredCalls"]

KEPT_SEGMENTS = 4
"""Segments that stay in memory while answers are taken up again: a sample's kinds lie in one each."""


class AnsweredCalls:
    """The keys that need no asking again: answered, truncated, or refused for good. 33 bytes a key.

    Keys are compared by their first 128 bits.

    Args:
        keys: in order.
        rows: for each kind the digests of the rows that have a settled line, in order.
    """

    def __init__(self, keys: Keys, segments: Sequence[Segment], rows: Mapping[str, Array]) -> None:
        self._keys = keys
        self._segments = segments
        self._rows = rows
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
        columns = [Column(kind) for kind in TYPES]
        rows: dict[str, Column] = {}
        for kind_folder in kind_folders(folder):
            known, listed = read_kind(kind_folder, len(segments))
            segments += listed
            for column, part in zip(columns, known.keys, strict=True):
                column.add(part)
            rows.setdefault(kind_folder.name, Column(np.uint64)).add(known.rows)
        high = columns[0].joined()
        order = np.argsort(high, kind="stable")
        keys = Keys(high[order], *(column.joined()[order] for column in columns[1:]))
        return cls(keys, segments, {kind: np.sort(column.joined()) for kind, column in rows.items()})

    def may_hold(self, sample_ids: Array, kind: str, repeat: int, info: Info) -> Array:
        """Of which samples this teacher's text may be known; of the others it is not, whatever was asked.

        Args:
            sample_ids: their `text_digests`.
        """
        rows = self._rows.get(kind)
        if rows is None or not len(rows):
            return np.zeros(len(sample_ids), dtype=np.bool_)
        wanted = row_digests(sample_ids, repeat) + teacher_digest(info.model, info.revision)
        places = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
        held: Array = rows[places] == wanted
        return held

    def look_up(self, keys: Sequence[str]) -> list[str | None]:
        """For each key `answered`, `truncated`, or None where it has to be asked."""
        if not len(self) or not keys:
            return [None] * len(keys)
        return [self._state(hits) if hits else None for hits in self._find(keys)]

    def are_final(self, keys: Sequence[str]) -> list[bool]:
        """For each key whether it is answered, and its line the last one of its row."""
        if not len(self) or not keys:
            return [False] * len(keys)
        note, last = self._keys.note, self._keys.last
        found = self._find(keys)
        once = np.fromiter((hits[0] if len(hits) == 1 else -1 for hits in found), np.int64, len(found))
        final: list[bool] = ((once >= 0) & (note[once] < 0) & last[once]).tolist()
        return final

    def _state(self, hits: list[int]) -> str:
        return "truncated" if all(self._keys.note[hit] >= 0 for hit in hits) else "answered"

    def reached(self, key: str, answer: str) -> bool | None:
        """Whether the text of a known key was found to reach an answer; None where the call was refused.

        Answers are compared by 30 bits of their digest.
        """
        notes = [int(self._keys.note[hit]) for hit in self._find([key])[0]]
        if notes and all(note == IS_REFUSED for note in notes):
            return None
        return note_of(answer) in notes

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
        high, low = halves("".join([key[:DIGITS] for key in keys]))
        first = np.searchsorted(self._keys.high, high, side="left").tolist()
        last = np.searchsorted(self._keys.high, high, side="right").tolist()
        ranges = zip(first, last, low, strict=True)
        return [[hit for hit in range(start, end) if self._keys.low[hit] == half] for start, end, half in ranges]


def _settled_lines(segment: Segment) -> tuple[pa.Table, dict[str, int]]:
    """The settled lines of a segment, and the place of each key's last one."""
    table = read_columns(segment, record("rationale").arrow().names)
    table = table.filter(settled_lines(table))
    return table, {key: place for place, key in enumerate(table["call_key"].to_pylist())}


def _cut_texts(segment: Segment) -> dict[str, str]:
    import pyarrow.compute as pc

    table = read_columns(segment, ["call_key", "status", "text"])
    cut = table.filter(pc.equal(table["status"], "truncated"))
    return dict(zip(cut["call_key"].to_pylist(), cut["text"].to_pylist(), strict=True))
