"""A local copy of a part of a store, brought up to date by what has changed alone."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from teacherlm.core.errors import RemoteFailed
from teacherlm.core.files import read_json, write_json
from teacherlm.core.locks import held
from teacherlm.engine.folders import Entry
from teacherlm.engine.store import AGAIN, Store

INDEX = ".mirror.json"


def mirror(store: Store, folder: Path, prefixes: Sequence[str] = ("",)) -> int:
    """Make the files below `folder` those of the store; returns how many were fetched.

    Raises:
        MachineFailed: another process brings the same copy up to date; the disk is full.
    """
    with held(folder / ".mirror.lock", f"the copy of {store.url}"):
        for _ in range(AGAIN):
            with contextlib.suppress(FileNotFoundError):  # replaced since it was listed
                return _mirror(store, folder, prefixes)
    raise RemoteFailed("the files change faster than they can be fetched", "run again later", store.url)


def _mirror(store: Store, folder: Path, prefixes: Sequence[str]) -> int:
    known: dict[str, str] = read_json(folder / INDEX) or {}
    there: dict[str, Entry] = {entry.name: entry for prefix in prefixes for entry in store.entries(prefix)}
    asked = tuple(f"{prefix}/" if prefix else "" for prefix in prefixes)
    for name in [name for name in known if name not in there and name.startswith(asked)]:
        (folder / name).unlink(missing_ok=True)
        del known[name]
    changed = [
        name for name, entry in there.items() if known.get(name) != entry.version or not (folder / name).is_file()
    ]
    store.fetch(changed, folder)
    write_json(folder / INDEX, known | {name: there[name].version for name in changed})
    return len(changed)
