"""The ledger: the durable record of every answered call. One appended line per answer, before it counts for anything.

A killed process loses at most the line it was writing; the kernel keeps the others. Power cuts are another matter: lines
are forced to the disk when their segment is sealed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import orjson

from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import disk_errors, disk_failure, sweep_temporary
from teacherlm.teacher.segments import LINES, Segment, kind_folders, list_segments, read_lines, seal, sweep

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
            os.ftruncate(self._descriptor, self._size)  # no torn line in the middle of a segment
            raise disk_failure(self.path, error) from error
        self._size += len(data)
        self.lines += 1

    def close(self) -> None:
        os.close(self._descriptor)


class AnsweredCalls:
    """The keys that need no asking again: answered, truncated, or refused for good. 17 bytes a key.

    Keys are compared by their first 128 bits.
    """

    def __init__(self, high: np.ndarray[Any, Any], low: np.ndarray[Any, Any], cut: np.ndarray[Any, Any]) -> None:
        order = np.lexsort((low, high))
        self._high, self._low, self._cut = high[order], low[order], cut[order]

    def __len__(self) -> int:
        return len(self._high)

    @classmethod
    def read(cls, folder: Path) -> AnsweredCalls:
        """The keys of a dataset's ledger.

        Raises:
            MachineFailed: a damaged segment.
        """
        highs, lows, cuts = [_EMPTY], [_EMPTY], [_EMPTY.astype(bool)]
        for kind_folder in kind_folders(folder):
            for segment in list_segments(kind_folder):
                high, low, cut = _keys(segment)
                highs.append(high)
                lows.append(low)
                cuts.append(cut)
        return cls(np.concatenate(highs), np.concatenate(lows), np.concatenate(cuts))

    def look_up(self, keys: Sequence[str]) -> list[str | None]:
        """For each key `answered`, `truncated`, or None where it has to be asked."""
        if not len(self._high) or not keys:
            return [None] * len(keys)
        high, low = _split(keys)
        first = np.searchsorted(self._high, high, side="left")
        last = np.searchsorted(self._high, high, side="right")
        states: list[str | None] = []
        for position, (start, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            hits = [i for i in range(start, end) if self._low[i] == low[position]]
            states.append(None if not hits else "truncated" if all(self._cut[i] for i in hits) else "answered")
        return states


_EMPTY = np.empty(0, dtype=">u8")


def _split(keys: Sequence[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    packed = np.frombuffer(bytes.fromhex("".join([key[:32] for key in keys])), dtype=">u8").reshape(-1, 2)
    return packed[:, 0], packed[:, 1]


def _keys(segment: Segment) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """High and low half of the settled keys of a segment, and whether their answer was cut."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet

    if segment.is_sealed:
        try:
            table = pyarrow.parquet.read_table(segment.path, columns=["call_key", "status", "failure"])
        except (pa.ArrowInvalid, OSError) as error:
            raise MachineFailed(
                f"the sealed ledger segment cannot be read: {error}",
                "restore it from a backup, or move it away: its questions are then asked again",
                str(segment.path),
            ) from None
    else:
        table = read_lines(segment.path).select(["call_key", "status", "failure"])
    again = pc.fill_null(pc.starts_with(table["failure"], EXHAUSTED), False)
    settled = table.filter(pc.and_(pc.invert(again), pc.is_valid(table["call_key"])))
    keys = settled["call_key"].to_pylist()
    if not keys:
        return _EMPTY, _EMPTY, _EMPTY.astype(bool)
    high, low = _split(keys)
    return high, low, np.array(pc.equal(settled["status"], "truncated").to_pylist(), dtype=bool)
