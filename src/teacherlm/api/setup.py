"""A new project: the files that a person edits, laid out in a directory."""

from __future__ import annotations

import shutil
from pathlib import Path

from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake
from teacherlm.core.files import disk_errors

LAID_OUT = (
    "catalog.yaml",
    "builders/examples.yaml",
    "builders/examples.jsonl",
    "builders/prompts/paper.yaml",
    "builders/prompts/chat.yaml",
)


def init(directory: Path) -> list[str]:
    """Lay out a new project.

    Returns:
        The files written, relative to the directory.

    Raises:
        Mistake: a project is there already.
    """
    if present := [name for name in LAID_OUT if (directory / name).exists()]:
        raise Mistake(f"holds a project already ({present[0]})", "choose another directory", str(directory))
    with disk_errors(directory):
        for name in LAID_OUT:
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundled() / name, target)
        (directory / "quality" / "rules").mkdir(parents=True, exist_ok=True)
    return list(LAID_OUT)
