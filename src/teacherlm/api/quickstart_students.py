"""The models of a quickstart: which declaration trains each, where it lands, and what its training took."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from teacherlm.api.project import Project
from teacherlm.api.quickstart_figures import Point, Student
from teacherlm.api.quickstart_scores import Asked
from teacherlm.api.quickstart_trainings import Order
from teacherlm.api.train import TRIAL
from teacherlm.core.files import read_json
from teacherlm.core.keys import digest, folder_digest
from teacherlm.project.layouts import Layout
from teacherlm.train.declaration import Training
from teacherlm.train.metrics import NAME, read_lines
from teacherlm.train.read import read_layouts, read_training
from teacherlm.train.request import MODELS, RECORD

POINTS = 120
"""Places of a curve at most, each the mean of those that it stands for."""


class Model:
    """One declaration and what it was trained to in a workspace."""

    def __init__(self, project: Project, training: str, max_steps: int | None) -> None:
        self._project, self.training, self._max_steps = project, training, max_steps
        self._declared = read_training(project.files, training).training
        self._whole = project.workspace.root / MODELS / (training if max_steps is None else training + TRIAL)

    @property
    def folder(self) -> Path:
        """Weights and tokenizer at the end of the last stage."""
        return self._whole / self._declared.stages[-1].name

    @property
    def layout_name(self) -> str:
        """What the last stage's first data is read in."""
        return self._declared.stages[-1].data[0].layouts[0]

    def key(self, data: str) -> str:
        """Of all that decides its weights.

        Args:
            data: fingerprint of what it reads.
        """
        read = [source for stage in self._declared.stages for source in stage.data]
        used = {name for source in read for name in (*source.layouts, source.fallback)}
        layouts = {name: _decides(layout) for name, layout in self._layouts.items() if name in used}
        return digest([_decides(self._declared), layouts, self._max_steps, data])

    def record(self) -> dict[str, Any] | None:
        """What its training left; None where it is not finished."""
        found = read_json(self.folder / RECORD)
        return found if isinstance(found, dict) else None

    def fingerprint(self) -> str:
        """Of the weights and the tokenizer."""
        return folder_digest(self.folder, "*")

    def order(self, before: str | None, key: str) -> Order:
        """How to train it.

        Args:
            before: the key of the last attempt; another one is thrown away, one of no attempt of ours never is.
        """
        restart = before is not None and before != key
        return Order(
            self.training, self._project.files.root, self._project.workspace.root, self._max_steps, restart=restart
        )

    def asked(self, name: str) -> Asked:
        """As one that answers."""
        return Asked(name, self.folder, self._layouts[self.layout_name])

    def student(self, name: str) -> Student:
        """What its training took."""
        record = self.record()
        assert record is not None
        lines = read_lines(self.folder / NAME)
        size = max(1, -(-len(lines) // POINTS))
        parts = [lines[start : start + size] for start in range(0, len(lines), size)]
        return Student(
            name=name,
            layout=self.layout_name,
            parameters=record["parameters"],
            texts=record["data"]["texts"],
            tokens=record["tokens"],
            steps=record["steps_run"],
            seconds=record["seconds"],
            loss=tuple(
                Point(tokens=part[-1].tokens, loss=round(sum(line.loss for line in part) / len(part), 4))
                for part in parts
            ),
        )

    @property
    def _layouts(self) -> dict[str, Layout]:
        return read_layouts(self._project.files)


def _decides(declared: Layout | Training) -> dict[str, Any]:
    """All but what it says about itself."""
    return {name: value for name, value in asdict(declared).items() if name != "about"}


def parameters_of(model: str) -> int:
    """Parameters of a model of this machine, by its name or folder."""
    from teacherlm.lm.load import load

    return sum(parameter.numel() for parameter in load(model, device="cpu").model.parameters())
