"""`teacherlm.verify(place)`: whether a published folder or repository holds what was published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from teacherlm.hub import address
from teacherlm.hub.repository import Repository
from teacherlm.hub.verify import Verified, verify_folder, verify_hub


def _silent(_: str) -> None:
    pass


def verify(place: str | Path, *, load: bool = True, tell: Callable[[str], None] = _silent) -> Verified:
    """Read a publication back and compare it with its manifest: counts, columns and the hash of every file.

    Args:
        place: a folder, or `hf://datasets/ORG/REPO[@REVISION]`.
        load: also load every config with `datasets`, in a process and with a cache of its own.
        tell: called now and then with how far it has come.

    Returns:
        What was found of every split; `passed` says whether all is as it should be.

    Raises:
        Mistake: nothing was published there, or nothing that one may see.
        RemoteFailed: the Hub fails.
        MachineFailed: the manifest is damaged; the disk is full.
    """
    if address.is_hub(str(place)):
        return verify_hub(Repository(address.parse(str(place), "verify")), load=load, tell=tell)
    return verify_folder(Path(place), load=load, tell=tell)
