"""What an experiment cost: gathered from the records in its workspace, and extrapolated to the paper's sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api.experiment_clock import CPU_SECONDS, SECONDS
from teacherlm.api.experiment_project import TRAININGS, home
from teacherlm.api.runs import read_runs
from teacherlm.api.train_rows import outputs
from teacherlm.api.workspace import Workspace
from teacherlm.builders.build import read_manifest
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.core.files import read_json
from teacherlm.experiments.cost import CostReport, Spending, report
from teacherlm.experiments.cost_paper import Assumed, Sized, extrapolated
from teacherlm.experiments.declaration import Experiment, Made
from teacherlm.experiments.read import read_experiment
from teacherlm.experiments.results import CELLS
from teacherlm.teacher.profile import NANO

if TYPE_CHECKING:
    from teacherlm.api.project import Project

SPENT = "datasets.json"
"""In the experiment's folder; see experiments.py."""
TEACHERS = "paper/teacher-"
STUDENTS = ("paper/students/multi-plain/", "paper/students/multi-augmented/")
"""Declarations that ship: the paper's sizes."""


def cost(project: Project, name: str, *, extrapolate: bool = True, assumed: Assumed | None = None) -> CostReport:
    """What the runs of an experiment took so far; nothing is run.

    Args:
        extrapolate: to the paper's sizes, which takes some seconds.

    Raises:
        Mistake: there is no such experiment, or it was not run.
        MachineFailed: a record is damaged.
    """
    experiment = read_experiment(project.files, name).experiment
    folder = home(project, experiment.name)
    if not folder.is_dir():
        raise Mistake(f"`{experiment.name}` was not run", f"run it: teacherlm experiment run {experiment.name}")
    found, notes = [*_of_datasets(project, experiment, folder), *_of_cells(folder)], list(_notes(folder))
    if not extrapolate:
        return report(experiment.name, found, notes=notes)
    teachers, students, samples = paper(project)
    return report(
        experiment.name,
        found,
        lambda spent, rates: extrapolated(teachers, students, spent, rates, samples, assumed),
        notes,
    )


def paper(project: Project) -> tuple[list[Sized], list[Sized], int | None]:
    """The paper's teachers and students with what they read, and the samples of its 58 datasets, as far as is known.

    Sources are counted where this workspace has them, else estimated from rows that recipes declare.
    """
    from teacherlm.api.plan_train_data import Sizes
    from teacherlm.api.train_names import shipped
    from teacherlm.train.read import names, read_layouts, read_training
    from teacherlm.train.shapes import known

    own, sizes = shipped(project), known()
    layouts = read_layouts(own.files)
    measured: dict[Any, tuple[dict[str, int], str]] = {}
    samples: int | None = None

    def sized(declared: str) -> Sized:
        nonlocal samples
        training = read_training(own.files, declared).training
        key = tuple((stage.name, stage.data, stage.epochs) for stage in training.stages)
        if key not in measured:
            read = Sizes(own, layouts, training.window, None)
            tokens, by = {}, []
            for stage in training.stages:
                parts = read.of(stage)
                tokens[stage.name] = round(sum(part.tokens or 0 for part in parts) * (stage.epochs or 1))
                by += [part.by for part in parts]
                if declared.startswith(STUDENTS):
                    samples = parts[0].records
            measured[key] = tokens, ", ".join(dict.fromkeys(by))
        tokens, how = measured[key]
        model = str(training.base.model)
        return Sized(
            name=training.about.split(" - ")[0].rstrip("."),
            parameters=sizes[model]["parameters"],
            tokens=tokens,
            by=how,
        )

    declared = names(own.files)
    teachers = sorted((sized(one) for one in declared if one.startswith(TEACHERS)), key=lambda one: one.parameters)
    students = [
        one
        for group in STUDENTS
        for one in sorted((sized(name) for name in declared if name.startswith(group)), key=lambda one: one.parameters)
    ]
    return teachers, students, samples


def _of_datasets(project: Project, experiment: Experiment, folder: Path) -> Iterator[Spending]:
    """Building, a teacher's training, explaining and checking of each dataset."""
    workspace = Workspace(folder)
    kept = read_json(folder / SPENT) or {}
    trained = [one for one in outputs(folder) if not str(one["training"]).startswith(TRAININGS + "/")]
    for record in trained:
        yield Spending(
            step="train a teacher",
            what=f"{record['training']}, stage {record['stage']}, {record.get('device', 'unknown device')}",
            rows=(record.get("data") or {}).get("texts"),
            seconds=record.get("seconds"),
            cpu_seconds=record.get("cpu_seconds"),
            gpu_seconds=record.get("gpu_seconds"),
            read=record.get("tokens"),
            parameters=record.get("parameters"),
        )
    for name, made in experiment.datasets.items():
        spent: Mapping[str, Any] = kept.get(name, {})
        manifest = read_manifest(workspace.samples(name))
        if manifest is None:
            continue
        yield _timed(Spending(step="build", what=f"{name}, {manifest.samples:,} samples", rows=manifest.samples), spent)
        explained = _explained(project, workspace, name, made, spent, trained)
        if explained is not None:
            yield _timed(explained, spent)
        if workspace.report(name).is_file():
            texts = sum((spent.get("calls") or {}).values()) or None
            yield _timed(Spending(step="check", what=f"{name}, {texts or 0:,} texts", rows=texts), spent)


