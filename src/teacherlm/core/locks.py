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
        with disk_errors(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        # Closing releases the lock. Emptied first, so that a free lock names nobody.
        with contextlib.suppress(OSError):
            if _is_mine(descriptor):
                os.ftruncate(descriptor, 0)
        os.close(descriptor)


def holder(path: Path) -> str | None:
    """Who holds the lock file `path` now, such as `pid 12 on host`; None when it is free."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
    finally:
        os.close(descriptor)
    return None


def _take(descriptor: int) -> str | None:
    """Take the lock, or say who has it."""
    busy = ""
    for _ in range(20):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A holder without a name has just come, or is only `holder()` looking: ask again.
            if busy := os.pread(descriptor, 200, 0).decode(errors="replace").strip():
                return busy
            time.sleep(0.01)
        else:
            return None
    return "another process"


def _is_mine(descriptor: int) -> bool:
    return os.pread(descriptor, 200, 0).startswith(f"pid {os.getpid()} on ".encode())
