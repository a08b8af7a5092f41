"""What is asked of a training, what it has done, and which stages that concerns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.core.keys import digest
from teacherlm.project.layouts import Layout
from teacherlm.train.checkpoints import differences
from teacherlm.train.declaration import Stage, Training
from teacherlm.train.model import Source, Where
from teacherlm.train.records import Opener, fingerprint, shown
from teacherlm.train.settings import DATA, settings_of
from teacherlm.train.settings import fingerprint as settings_fingerprint

WORK = ".training"
"""Below the training's folder: prepared data, the tokenizer, checkpoints and metrics of what is not finished."""
MODELS = "models"
"""The folder of a workspace that holds trainings."""
RECORD = "training.json"
"""Beside the weights of a finished stage."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be trained, and where."""

    training: Training
    where: Where
    declaration: str
    """Its text."""
    layouts: Mapping[str, Layout]
    open_records: Opener
    find_trained: Callable[[str], Path]
    """The folder of `NAME` or `NAME:STAGE`."""
    folder: Path
    """Holds a folder for each stage."""
    finished: Path | None = None
    """Where a trial finds the stages that it does not run."""
    stages: tuple[str, ...] | None = None
    """Those to run; None: all."""
    restart: bool = False
    """Throw away what there is of the stages to run, as soon as they are ready to be run anew."""
    max_steps: int | None = None
    """A trial: each stage ends there and is marked as partial."""


@dataclass
class Trained:
    """What a run has done."""

    training: str
    folder: Path
    stages: list[dict[str, Any]] = field(default_factory=list)
    """The record of each stage, those of earlier runs with `already`."""

    def to_row(self) -> dict[str, Any]:
        return {"training": self.training, "folder": str(self.folder), "stages": self.stages}


@dataclass
class Pending:
    """A stage that is to be run."""

    stage: Stage
    number: int
    place: str
    start: str | None
    """The stage that it starts from; None: the base."""
    settings: dict[str, Any]
    prepared: Any = None
    batches: Any = None


def chosen(request: Request) -> list[Stage]:
    """The stages to run, in their order."""
    return [stage for stage in request.training.stages if request.stages is None or stage.name in request.stages]


def check_stages(request: Request) -> None:
    """Look whether the stages asked for are declared.

    Raises:
        Mistake: one is not, or a trial of no step.
    """
    names = [stage.name for stage in request.training.stages]
    for name in request.stages or ():
        if name not in names:
            raise Mistake(f"there is no stage `{name}`", f"{request.training.name} has {', '.join(names)}", "--stages")
    if request.max_steps is not None and request.max_steps < 1:
        raise Mistake(f"is {request.max_steps}", "give a number of 1 or more", "--max-steps")


def stage_place(request: Request, stage: Stage) -> str:
    """Where a stage is declared."""
    return request.where(("stages", list(request.training.stages).index(stage)))


@contextmanager
def placed(request: Request, place: str) -> Iterator[None]:
    """Give mistakes without a line of their own the stage's."""
    try:
        yield
    except Mistakes:
        raise
    except Mistake as error:
        file = f"train/{request.training.name}.yaml"
        if not error.where or (error.where.startswith(file) and not error.where[len(file) :].startswith(":")):
            error.where = place + error.where[len(file) :]
        raise


def start_of(request: Request, stage: Stage) -> str | None:
    """The stage that a stage starts from; None: the base."""
    if stage.from_stage is not None:
        return stage.from_stage
    place = list(request.training.stages).index(stage)
    return request.training.stages[place - 1].name if place else None


def declared_settings(
    request: Request, stage: Stage, source: Source, start: Mapping[str, Any] | None, tokenizer: str
) -> dict[str, Any]:
    """The settings of a stage, but for the fingerprint of its prepared data.

    Args:
        start: the settings of the stage that it starts from; None: the base.
    """
    sources = {
        f"{number}: {shown(data)}": fingerprint(data, request.open_records)[:16]
        for number, data in enumerate(stage.data, start=1)
    }
    names = dict.fromkeys(
        name for data in stage.data for name in (*data.layouts, *([data.fallback] if data.fallback else []))
    )
    for name in names:
        if name in request.layouts:
            layout = {**asdict(request.layouts[name]), "about": ""}
            sources[f"layout {name}"] = digest(layout)[:16]
    begun = {"base": source.identity} if start is None else {"stage": settings_fingerprint(start)}
    return settings_of(request.training, stage, start=begun, tokenizer=tokenizer, sources=sources)


def same(request: Request, record: Mapping[str, Any], settings: Mapping[str, Any], place: str) -> None:
    """Look whether a finished stage is the one that is declared.

    Raises:
        Mistake: it was declared otherwise; says what differs.
    """
    before = {name: value for name, value in record["settings"].items() if name != DATA}
    if different := differences(before, settings):
        shown_ones = "; ".join(different[:4]) + (f"; and {len(different) - 4} more" if len(different) > 4 else "")
        raise Mistake(
            f"stage `{record['stage']}` was trained by another declaration: {shown_ones}",
            f"take the change back to keep it, or train it anew: --from-stage {record['stage']} --restart",
            place,
        )
