"""A new project: the files that a person edits, laid out in a directory."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from teacherlm.api.editor_schemas import schema_line, write_schemas
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake
from teacherlm.core.files import disk_errors

LAID_OUT = (
    "catalog.yaml",
    "builders/examples.yaml",
    "builders/examples.jsonl",
    "builders/curriculum.yaml",
    "builders/prompts/paper.yaml",
    "builders/prompts/chat.yaml",
    "train/example.yaml",
)

MADE = "{train: 200}"
"""Questions of the curriculum: enough to see, and explained in seconds."""

COLLECTIONS = """\
# Datasets that are built, explained and checked together, in a workspace of their own: teacherlm build sample-100
collections:
  sample-100:
    datasets: ["*"]      # names or patterns
    at_most: 100         # of each dataset, drawn at random by the seed
    seed: 7
"""
"""In place of the bundled collections, whose datasets are not laid out."""


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
            if line := schema_line(name):
                target.write_text(line + _bundled_text(name), encoding="utf-8")
            else:
                shutil.copyfile(bundled() / name, target)
        (directory / "quality" / "rules").mkdir(parents=True, exist_ok=True)
        schemas = write_schemas(directory)
    return [*LAID_OUT, *schemas]


def _bundled_text(name: str) -> str:
    text = (bundled() / name).read_text(encoding="utf-8")
    if name == "builders/curriculum.yaml":
        return re.sub(r"(?<=    splits: )\{.*\}", MADE, text)
    if name != "catalog.yaml":
        return text
    kept, mark, _ = text.partition("# Datasets that are built, explained")
    return kept + COLLECTIONS if mark else text
