"""Training: a declaration, the workspace's data and the folder of its models, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import yaml

from teacherlm.api.train_data import Records
from teacherlm.api.train_names import unknown
from teacherlm.api.train_rows import outputs as outputs
from teacherlm.core.errors import MissingExtra, Mistake, Mistakes
from teacherlm.core.files import read_json
from teacherlm.core.locks import held
from teacherlm.train.processes import is_first
from teacherlm.train.progress import Progress
from teacherlm.train.read import BoundTraining, plain_name, read_layouts, read_training
from teacherlm.train.request import MODELS, RECORD, WORK, Request, Trained

if TYPE_CHECKING:
    from teacherlm.api.project import Project

TRIAL = ".trial"


class TrainOptions(TypedDict, total=False):
    """What a training may be told."""

    stages: Sequence[str] | None
    """Those to run; None: all."""
    from_stage: str | None
    """Run this one and those after it."""
    restart: bool
    """Throw away checkpoints and outputs of the stages to run, once all that can be checked was."""
    max_steps: int | None
    """A trial: every stage ends there; lands in `models/NAME.trial` and is marked as partial."""
    output: str | Path | None
    """The folder of the stages; None: `models/NAME` in the workspace."""
    watch: Callable[[Progress], None]
    """Called after every step."""
    tell: Callable[[str], None]


def train(
    project: Project,
    name: str,
    *,
    stages: Sequence[str] | None = None,
    from_stage: str | None = None,
    restart: bool = False,
    max_steps: int | None = None,
    output: str | Path | None = None,
    watch: Callable[[Progress], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Run the stages of `train/<name>.yaml` that are not finished; a run that was killed goes on where it was.

    Args: see `TrainOptions`.

    Raises:
        MissingExtra: torch, transformers or accelerate is not installed.
        Mistake, Mistakes: something that is declared or given cannot be trained.
        MachineFailed: memory, disk, a loss that is no number, or another process trains it; what was saved is kept.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint of the last step is there.
    """
    try:
        import accelerate  # type: ignore[import-untyped]  # noqa: F401
        import torch  # noqa: F401
        from transformers.utils import logging
    except ImportError:
        raise MissingExtra("training", "local") from None
    quiet: Any = logging  # without types
    quiet.disable_progress_bar()
    name = plain_name(name)
    bound = read_training(project.files, name)
    if problems := unknown(project, bound, or_shipped=False):
        raise Mistakes(problems)
    from teacherlm.train.run import train as run

    whole = Path(output) if output is not None else project.workspace.root / MODELS / name
    folder = whole if max_steps is None else whole.with_name(whole.name + TRIAL)
    request = Request(
        training=bound.training,
        where=bound.where,
        declaration=yaml.safe_dump(bound.located.data, sort_keys=False, allow_unicode=True, width=100),
        layouts=read_layouts(project.files),
        open_records=Records(project, bound),
        find_trained=lambda given: find_trained(project, bound, given),
        folder=folder,
        finished=None if max_steps is None else whole,
        stages=_stages(bound, stages, from_stage),
        restart=restart or max_steps is not None,
        max_steps=max_steps,
    )
    # Of several processes only the first one writes.
    with held(folder / WORK / "lock", f"model `{name}`") if is_first() else nullcontext():
        return run(request, watch, tell)


def find_trained(project: Project, bound: BoundTraining, given: str) -> Path:
    """The folder of what `NAME` or `NAME:STAGE` was trained to; without a stage the last one's.

    Raises:
        Mistake: it is not trained yet, or was only tried.
    """
    name, _, stage = given.partition(":")
    name = plain_name(name)
    stage = stage or read_training(project.files, name).training.stages[-1].name
    folder = project.workspace.root / MODELS / name / stage
    if read_json(folder / RECORD) is None:
        raise Mistake(
            f"`{name}` is not trained yet up to its stage `{stage}`: there is no {folder}",
            f"train it first: teacherlm train {name}",
            bound.where(("base", "trained")),
        )
    return folder


def _stages(bound: BoundTraining, stages: Sequence[str] | None, first: str | None) -> tuple[str, ...] | None:
    if first is None:
        return tuple(stages) if stages is not None else None
    if stages is not None:
        raise Mistake("stands beside --stages", "give one of the two", "--from-stage")
    names = [stage.name for stage in bound.training.stages]
    if first not in names:
        raise Mistake(f"there is no stage `{first}`", f"{bound.training.name} has {', '.join(names)}", "--from-stage")
    return tuple(names[names.index(first) :])
