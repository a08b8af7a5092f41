"""The report of an experiment: what was found is compared, looked through for failures, and written as two files."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm import __version__
from teacherlm.api.experiment_cells import trainings_of
from teacherlm.api.experiment_cost import cost
from teacherlm.api.experiment_project import home
from teacherlm.api.experiment_tests import questions
from teacherlm.api.experiments import read_seconds, read_spent
from teacherlm.api.train_data import Records
from teacherlm.core.errors import Mistake, TeacherlmError
from teacherlm.core.files import replacing, write_text
from teacherlm.experiments.answer_signs import Signature
from teacherlm.experiments.conclusions import conclude
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.estimates import Row, estimates
from teacherlm.experiments.read import BoundExperiment, read_experiment
from teacherlm.experiments.report import Setting, report
from teacherlm.experiments.results import read_results
from teacherlm.experiments.signatures import Overlap, signatures
from teacherlm.experiments.statistics import compare
from teacherlm.text.normalise import one_line
from teacherlm.train.records import records, shown

if TYPE_CHECKING:
    from teacherlm.api.project import Project

PAGE, TEXT = "report.html", "report.md"


@dataclass(frozen=True)
class Written:
    """A report."""

    experiment: Experiment
    page: Path
    markdown: Path
    rows: Sequence[Row]
    conclusions: Sequence[str]
    signatures: Sequence[Signature]

    @property
    def _planned(self) -> set[tuple[str, str]]:
        """Tests and ways that something is compared in."""
        compared = self.experiment.comparisons
        sides = ((one.test, side.way or one.way) for one in compared for side in (one.first, one.second) if side)
        return {*sides, *((one.test, one.way) for one in compared if one.vary is not None)}

    def to_row(self) -> dict[str, Any]:
        """As `--format json` prints it."""
        return {
            "experiment": self.experiment.name,
            "question": self.experiment.question,
            "page": str(self.page),
            "markdown": str(self.markdown),
            "estimates": [
                {
                    "setting": one.setting,
                    "factors": dict(one.factors),
                    "test": one.test,
                    "way": one.way,
                    "planned": (one.test, one.way) in self._planned,
                    **(
                        {"mean": one.estimate.mean, "low": one.estimate.low, "high": one.estimate.high}
                        if one.estimate
                        else {}
                    ),
                    "seeds": len(one.seeds),
                    "tokens": round(one.tokens),
                    "calls": round(one.calls),
                }
                for one in self.rows
            ],
            "conclusions": list(self.conclusions),
            "signatures": [f"{one.severity}: {one.found.rstrip('.')}; {one.remedy}" for one in self.signatures],
        }


def write_report(project: Project, name: str, to: Path | None = None) -> Written:
    """Compare what an experiment has found so far, and write `report.html` and `report.md`.

    Args:
        to: their folder; None: the experiment's in the workspace.

    Raises:
        Mistake: it was not run yet.
        MachineFailed: its tables are damaged, or the files cannot be written.
    """
    bound = read_experiment(project.files, name)
    experiment = bound.experiment
    folder = home(project, experiment.name)
    results = read_results(folder)
    if results is None:
        raise Mistake(f"`{experiment.name}` was not run yet", f"run it: teacherlm experiment run {experiment.name}")
    rows = estimates(experiment, results)
    compared = compare(experiment, results)
    accepted = {dataset: spent.accepted for dataset, spent in read_spent(folder).items()}
    overlap = overlaps(project, bound)
    found = signatures(experiment, results, compared, rows=rows, accepted=accepted, overlap=overlap)
    took = cost(project, name, extrapolate=experiment.extrapolate)
    made = report(experiment, results, compared, rows, found, (), _setting(folder, experiment.name), took.tables)
    target = to or folder
    target.mkdir(parents=True, exist_ok=True)
    with replacing(target / PAGE) as temporary:
        temporary.write_bytes(made.html)
    write_text(target / TEXT, made.markdown)
    said = conclude(experiment, compared).sentences
    return Written(experiment, target / PAGE, target / TEXT, rows, said, found)


def overlaps(project: Project, bound: BoundExperiment) -> dict[str, Overlap]:
    """Questions of each test that stand word for word in what was trained on; benchmarks are looked at by `check`."""
    from teacherlm.api.project import open as open_project

    folder = home(project, bound.experiment.name)
    try:
        own = open_project(folder / "project", workspace=folder)
        cells = bound.cells(project.files)
        trainings = trainings_of(own, bound, cells)
    except TeacherlmError:
        return {}  # declared otherwise since it was run
    read: dict[str, set[int]] = {}
    for training in trainings.values():
        for data in (data for stage in training.training.stages for data in stage.data):
            if (source := shown(data)) not in read:
                opened = records(data, Records(own, training), "")
                read[source] = {hash(_text(record)) for record in opened}
    found = {}
    for name, test in bound.experiment.tests.items():
        if test.task is None:
            asked = [hash(_text(record)) for record in questions(own, test)]
            shared = {source: sum(one in texts for one in asked) for source, texts in read.items()}
            most = max(shared, key=lambda source: shared[source], default="")
            found[name] = Overlap(questions=len(asked), shared=shared.get(most, 0), data=most)
    return found


def _text(record: Mapping[str, Any]) -> str:
    return one_line(f"{record['question']} {' '.join(record['choices'] or ())}").lower()


def _setting(folder: Path, name: str) -> Setting:
    """What it was run with."""
    from importlib.metadata import version

    machine = f"{os.cpu_count() or 1} cores; teacherlm {__version__}, Python {platform.python_version()}"
    machine += "".join(f", {package} {version(package)}" for package in ("torch", "transformers"))
    return Setting(
        command=f"teacherlm experiment run {name}",
        machine=machine,
        seconds=read_seconds(folder),
        spent=read_spent(folder),
    )
