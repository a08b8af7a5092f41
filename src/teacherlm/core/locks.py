"""One writer per dataset: an advisory lock that dies with its process and names its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import disk_errors


@contextlib.contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs.

    The system releases the lock when the process ends, however it ends; the file itself stays.

    Raises:
        MachineFailed: another process holds it; names its pid and host.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if (busy := _take(descriptor)) is not None:
            raise MachineFailed(
                f"{what} is being written by {busy}", "wait for it to end, or stop it, and run again", str(path)
            )
        try:
            with disk_errors(path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            yield
        finally:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)  # a free lock names nobody
    finally:
        os.close(descriptor)  # releases the lock


def holder(path: Path) -> str | None:
    """Who holds the lock file `path` now, such as `pid 12 on host`; None when it is free."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _name(descriptor)
    finally:
        os.close(descriptor)
    return None


def _take(descriptor: int) -> str | None:
    """Take the lock, or say who has it."""
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Perhaps only `holder()` is looking, and the name that stands there is a killed process's: ask again.
            time.sleep(0.01)
        else:
            return None
    return _name(descriptor)


def _name(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
