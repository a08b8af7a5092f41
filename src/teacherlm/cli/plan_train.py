"""Plans of trainings among those of datasets: which name means which, and how they are shown together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from teacherlm.api.project import Project
from teacherlm.cli import show_collections, show_plan_train
from teacherlm.train.read import FOLDER, names, plain_name


def is_training(opened: Project, name: str) -> bool:
    """Whether a name means a declaration of training: it says so, or has a folder, which datasets have not."""
    if name.removeprefix("./").startswith(f"{FOLDER}/") or "/" in name:
        return True
    taken = name in opened.datasets or name in opened.collections
    return not taken and plain_name(name) in names(opened.files)


def plans(rows: Sequence[dict[str, Any]]) -> None:
    """Plans of datasets and collections, then those of trainings."""
    show_collections.plans([row for row in rows if show_plan_train.KEY not in row])
    for row in rows:
        if show_plan_train.KEY in row:
            show_plan_train.plan(row)
