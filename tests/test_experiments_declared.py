"""Every experiment that ships: its cells, their trainings, and what they name."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import duckdb
import pytest

from teacherlm.api.experiment_project import training_name
from teacherlm.core.bundle import bundled
from teacherlm.curriculum.families import FAMILIES
from teacherlm.evaluate.benchmarks_index import index
from teacherlm.experiments.declaration import Experiment, Made
from teacherlm.experiments.read import names, read_experiment
from teacherlm.project.bind import bind
from teacherlm.project.find import CATALOG, ProjectFiles
from teacherlm.project.layouts import Layout
from teacherlm.project.located import Located, read_yaml
from teacherlm.schemas.records import KINDS, record
from teacherlm.train.checks import check
from teacherlm.train.declaration import Data, Training
from teacherlm.train.memory import GIB
from teacherlm.train.plan import most_needed
from teacherlm.train.read import read_layouts, read_training
from teacherlm.train.shapes import Shape, shape_of

FILES = ProjectFiles(bundled())
NAMES = names(FILES)
FULL = [name for name in NAMES if not name.endswith("-nano")]
COUNTED = re.compile(r"^# Cells: ([\d,]+) of ([\d,]+) trainings\b", re.MULTILINE)
GPU_GIB = 80


def test_the_experiments_that_are_promised_are_there() -> None:
    promised = {"ablation", "augment", "cost", "methods", "quality-quantity", "stages", "teacher", "transfer"}
    assert promised == set(FULL)


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_is_a_training(name: str) -> None:
    """No key is unknown and no value out of its range, in any of them."""
    layouts = read_layouts(FILES)
    for training, located in trainings(name):
        assert check(training, located, layouts) == [], located.shown


@pytest.mark.parametrize("name", NAMES)
def test_the_cells_are_as_many_as_the_file_says(name: str) -> None:
    counted = COUNTED.search((bundled() / "evaluate/experiments" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert counted is not None or name not in FULL, "write  # Cells: N of M trainings."
    if counted is not None:
        cells = read_experiment(FILES, name).cells(FILES)
        found = [len(cells), len({training_name(cell) for cell in cells})]
        assert [int(one.replace(",", "")) for one in counted.groups()] == found


@pytest.mark.parametrize("name", NAMES)
def test_what_trainings_read_is_made(name: str) -> None:
    """Datasets of the experiment, collections of the catalogue, kinds that somebody writes."""
    experiment, layouts = read_experiment(FILES, name).experiment, read_layouts(FILES)
    collections = read_yaml(bundled() / CATALOG, CATALOG).data["collections"]
    for data in {data for training, _ in trainings(name) for stage in training.stages for data in stage.data}:
        if data.dataset is not None:
            assert data.dataset in experiment.datasets
            assert data.split in splits(experiment.datasets[data.dataset])
            assert_written(data, experiment.datasets[data.dataset], layouts)
        elif data.procedural is not None:
            assert set(data.procedural.families) <= set(FAMILIES)
        else:
            assert data.collection in collections
    read = {data.dataset for training, _ in trainings(name) for stage in training.stages for data in stage.data}
    assert set(experiment.datasets) <= read, "a dataset that nobody reads is made in vain"


@pytest.mark.parametrize("name", NAMES)
def test_conditions_are_such_over_the_augmented_columns(name: str) -> None:
    connection = duckdb.connect()
    connection.register("augmented", record("augmented").arrow().empty_table())
    for where in {data.where for training, _ in trainings(name) for stage in training.stages for data in stage.data}:
        if where is not None:
            assert connection.execute(f"SELECT count(*) FROM augmented WHERE ({where})").fetchall() == [(0,)]


def test_flags_are_rules_that_reject() -> None:
    """A choice of rationales that names a rule which is not there leaves nothing out."""
    rules = {path.stem for path in (bundled() / "quality" / "rules").glob("*.sql")}
    for name in ("quality-quantity", "quality-quantity-nano"):
        conditions = {str(data.where) for one, _ in trainings(name) for stage in one.stages for data in stage.data}
        flags = {flag for where in conditions if "flags" in where for flag in re.findall(r"'(\w+)'", where)}
        assert flags
        assert flags <= rules


def assert_written(data: Data, made: Made, layouts: dict[str, Layout]) -> None:
    """The kinds that layouts read are asked for."""
    kinds = {kind for layout in data.layouts for kind in layouts[layout].kinds}
    if kinds:
        assert made.teacher or made.trained
        assert made.augmentation != "paraphrases", "these bring no rationales"
        assert made.augmentation == "rationales" or kinds == {"chain_of_thought"}, "votes bring chains alone"
        assert kinds <= set(made.kinds or KINDS) or data.fallback is not None


@pytest.mark.parametrize("name", NAMES)
def test_what_is_asked_is_there(name: str) -> None:
    experiment = read_experiment(FILES, name).experiment
    benchmarks = index(FILES).names()
    for label, test in experiment.tests.items():
        assert test.task is None or test.task in benchmarks, f"{label}: no benchmark `{test.task}`"
        if test.dataset is not None:
            assert test.split in splits(experiment.datasets[test.dataset]), label
    asked = {one.test for one in experiment.comparisons}
    assert asked == set(experiment.tests), "a test that no comparison reads is asked in vain"


@pytest.mark.parametrize("name", NAMES)
def test_every_comparison_finds_cells(name: str) -> None:
    experiment = read_experiment(FILES, name).experiment
    cells = [cell.factors for cell in read_experiment(FILES, name).cells(FILES)]
    for one in experiment.comparisons:
        if one.vary is None:
            continue
        wanted = [cell for cell in cells if all(cell[factor] in levels for factor, levels in one.where.items())]
        others = {level(cell, one.vary) for cell in wanted if cell[one.vary] != one.baseline}
        base = {level(cell, one.vary) for cell in wanted if cell[one.vary] == one.baseline}
        assert others & base, f"{one}: no level has its baseline"


def level(cell: object, vary: str) -> frozenset[tuple[str, str]]:
    """The other factors of a cell."""
    assert isinstance(cell, dict)
    return frozenset((factor, value) for factor, value in cell.items() if factor != vary)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_every_model_fits_on_one_gpu(name: str) -> None:
    """A cell is trained in one process, and so on one GPU."""
    pytest.importorskip("transformers")
    needs = {}
    for training, _ in trainings(name):
        assert (training.parallel.gpus, training.parallel.fsdp) == (1, False)
        settings = str(training.base.model), training.device_tokens, training.gradient_checkpointing
        if settings not in needs:
            needs[settings] = most_needed(training, shape(settings[0])).total / GIB
    assert {settings: need for settings, need in needs.items() if need > GPU_GIB} == {}


@pytest.mark.parametrize("name", FULL)
def test_claims_are_those_of_the_abstract(name: str) -> None:
    """Numbers that people read as the paper's are its own."""
    for claim in read_experiment(FILES, name).experiment.paper:
        assert claim.source == "arXiv 2310.19019, abstract"
        assert set(re.findall(r"\d+(?:\.\d+)?", claim.says)) <= {"7.1", "52.3", "58", "100"}


def test_a_teacher_that_is_trained_first_is_declared() -> None:
    for name in NAMES:
        for made in read_experiment(FILES, name).experiment.datasets.values():
            FILES.recipe(made.recipe)
            if made.trained is not None:
                assert read_training(FILES, made.trained).training.stages


@cache
def trainings(name: str) -> list[tuple[Training, Located]]:
    """The different trainings of an experiment, seeds aside: they differ in nothing else."""
    bound = read_experiment(FILES, name)
    experiment: Experiment = bound.experiment
    found = []
    for cell in bound.cells(FILES):
        if cell.seed == experiment.seeds[0]:
            located = Located(Path(), f"{name}: {cell.label}", dict(cell.training))
            given = {**cell.training, "name": training_name(cell), "about": cell.label}
            found.append((bind(located, Training, data=given), located))
    return found


@cache
def shape(model: str) -> Shape:
    from teacherlm.train.declaration import Base

    return shape_of(Base(model=model), None, "here")


def splits(made: Made) -> set[str]:
    """Of a recipe's source; a procedural one has those that are asked for."""
    source = FILES.recipe(made.recipe).data["source"]
    return set(made.splits or source.get("splits") or source["procedural"]["splits"])
