"""What a store needs of a folder and fsspec does not give there: to create a file once, to list while files go away."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PART = ".part"
"""Ends the name of what is being written."""


@dataclass(frozen=True)
class Entry:
    """A file of the store."""

    name: str
    """Below the store's root, with `/`."""
    size: int
    version: str
    """Another one for other content."""


def create_file(path: Path, data: bytes) -> None:
    """Write a file that is not there, whole: a link cannot take the place of a file.

    Raises:
        FileExistsError: it is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{PART}")
    try:
        beside.write_bytes(data)
        os.link(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def list_files(root: Path, folder: Path) -> Iterator[Entry]:
    """The files below a folder. fsspec's own listing drops all of a folder from which a file goes away meanwhile."""
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names if not name.endswith(PART)):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                yield Entry(path.relative_to(root).as_posix(), status.st_size, f"{status.st_size}-{status.st_mtime_ns}")
