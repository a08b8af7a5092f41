"""Experiments: every cell trained and tested once, side by side; what was found, gathered as tables."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import TypeAdapter

from teacherlm.api.experiment_data import Spent, prepare, spent_on
from teacherlm.api.experiment_project import home, lay_out, training_name
from teacherlm.api.side_by_side import Order, side_by_side
from teacherlm.api.train_data import Records
from teacherlm.core.errors import MissingExtra, Mistake, Mistakes, Problem, TeacherlmError
from teacherlm.core.files import read_json, write_json
from teacherlm.core.keys import digest
from teacherlm.core.locks import held
from teacherlm.experiments.declaration import Experiment, Test
from teacherlm.experiments.grid import Cell
from teacherlm.experiments.read import BoundExperiment, read_experiment
from teacherlm.experiments.results import Item, Outcome, Results, read_results, write_results
from teacherlm.project.layouts import Layout
from teacherlm.train.read import BoundTraining, read_layouts, read_training
from teacherlm.train.records import fingerprint

if TYPE_CHECKING:
    from teacherlm.api.project import Project

CELL = "teacherlm.api.experiment_cell"
SPENT = "datasets.json"
"""In the experiment's folder: what its teachers were asked."""


@dataclass(frozen=True)
class Planned:
    """A cell that is to be found: several combinations of levels may come to the same one."""

    key: str
    training: str
    seed: int
    label: str
    calls: int
    call_tokens: int


@dataclass
class Progress:
    """How far a run is."""

    cells: int
    """Different ones."""
    done: int = 0
    """Including those of earlier runs."""
    failed: int = 0
    here: int = 0
    """Done by this run."""
    running: dict[str, str] = field(default_factory=dict)
    """Label of a cell -> what it does."""
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float | None:
        """At the rate of this run; None before its first cell."""
        if not self.here:
            return None
        return (time.monotonic() - self.began) / self.here * (self.cells - self.done - self.failed)


@dataclass(frozen=True)
class Ran:
    """What a run came to."""

    experiment: Experiment
    folder: Path
    results: Results
    spent: Mapping[str, Spent]
    seconds: float
    already: int
    """Cells that an earlier run had found."""

    @property
    def failed(self) -> list[Outcome]:
        return [one for one in self.results.outcomes if one.status == "failed"]


