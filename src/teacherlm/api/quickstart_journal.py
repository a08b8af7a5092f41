"""When each step of a quickstart was last done, how long it took, and what it was done with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from teacherlm.api.quickstart_figures import Step
from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import read_json, write_json


@dataclass
class Doing:
    """A step while it is done; whoever does it says what came out."""

    did: str = ""
    done_now: bool = True
    seconds: float | None = None
    """Where the clock of the whole step is not what it took."""


class Journal:
    """Keeps steps in a file, so that a run which repeats nothing can still tell how long each took."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[str, Any] = _read(path)
        self.steps: list[Step] = []

    @contextmanager
    def step(self, name: str) -> Iterator[Doing]:
        """Time a step; a step that ends with an error is not kept."""
        doing, began = Doing(), time.monotonic()
        yield doing
        seconds = time.monotonic() - began if doing.seconds is None else doing.seconds
        before = self._kept.get(name)
        if not doing.done_now and before is not None:
            seconds, doing.did = before["seconds"], before.get("did", doing.did)
        step = Step(name=name, did=doing.did, seconds=round(seconds, 2), done_now=doing.done_now)
        self.steps.append(step)
        self._kept[name] = {**(before or {}), **asdict(step)}
        write_json(self._path, self._kept)

    def key(self, name: str) -> str | None:
        """What a step was last begun with; None where that is not known."""
        found = self._kept.get(name, {}).get("key")
        return str(found) if found is not None else None

    def begin(self, name: str, key: str) -> None:
        """Note what a step is begun with, before it is."""
        self._kept.setdefault(name, {"seconds": 0.0})["key"] = key
        write_json(self._path, self._kept)


def _read(path: Path) -> dict[str, Any]:
    """What is kept; nothing where it cannot be read, since only times are lost."""
    try:
        kept = read_json(path)
    except MachineFailed:
        return {}
    return kept if isinstance(kept, dict) else {}
