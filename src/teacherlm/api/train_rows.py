"""Trainings as rows for SQL: the steps of their metrics files, and their finished stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import read_json
from teacherlm.train.metrics import NAME, read_lines
from teacherlm.train.request import MODELS, RECORD, WORK


def step_rows(root: Path) -> Iterator[dict[str, Any]]:
    """A row for each optimizer step of all trainings in a workspace; also of those that go on."""
    models = root / MODELS
    for path in sorted(models.rglob(NAME)):
        *folders, stage = path.parent.relative_to(models).parts
        if any(part.startswith(".") and part != WORK for part in folders):
            continue  # a stage that is being put in its place
        training = "/".join(part for part in folders if part != WORK)
        for line in read_lines(path):
            yield {"training": training, "stage": stage, **asdict(line)}


def outputs(root: Path) -> Iterator[dict[str, Any]]:
    """The records of all finished stages in a workspace, trials included; what is no record is passed over."""
    for path in sorted((root / MODELS).rglob(RECORD)):
        if any(part.startswith(".") for part in path.parent.relative_to(root).parts):
            continue
        try:
            found = read_json(path)
        except MachineFailed:
            continue
        if isinstance(found, dict) and found.keys() >= {"training", "stage", "settings"}:
            yield {**found, "folder": path.parent.relative_to(root).as_posix()}


def stage_rows(root: Path) -> Iterator[dict[str, Any]]:
    """A row for each finished stage."""
    for found in outputs(root):
        yield {
            **found,
            "partial": "yes" if found["partial"] else "no",
            "finished_at": datetime.fromisoformat(found["finished_at"]),
            "steps": found["steps_run"],
            "texts": found["data"].get("texts"),
            "learning_rate": found["schedule"]["learning_rate"],
            "schedule": found["schedule"]["shape"],
        }