def run(
    project: Project,
    name: str,
    *,
    workers: int | None = None,
    restart: bool = False,
    watch: Callable[[Progress], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Ran:
    """Run the cells of `evaluate/experiments/<name>.yaml` that are not found yet.

    Args:
        workers: cells at the same time; None: one for each core, or one where there is a GPU.
        restart: find all cells again.

    Raises:
        MissingExtra: torch or transformers is not installed.
        Mistake, Mistakes: something that is declared is wrong; nothing was run.
        RemoteFailed, MachineFailed: as the teachers of its datasets fail.
        KeyboardInterrupt: it was stopped; the cells that were done are kept.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtra("experiments", "local") from None
    if workers is not None and workers < 1:
        raise Mistake(f"is {workers}", "give a number of 1 or more", "--workers")
    began = time.monotonic()
    bound = read_experiment(project.files, name)
    experiment, cells = bound.experiment, bound.cells(project.files)
    folder = home(project, experiment.name)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / "lock", f"experiment `{experiment.name}`"):
        own = lay_out(project, bound, cells)
        trainings = _trainings(own, bound, cells)
        spent = _prepare(own, experiment, folder, tell)
        planned = _plan(own, experiment, cells, trainings, spent)
        found = folder / "found"
        found.mkdir(exist_ok=True)
        wanted = {one.key: one for one in planned}
        todo = [one for one in wanted.values() if restart or not (found / f"{one.key}.json").is_file()]
        progress = Progress(cells=len(wanted), done=len(wanted) - len(todo))
        watch(progress)
        at_once = workers or (1 if torch.cuda.is_available() else os.cpu_count() or 1)
        failures: dict[str, TeacherlmError] = {}
        try:
            _run(own, experiment, todo, found, at_once, progress, failures, watch)
        finally:
            outcomes, items = _gather(experiment, cells, planned, found, failures)
            write_results(folder, outcomes, items)
    results = read_results(folder)
    assert results is not None
    return Ran(experiment, folder, results, spent, time.monotonic() - began, len(wanted) - len(todo))


def read_spent(folder: Path) -> dict[str, Spent]:
    """What the teachers of an experiment's datasets were asked; empty where it was not run."""
    return {name: Spent(**row) for name, row in (read_json(folder / SPENT) or {}).items()}


def _trainings(own: Project, bound: BoundExperiment, cells: Sequence[Cell]) -> dict[str, BoundTraining]:
    """The declarations of the cells, each looked through before anything runs."""
    found: dict[str, BoundTraining] = {}
    problems: dict[str, Problem] = {}
    for cell in cells:
        name = training_name(cell)
        if name in found:
            continue
        try:
            found[name] = read_training(own.files, name)
        except TeacherlmError as error:
            for problem in error.problems:
                said = f"{problem.found} (cell {cell.label})"
                problems.setdefault(problem.found, Problem(bound.located.where(("train",)), said, problem.edit))
    if problems:
        raise Mistakes(list(problems.values()))
    return found


def _prepare(own: Project, experiment: Experiment, folder: Path, tell: Callable[[str], None]) -> dict[str, Spent]:
    spent: dict[str, Spent] = {}
    for name, made in experiment.datasets.items():
        tell(f"dataset `{name}`: built, explained and judged")
        spent[name] = prepare(own, name, made, tell)
    write_json(folder / SPENT, {name: asdict(one) for name, one in spent.items()})
    return spent


def _plan(
    own: Project,
    experiment: Experiment,
    cells: Sequence[Cell],
    trainings: Mapping[str, BoundTraining],
    spent: Mapping[str, Spent],
) -> list[Planned]:
    """A plan for each cell, in their order; equal ones have one key."""
    layouts = read_layouts(own.files)
    tests = TypeAdapter(dict[str, Test]).dump_json(dict(experiment.tests)).decode()
    seen: dict[Any, str] = {}
    plans: dict[str, Planned] = {}
    planned = []
    for cell in cells:
        name = training_name(cell)
        if name not in plans:
            plans[name] = _planned(own, cell, trainings[name], layouts, tests, seen, spent)
        planned.append(plans[name])
    return planned


def _planned(
    own: Project,
    cell: Cell,
    bound: BoundTraining,
    layouts: Mapping[str, Layout],
    tests: str,
    seen: dict[Any, str],
    spent: Mapping[str, Spent],
) -> Planned:
    training = bound.training
    opener = Records(own, bound)
    read, calls, tokens = [], 0, 0
    for stage in training.stages:
        for data in stage.data:
            source = (data.dataset, data.collection, data.published, data.procedural, data.configs, data.split)
            if source not in seen:
                seen[source] = fingerprint(data, opener)
            used = [layouts[name] for name in (*data.layouts, *([data.fallback] if data.fallback else []))]
            read.append([seen[source], [{**asdict(layout), "about": ""} for layout in used]])
            kinds = {kind for layout in used for kind in layout.kinds}
            more = spent_on(spent, data.dataset or "", kinds, data.at_most)
            calls, tokens = calls + more[0], tokens + more[1]
    # Layouts of other names that say the same come to the same texts, and so to the same model.
    declared = {**asdict(training), "name": "", "about": ""}
    for stage in declared["stages"]:
        for data in stage["data"]:
            data["layouts"] = data["fallback"] = None
    key = digest([declared, read, tests])[:16]
    return Planned(key, training.name, cell.seed, cell.label, calls, tokens)


def _run(
    own: Project,
    experiment: Experiment,
    todo: Sequence[Planned],
    found: Path,
    at_once: int,
    progress: Progress,
    failures: dict[str, TeacherlmError],
    watch: Callable[[Progress], None],
) -> None:
    tests = TypeAdapter(dict[str, Test]).dump_json(dict(experiment.tests)).decode()
    by_order = {}
    for one in todo:
        task = {
            "project": str(own.files.root),
            "workspace": str(own.workspace.root),
            "training": one.training,
            "cell": one.key,
            "seed": one.seed,
            "tests": tests,
            "keep_models": experiment.keep_models,
            "result": str(found / f"{one.key}.json"),
        }
        alone = f"teacherlm experiment run {experiment.name} --workers 1"
        by_order[f"cell {one.key} ({one.label})"] = (Order(f"cell {one.key} ({one.label})", CELL, task, alone), one)

    def said(order: Order, line: Mapping[str, Any]) -> None:
        label = by_order[order.name][1].label
        if "progress" in line:
            at = line["progress"]
            progress.running[label] = f"step {at['step']:,} of {at['steps']:,}"
        elif "testing" in line:
            progress.running[label] = f"test {line['testing']}"
        watch(progress)

    def ended(order: Order, failure: TeacherlmError | None) -> None:
        one = by_order[order.name][1]
        progress.running.pop(one.label, None)
        if failure is not None:
            failures[one.key] = failure
            progress.failed += 1
        else:
            progress.done += 1
            progress.here += 1
        watch(progress)

    threads = max(1, (os.cpu_count() or 1) // at_once)
    side_by_side(
        [order for order, _ in by_order.values()],
        threads=threads,
        at_once=at_once,
        said=said,
        quiet=lambda: watch(progress),
        ended=ended,
    )


def _gather(
    experiment: Experiment,
    cells: Sequence[Cell],
    planned: Sequence[Planned],
    found: Path,
    failures: Mapping[str, TeacherlmError],
) -> tuple[list[Outcome], Iterable[Item]]:
    """Rows of all cells that were found or failed, and the items of those that were found, each once."""
    outcomes: list[Outcome] = []
    files: dict[str, dict[str, Any] | None] = {}
    for cell, plan in zip(cells, planned, strict=True):
        if plan.key not in files:
            path = found / f"{plan.key}.json"
            files[plan.key] = None if plan.key in failures or not path.is_file() else orjson.loads(path.read_bytes())
        same: dict[str, Any] = {
            "experiment": experiment.name,
            "cell": plan.key,
            "factors": cell.factors,
            "seed": cell.seed,
            "calls": plan.calls,
            "call_tokens": plan.call_tokens,
        }
        kept = files[plan.key]
        if kept is not None:
            outcomes += [Outcome(**same, **row) for row in kept["outcomes"]]
        elif plan.key in failures:
            why = " ".join(str(failures[plan.key]).split())
            outcomes += [
                Outcome(**same, test=name, way=way, status="failed", failure=why)
                for name, test in experiment.tests.items()
                for way in test.asked
            ]
    items = (Item(**row) for kept in files.values() if kept is not None for row in kept["items"])
    return outcomes, items
