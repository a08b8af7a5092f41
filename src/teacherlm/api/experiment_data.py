"""The datasets of an experiment: built, explained and judged before the first cell, and what that took."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from teacherlm.api.experiment_clock import Clock
from teacherlm.api.train import TRIAL
from teacherlm.core.errors import Mistake, RemoteFailed
from teacherlm.core.files import write_text
from teacherlm.experiments.declaration import Made
from teacherlm.project.find import CATALOG
from teacherlm.train.declaration import Data
from teacherlm.train.read import plain_name, read_training
from teacherlm.train.request import MODELS

if TYPE_CHECKING:
    from teacherlm.api.project import Project

# What students read: other splits may be explained too, for whoever looks at them.
READ = "dataset = '{dataset}' AND split LIKE 'train%'"
SPENT = f"""
    SELECT kind, count(*), coalesce(sum(generated_tokens), 0)
    FROM rationales WHERE {READ} AND strategy <> 'human' GROUP BY kind"""
SAMPLES = f"SELECT count(*) FROM samples WHERE {READ}"


@dataclass(frozen=True)
class Spent:
    """What a teacher was asked for a dataset's training splits."""

    samples: int = 0
    calls: Mapping[str, int] = field(default_factory=dict)
    """By kind."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Generated, by kind."""
    accepted: float | None = None
    """Share of the texts that the rules let pass; None: nothing was asked."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By step, over all runs."""
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)


def prepare(project: Project, name: str, made: Made, tell: Callable[[str], None], before: Spent | None = None) -> Spent:
    """Build, explain and check one dataset; nothing is done twice.

    Args:
        project: the experiment's own, see `experiment_project.lay_out`.
        before: what earlier runs took; its seconds are added to.

    Raises:
        Mistake, Mistakes: the recipe, the teacher or its training is wrong.
        RemoteFailed: the teacher failed; what it answered is kept.
        KeyboardInterrupt: it was stopped.
    """
    clock = Clock(before.seconds if before else {}, before.cpu_seconds if before else {})
    with clock.step("build"):
        project.build(name, tell=tell)
    calls, tokens, accepted = _explained(project, name, made, tell, clock)
    return Spent(_samples(project, name), calls, tokens, accepted, clock.seconds, clock.cpu_seconds)


def _explained(
    project: Project, name: str, made: Made, tell: Callable[[str], None], clock: Clock
) -> tuple[dict[str, int], dict[str, int], float | None]:
    """Calls and generated tokens by kind, and the share of texts that were accepted."""
    if made.augmentation != "rationales":
        from teacherlm.api.experiment_augment import make_augmented

        with clock.step("explain"):
            cost = make_augmented(project, name, made, tell)
        return {made.augmentation: cost.calls}, {made.augmentation: cost.tokens}, None
    teacher = made.teacher
    if made.trained is not None:
        with clock.step("train"):
            teacher = trained_teacher(project, name, made, tell)
    if teacher is None:
        return {}, {}, None
    with clock.step("explain"):
        state = project_of(project).augment(
            name, teacher=teacher, kinds=made.kinds or None, limit=made.limit, repeats=made.repeats, tell=tell
        )
    if state.stopped_by:
        raise KeyboardInterrupt
    if state.tally.exhausted:
        raise RemoteFailed(
            f"the teacher failed {state.tally.exhausted:,} calls for `{name}` at every attempt",
            "run the same command again: these alone are asked again",
        )
    with clock.step("check"):
        report = project_of(project).check(name, only_if_stale=True)
    rows = project.sql(SPENT.format(dataset=name)).fetchall()
    share = report.books.accepted / report.books.asked if report.books.asked else None
    return {kind: count for kind, count, _ in rows}, {kind: n for kind, _, n in rows}, share


def _samples(project: Project, name: str) -> int:
    return int(project.sql(SAMPLES.format(dataset=name)).fetchall()[0][0])


def project_of(project: Project) -> Project:
    """The same, its catalogue read again."""
    from teacherlm.api.project import open as open_project

    return open_project(project.files.root, workspace=project.workspace.root)


def trained_teacher(project: Project, name: str, made: Made, tell: Callable[[str], None]) -> str:
    """Train the teacher, and name it in the experiment's catalogue."""
    training = plain_name(str(made.trained))
    try:
        stage = read_training(project.files, training).training.stages[-1].name
    except Mistake as error:
        raise Mistake(error.found, error.remedy, f"datasets.{name}.trained") from None
    tell(f"the teacher of `{name}` is trained: {training}")
    whole = training if made.max_steps is None else training + TRIAL
    folder = project.workspace.root / MODELS / whole / stage
    if made.max_steps is None or not (folder / "training.json").is_file():
        project.train(training, max_steps=made.max_steps, tell=tell)
    path = project.files.root / CATALOG
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    teachers = {**(data.get("teachers") or {}), f"{name}-teacher": {"embedded": str(folder.resolve())}}
    write_text(path, yaml.safe_dump({**data, "teachers": teachers}, sort_keys=False, allow_unicode=True, width=120))
    return f"{name}-teacher"


def spent_on(
    made: Mapping[str, Spent], read: Iterable[tuple[Data, Set[str]]], count: Callable[[Data], int]
) -> tuple[int, int]:
    """Calls and generated tokens that the texts of a training took.

    Of texts that are chosen, the others were asked for as well: who reads half of those that are good enough is charged
    with half of all. What is read twice was asked for once.

    Args:
        read: the data of its stages, and the kinds that their layouts read; other augmentations count whole.
        count: how many records a source has, of which `at_most` draws.
    """
    parts: dict[tuple[str, str], float] = {}
    for data, kinds in read:
        name = data.dataset or ""
        if name not in made:
            continue
        there = count(data) if data.at_most is not None else 0
        part = data.at_most / there if data.at_most is not None and there else 1.0
        for kind in made[name].calls:
            if kind in kinds or kind in ("paraphrases", "votes"):
                parts[name, kind] = min(1.0, parts.get((name, kind), 0.0) + part)
    return (
        round(sum(part * made[name].calls[kind] for (name, kind), part in parts.items())),
        round(sum(part * made[name].tokens[kind] for (name, kind), part in parts.items())),
    )


def model_folder(project: Project, training: str) -> Path:
    """Where the end of a training's last stage lies."""
    declared = read_training(project.files, training).training
    return project.workspace.root / MODELS / declared.name / declared.stages[-1].name
