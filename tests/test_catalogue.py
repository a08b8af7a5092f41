"""The catalogue that ships: its collections, the marks of its recipes, and docs/catalogue.md."""

from __future__ import annotations

from pathlib import Path

import pytest

import teacherlm
from teacherlm.api.catalogue_docs import catalogue
from teacherlm.api.project import Project
from teacherlm.builders.collection import declared_splits
from teacherlm.core.bundle import bundled

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def project() -> Project:
    return teacherlm.open(bundled())


def test_the_collections_have_the_datasets_of_the_paper_as_far_as_they_are_known(project: Project) -> None:
    p3, muffin, two_million = (project.collection(name) for name in ("p3-sense-3k", "muffin-3w", "teacherdata-2m"))
    assert project.collections == ["p3-sense-3k", "muffin-3w", "teacherdata-2m"]
    assert len(p3.datasets) == len(set(p3.datasets)) == 58
    assert (p3.declared.at_most, muffin.declared.at_most, two_million.declared.samples) == (3000, 30_000, 2_000_000)
    assert len(muffin.datasets) == 27
    assert len(two_million.datasets) == 65
    assert set(p3.datasets) | set(muffin.datasets) < set(two_million.datasets)
    assert "examples" not in two_million.datasets
    # What FLAN has, and this collection not, is named; nothing is both.
    assert len(muffin.declared.absent or {}) == 36
    assert not set(muffin.declared.absent or {}) & set(muffin.datasets)
    for collection in (p3, muffin, two_million):
        assert collection.declared.verify, "what is reconstructed is said"


def test_samples_are_drawn_from_training_splits_alone(project: Project) -> None:
    for member in project.collection("teacherdata-2m").members:
        assert all(split.startswith("train") for split in member.splits)
        assert member.rows
    anli = next(member for member in project.collection("p3-sense-3k").members if member.dataset == "anli")
    assert anli.splits == ("train_r1", "train_r2", "train_r3")


def test_every_dataset_says_how_many_rows_its_splits_have(project: Project) -> None:
    for name in project.datasets:
        source = project.recipe(name).recipe.source
        if source.hub:
            assert tuple(source.rows or {}) == declared_splits(source), name


def test_human_rationales_are_taken_where_there_are_some(project: Project) -> None:
    collection = project.collection("teacherdata-2m")
    taken = {name for name in collection.datasets if collection.declared.kind_of_human(name)}
    there = {name for name in collection.datasets if project.recipe(name).recipe.sample.human_rationale}
    assert taken == there
    assert collection.project.recipe("gsm8k").recipe.human == "chain_of_thought"
    assert {collection.project.recipe(name).recipe.strategy for name in collection.datasets} == {"star"}


def test_two_million_are_there_by_the_declared_rows(project: Project) -> None:
    planned = project.collection("teacherdata-2m").plan()
    assert planned["samples"] == 2_000_000
    assert all(row["samples"] <= row["rows"] for row in planned["datasets"])
    assert project.collection("p3-sense-3k").plan()["samples"] > 150_000


def test_the_page_of_the_catalogue_is_current(project: Project) -> None:
    page = (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8")
    assert page == catalogue(project), "write it again: make docs"
    for name in project.datasets:
        assert f"| [{name}](" in page or name in ("examples", "curriculum")
