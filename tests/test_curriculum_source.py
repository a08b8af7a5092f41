"""Recipes whose source is procedural: what is built, what is refused, and the way to a published folder."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import teacherlm
from recipes import samples, written
from scripted import teacher
from teacherlm.builders.build import build
from teacherlm.builders.sources import open_source
from teacherlm.core.errors import Mistakes
from teacherlm.curriculum.draw import questions
from teacherlm.curriculum.families import families
from teacherlm.schemas.records import KINDS

RECIPE = """\
title: Made
source:
  procedural:
    families: [add, turn]
    seed: 5
    splits: {train: 30, test: 10}
license: CC0-1.0
redistribution: allowed
task: procedural
sample: {id: id, question: question, choices: choices, answer: answer, subject: family}
"""


def test_made_questions_become_samples(tmp_path: Path) -> None:
    bound = written(tmp_path, RECIPE)
    made = build(bound, open_source(bound.recipe, tmp_path), tmp_path / "out")
    assert [(part.split, part.samples, part.rejected) for part in made.splits] == [("train", 30, {}), ("test", 10, {})]
    wanted = list(questions(families(["add", "turn"]), "train", 30, 5))
    assert [row["sample_id"] for row in samples(tmp_path / "out", "train")] == [f"d/train/{q.id}" for q in wanted]
    for row, question in zip(samples(tmp_path / "out", "train"), wanted, strict=True):
        assert (row["question"], tuple(row["choices"]), row["answer"]) == (
            question.question,
            question.choices,
            question.answer,
        )
        assert (row["subject"], row["human_rationale"]) == (question.family, None)


def test_a_build_is_repeated_where_the_declaration_changed(tmp_path: Path) -> None:
    def again(text: str) -> bool:
        bound = written(tmp_path, text)
        return build(bound, open_source(bound.recipe, tmp_path), tmp_path / "out").reused

    assert [again(RECIPE), again(RECIPE)] == [False, True]
    assert not again(RECIPE.replace("seed: 5", "seed: 6"))
    assert not again(RECIPE.replace("[add, turn]", "[turn, add]"))
    assert not again(RECIPE.replace("test: 10", "test: 11"))


def test_gold_rationales_are_columns_of_the_source(tmp_path: Path) -> None:
    bound = written(
        tmp_path, RECIPE.replace("subject: family}", "human_rationale: chain_of_thought}\nhuman: chain_of_thought")
    )
    build(bound, open_source(bound.recipe, tmp_path), tmp_path / "out")
    assert all(" The result is " in row["human_rationale"] for row in samples(tmp_path / "out", "test"))


@pytest.mark.parametrize(
    ("old", "new", "place", "said", "edit"),
    [
        ("[add, turn]", "[add, turns]", "4:15", 'there is no family "turns"', "write  turn"),
        ("[add, turn]", "[add, add]", "4:15", "a family stands twice", "name each family once"),
        ("test: 10", "test: 0", "6:13", "`test` has 0 questions", "write a number of 1 or more"),
        ("test: 10", "exam: 10", "6:13", 'the curriculum has no split "exam"', "name some of teacher, train, test"),
        ("{train: 30, test: 10}", "{}", "6:13", "`splits` is empty", "write  splits: {train: 3000}"),
        ("test: 10", "test: 900000", "4:5", "the family `turn` holds", "ask for fewer, or name more families"),
        ("    seed: 5\n", "", "4:5", "`seed` is missing", "add  seed: …"),
        ("title", "source2: {}\ntitle", "1:1", "unknown key `source2`", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_procedural_source_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, place: str, said: str, edit: str
) -> None:
    with pytest.raises(Mistakes) as caught:
        written(tmp_path, RECIPE.replace(old, new))
    problem = caught.value.problems[0]
    assert said in problem.found
    assert edit in problem.edit
    assert re.search(rf"builders/d\.yaml:{place}$", problem.where), problem.where


def test_a_source_is_one_of_three(tmp_path: Path) -> None:
    for more in ("files: rows.parquet", "hub: a/b"):
        with pytest.raises(Mistakes, match="a source is one of `hub`, `files` and `procedural`"):
            written(tmp_path, RECIPE.replace("source:\n", f"source:\n  {more}\n"))


def test_the_shipped_curriculum_is_a_dataset_and_no_member_of_a_collection(tmp_path: Path) -> None:
    project = teacherlm.open(Path(__file__).parents[1], workspace=tmp_path / "w")
    assert "curriculum" in project.datasets
    assert all("curriculum" not in project.collection(name).datasets for name in project.collections)
    assert project.plan("curriculum").samples == 3_200
    assert project.plan("curriculum").source == "made questions"


@pytest.mark.slow
def test_made_questions_go_the_whole_way(tmp_path: Path) -> None:
    """Explained by a server that writes the gold rationales, checked with all shipped rules, and published."""
    written(tmp_path / "p", RECIPE)
    known = [q for split, n in (("train", 30), ("test", 10)) for q in questions(families(["add", "turn"]), split, n, 5)]
    leads = dict(zip(KINDS, ("The fundamental of", "Let's think", "The common mistakes"), strict=True))

    def gold(prompt: str) -> str:
        question = next(q for q in known if q.question in prompt)
        kind = next(kind for kind, lead in leads.items() if lead in prompt)
        return f" {getattr(question, kind)}"

    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    with teacher(gold) as server:
        project.run("d", teacher=server.url, to=tmp_path / "published")
    rows = pq.read_table(tmp_path / "published" / "data" / "d" / "train-00000-of-00001.parquet").to_pylist()
    assert len(rows) == 30
    for row, question in zip(rows, known, strict=False):
        assert {kind: row[kind] for kind in KINDS} == {kind: getattr(question, kind) for kind in KINDS}
        assert row["human_rationale"] is None
    assert "made questions" not in (tmp_path / "published" / "README.md").read_text().split("---")[1]
