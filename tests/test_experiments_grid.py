"""Experiments as they are declared, and the cells that they come to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import experiments
from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.experiments import declaration
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.grid import cells, combinations
from teacherlm.experiments.read import BoundExperiment, read_experiment
from teacherlm.project.find import ProjectFiles

GRID = """
question: Which?
train:
  extends: tiny
  stages:
    - name: student
      data: [{procedural: {families: [add], count: "{count}", seed: 1}, layouts: ["{order}-{kinds}"]}]
factors:
  kinds: [none, chain, all]
  order: [first, last]
  count: [10, 20]
  size:
    small:
    large: {base: {config: {model_type: bloom, hidden_size: 32, n_layer: 2, n_head: 2}}}
grids:
  - {kinds: all, order: all}
  - {kinds: [none, chain], size: [large]}
  - {kinds: [chain], count: all}
defaults: {order: last}
seeds: [4, 5]
tests: {sums: {procedural: {count: 5, seed: 1}}}
"""


def read(folder: Path, text: str, name: str = "small") -> BoundExperiment:
    return read_experiment(ProjectFiles(experiments.project(folder, text, name)), name)


def test_grids_cross_what_they_name_and_leave_the_rest_as_it_is(tmp_path: Path) -> None:
    found = combinations(read(tmp_path, GRID).experiment)
    assert len(found) == 6 + 2 + 1  # of the third grid one combination is in the first
    assert {"kinds": "chain", "order": "last", "count": "10", "size": "large"} in found
    assert all(one["order"] == "last" for one in found[6:])


def test_a_cell_is_a_whole_training(tmp_path: Path) -> None:
    bound = read(tmp_path, GRID)
    made = bound.cells(ProjectFiles(tmp_path))
    assert [cell.seed for cell in made] == [4] * 9 + [5] * 9
    large = next(cell for cell in made if cell.factors["size"] == "large")
    assert large.training["base"]["config"]["hidden_size"] == 32
    assert large.training["seed"] == 4
    data = large.training["stages"][0]["data"][0]
    assert data["layouts"] == ["last-none"]
    assert data["procedural"]["count"] == 10  # a number again
    assert large.training["stages"][0]["epochs"] == 1  # of the declaration that it extends


def test_without_grids_all_factors_are_crossed(tmp_path: Path) -> None:
    text = GRID[: GRID.index("grids:")] + GRID[GRID.index("seeds:") :]
    assert len(combinations(read(tmp_path, text).experiment)) == 3 * 2 * 2 * 2


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
)
def test_every_combination_comes_once_with_every_seed(sizes: list[int], seeds: list[int]) -> None:
    factors = {f"f{place}": dict.fromkeys(f"l{n}" for n in range(size)) for place, size in enumerate(sizes)}
    experiment = Experiment(
        name="x",
        question="?",
        train={},
        factors=factors,
        seeds=tuple(seeds),
        tests={"t": declaration.Test(dataset="x")},
    )
    made = list(cells(experiment, {}))
    product = 1
    for size in sizes:
        product *= size
    assert len(made) == product * len(seeds)
    assert len({(cell.label) for cell in made}) == len(made)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kinds: all, order: all", "kind: all", "names no factor `kind`"),
        ("[none, chain], size: [large]", "[none, both], size: [large]", "names no level `both` of `kinds`"),
        ("{order: last}", "{order: middle}", "names no level `middle`"),
        ("seeds: [4, 5]", "seeds: [4, 4]", "different numbers"),
        ("{procedural: {count: 5, seed: 1}}", "{dataset: x, task: creak}", "one of `procedural`"),
        ("question: Which?", "questions: Which?", "question"),
        ("{sums: {procedural: {count: 5, seed: 1}}}", "{}", "without a test"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GRID
    with pytest.raises(Mistakes) as caught:
        read(tmp_path, GRID.replace(old, new))
    assert said in str(caught.value)
    assert "evaluate/experiments/small.yaml:" in str(caught.value)


def test_a_base_that_is_not_there_is_named_where_it_is_extended(tmp_path: Path) -> None:
    bound = read(tmp_path, GRID.replace("extends: tiny", "extends: tyny"))
    with pytest.raises(Mistake) as caught:
        bound.cells(ProjectFiles(tmp_path))
    assert caught.value.where.startswith("evaluate/experiments/small.yaml:4:")
    assert "tiny" in str(caught.value)


def test_an_unknown_experiment_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(Mistake) as caught:
        read_experiment(ProjectFiles(experiments.project(tmp_path)), "smal")
    assert "did you mean small" in str(caught.value)
