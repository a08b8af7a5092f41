"""Recipes: what rows become, what is refused and why, and that nothing vanishes on the way."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from recipes import built, column, parquet, recipe, rejects, samples, written
from teacherlm.builders.mapping import connect, run_examples
from teacherlm.builders.read import read_recipe
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistakes, Problem
from teacherlm.project.find import ProjectFiles
from teacherlm.schemas.records import record
from teacherlm.text.normalise import clean, one_line

SHIPPED = ProjectFiles(bundled()).recipes()

CHOSEN = {"question": "q", "choices": "c", "answer": "a", "id": "i"}


def problems(folder: Path, text: str) -> list[Problem]:
    return run_examples(written(folder, text))


def build_problems(folder: Path, sample: dict[str, str], rows: list[dict[str, Any]], **entries: Any) -> list[Problem]:
    with pytest.raises(Mistakes) as caught:
        built(recipe(folder, sample, **entries), parquet(folder / "rows.parquet", rows), folder / "out")
    assert not (folder / "out").exists()
    return caught.value.problems


@pytest.mark.parametrize("name", SHIPPED)
def test_the_example_rows_of_a_shipped_recipe_become_what_it_promises(name: str) -> None:
    bound = read_recipe(ProjectFiles(bundled()), name)
    assert bound.recipe.given
    assert run_examples(bound) == []


HEAD = """\
title: D
source: {files: rows.jsonl}
license: MIT
redistribution: allowed
task: test
sample:
  question: q
  answer: upper(a)
  where: q <> 'skip'
