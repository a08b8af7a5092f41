"""The ledger: the durable record of every answered call. One appended line per answer, before it counts for anything.

A killed process loses at most the line it was writing; the kernel keeps the others. Power cuts are another matter:
lines are forced to the disk when their segment is sealed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import disk_errors, disk_failure, sweep_temporary
from teacherlm.teacher.segments import LINES, kind_folders, list_segments, seal, sweep

SEAL_AFTER = 20_000
"""Lines of a segment: some tens of megabytes, parsed at once while sealing."""

GRACE_S = 60.0
"""How long replaced lines stay for readers that have listed them."""


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
        left: list[Path] = []  # by a killed run
        for folder in kind_folders(self.folder):
            sweep_temporary(folder)
            sweep(folder, 0.0, time.time())
            left += [segment.path for segment in list_segments(folder) if not segment.is_sealed]
        with ThreadPoolExecutor(2) as sealers:  # the run waits for them
            list(sealers.map(seal, left))
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
