"""What datasets share, by command: counts, pairs to look at, a Parquet file, and what cannot be compared."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import teacherlm
from recipes import parquet, recipe
from scripted import teacher
from test_cli import Command, run
from test_collections import declare

__all__ = ["run"]  # the fixture

ASKED = "Which of the metals in the wet garden shed rusts first in a long and rainy winter"
ANT = [{"q": f"{ASKED}?", "a": "iron"}, {"q": "Why?", "a": "so"}]
BEE = [{"q": f"{ASKED.upper()}!", "a": "iron"}, {"q": f"{ASKED} and spring?", "a": "iron"}, {"q": "How?", "a": "so"}]


@pytest.fixture
def built(run: Command, tmp_path: Path) -> Command:
    """In a project with the datasets `ant` and `bee`, both built, and the collection `zoo` of both."""
    for name, rows in (("ant", ANT), ("bee", BEE)):
        parquet(tmp_path / "builders" / f"{name}.parquet", rows)
        recipe(tmp_path, name=name, source={"files": f"{name}.parquet"})
    declare(tmp_path, {"datasets": ["ant", "bee"], "seed": 1})
    run("build", "ant", "bee")
    return run


def test_questions_that_two_datasets_share_are_counted_and_shown(built: Command, tmp_path: Path) -> None:
    done = built("duplicates", "ant", "bee", "--output", "pairs.parquet")
    head, line, blank, example = done.out.splitlines()
    assert head.split() == ["dataset", "like", "what", "texts", "of", "share", "the", "same"]
    assert line.split() == ["bee", "ant", "question", "2", "3", "66.7%", "1"]
    ids = {row["question"]: row["sample_id"] for name in ("ant", "bee") for row in samples(tmp_path, name)}
    first = ids[f"{ASKED}?"]
    assert (blank, example) == ("", f"{ids[f'{ASKED.upper()}!']}: question like that of {first}")
    assert done.err.splitlines() == ["2 pairs in pairs.parquet"]
    pairs = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
    assert {row["sample_id"]: row["like_sample_id"] for row in pairs} == {
        ids[f"{ASKED.upper()}!"]: first,
        ids[f"{ASKED} and spring?"]: first,
    }
    assert {(row["dataset"], row["like_dataset"], row["like_split"], row["kind"]) for row in pairs} == {
        ("bee", "ant", "train", None)
    }
    (row,) = built("duplicates", "bee", "ant", "--min-similarity", "1", "--format", "json").json["rows"]
    assert (row["dataset"], row["like"], row["texts"], row["of"], row["same"]) == ("ant", "bee", 1, 2, 1)
    assert not list((tmp_path / "workspace").glob(".duplicates-*"))


def samples(root: Path, name: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = pq.read_table(root / "workspace" / "samples" / name / "train").to_pylist()
    return rows


def test_rationales_are_compared_with_those_of_their_kind(built: Command, tmp_path: Path) -> None:
    opened = teacherlm.open(tmp_path)
    with teacher(lambda _: "Rust is what iron turns into where there are both water and air.") as server:
        for name in ("ant", "bee"):
            opened.augment(name, teacher=server.url)
    found = {row["what"]: (row["texts"], row["of"]) for row in opened.duplicates("ant", "bee").counts}
    assert found["question"] == (2, 3)
    texts = opened.sql("SELECT kind, count(*) FROM rationales WHERE dataset = 'bee' GROUP BY kind").fetchall()
    assert {kind: of for kind, (of, _) in found.items() if kind != "question"} == dict(texts)


def test_a_collection_is_compared_in_its_own_workspace(built: Command) -> None:
    built("build", "zoo")
    (row,) = built("duplicates", "zoo", "--format", "json").json["rows"]
    assert (row["dataset"], row["like"], row["texts"]) == ("bee", "ant", 2)
    done = built("duplicates", "zoo", "ant", code=2)
    assert "several workspaces" in done.err and "name datasets, or one collection" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ant"], "one dataset has no other"),
        (["ant", "bee", "--min-similarity", "0.2"], "0.6 to 1"),
        (["ant", "bee", "--min-similarity", "nan"], "0.6 to 1"),
        (["ant", "fox"], "no dataset `fox`"),
    ],
)
def test_what_cannot_be_compared_is_said(built: Command, words: list[str], said: str) -> None:
    assert said in built("duplicates", *words, code=2).err


def test_a_dataset_that_was_not_built_is_named(built: Command, tmp_path: Path) -> None:
    recipe(tmp_path, name="cow", source={"files": "ant.parquet"})
    assert "build it first: teacherlm build cow" in built("duplicates", "ant", "cow", code=2).err


def test_nothing_in_common_is_said(built: Command, tmp_path: Path) -> None:
    parquet(tmp_path / "builders" / "cow.parquet", [{"q": "Whose hat is this?", "a": "hers"}])
    recipe(tmp_path, name="cow", source={"files": "cow.parquet"})
    built("build", "cow")
    done = built("duplicates", "ant", "cow")
    assert (done.out, done.err) == ("", "no text of one is 80 % like one of another: ant, cow\n")


def test_a_damaged_file_is_named_with_its_dataset(built: Command, tmp_path: Path) -> None:
    (path,) = (tmp_path / "workspace" / "samples" / "bee").glob("*/*.parquet")
    path.write_bytes(path.read_bytes()[:-40] + b"x" * 40)
    done = built("duplicates", "ant", "bee", code=4)
    assert str(path.name) in done.err and "teacherlm build bee --force" in done.err


@pytest.mark.parametrize("lacking", ["text", "dataset"])
def test_answers_that_lack_a_column_are_placed_in_their_file(built: Command, tmp_path: Path, lacking: str) -> None:
    opened = teacherlm.open(tmp_path)
    with teacher() as server:
        for name in ("ant", "bee"):
            opened.augment(name, teacher=server.url)
    path = sorted((tmp_path / "workspace" / "rationales" / "bee").glob("*/*/*.parquet"))[0]
    whole = pq.read_table(path)
    place, type_ = whole.column_names.index(lacking), whole.schema.field(lacking).type
    pq.write_table(whole.set_column(place, pa.field(lacking, type_), pa.nulls(len(whole), type_)), path)
    for command in (["duplicates", "ant", "bee"], ["check", "bee"]):
        done = built(*command, code=4)
        assert f"{path.relative_to(tmp_path)}   {len(whole)} answers lack one of" in done.err
