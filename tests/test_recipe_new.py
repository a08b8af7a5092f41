"""`recipe new`: of sources of many shapes it proposes a recipe that builds, with the right answers and nothing lost."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import jsonschema
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import teacherlm
from recipes import parquet
from teacherlm.api.draft import Draft, new_recipe
from teacherlm.api.editor_schemas import file_schema
from teacherlm.api.project import Project
from teacherlm.builders.mapping import run_examples
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake, Mistakes, RemoteFailed

Rows = Sequence[Mapping[str, Any]]

LABELLED = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])})

CAPITALS = [
    ("Which city is the capital of France?", ["Lyon", "Paris", "Nice", "Lille"], 1),
    ("Which city is the capital of Italy?", ["Rome", "Milan", "Turin", "Genoa"], 0),
    ("Which city is the capital of Spain?", ["Seville", "Bilbao", "Toledo", "Madrid"], 3),
    ("Which city is the capital of Austria?", ["Linz", "Graz", "Vienna", "Wels"], 2),
    ("Which city is the capital of Norway?", ["Oslo", "Bergen", "Bodo", "Alta"], 0),
]
GOLD = [(question, options, options[right]) for question, options, right in CAPITALS]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "catalog.yaml").write_text("gates: {}\n")
    (tmp_path / "builders").mkdir()
    return teacherlm.open(tmp_path, workspace=tmp_path / "workspace")


def jsonl(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def built(project: Project, name: str = "d") -> list[dict[str, Any]]:
    """The samples of a proposed recipe, in the order of the source; none may be rejected."""
    made = project.build(name)
    assert made.rejected == 0, made
    files = project.workspace.sample_files(name)
    rows: list[dict[str, Any]] = [
        row for paths in files.values() for path in paths for row in pq.read_table(path).to_pylist()
    ]
    return rows


def proposed(project: Project, source: Path, **options: Any) -> Draft:
    """Propose a recipe, and hold it to what every proposal promises."""
    draft = new_recipe(project.files, "d", str(source), **options)
    row = draft.row
    assert not row["to_write"], row
    bound = project.recipe("d")
    assert run_examples(bound) == []
    assert bound.recipe.given
    assert "# guess: " in draft.path.read_text()
    declared = yaml.safe_load(draft.path.read_text())
    jsonschema.validate(orjson.loads(orjson.dumps(declared)), file_schema("recipe"))
    assert row["rejected"] == {}
    return draft


def index(first: int) -> list[dict[str, Any]]:
    return [{"question": q, "choices": options, "label": right + first} for q, options, right in CAPITALS]


OF_CAPITALS: dict[str, tuple[Callable[[Path, Rows], Path], str, list[dict[str, Any]]]] = {
    "a list and the answer's text": (
        parquet,
        "rows.parquet",
        [{"id": f"q{n}", "question": q, "options": o, "answer": o[r]} for n, (q, o, r) in enumerate(CAPITALS)],
    ),
    "a list and its index from 0": (jsonl, "rows.jsonl", index(0)),
    "a list and its index from 1": (jsonl, "rows.jsonl", index(1)),
    "numbered columns and a number from 1, as text": (
        table,
        "rows.csv",
        [{"stem": q, **{f"option{n + 1}": t for n, t in enumerate(o)}, "answer": r + 1} for q, o, r in CAPITALS],
    ),
    "numbered columns from 0 and a label": (
        parquet,
        "rows.parquet",
        [{"question": q, **{f"answer{n}": t for n, t in enumerate(o)}, "label": r} for q, o, r in CAPITALS],
    ),
    "columns A to D and a letter": (
        table,
        "rows.csv",
        [{"Question": q, **dict(zip("ABCD", o, strict=True)), "Answer": "ABCD"[r]} for q, o, r in CAPITALS],
    ),
    "lettered options and a letter in brackets": (
        jsonl,
        "rows.jsonl",
        [
            {
                "problem": q,
                "options": [f"{m}) {t}" for m, t in zip("ABCD", o, strict=True)],
                "correct": f"({'ABCD'[r]})",
            }
            for q, o, r in CAPITALS
        ],
    ),
    "a struct of texts and labels": (
        parquet,
        "rows.parquet",
        [
            {"question": q, "choices": {"text": o, "label": list("1234")}, "answerKey": "1234"[r]}
            for q, o, r in CAPITALS
        ],
    ),
    "a list of structs": (
        jsonl,
        "rows.jsonl",
        [
            {
                "question": q,
                "choices": [{"label": m, "text": t} for m, t in zip("ABCD", o, strict=True)],
                "key": "ABCD"[r],
            }
            for q, o, r in CAPITALS
        ],
    ),
    "an object of letters": (
        jsonl,
        "rows.jsonl",
        [
            {"question": q, "options": dict(zip("ABCD", o, strict=True)), "answer_idx": "ABCD"[r]}
            for q, o, r in CAPITALS
        ],
    ),
    "options as JSON text": (
        table,
        "rows.csv",
        [{"question": q, "options": json.dumps(o), "answer": r} for q, o, r in CAPITALS],
    ),
    "options as Python writes them": (
        table,
        "rows.csv",
        [{"question": q, "options": str(o), "answer": o[r]} for q, o, r in CAPITALS],
    ),
    "an object as JSON text": (
        table,
        "rows.csv",
        [
            {"question": q, "choices": json.dumps({"label": list("ABCD"), "text": o}), "answerKey": "ABCD"[r]}
            for q, o, r in CAPITALS
        ],
    ),
}


@pytest.mark.parametrize("shape", OF_CAPITALS)
def test_options_of_every_shape_come_out_the_same(project: Project, tmp_path: Path, shape: str) -> None:
    write, name, rows = OF_CAPITALS[shape]
    proposed(project, write(tmp_path / name, rows))
    assert [(row["question"], row["choices"], row["answer"]) for row in built(project)] == GOLD


def test_wrong_ones_and_the_right_one_are_sorted(project: Project, tmp_path: Path) -> None:
    rows = [
        {"question": q, "correct_answer": o[r]}
        | {f"distractor{n + 1}": text for n, text in enumerate(text for text in o if text != o[r])}
        for q, o, r in CAPITALS
    ]
    proposed(project, jsonl(tmp_path / "rows.jsonl", rows))
    found = built(project)
    assert [(row["choices"], row["answer"]) for row in found] == [(sorted(o), answer) for _, o, answer in GOLD]


def test_fewer_options_in_some_rows(project: Project, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"question": q, "A": o[0], "B": o[1], "C": o[2], "D": o[3], "answer": "ABCD"[r]} for q, o, r in CAPITALS
    ]
    rows[1]["D"] = rows[1]["C"] = None
    proposed(project, parquet(tmp_path / "rows.parquet", rows))
    assert built(project)[1]["choices"] == ["Rome", "Milan"]


# Answers without a list of options.

STATEMENTS = [("Iron rusts.", True), ("Lisbon lies on the Baltic Sea.", False), ("Two and two are four.", True)]


def test_a_truth_value(project: Project, tmp_path: Path) -> None:
    proposed(project, parquet(tmp_path / "rows.parquet", [{"claim": t, "label": v} for t, v in STATEMENTS]))
    found = built(project)
    assert [row["answer"] for row in found] == ["True", "False", "True"]
    assert found[0]["question"] == "Is this true? Iron rusts."
    assert found[0]["choices"] == ["True", "False"]


@pytest.mark.parametrize("words", [("True", "False"), ("yes", "no")])
def test_truth_in_words(project: Project, tmp_path: Path, words: tuple[str, str]) -> None:
    rows = [{"question": f"Is it so? {text}", "answer": words[not truth]} for text, truth in STATEMENTS]
    proposed(project, jsonl(tmp_path / "rows.jsonl", rows))
    found = built(project)
    assert [row["answer"] for row in found] == [words[not truth] for _, truth in STATEMENTS]
    assert [row["choices"] for row in found] == [list(words)] * 3


REVIEWS = [("A film that I will see again.", 1), ("I left after ten minutes.", 0), ("Nobody has seen this one.", -1)]


def test_label_names_and_rows_without_a_label(project: Project, tmp_path: Path) -> None:
    data = datasets.Dataset.from_list([{"text": t, "label": v} for t, v in REVIEWS], features=LABELLED)
    data.to_parquet(tmp_path / "rows.parquet")
    draft = proposed(project, tmp_path / "rows.parquet")
    assert [(row["answer"], row["choices"]) for row in built(project)] == [
        ("good", ["bad", "good"]),
        ("bad", ["bad", "good"]),
    ]
    assert draft.row["filtered"] == 1


def test_a_saved_dataset_keeps_its_label_names(project: Project, tmp_path: Path) -> None:
    data = datasets.Dataset.from_list([{"text": t, "label": v} for t, v in REVIEWS[:2]], features=LABELLED)
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "saved")
    proposed(project, tmp_path / "saved")
    assert [row["answer"] for row in built(project)] == ["good", "bad"] * 2


def test_labels_without_names_run_and_are_marked(project: Project, tmp_path: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in REVIEWS]
    draft = proposed(project, parquet(tmp_path / "rows.parquet", rows))
    assert "# FILL IN: write what 0, 1 mean" in draft.path.read_text()
    assert [row["answer"] for row in built(project)] == ["label 1", "label 0"]


def test_a_number_after_four_hashes(project: Project, tmp_path: Path) -> None:
    rows = [
        {
            "question": f"A box holds {n} eggs. How many do 4 hold?",
            "answer": f"4 x {n} = <<4*{n}={4 * n}>>{4 * n}\n#### {4 * n}",
        }
        for n in range(2, 9)
    ]
    proposed(project, jsonl(tmp_path / "rows.jsonl", rows))
    found = built(project)
    assert [row["answer"] for row in found] == [str(4 * n) for n in range(2, 9)]
    assert found[0]["human_rationale"] == "4 x 2 = 8"
    assert found[0]["task"] == "math"


def test_a_passage_with_several_answers(project: Project, tmp_path: Path) -> None:
    rows = [
        {"id": f"s{n}", "context": f"The house number of Ada is {n}.", "question": "Where does Ada live?"}
        | {"answers": {"text": [f"number {n}", str(n)], "answer_start": [0, 1]}}
        for n in range(3)
    ]
    proposed(project, parquet(tmp_path / "rows.parquet", rows))
    found = built(project)
    assert found[1]["question"] == "The house number of Ada is 1. Where does Ada live?"
    assert [row["answer"] for row in found] == ["number 0", "number 1", "number 2"]
    assert found[0]["sample_id"] == "d/train/s0"


def test_instructions_with_inputs_and_messages(project: Project, tmp_path: Path) -> None:
    rows = [{"instruction": "Turn it round.", "input": w, "output": w[::-1]} for w in ("stone", "river", "")][:2]
    proposed(
        project, jsonl(tmp_path / "rows.jsonl", [*rows, {"instruction": "Say yes.", "input": "", "output": "yes"}])
    )
    assert [row["question"] for row in built(project)] == ["Turn it round. stone", "Turn it round. river", "Say yes."]
    chats = [
        {"messages": [{"role": "user", "content": f"What is {n} and 1?"}, {"role": "assistant", "content": str(n + 1)}]}
        for n in range(3)
    ]
    proposed(project, jsonl(tmp_path / "chats.jsonl", chats), force=True)
    assert [row["answer"] for row in built(project)] == ["1", "2", "3"]


def test_subject_rationale_and_odd_names(project: Project, tmp_path: Path) -> None:
    rows = [
        {"qid": n, "My question?": f"What is {n} and {n}?", "order": "sums", "answer": 2.0 * n, "topic": "sums"}
        | {"explanation": "n/a" if n == 1 else f"{n} + {n} = {2 * n}."}
        for n in range(1, 7)
    ]
    draft = proposed(project, parquet(tmp_path / "it's [1].parquet", rows))
    found = built(project)
    assert [row["answer"] for row in found] == ["2", "4", "6", "8", "10", "12"]
    assert {row["subject"] for row in found} == {"sums"}
    assert [row["human_rationale"] for row in found][:2] == [None, "2 + 2 = 4."]
    assert found[0]["question"] == "What is 1 and 1?"
    assert str(tmp_path) not in draft.path.read_text().partition("title:")[2]


# Where the rows are.


def test_splits_shards_and_files_elsewhere(
    project: Project, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = OF_CAPITALS["a list and the answer's text"][2]
    for number in (0, 1):
        parquet(tmp_path / "rows" / f"train-{number:05d}-of-00002.parquet", rows[number::2])
    parquet(tmp_path / "rows" / "test.parquet", rows[:1])
    proposed(project, tmp_path / "rows")
    assert project.recipe("d").recipe.source.files == {
        "test": "../rows/test.parquet",
        "train": "../rows/train-*-of-*.parquet",
    }
    assert len(built(project)) == 6
    elsewhere = parquet(tmp_path_factory.mktemp("elsewhere") / "x.parquet", rows)
    proposed(project, elsewhere, split="validation", force=True)
    assert project.recipe("d").recipe.source.files == {"validation": str(elsewhere)}


def test_a_hub_dataset(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    data = datasets.Dataset.from_list([{"text": t, "label": v} for t, v in REVIEWS], features=LABELLED)
    data.info.license = "MIT"
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda hub, config: ["train", "test"])
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: data)
    proposed(project, Path("ada/reviews"), config="small")
    recipe = project.recipe("d").recipe
    assert (recipe.source.hub, recipe.source.config) == ("ada/reviews", "small")
    assert recipe.source.splits == {"train": "train", "test": "test"}
    assert recipe.license == "MIT"
    assert [row["answer"] for row in built(project)] == ["good", "bad"] * 2


def test_the_hub_is_away_or_has_configurations(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(error: Exception) -> Callable[..., Any]:
        def raising(*_: object) -> None:
            raise error

        return raising

    monkeypatch.setattr(datasets, "get_dataset_split_names", fails(ConnectionError("Couldn't reach the Hub")))
    with pytest.raises(RemoteFailed, match="cannot read ada/reviews"):
        new_recipe(project.files, "d", "ada/reviews")
    several = ValueError("Config name is missing.\nPlease pick one among the available configs: ['en', 'de']")
    monkeypatch.setattr(datasets, "get_dataset_split_names", fails(several))
    with pytest.raises(Mistake, match="ada/reviews has configurations: en, de") as mistake:
        new_recipe(project.files, "d", "ada/reviews")
    assert "--config" in mistake.value.remedy
    assert not (project.files.root / "builders" / "d.yaml").exists()


# What cannot be guessed, and what is wrong.


def test_what_is_not_guessed_is_marked_and_refused_until_written(project: Project, tmp_path: Path) -> None:
    rows = [{"zip": n, "first": f"one two three four {n}", "second": f"five six seven eight {n}"} for n in range(9)]
    source = parquet(tmp_path / "rows.parquet", rows)
    draft = new_recipe(project.files, "d", str(source))
    assert draft.row["to_write"] == ["question", "answer"]
    text = draft.path.read_text()
    assert 'question: "???"  # FILL IN: it may be first, second' in text
    assert "# The source's columns: zip BIGINT, first VARCHAR, second VARCHAR" in text
    with pytest.raises(Mistakes) as mistakes:
        project.recipe("d")
    assert [problem.found for problem in mistakes.value.problems] == [
        "`question` is still to be written",
        "`answer` is still to be written",
    ]
    draft.path.write_text(text.replace('question: "???"', "question: first").replace('answer: "???"', "answer: second"))
    assert len(built(project)) == 9


def test_letters_without_options_are_no_answer(project: Project, tmp_path: Path) -> None:
    rows = [{"question": f"What is {n}?", "answer": "abc"[n % 3]} for n in range(9)]
    draft = new_recipe(project.files, "d", str(jsonl(tmp_path / "rows.jsonl", rows)))
    assert draft.row["to_write"] == ["answer", "choices"]


def test_mistakes(project: Project, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = jsonl(tmp_path / "rows.jsonl", index(0))
    new_recipe(project.files, "d", str(source))
    with pytest.raises(Mistake, match="there is a recipe already"):
        new_recipe(project.files, "d", str(source))
    for name in ("a b", "../d", ""):
        with pytest.raises(Mistake, match="no name of a dataset"):
            new_recipe(project.files, name, str(source))
    for absent in ("absent.csv", "./ada/reviews", "rows"):
        with pytest.raises(Mistake, match="no such file or folder"):
            new_recipe(project.files, "e", absent)
    bundled = teacherlm.open(tmp_path_factory.mktemp("empty"))
    with pytest.raises(Mistake) as mistake:
        new_recipe(bundled.files, "e", str(source))
    assert "teacherlm init DIR" in mistake.value.remedy
    empty = pa.table({"question": pa.array([], pa.string()), "answer": pa.array([], pa.string())})
    pq.write_table(empty, tmp_path / "none.parquet")
    with pytest.raises(Mistake, match="holds no rows"):
        new_recipe(project.files, "e", str(tmp_path / "none.parquet"))


REAL = Path(__file__).resolve().parents[2].joinpath("shared", "data")


SAME = {
    **{"arc-challenge": "ai2_arc", "aqua-rat": "aqua_rat", "cosmos-qa": "cosmos_qa", "cos-e": "cos_e", "ecqa": "ecqa"},
    **{"social-i-qa": "social_i_qa", "winogrande": "winogrande", "sciq": "sciq", "dream": "dream", "piqa": "piqa"},
    **{"hellaswag": "hellaswag", "qasc": "qasc", "copa": "super_glue_copa", "cb": "super_glue_cb", "anli": "anli"},
}
"""Datasets whose shipped recipe gives the same options in the same words."""


@pytest.mark.skipif(not REAL.is_dir(), reason="real rows are not beside this checkout")
@pytest.mark.parametrize("name", SAME)
def test_real_sources_get_the_answers_of_our_own_recipes(project: Project, tmp_path: Path, name: str) -> None:
    draft = new_recipe(project.files, name, str(REAL / SAME[name]))
    row = draft.row
    assert not row["to_write"]
    assert project.build(name).samples == row["samples"]
    ours = teacherlm.open(bundled(), workspace=tmp_path / "ours")
    ours.build(name, source=REAL / SAME[name])

    def answers(of: Project) -> list[str]:
        files = of.workspace.sample_files(name)
        return sorted(
            text for parts in files.values() for part in parts for text in pq.read_table(part)["answer"].to_pylist()
        )

    assert answers(project) == answers(ours)
