"""The ledger: the durable record of every answered call. One appended line per answer, before it counts for anything.

A killed process loses at most the line it was writing; the kernel keeps the others. Power cuts are another matter:
lines are forced to the disk when their segment is sealed.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import orjson

from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import disk_errors, disk_failure, sweep_temporary
from teacherlm.schemas.records import record
from teacherlm.teacher.segments import LINES, Segment, kind_folders, list_segments, read_lines, seal, sweep

if TYPE_CHECKING:
    import pyarrow as pa

SEAL_AFTER = 20_000
"""Lines of a segment: some tens of megabytes, parsed at once while sealing."""

GRACE_S = 60.0
"""How long replaced lines stay for readers that have listed them."""

EXHAUSTED = "exhausted: "
REFUSED = "refused: "


class Ledger:
    """The open ledger of one dataset; its holder has the dataset's lock.

    >>> with Ledger(Path("workspace/rationales/creak")) as ledger:  # doctest: +SKIP
    ...     ledger.append(line)
    """

    def __init__(self, folder: Path, *, seal_after: int = SEAL_AFTER) -> None:
        self.folder = folder
        self._seal_after = seal_after
        self._open: dict[tuple[str, str], _OpenSegment] = {}
        # One thread: sealing must not hold up answers, and two at a time would only fight for the disk.
        self._sealer = ThreadPoolExecutor(1, "sealer")
        self._sealing: list[Future[Path]] = []

    def __enter__(self) -> Self:
        for folder in kind_folders(self.folder):
            sweep_temporary(folder)
            sweep(folder, 0.0, time.time())
            for segment in list_segments(folder):
                if not segment.is_sealed:  # left by a killed run
                    seal(segment.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(sealing=not isinstance(error, MachineFailed))

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one answer.

        Raises:
            MachineFailed: the disk is full or refuses; the ledger is as it was before.
        """
        place = (line["split"], line["kind"])
        segment = self._open.get(place)
        if segment is None:
            segment = self._open[place] = _OpenSegment.create(self.folder / place[0] / place[1])
        segment.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if segment.lines >= self._seal_after:
            del self._open[place]
            segment.close()
            self._sealing = [future for future in self._sealing if not _finished(future)]
            self._sealing.append(self._sealer.submit(seal, segment.path))
            sweep(segment.path.parent, GRACE_S, time.time())

    def close(self, *, sealing: bool = True) -> None:
        """Seal what is open. Where that fails the lines stay, and the next run seals them.

        Raises:
            MachineFailed: the disk is full, or a segment was damaged while we ran.
        """
        segments, self._open = list(self._open.values()), {}
        for segment in segments:
            segment.close()
            if sealing:
                self._sealing.append(self._sealer.submit(seal, segment.path))
        self._sealer.shutdown(wait=True)
        futures, self._sealing = self._sealing, []
        for future in futures:
            future.result()


def _finished(future: Future[Path]) -> bool:
    if future.done():
        future.result()
        return True
    return False


class _OpenSegment:
    """A segment that takes lines."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.lines = 0
        self._descriptor = descriptor
        self._size = 0

    @classmethod
    def create(cls, folder: Path) -> _OpenSegment:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            number = max((segment.number for segment in list_segments(folder)), default=0) + 1
            path = folder / f"{number:08d}{LINES}"
            return cls(path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644))

    def append(self, data: bytes) -> None:
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):  # a full disk takes a part, then refuses
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            with contextlib.suppress(OSError):  # where even that fails the line stays torn, and the last one
                os.ftruncate(self._descriptor, self._size)
            raise disk_failure(self.path, error) from error
        self._size += len(data)
        self.lines += 1

    def close(self) -> None:
        os.close(self._descriptor)


class AnsweredCalls:
    """The keys that need no asking again: answered, truncated, or refused for good. 20 bytes a key.

    Keys are compared by their first 128 bits.
    """

    def __init__(self, keys: _Keys, segments: Sequence[Segment] = ()) -> None:
        order = np.lexsort((keys.low, keys.high))
        self._keys = _Keys(keys.high[order], keys.low[order], keys.note[order])
        self._segments = segments
        self._texts: tuple[int, dict[str, str]] = (-1, {})

    def __len__(self) -> int:
        return len(self._keys.high)

    @classmethod
    def read(cls, folder: Path) -> AnsweredCalls:
        """The keys of a dataset's ledger.

        Raises:
            MachineFailed: a damaged segment.
        """
        segments = [segment for kind_folder in kind_folders(folder) for segment in list_segments(kind_folder)]
        found = [_NO_KEYS, *(_read_keys(segment, number) for number, segment in enumerate(segments))]
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


_NO_KEYS = _Keys(np.empty(0, dtype=">u8"), np.empty(0, dtype=">u8"), np.empty(0, dtype=np.int32))


_NOTHING, _REFUSED, _FIRST_DIGEST = -1, -2, -3


def _note_of(answer: str) -> int:
    return _FIRST_DIGEST - (zlib.crc32(answer.encode()) >> 2)


def _split(keys: Sequence[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    packed = np.frombuffer(bytes.fromhex("".join([key[:32] for key in keys])), dtype=">u8").reshape(-1, 2)
    return packed[:, 0], packed[:, 1]


def _read_keys(segment: Segment, number: int) -> _Keys:
    """The settled keys of a segment."""
    import pyarrow.compute as pc

    table = _read(segment, ["call_key", "status", "failure", "predicted_answer"])
    again = pc.fill_null(pc.starts_with(table["failure"], EXHAUSTED), False)
    settled = table.filter(pc.and_(pc.invert(again), pc.is_valid(table["call_key"])))
    keys = settled["call_key"].to_pylist()
    if not keys:
        return _NO_KEYS
    is_cut = pc.equal(settled["status"], "truncated").to_numpy(zero_copy_only=False)
    is_refused = pc.equal(settled["status"], "failed").to_numpy(zero_copy_only=False)
    answers = settled["predicted_answer"]
    notes = np.full(len(keys), _NOTHING, dtype=np.int32)
    if answers.null_count < len(keys):
        found = (_NOTHING if answer is None else _note_of(answer) for answer in answers.to_pylist())
        notes = np.fromiter(found, np.int32, len(keys))
    notes = np.where(is_refused, np.int32(_REFUSED), notes)
    return _Keys(*_split(keys), np.where(is_cut, np.int32(number), notes))


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
