"""Files of results and samples, written whole and read back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import read_json, replacing, write_text
from teacherlm.evaluate.judge import plain

RESULTS, SAMPLES = "results_", "samples_"
"""How the names of files begin, as the harness has them."""

OWN = "teacherlm"
"""The key of what the harness has no key for."""


def sanitised(model: str) -> str:
    """The name of a model as that of a folder, as the harness makes it.

    >>> sanitised("org/name")
    'org__name'
    """
    return re.sub(r"[\"<>:/\|\\?*\[\]]+", "__", model)


def write_samples(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write the lines of a task.

    Raises:
        MachineFailed: the disk is full or refuses.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, default=plain, ensure_ascii=False) + "\n" for line in lines)


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The lines of a task; empty where there is no such file, or it is damaged."""
    try:
        with path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except (OSError, ValueError):
        return []


def write_results(path: Path, found: Mapping[str, Any]) -> None:
    """Write a results file.

    Raises:
        MachineFailed: the disk is full or refuses.
    """
    write_text(path, json.dumps(found, indent=2, default=plain, ensure_ascii=False) + "\n")


def read_results(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The results of a model, the latest first; files that are none, or damaged, are passed over."""
    found = []
    for path in sorted(folder.glob(f"{RESULTS}*.json"), reverse=True):
        try:
            content = read_json(path)
        except MachineFailed:
            continue
        if isinstance(content, dict) and isinstance(content.get(OWN), dict):
            found.append((path, content))
    return found
