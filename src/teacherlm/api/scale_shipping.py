"""Shipping: while a worker appends answers to its own disk, a thread uploads them as immutable segments.

What was appended is uploaded as soon as it is 1,000 answers, or 5 seconds old. Such segments are small, and a long run
would leave very many; so the last 16 of a size are replaced by one of them all, again and again, and each of the
ledger's own segments ends as one file. A reader that comes in between finds some answers twice, never too few.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from teacherlm.core.errors import RemoteFailed
from teacherlm.engine.store import Store
from teacherlm.teacher.segments import LINES, SEALED, Segment, kind_folders, list_segments, seal

ANSWERS = 1_000
AGE_S = 5.0
LOOK_S = 0.2
JOINED = 16
PATIENCE_S = 300.0
"""How long a store may be away before the worker gives up."""


@dataclass
class _Piece:
    """A part of an open segment that was uploaded."""

    name: str
    start: int
    end: int
    level: int = 0
    """How often it was joined."""


@dataclass
class _Tail:
    """A segment that grows on our disk, and what of it was uploaded."""

    path: Path
    descriptor: int
    end: int = 0
    """Bytes of whole lines that are there."""
    lines: int = 0
    """Whole lines that are not uploaded."""
    since: float | None = None
    """When the first of them was seen."""
    pieces: list[_Piece] = field(default_factory=list)

    @property
    def shipped(self) -> int:
        return self.pieces[-1].end if self.pieces else 0

    def look(self) -> None:
        """See what was appended."""
        data = self.read(self.end, os.fstat(self.descriptor).st_size)
        whole = data.rfind(b"\n") + 1
        if whole:
            self.end += whole
            self.lines += data.count(b"\n", 0, whole)
            self.since = self.since or time.monotonic()

    def read(self, start: int, end: int) -> bytes:
        # By the descriptor: the ledger removes the lines of a sealed segment, and we may not be done with them.
        return os.pread(self.descriptor, end - start, start) if end > start else b""


class Shipping:
    """Uploads what is appended to a dataset's ledger while the block runs; when it ends all is uploaded.

    >>> with Shipping(store, scratch, "rationales/creak", Numbers(3, 0).next) as shipping:  # doctest: +SKIP
    ...     project.augment("creak", teacher=url)

    Raises:
        RemoteFailed: the store was away for too long; what it lacks is asked again in the next run.
    """

    def __init__(
        self,
        store: Store,
        root: Path,
        folder: str,
        next_number: Callable[[], int],
        *,
        answers: int = ANSWERS,
        age_s: float = AGE_S,
        look_s: float = LOOK_S,
    ) -> None:
        self._answers, self._age_s, self._look_s = answers, age_s, look_s
        self._store = store
        self._folder = root / folder
        self._prefix = folder
        self._next_number = next_number
        self._pieces_folder = root / "pieces"
        self._there = {segment.path.with_suffix("") for segment in self._listed()}
        """Segments of earlier runs, which came from the store."""
        self._tails: dict[Path, dict[int, _Tail]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipping", daemon=True)
        self.failure: BaseException | None = None
        """Why nothing is uploaded any more."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for tails in self._tails.values():
            for tail in tails.values():
                os.close(tail.descriptor)
        if self.failure is not None and error is None:
            raise self.failure

    def _listed(self) -> list[Segment]:
        return [segment for folder in kind_folders(self._folder) for segment in list_segments(folder)]

    def _run(self) -> None:
        failing_since: float | None = None
        while True:
            ending = self._stop.wait(self._look_s)
            try:
                self._look()
                if not ending and self._is_due():
                    self._ship()
                self._finish(ending)
            except RemoteFailed as error:
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since < PATIENCE_S:
                    time.sleep(self._look_s)
                    continue
                self.failure = error
            except BaseException as error:
                self.failure = error
            if ending or self.failure:
                return
            failing_since = None

    def _look(self) -> None:
        """Find the segments that were begun, and what was appended to each."""
        for folder in kind_folders(self._folder):
            tails = self._tails.setdefault(folder, {})
            for path in folder.glob(f"*{LINES}"):
                if path.stem.isdigit() and path.with_suffix("") not in self._there:
                    self._there.add(path.with_suffix(""))
                    tails[int(path.stem)] = _Tail(path, os.open(path, os.O_RDONLY))
            for path in folder.glob(f"*{SEALED}"):
                if path.stem.isdigit() and path.with_suffix("") not in self._there:
                    # Begun, sealed and swept while the store was away.
                    self._store.upload(path, self._name(path.parent, SEALED))
                    self._there.add(path.with_suffix(""))
            for tail in tails.values():
                tail.look()

    def _open_tails(self) -> list[_Tail]:
        return [tails[number] for tails in self._tails.values() for number in sorted(tails)]

    def _is_due(self) -> bool:
        tails = self._open_tails()
        oldest = min((tail.since for tail in tails if tail.since is not None), default=None)
        waited = oldest is not None and time.monotonic() - oldest >= self._age_s
        return waited or sum(tail.lines for tail in tails) >= self._answers

    def _ship(self) -> None:
        for tail in self._open_tails():
            if tail.end > tail.shipped:
                tail.pieces.append(self._upload(tail, tail.shipped, tail.end))
                tail.lines, tail.since = 0, None
            while len(last := tail.pieces[-JOINED:]) == JOINED and last[0].level == last[-1].level:
                self._join(tail, JOINED)

    def _finish(self, ending: bool) -> None:
        """Join all pieces of each segment that takes no more lines."""
        for tails in self._tails.values():
            for number in sorted(tails)[: None if ending else -1]:
                tail = tails[number]
                if tail.end > tail.shipped:
                    tail.pieces.append(self._upload(tail, tail.shipped, tail.end))
                    tail.lines, tail.since = 0, None
                if len(tail.pieces) > 1:
                    self._join(tail, len(tail.pieces))
                os.close(tails.pop(number).descriptor)

    def _join(self, tail: _Tail, count: int) -> None:
        old = tail.pieces[-count:]
        joined = self._upload(tail, old[0].start, old[-1].end)
        joined.level = old[-1].level + 1
        tail.pieces[-count:] = [joined]
        self._store.remove([piece.name for piece in old])

    def _upload(self, tail: _Tail, start: int, end: int) -> _Piece:
        name = self._name(tail.path.parent, LINES)
        lines = self._pieces_folder / name
        lines.parent.mkdir(parents=True, exist_ok=True)
        lines.write_bytes(tail.read(start, end))
        sealed = seal(lines)
        name = str(Path(name).with_suffix(SEALED))
        self._store.upload(sealed, name)
        for path in (lines, sealed):
            path.unlink()
        return _Piece(name, start, end)

    def _name(self, folder: Path, suffix: str) -> str:
        return f"{self._prefix}/{folder.relative_to(self._folder).as_posix()}/{self._next_number():08d}{suffix}"