"""


def test_a_wrong_expectation_is_shown_at_its_place(tmp_path: Path) -> None:
    text = HEAD + (
        "given:\n  - {q: Why, a: so}\n  - {q: skip, a: x}\n  - {q: ' ', a: x}\n  - {q: Who, a: me}\n"
        "expect:\n  - {question: Why, answer: so}\n  - {answer: X}\n  - {answer: X}\n  - {anser: ME, filtered: true}\n"
    )
    found = problems(tmp_path, text)
    assert [(problem.where, problem.found) for problem in found] == [
        ("builders/d.yaml:16:29", "row 1 of `given` becomes answer = 'SO'; expected 'so'"),
        ("builders/d.yaml:17:6", "`answer`: left out by `where`"),
        ("builders/d.yaml:18:5", "row 3 of `given` is rejected: empty question"),
        ("builders/d.yaml:19:6", "`anser`: no such column of a sample"),
        ("builders/d.yaml:19:27", "row 4 of `given` becomes filtered = False; expected True"),
    ]
    assert all(problem.edit for problem in found)


def test_example_rows_may_differ_in_their_keys_and_types_come_from_the_declared_columns(tmp_path: Path) -> None:
    text = (
        HEAD.replace("files: rows.jsonl", "files: rows.jsonl, columns: {q: VARCHAR, n: DOUBLE}")
        + "given:\n  - {q: Why, a: so, n: 1}\n  - {q: Who, a: me}\nexpect:\n  - {answer: SO}\n  - {answer: ME}\n"
    )
    assert problems(tmp_path, text.replace("upper(a)", "upper(a) || coalesce('', n::VARCHAR)")) == []


@pytest.mark.parametrize("row", ["{q: [1], a: x}", "{q: {b: 1}, a: x}"])
def test_example_rows_of_mixed_types_are_a_mistake_with_a_place(tmp_path: Path, row: str) -> None:
    text = HEAD + f"given:\n  - {{q: Why, a: so}}\n  - {row}\nexpect:\n  - {{answer: SO}}\n  - {{answer: X}}\n"
    (problem,) = problems(tmp_path, text)
    assert problem.where.startswith("builders/d.yaml:1")
    assert "types" in problem.edit


def test_an_unknown_type_of_a_column_is_a_mistake_with_a_place(tmp_path: Path) -> None:
    text = HEAD.replace("files: rows.jsonl", "files: rows.jsonl, columns: {q: VARCAR}")
    (problem,) = problems(tmp_path, text + "given: [{q: Why, a: so}]\nexpect: [{answer: SO}]\n")
    assert problem.where.startswith("builders/d.yaml:")
    assert "VARCAR" in problem.found


def test_every_expression_that_does_not_fit_the_columns_is_shown_at_its_place(tmp_path: Path) -> None:
    sample = {"question": "qq", "answer": "a +", "choices": "a", "where": "a", "human_rationale": "[a]"}
    found = build_problems(tmp_path, sample, [{"q": "Why?", "a": "so"}])
    assert [problem.where for problem in found] == [f"builders/d.yaml:{line}:{column}" for line, column in PLACES]
    words = ["qq", "syntax error", "`choices` gives VARCHAR", "`where` gives VAR", "`human_rationale` gives VARCHAR[]"]
    for word, problem in zip(words, found, strict=True):
        assert word in problem.found
    assert found[0].edit == "columns: q VARCHAR, a VARCHAR"


PLACES = [(8, 13), (9, 11), (10, 12), (11, 10), (12, 20)]
"""Of question, answer, choices, where and human_rationale in the file that `recipe` writes."""


def test_an_expression_that_fails_on_a_row_is_shown_at_its_place(tmp_path: Path) -> None:
    sample = {"question": "q", "answer": "CAST(a AS INTEGER)", "where": "q <> 'skip'"}
    rows = [{"q": "Why?", "a": "1"}, {"q": "skip", "a": "y"}, {"q": "Who?", "a": "me"}]
    (problem,) = build_problems(tmp_path, sample, rows)
    assert problem.where == "builders/d.yaml:9:11"
    assert "`answer` fails on a row" in problem.found
    assert "'me'" in problem.found
    assert "TRY_CAST" in problem.edit


def test_a_declared_column_that_the_source_lacks_is_shown_at_its_place(tmp_path: Path) -> None:
    (problem,) = build_problems(
        tmp_path,
        {"question": "q", "answer": "q"},
        [{"q": "Why?"}],
        source={"hub": "a/b", "splits": {"train": "t"}, "columns": {"z": "INT"}},
    )
    assert problem.where == "builders/d.yaml:7:5"
    assert (problem.found, problem.edit) == ("the source has no column `z`", "its columns are q")


CASES: list[tuple[str, dict[str, Any]]] = [
    ("", {"q": " Why? ", "c": ["x", "y"], "a": "y "}),
    ("", {"q": "What?", "c": [], "a": "free"}),
    ("empty question", {"q": None, "c": ["x", "y"], "a": "x"}),
    ("empty question", {"q": " \n\u00a0", "c": ["x", "y"], "a": "x"}),
    ("no list of choices", {"q": "q", "c": None, "a": "x"}),
    ("empty answer", {"q": "q", "c": ["x", "y"], "a": " "}),
    ("empty answer", {"q": "q", "c": [], "a": None}),
    ("only one choice", {"q": "q", "c": ["x"], "a": "x"}),
    ("more than 26 choices", {"q": "q", "c": [str(n) for n in range(27)], "a": "1"}),
    ("empty choice", {"q": "q", "c": ["x", " "], "a": "x"}),
    ("empty choice", {"q": "q", "c": ["x", None], "a": "x"}),
    ("answer not among the choices", {"q": "q", "c": ["x", "y"], "a": "z"}),
    ("answer not among the choices", {"q": "q", "c": ["x", "y"], "a": "X"}),
    ("answer twice among the choices", {"q": "q", "c": ["x", " x "], "a": "x"}),
]


def test_each_reason_is_counted_and_its_rows_are_kept_with_their_source(tmp_path: Path) -> None:
    rows = [{**row, "i": str(number)} for number, (_, row) in enumerate(CASES)]
    rows += [{"q": "again", "c": [], "a": "z", "i": "0"}, {"q": "none", "c": [], "a": "z", "i": None}]
    reasons = [*(reason for reason, _ in CASES), "duplicate id", "empty id"]
    made = built(recipe(tmp_path, CHOSEN), parquet(tmp_path / "rows.parquet", rows), tmp_path / "out")
    (counts,) = made.splits
    assert (counts.rows, counts.samples, counts.filtered) == (len(rows), 2, 0)
    assert counts.rejected == Counter(reason for reason in reasons if reason)
    kept = {row["row"]: row for row in rejects(tmp_path / "out")}
    for number, (row, reason) in enumerate(zip(rows, reasons, strict=True), start=1):
        if reason and reason != "duplicate id":
            assert kept[number]["reason"] == reason
            assert orjson.loads(kept[number]["source"]) == row
    (twice,) = (row for row in kept.values() if row["reason"] == "duplicate id")
    assert (twice["sample_id"], twice["split"]) == ("d/train/0", "train")


def test_rows_without_an_id_are_known_by_their_content(tmp_path: Path) -> None:
    rows = [{"q": "Why?", "a": "so"}, {"q": " Why? ", "a": "so"}, {"q": "Why?", "a": "other"}]
    made = built(recipe(tmp_path), parquet(tmp_path / "rows.parquet", rows), tmp_path / "out")
    assert made.splits[0].rejected == {"duplicate id": 1}
    assert len({row["sample_id"] for row in samples(tmp_path / "out")}) == 2


texts = st.text(max_size=6) | st.sampled_from(["x", "y", " x", "skip", ""])
row_lists = st.lists(
    st.fixed_dictionaries(
        {
            "q": st.none() | texts,
            "c": st.none() | st.lists(st.none() | texts, max_size=3) | st.just(["x", "y"]),
            "a": st.none() | texts | st.just("x"),
            "i": st.none() | st.sampled_from(["1", "2", "3"]) | texts,
        }
    ),
    max_size=12,
)
SCHEMA = pa.schema([("q", pa.string()), ("c", pa.list_(pa.string())), ("a", pa.string()), ("i", pa.string())])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(row_lists, st.booleans(), st.randoms(use_true_random=False))
def test_nothing_vanishes_and_ids_do_not_depend_on_the_order(
    rows: list[dict[str, Any]], with_id: bool, dice: random.Random
) -> None:
    sample = {"question": "q", "choices": "c", "answer": "a", "where": "q IS DISTINCT FROM 'skip'"}
    sample |= {"id": "i"} if with_id else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bound = recipe(folder, sample)
        made = built(bound, parquet(folder / "rows.parquet", rows, SCHEMA), folder / "out")
        (counts,) = made.splits
        refused, found = rejects(folder / "out"), samples(folder / "out")
        skipped = sum(row["q"] == "skip" for row in rows)
        assert counts.rows == len(rows) == len(found) + skipped + len(refused)
        assert (counts.samples, counts.filtered, counts.rejected) == (
            len(found),
            skipped,
            Counter(column(refused, "reason")),
        )
        assert len({row["sample_id"] for row in found}) == len(found)
        assert {row["row"] for row in refused} <= set(range(1, len(rows) + 1))
        for row in found:
            assert row["question"] == clean(row["question"])
            assert not row["choices"] or row["choices"][row["answer_index"]] == row["answer"]
        shuffled = dice.sample(rows, k=len(rows))
        built(bound, parquet(folder / "rows.parquet", shuffled, SCHEMA), folder / "again")
        again = samples(folder / "again")
        assert sorted(map(repr, again)) == sorted(map(repr, found))


@cache
def shared_connection() -> duckdb.DuckDBPyConnection:
    return connect(threads=1)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text() | st.text(alphabet=" \t\n\r\x0b\x0c\u00a0\u2003\u2028x\x00\x85"), min_size=1, max_size=8))
@example(["  Iron  rusts. \n  Why? ", "\n\n\n\na\n \n \nb", "\u3000x", "\x1c\x1f\u200b"])
def test_texts_are_cleaned_alike_in_python_and_in_sql(values: list[str]) -> None:
    query = "SELECT list_transform(?::VARCHAR[], lambda t: clean_text(t))"
    found = shared_connection().execute(query, [values]).fetchall()
    assert found[0][0] == [clean(value) for value in values]


@given(st.text())
def test_cleaning_is_done_once_and_leaves_no_doubled_blanks(text: str) -> None:
    assert clean(clean(text)) == clean(text)
    assert one_line(clean(text)) == one_line(text)
    assert "  " not in clean(text)
    assert "\n" not in one_line(text)


def test_the_samples_have_the_columns_and_types_of_the_contract(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    built(recipe(tmp_path), parquet(tmp_path / "rows.parquet", [{"q": "Why?", "a": 3}]), tmp_path / "out")
    schema = pq.read_schema(tmp_path / "out" / "train" / "00000.parquet")
    assert [(field.name, field.type) for field in schema] == [
        (field.name, field.type) for field in record("sample").arrow()
    ]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [{"q": f"question {n % 49_000}", "a": f"answer {n % 49_000}"} for n in range(50_000)]
    source = parquet(tmp_path / "rows.parquet", rows)
    for name in ("one", "two"):
        built(recipe(tmp_path), source, tmp_path / name)
    for file in ("train/00000.parquet", "rejects.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert column(samples(tmp_path / "one"), "question") == [f"question {n}" for n in range(49_000)]


def test_an_unchanged_build_is_kept_and_a_changed_one_is_not(tmp_path: Path) -> None:
    source = parquet(tmp_path / "rows.parquet", [{"q": "Why?", "a": "so"}])
    out = tmp_path / "out"
    assert not built(recipe(tmp_path), source, out).reused
    assert built(recipe(tmp_path), source, out).reused
    assert not built(recipe(tmp_path), source, out, force=True).reused
    assert not built(recipe(tmp_path, {"question": "q", "answer": "upper(a)"}), source, out).reused
    assert column(samples(out), "answer") == ["SO"]
    assert built(recipe(tmp_path, {"question": "q", "answer": "upper(a)"}, about="new"), source, out).reused
    parquet(source, [{"q": "Why?", "a": "so"}, {"q": "Who?", "a": "me"}])
    assert not built(recipe(tmp_path, {"question": "q", "answer": "upper(a)"}), source, out).reused
    assert not list(tmp_path.glob(".out*"))


def test_a_build_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    source = parquet(tmp_path / "rows.parquet", [{"q": "Why?", "a": "so"}])
    out = tmp_path / "out"
    built(recipe(tmp_path), source, out)
    with pytest.raises(Mistakes):
        built(recipe(tmp_path, {"question": "q", "answer": "zz"}), source, out)
    assert column(samples(out), "answer") == ["so"]
    assert not list(tmp_path.glob(".out*"))


def test_a_source_without_rows_gives_no_samples(tmp_path: Path) -> None:
    made = built(recipe(tmp_path), parquet(tmp_path / "rows.parquet", [], SCHEMA), tmp_path / "out")
    assert [(part.rows, part.samples, part.rejected) for part in made.splits] == [(0, 0, {})]
    assert samples(tmp_path / "out") == []


CLASHES = [
    "row",
    "reason",
    "source",
    "id",
    "split",
    "kept",
    "mapped",
    "numbered",
    "keyed",
    "judged",
    "twice",
    "place",
    "text",
    "__source",
    "raw_id",
    "raw_question",
    "raw",
    "source_id",
    "question",
    "answer",
    "choices",
    "sample_id",
    "dataset",
    "task",
    "subject",
    "c",
    "t",
    "x",
    "given",
]


def test_columns_may_be_called_as_the_query_calls_its_own(tmp_path: Path) -> None:
    rows = [{name: f"{name} {n}" for name in CLASHES} for n in range(3)]
    source = parquet(tmp_path / "rows.parquet", rows)
    for name in CLASHES:
        sample = {"question": f"{name} || ' ?'", "answer": name, "choices": f"[{name}, 'b']", "id": name}
        sample |= {"subject": name, "where": f"{name} NOT LIKE '% 2'", "human_rationale": f"{name}"}
        made = built(recipe(tmp_path, sample), source, tmp_path / "out")
        assert made.splits[0].filtered == 1
        assert samples(tmp_path / "out")[1] == {
            "sample_id": f"d/train/{name} 1",
            "dataset": "d",
            "split": "train",
            "task": "test",
            "subject": f"{name} 1",
            "question": f"{name} 1 ?",
            "choices": [f"{name} 1", "b"],
            "answer": f"{name} 1",
            "answer_index": 0,
            "human_rationale": f"{name} 1",
        }
    built(recipe(tmp_path, {"question": "NULL", "answer": "row"}), source, tmp_path / "out")
    assert [orjson.loads(row["source"]) for row in rejects(tmp_path / "out")] == rows


def test_columns_that_hold_several_types_give_their_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"q": "Why?", "a": "so", "i": 1}\n{"q": "Who?", "a": 12, "i": "b"}\n{"q": "x", "a": null}\n')
    made = built(recipe(tmp_path, {"question": "q", "answer": "a", "id": "i"}), path, tmp_path / "out")
    assert column(samples(tmp_path / "out"), "answer") == ["so", "12"]
    assert column(samples(tmp_path / "out"), "sample_id") == ["d/train/1", "d/train/b"]
    assert made.splits[0].rejected == {"empty answer": 1}


@pytest.mark.parametrize(
    ("value", "text"), [("'a'", "a"), ("['a', 'b']", "a b"), ("[]", ""), ("'[1, 2]'", "[1, 2]"), ("NULL", None)]
)
def test_joined_reads_one_text_and_a_list_of_texts(value: str, text: str | None) -> None:
    connection = connect(threads=1)
    assert connection.execute(f"SELECT joined({value})").fetchall() == [(text,)]
    connection.close()
