"""The files of a published place while they are read back: a folder's where they lie, the Hub's one by one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from teacherlm.core.files import disk_errors
from teacherlm.hub.repository import RemoteFile, Repository

Tell = Callable[[str], None]

EVERY_S = 10.0
"""Seconds between two words on how far a long one has come."""


def silent(_: str) -> None:
    pass


@dataclass(kw_only=True)
class Place:
    """Where the files lie, and how far they have been read."""

    name: str
    folder: Path | None = None
    repository: Repository | None = None
    commit: str | None = None
    there: dict[str, RemoteFile] = field(default_factory=dict)
    """Files of the commit."""
    known: set[str] = field(default_factory=set)
    """Large files that need not be fetched: the Hub has named their hash."""
    tell: Tell = silent
    total: int = 0
    """Files to read."""
    done: int = 0
    _said: float = field(default_factory=time.monotonic)

    def files(self) -> set[str]:
        if self.folder is None:
            return set(self.there)
        return {path.relative_to(self.folder).as_posix() for path in (self.folder / "data").rglob("*.parquet")}

    def known_hash(self, path: str) -> str | None:
        remote = self.there.get(path) if path in self.known else None
        return remote.oid if remote and len(remote.oid) == 64 else None

    @contextmanager
    def opened(self, path: str) -> Iterator[Path | None]:
        """A file for a while; None where it is missing."""
        if self.folder is not None:
            with disk_errors(self.folder / path):
                yield self.folder / path if (self.folder / path).is_file() else None
        elif path not in self.there:
            yield None
        else:
            assert self.repository is not None
            assert self.commit is not None
            # One file at a time: a repository may be larger than the disk.
            with tempfile.TemporaryDirectory(prefix="teacherlm-verify-") as cache:
                yield self.repository.fetch(path, self.commit, Path(cache))
        self.done += 1
        self.say(f"{self.done:,} of {self.total:,} files are read")

    def say(self, words: str) -> None:
        """How far it has come, now and then."""
        if time.monotonic() - self._said >= EVERY_S:
            self._said = time.monotonic()
            self.tell(f"{self.name}: {words}")