def _explained(
    project: Project,
    workspace: Workspace,
    name: str,
    made: Made,
    spent: Mapping[str, Any],
    trained: Iterable[Mapping[str, Any]],
) -> Spending | None:
    """What the teacher of a dataset did in all runs; None where nobody was asked."""
    runs = read_runs(workspace, name)
    calls = sum((spent.get("calls") or {}).values())
    if not runs and not calls:
        return None
    models = ", ".join(dict.fromkeys(str(run.get("model") or run.get("teacher")) for run in runs)) or made.teacher
    by = made.trained or models  # the model that was trained is known to its server as a folder
    return Spending(
        step="explain",
        what=f"{name}, {made.augmentation} by {by}",
        rows=spent.get("samples"),
        seconds=sum(run["seconds"] for run in runs) if runs else None,
        calls=sum(run["requests"] for run in runs) if runs else calls,
        read=sum(run["prompt_tokens"] for run in runs) if runs else None,
        written=sum(run["generated_tokens"] for run in runs) if runs else sum((spent.get("tokens") or {}).values()),
        parameters=_parameters(project, made, runs, trained),
    )


def _timed(one: Spending, spent: Mapping[str, Any]) -> Spending:
    """With what `datasets.json` says of the step's time; a run's own record goes before."""
    seconds, cpu = ((spent.get(key) or {}).get(one.step) for key in (SECONDS, CPU_SECONDS))
    return replace(one, seconds=one.seconds if one.seconds is not None else seconds, cpu_seconds=cpu)


def _parameters(
    project: Project, made: Made, runs: Sequence[Mapping[str, Any]], trained: Iterable[Mapping[str, Any]]
) -> int | None:
    """Of a dataset's teacher; None where nothing here tells them, or several teachers were asked."""
    from teacherlm.lm import nano
    from teacherlm.train.read import plain_name
    from teacherlm.train.request import RECORD
    from teacherlm.train.shapes import known

    models = {str(run.get("model")) for run in runs}
    if len(models) > 1:
        return None
    if made.trained is not None:
        name = plain_name(made.trained)
        sizes = [one.get("parameters") for one in trained if one["training"] == name]
        return sizes[-1] if sizes else None
    model = next(iter(models), "")
    if model in known():
        return int(known()[model]["parameters"])
    profile = {"nano": NANO, **project.catalog.teachers}.get(str(made.teacher))
    if profile is None or profile.embedded is None:
        return None
    folder = nano.FOLDER if profile.embedded == "nano" else Path(profile.embedded)
    record = read_json(folder / RECORD) if folder.is_dir() else None
    return record.get("parameters") if isinstance(record, dict) else None


def _of_cells(folder: Path) -> Iterator[Spending]:
    """Training and tests: models of one size in one line; a cell counts once, however many combinations come to it."""
    sizes: dict[int, list[Mapping[str, Any]]] = {}
    tests: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    seen = set()
    for row in _cells(folder):
        if row["status"] != "done":
            continue
        if (row["cell"], row["test"], row["way"]) in seen:
            continue
        seen.add((row["cell"], row["test"], row["way"]))
        tests.setdefault((row["test"], row["way"]), []).append(row)
        if row["cell"] not in seen:
            seen.add(row["cell"])
            sizes.setdefault(row["parameters"], []).append(row)
    for parameters, rows in sorted(sizes.items()):
        yield Spending(
            step="train",
            what=f"{_many(len(rows), 'model')} of {parameters:,} parameters",
            rows=sum(row["texts"] for row in rows),
            seconds=_sum(rows, "train_seconds"),
            cpu_seconds=_sum(rows, "train_cpu_seconds"),
            gpu_seconds=_sum(rows, "train_gpu_seconds"),
            read=sum(row["tokens"] for row in rows),
            parameters=parameters,
        )
    for (test, way), rows in tests.items():
        yield Spending(
            step="test",
            what=f"{test} by {way}, {_many(len(rows), 'model')}, {sum(row['items'] for row in rows):,} questions",
            rows=sum(row["items"] for row in rows),
            seconds=_sum(rows, "test_seconds"),
            cpu_seconds=_sum(rows, "test_cpu_seconds"),
            gpu_seconds=_sum(rows, "test_gpu_seconds"),
        )


def _cells(folder: Path) -> list[Mapping[str, Any]]:
    """The table as it is: an older one may lack columns."""
    import pyarrow.parquet as pq

    if not (folder / CELLS).is_file():
        return []
    try:
        rows: list[Mapping[str, Any]] = pq.read_table(folder / CELLS).to_pylist()
    except (OSError, ValueError) as error:  # Arrow's errors are ValueErrors
        raise MachineFailed(
            f"cannot be read: {error}",
            "run the experiment again: the cells that were done are kept",
            str(folder / CELLS),
        ) from None
    return rows


def _sum(rows: Sequence[Mapping[str, Any]], column: str) -> float | None:
    values = [row.get(column) for row in rows]
    return None if None in values else sum(value for value in values if value is not None)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _notes(folder: Path) -> Iterator[str]:
    """What the records of this experiment lack."""
    failed = len({row["cell"] for row in _cells(folder) if row["status"] == "failed"})
    if failed:
        yield f"{_many(failed, 'cell')} failed; what was spent before that is not recorded."
    yield "Experiments publish nothing; what a server elsewhere computes with is not recorded."
    yield "Starting a process for each cell and loading libraries, some seconds of CPU, is in the wall clock alone."
    yield "Cells that were found again with --restart count once, as they were found last."
