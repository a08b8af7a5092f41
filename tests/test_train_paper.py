"""The paper's declarations, each run to its end with a tiny model of the same family in place of the large one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import teacherlm
from paper_in_miniature import ALONE, ROWS, in_miniature, lay_out, tiny_model
from teacherlm.core.bundle import bundled
from teacherlm.project.find import ProjectFiles
from teacherlm.train.read import names, read_training

PAPER = [name for name in names(ProjectFiles(bundled())) if name.startswith("paper/")]
QUICK = ["paper/teacher-560m", "paper/students/multi-augmented/opt-1b3", "paper/students/single-plain/creak"]
"""One of each form: the three stages, a student of many tasks, and one of a single task."""

SIZES = ("560m", "1b1", "3b", "7b1", "176b")


def family(name: str) -> str:
    base = read_training(ProjectFiles(bundled()), name).training.base
    return "opt" if "opt-" in str(base.model) else "bloom"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("paper"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: tiny_model(tmp_path_factory.mktemp(kind), kind) for kind in ("bloom", "opt")}


def run(project: Path, models: dict[str, Path], declared: str, workspace: Path) -> dict[str, Any]:
    """Run a declaration; the records of its stages by name."""
    name = in_miniature(project, declared, models[family(declared)])
    opened = teacherlm.open(project, workspace=project / "workspace")
    done = opened.train(name, output=workspace / "model").to_row()
    return {stage["stage"]: stage for stage in done["stages"]}


def test_the_papers_sizes_are_all_declared() -> None:
    assert [f"paper/teacher-{size}" in PAPER for size in SIZES] == [True] * len(SIZES)
    for form in ("multi-plain", "multi-augmented"):
        for size in ("bloom-560m", "bloom-1b1", "bloom-3b", "bloom-7b1", "opt-1b3", "opt-2b7", "opt-6b7"):
            assert f"paper/students/{form}/{size}" in PAPER
    for form in ("single-plain", "single-augmented"):
        assert all(f"paper/students/{form}/{name}" in PAPER for name in ALONE)


def test_sizes_differ_in_the_base_and_in_what_fits_alone() -> None:
    files = ProjectFiles(bundled())
    smallest = read_training(files, "paper/teacher-560m").training
    for size in SIZES[1:]:
        other = read_training(files, f"paper/teacher-{size}").training
        assert (other.stages, other.window, other.optimizer) == (
            smallest.stages,
            smallest.window,
            smallest.optimizer,
        )


def test_students_read_the_same_questions_plain_and_augmented() -> None:
    files = ProjectFiles(bundled())
    for size in ("bloom-560m", "opt-6b7"):
        plain, augmented = (
            read_training(files, f"paper/students/{form}/{size}").training
            for form in ("multi-plain", "multi-augmented")
        )
        assert plain.stages[0].data[0].collection == augmented.stages[0].data[0].collection == "p3-sense-3k"
        assert augmented.stages[0].data[0].fallback == "plain"
        assert plain.base == augmented.base


@pytest.mark.parametrize("declared", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in PAPER])
def test_each_runs_to_its_end(project: Path, models: dict[str, Path], declared: str, tmp_path: Path) -> None:
    done = run(project, models, declared, tmp_path)
    training = read_training(ProjectFiles(bundled()), declared).training
    assert list(done) == [stage.name for stage in training.stages]
    for stage in training.stages:
        record = done[stage.name]
        folder = tmp_path / "model" / stage.name
        assert (folder / "model.safetensors").is_file() and (folder / "README.md").is_file()
        assert record["steps_run"] == record["steps"] > 0
        assert record["settings"]["optimizer"]["betas"] == list(training.optimizer.betas)
        assert record["data"]["records"] == ROWS * len(stage.data)
        # As many texts as records have the kinds of each layout, and the fallback for the others.
        assert record["data"]["texts"] == texts(stage)
    if "cot" in done:
        starts = {name: json.dumps(record["settings"]["start"], sort_keys=True) for name, record in done.items()}
        assert starts["fundamental"] == starts["cot"] == starts["common-mistake"] != starts["personalisation"]


def texts(stage: Any) -> int:
    """Texts of an epoch: 20 of 24 records are explained, 15 of them with mistakes."""
    explained = [n % 6 != 0 for n in range(ROWS)]
    whole = [n % 6 != 0 and n % 4 != 0 for n in range(ROWS)]
    counts = {"plain": ROWS, "teach-fundamentals": sum(explained), "teach-chain": sum(explained)}
    counts |= {"teach-mistakes": sum(whole), "answer-first-all": sum(whole)}
    return sum(ROWS if data.fallback else counts[name] for data in stage.data for name in data.layouts)
