"""The project in which an experiment runs: the person's own, with the experiment's datasets and trainings over it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from teacherlm.api.standards import read_rules
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake, Mistakes, Problem
from teacherlm.core.files import write_text
from teacherlm.core.keys import digest
from teacherlm.experiments.declaration import Made
from teacherlm.experiments.grid import Cell
from teacherlm.experiments.read import BoundExperiment
from teacherlm.project.find import CATALOG, ProjectFiles

if TYPE_CHECKING:
    from teacherlm.api.project import Project

EXPERIMENTS = "experiments"
"""The folder of a workspace."""
TRAININGS = "cells"
"""Below `train/`: one declaration for each different training."""
_HEAD = "# Written by teacherlm experiment run {name}.\n"


def home(project: Project, name: str) -> Path:
    """Where an experiment keeps what it made and found."""
    return project.workspace.root / EXPERIMENTS / name


def training_name(cell: Cell) -> str:
    """Of the declaration that is written for a cell; equal trainings have one."""
    return f"{TRAININGS}/{digest([dict(cell.training)])[:12]}"


def lay_out(project: Project, bound: BoundExperiment, cells: list[Cell]) -> Project:
    """Write the experiment's recipes and trainings; all else is linked, so that paths in recipes stay what they are.

    Raises:
        Mistake, Mistakes: a recipe that is not there, or is not one whose questions can be chosen.
    """
    from teacherlm.api.project import open as open_project

    experiment = bound.experiment
    folder = home(project, experiment.name)
    root, theirs = folder / "project", project.files.root
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    _link(theirs, root, folder, ("builders", "train", CATALOG))
    for below in ("builders", "train"):
        (root / below).mkdir()
        if (theirs / below).is_dir():
            _link(theirs / below, root / below, folder, (TRAININGS,))
    _write(root / CATALOG, experiment.name, _catalog(project, experiment.rules))
    collections = project.workspace.root / "collections"
    if collections.is_dir() and not (folder / "collections").exists():
        (folder / "collections").symlink_to(collections.resolve())
    for name, made in experiment.datasets.items():
        path = root / "builders" / f"{name}.yaml"
        data = _recipe(project, bound, name, made)
        path.unlink(missing_ok=True)
        _write(path, experiment.name, data)
    (root / "train" / TRAININGS).mkdir()
    for cell in cells:
        about = f"{experiment.name}: {cell.label}"
        _write(root / "train" / f"{training_name(cell)}.yaml", experiment.name, {**cell.training, "about": about})
    return open_project(root, workspace=folder)


def _link(source: Path, target: Path, but: Path, not_these: tuple[str, ...]) -> None:
    """Link all that lies in a folder, but what is hidden and what holds the experiment itself."""
    for entry in source.iterdir():
        holds = but.resolve().is_relative_to(entry.resolve())
        if entry.name not in not_these and not entry.name.startswith(".") and not holds:
            (target / entry.name).symlink_to(entry.resolve())


def _catalog(project: Project, rules: str) -> dict[str, Any]:
    data = dict(project.files.catalog().data or {})
    if rules == "warn":
        settings = dict(data.get("rules") or {})
        for rule in read_rules(project.files, project.catalog):
            settings[rule.id] = {**settings.get(rule.id, {}), "severity": "warn"}
        data["rules"] = settings
    return data


def _recipe(project: Project, bound: BoundExperiment, name: str, made: Made) -> dict[str, Any]:
    place = bound.located.where(("datasets", name, "recipe"))
    try:
        own = made.recipe in project.files.recipes()
        # Experiments that ship name recipes that ship, in whatever project they are run.
        located = (project.files if own else ProjectFiles(bundled())).recipe(made.recipe)
    except Mistake as error:
        raise Mistake(error.found, error.remedy, place) from None
    data = dict(located.data)
    asked = {"families": list(made.families), "splits": dict(made.splits), "seed": made.seed}
    given = {key: value for key, value in asked.items() if value not in ([], {}, None)}
    source = data.get("source") or {}
    if given and not isinstance(source.get("procedural"), dict):
        found = f"`{made.recipe}` is not made by a program, so {', '.join(given)} cannot be chosen"
        raise Mistakes([Problem(place, found, f"take {', '.join(given)} out, or name a procedural recipe")])
    if given:
        data["source"] = {**source, "procedural": {**source["procedural"], **given}}
    return data


def _write(path: Path, name: str, data: Mapping[str, Any]) -> None:
    write_text(
        path, _HEAD.format(name=name) + yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=120)
    )
