"""The cells of a run: which are different, what each is known by, and the rows of those that were found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import TypeAdapter

from teacherlm.api.experiment_data import Spent, spent_on
from teacherlm.api.experiment_project import training_name
from teacherlm.api.train_data import Records
from teacherlm.core.errors import Mistakes, Problem, TeacherlmError
from teacherlm.core.keys import digest
from teacherlm.experiments.declaration import Experiment, Test
from teacherlm.experiments.grid import Cell
from teacherlm.experiments.read import BoundExperiment
from teacherlm.experiments.results import Item, Outcome
from teacherlm.project.layouts import Layout
from teacherlm.train.declaration import Data
from teacherlm.train.read import BoundTraining, read_layouts, read_training
from teacherlm.train.records import fingerprint

if TYPE_CHECKING:
    from teacherlm.api.project import Project


@dataclass(frozen=True)
class Planned:
    """A cell that is to be found: several combinations of levels may come to the same one."""

    key: str
    training: str
    seed: int
    label: str
    calls: int
    call_tokens: int


def tests_json(experiment: Experiment) -> str:
    """The tests, as the process of a cell reads them."""
    return TypeAdapter(dict[str, Test]).dump_json(dict(experiment.tests)).decode()


def trainings_of(own: Project, bound: BoundExperiment, cells: Sequence[Cell]) -> dict[str, BoundTraining]:
    """The declarations of the cells, each looked through before anything runs.

    Raises:
        Mistakes: what is wrong in them, each where it was declared: in the level that all cells with it have, and no
            other, else in `train`.
    """
    found: dict[str, BoundTraining] = {}
    problems: dict[str, Problem] = {}
    wrong: dict[str, list[Cell]] = {}
    for cell in cells:
        name = training_name(cell)
        if name in found:
            continue
        try:
            found[name] = read_training(own.files, name)
        except TeacherlmError as error:
            for problem in error.problems:
                problems.setdefault(problem.found, problem)
                wrong.setdefault(problem.found, []).append(cell)
    if problems:
        raise Mistakes([_placed(bound, problem, wrong[found], cells) for found, problem in problems.items()])
    return found


def _placed(bound: BoundExperiment, problem: Problem, wrong: Sequence[Cell], cells: Sequence[Cell]) -> Problem:
    loc: tuple[str, ...] = ("train",)
    for factor, level in wrong[0].factors.items():
        with_it = [cell for cell in cells if cell.factors[factor] == level]
        if len(with_it) < len(cells) and with_it == list(wrong):
            loc = ("factors", factor, level)
    said = f"{problem.found} (cell {wrong[0].label})"
    return Problem(bound.located.where(loc, key=len(loc) > 1), said, problem.edit)


def plan(
    own: Project,
    experiment: Experiment,
    cells: Sequence[Cell],
    trainings: Mapping[str, BoundTraining],
    spent: Mapping[str, Spent],
) -> list[Planned]:
    """A plan for each cell, in their order; equal ones have one key."""
    layouts = read_layouts(own.files)
    # Without what is not declared: a key of tests that comes later leaves the cells of today what they are.
    tests = orjson.dumps(
        TypeAdapter(dict[str, Test]).dump_python(dict(experiment.tests), mode="json", exclude_defaults=True),
        option=orjson.OPT_SORT_KEYS,
    ).decode()
    seen = _Seen()
    plans: dict[str, Planned] = {}
    planned = []
    for cell in cells:
        name = training_name(cell)
        if name not in plans:
            plans[name] = _planned(own, cell, trainings[name], layouts, tests, seen, spent)
        planned.append(plans[name])
    return planned


@dataclass(frozen=True)
class _Seen:
    """What of the data of several cells is looked at once."""

    fingerprints: dict[Any, str] = field(default_factory=dict)
    counts: dict[Any, int] = field(default_factory=dict)

    def fingerprint(self, data: Data, opener: Records) -> str:
        source = _source(data)
        if source not in self.fingerprints:
            self.fingerprints[source] = fingerprint(data, opener)
        return self.fingerprints[source]

    def count(self, opener: Records) -> Callable[[Data], int]:
        def count(data: Data) -> int:
            key = (*_source(data), data.where)
            if key not in self.counts:
                self.counts[key] = opener.count(data)
            return self.counts[key]

        return count


def _source(data: Data) -> tuple[Any, ...]:
    return data.dataset, data.collection, data.published, data.procedural, data.configs, data.split


def _planned(
    own: Project,
    cell: Cell,
    bound: BoundTraining,
    layouts: Mapping[str, Layout],
    tests: str,
    seen: _Seen,
    spent: Mapping[str, Spent],
) -> Planned:
    training = bound.training
    opener = Records(own, bound)
    read, asked = [], []
    for stage in training.stages:
        for data in stage.data:
            used = [layouts[name] for name in (*data.layouts, *([data.fallback] if data.fallback else []))]
            read.append([seen.fingerprint(data, opener), [{**asdict(layout), "about": ""} for layout in used]])
            asked.append((data, {kind for layout in used for kind in layout.kinds}))
    calls, tokens = spent_on(spent, asked, seen.count(opener))
    # Layouts of other names that say the same come to the same texts, and so to the same model.
    declared = {**asdict(training), "name": "", "about": ""}
    for stage in declared["stages"]:
        for data in stage["data"]:
            data["layouts"] = data["fallback"] = None
    key = digest([declared, read, tests])[:16]
    return Planned(key, training.name, cell.seed, cell.label, calls, tokens)


def read_found(found: Path, key: str) -> dict[str, Any] | None:
    """What a cell's process wrote; None where it did not, or the file is damaged: the cell is run again."""
    try:
        row: dict[str, Any] = orjson.loads((found / f"{key}.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return row if isinstance(row, dict) and {"outcomes", "items"} <= row.keys() else None


def gather(
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
            files[plan.key] = None if plan.key in failures else read_found(found, plan.key)
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
