"""The experiments of a project, with how far each is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from teacherlm.api.experiment_project import home, training_name
from teacherlm.core.errors import TeacherlmError
from teacherlm.experiments.read import names, read_experiment
from teacherlm.experiments.results import read_results

if TYPE_CHECKING:
    from teacherlm.api.project import Project


def listed(project: Project) -> Iterator[tuple[dict[str, Any] | None, TeacherlmError | None]]:
    """A row for each declaration, or what is wrong with it."""
    for name in names(project.files):
        try:
            bound = read_experiment(project.files, name)
            cells = bound.cells(project.files)
            results = read_results(home(project, name))
        except TeacherlmError as error:
            yield None, error
            continue
        done = (
            {(tuple(one.factors.items()), one.seed) for one in results.outcomes if one.status == "done"}
            if results
            else ()
        )
        yield (
            {
                "experiment": name,
                "question": bound.experiment.question,
                "cells": len(cells),
                "trainings": len({training_name(cell) for cell in cells}),
                "seeds": len(bound.experiment.seeds),
                "tests": len(bound.experiment.tests),
                "done": len(done),
            },
            None,
        )
