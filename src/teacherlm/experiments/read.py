"""Experiments of a project, and those that ship with teacherlm."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake, Mistakes, Problem
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.grid import Cell, cells
from teacherlm.project.bind import bind
from teacherlm.project.find import ProjectFiles
from teacherlm.project.located import Located, read_yaml
from teacherlm.train.layers import EXTENDS
from teacherlm.train.read import nearest, plain_name, read_raw

FOLDER = "evaluate/experiments"


@dataclass(frozen=True)
class BoundExperiment:
    """A declaration, and where each of its keys stands."""

    experiment: Experiment
    located: Located

    def cells(self, files: ProjectFiles) -> list[Cell]:
        """Its cells, each with its whole training.

        Raises:
            Mistakes: what `train.extends` names is not there or wrong.
        """
        below = self.experiment.train.get(EXTENDS)
        base: dict[str, Any] = {}
        if below is not None:
            try:
                base = read_raw(files, plain_name(str(below))).data
            except Mistakes:
                raise
            except Mistake as error:
                raise Mistake(error.found, error.remedy, self.located.where(("train", EXTENDS))) from None
        return list(cells(self.experiment, base))


def names(files: ProjectFiles) -> list[str]:
    """Names of all experiments: the project's own, then those that ship with teacherlm."""
    own = _names(files.root)
    return own + ([] if files.is_bundled else [name for name in _names(bundled()) if name not in own])


def read_experiment(files: ProjectFiles, name: str) -> BoundExperiment:
    """The declaration `evaluate/experiments/<name>.yaml`.

    Raises:
        Mistake: there is no such declaration.
        Mistakes: all that is wrong in it.
    """
    name = name.removeprefix("./").removeprefix(f"{FOLDER}/").removesuffix(".yaml")
    known = names(files)
    if name not in known or not re.fullmatch(r"[\w.-]+", name):
        raise Mistake(
            f"there is no experiment `{name}`", f"{nearest(name, known)} (or write {FOLDER}/{name}.yaml)", FOLDER
        )
    relative = f"{FOLDER}/{name}.yaml"
    located = read_yaml(
        next(root / relative for root in (files.root, bundled()) if (root / relative).is_file()), relative
    )
    if not isinstance(located.data, dict):
        raise Mistakes([Problem(located.where(()), "holds no keys with values", "write  question: …")])
    data = {"name": name, **located.data}
    if data["name"] != name:
        found = f"`name` is {data['name']}, but the file's name is {name}"
        raise Mistakes([Problem(located.where(("name",)), found, "leave `name` out, or rename the file")])
    return BoundExperiment(bind(located, Experiment, data=data), located)


def _names(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / FOLDER).glob("*.yaml"))
