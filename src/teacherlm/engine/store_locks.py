"""One writer at a time on a store: a lock that names its holder and that a dead holder does not keep.

A lock is the highest numbered file of its folder. To take it over, the next number is created, which only one can do
where the store creates conditionally. The holder writes its file again and again; one whose file has not been written
for a while is taken to be dead. Ages are told by the store's clock alone, so that machines' clocks need not agree.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from teacherlm.core.clock import now
from teacherlm.core.errors import MachineFailed, TeacherlmError
from teacherlm.engine.store import Store

BEAT_S = 15.0
EXPIRY_S = 90.0
"""Without a beat for so long, a holder is taken to be dead."""


@dataclass(frozen=True)
class Holder:
    """Who has a lock."""

    host: str
    pid: int
    since: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} (since {self.since[:19]}Z)"


class Held:
    """Locks that this process holds."""

    def __init__(self) -> None:
        self.lost: str | None = None
        """A lock that another process has taken over, since we did not beat for too long."""

    def check(self) -> None:
        """
        Raises:
            MachineFailed: a lock was lost.
        """
        if self.lost is not None:
            raise MachineFailed(
                "another process has taken over, as this one could not reach the store for a while",
                "run the same command again; what was uploaded is kept",
                self.lost,
            )


@contextlib.contextmanager
def holding(
    store: Store, locks: Mapping[str, str], *, beat_s: float = BEAT_S, expiry_s: float = EXPIRY_S
) -> Iterator[Held]:
    """Hold locks while the block runs.

    Args:
        locks: the folder of each lock, and what it keeps, in words.

    Raises:
        MachineFailed: another process holds one of them; names it.
    """
    held, stop = Held(), threading.Event()
    mine: dict[str, _Lock] = {}
    try:
        for folder, what in locks.items():
            mine[folder] = _take(store, folder, what, expiry_s)
        beating = threading.Thread(target=_beat, args=(store, mine, held, stop, beat_s), daemon=True, name="locks")
        beating.start()
        try:
            yield held
        finally:
            stop.set()
            beating.join()
    finally:
        for folder, lock in mine.items():
            if held.lost != folder:
                with contextlib.suppress(TeacherlmError):  # it will expire
                    store.write(lock.name, orjson.dumps({"released": now()}))


def holder(store: Store, folder: str, *, expiry_s: float = EXPIRY_S) -> Holder | None:
    """Who holds a lock now; None when it is free."""
    number, found = _highest(store, folder)
    if found is None or _age(store, f"{folder}/{number:06d}") > expiry_s:
        return None
    return found


@dataclass(frozen=True)
class _Lock:
    name: str
    number: int
    content: bytes


def _take(store: Store, folder: str, what: str, expiry_s: float) -> _Lock:
    number, other = _highest(store, folder)
    if other is not None and _age(store, f"{folder}/{number:06d}") <= expiry_s:
        raise _busy(store, folder, what, str(other))
    me = {"host": socket.gethostname(), "pid": os.getpid(), "since": now(), "token": uuid.uuid4().hex}
    lock = _Lock(f"{folder}/{number + 1:06d}", number + 1, orjson.dumps(me))
    # The second look: somebody who was slow to create a low number must not believe that it has the lock.
    if not store.create(lock.name, lock.content) or _numbers(store, folder)[-1] != lock.number:
        raise _busy(store, folder, what, "another process")
    store.remove([f"{folder}/{old:06d}" for old in _numbers(store, folder) if old < lock.number])
    return lock


def _busy(store: Store, folder: str, what: str, who: str) -> MachineFailed:
    return MachineFailed(
        f"{what} is being written by {who}", "wait for it to end, or stop it, and run again", store.place(folder)
    )


def _beat(store: Store, locks: Mapping[str, _Lock], held: Held, stop: threading.Event, every_s: float) -> None:
    while not stop.wait(every_s):
        for folder, lock in locks.items():
            with contextlib.suppress(TeacherlmError):  # the next beat may reach the store
                if _numbers(store, folder)[-1:] != [lock.number]:
                    held.lost = folder
                else:
                    store.write(lock.name, lock.content)


def _numbers(store: Store, folder: str) -> list[int]:
    names = [entry.name.rpartition("/")[2] for entry in store.entries(folder)]
    return sorted(int(name) for name in names if name.isdigit())


def _highest(store: Store, folder: str) -> tuple[int, Holder | None]:
    """The highest number, and who wrote it; None where it was released."""
    numbers = _numbers(store, folder)
    if not numbers:
        return 0, None
    try:
        content = orjson.loads(store.read(f"{folder}/{numbers[-1]:06d}") or b"")
        if "released" in content:
            return numbers[-1], None
        return numbers[-1], Holder(str(content["host"]), int(content["pid"]), str(content["since"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return numbers[-1], Holder("an unknown host", 0, now())


def _age(store: Store, name: str) -> float:
    """Seconds since a file was written, by the store's clock."""
    probe = f"{name.rpartition('/')[0]}/now-{uuid.uuid4().hex[:8]}"
    store.write(probe, b"")
    try:
        return (store.modified(probe) - store.modified(name)).total_seconds()
    except FileNotFoundError:  # somebody has just taken it over
        return 0.0
    finally:
        store.remove([probe])
