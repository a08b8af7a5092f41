"""Experiments: every cell trained and tested once, side by side; what was found, gathered as tables."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api.experiment_cells import Planned, gather, plan, read_found, tests_json, trainings_of
from teacherlm.api.experiment_data import Spent, prepare
from teacherlm.api.experiment_project import home, lay_out
from teacherlm.api.side_by_side import Order, side_by_side
from teacherlm.core.errors import MissingExtra, Mistake, TeacherlmError
from teacherlm.core.files import read_json, write_json
from teacherlm.core.locks import held
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.read import read_experiment
from teacherlm.experiments.results import Outcome, Results, read_results, write_results

if TYPE_CHECKING:
    from teacherlm.api.project import Project

CELL = "teacherlm.api.experiment_cell"
SPENT, CLOCK = "datasets.json", "clock.json"
"""In the experiment's folder: what its teachers were asked; the wall clock of all its runs."""


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
        workers: cells at the same time; None: one for each GPU, or for each core where there is none.
        restart: find all cells again; what was found before lies in `found.before`, and counts for nothing.

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
        trainings = trainings_of(own, bound, cells)
        spent = _prepare(own, experiment, folder, tell)
        planned = plan(own, experiment, cells, trainings, spent)
        found = folder / "found"
        found.mkdir(exist_ok=True)
        if restart:
            _aside(found)
        wanted = {one.key: one for one in planned}
        todo = [one for one in wanted.values() if read_found(found, one.key) is None]
        progress = Progress(cells=len(wanted), done=len(wanted) - len(todo))
        watch(progress)
        gpus = _gpus(torch.cuda.device_count())
        at_once = workers or len(gpus) or os.cpu_count() or 1
        failures: dict[str, TeacherlmError] = {}
        try:
            _run(own, experiment, todo, found, at_once, gpus, progress, failures, watch)
        finally:
            outcomes, items = gather(experiment, cells, planned, found, failures)
            write_results(folder, experiment.name, outcomes, items)
            earlier = 0.0 if restart else read_seconds(folder) or 0.0
            write_json(folder / CLOCK, {"seconds": round(earlier + time.monotonic() - began, 1)})
    results = read_results(folder)
    assert results is not None
    return Ran(experiment, folder, results, spent, time.monotonic() - began, len(wanted) - len(todo))


def read_seconds(folder: Path) -> float | None:
    """Wall clock of all runs of an experiment; None where it was not run."""
    found = read_json(folder / CLOCK)
    return float(found["seconds"]) if found else None


def read_spent(folder: Path) -> dict[str, Spent]:
    """What the teachers of an experiment's datasets were asked; empty where it was not run."""
    return {name: Spent(**row) for name, row in (read_json(folder / SPENT) or {}).items()}


def _aside(found: Path) -> None:
    before = found.with_name(f"{found.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    found.rename(before)
    found.mkdir()


def _gpus(count: int) -> list[str]:
    """Those that this process sees, as `CUDA_VISIBLE_DEVICES` names them.

    >>> _gpus(0)
    []
    """
    named = [one.strip() for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def _prepare(own: Project, experiment: Experiment, folder: Path, tell: Callable[[str], None]) -> dict[str, Spent]:
    before, spent = read_spent(folder), {}
    for name, made in experiment.datasets.items():
        tell(f"dataset `{name}`: built, explained and judged")
        spent[name] = prepare(own, name, made, tell, before.get(name))
    write_json(folder / SPENT, {name: asdict(one) for name, one in spent.items()})
    return spent


def _run(
    own: Project,
    experiment: Experiment,
    todo: Sequence[Planned],
    found: Path,
    at_once: int,
    gpus: Sequence[str],
    progress: Progress,
    failures: dict[str, TeacherlmError],
    watch: Callable[[Progress], None],
) -> None:
    tests = tests_json(experiment)
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
        gpus=gpus,
        said=said,
        quiet=lambda: watch(progress),
        ended=ended,
    )
