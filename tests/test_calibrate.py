"""Calibrating: labels of tables, rules and scores beside them, a scorer that is fitted, a judge that is asked."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import teacherlm
from quality_rows import METRICS
from scripted import teacher
from teacherlm.api.calibrate import NO_GOLD, NOT_HELD_OUT, OTHER_SOURCES, SEEN_NONE, Calibration, read_features
from teacherlm.api.calibrate_docs import BEGIN, END, write_docs
from teacherlm.api.project import Project
from teacherlm.cli.main import main
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake
from teacherlm.quality import fit as fitting
from teacherlm.quality.labels import open_labels, read_labels, take_labels
from teacherlm.quality.score import FOLD, load_scorer

ROWS = Path(__file__).resolve().parents[2].joinpath("shared", "data", "machine_rationales")

SCHEMA = pa.schema(
    {
        **dict.fromkeys(("id", "source", "question", "context"), pa.string()),
        "choices": pa.list_(pa.string()),
        **dict.fromkeys(("gold_answer", "generated_rationale"), pa.string()),
        "is_correct": pa.bool_(),
        **dict.fromkeys(("n_annotators", "n_acceptable"), pa.int32()),
        "annotations": pa.string(),
    }
)

METALS = ["iron", "gold", "tin", "lead", "zinc", "copper"]


def row(**columns: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(SCHEMA.names),
        "id": "1",
        "question": "Which metal rusts?",
        "choices": ["gold", "iron"],
        "gold_answer": "iron",
        "generated_rationale": "Iron meets the oxygen of the air, and rust is what comes of it.",
        **columns,
    }


def write(path: Path, rows: list[dict[str, Any]], drop: tuple[str, ...] = ()) -> Path:
    table = pa.Table.from_pylist(rows, schema=SCHEMA).drop_columns(list(drop))
    pq.write_table(table, path)
    return path


def learnable(path: Path, source: str, seed: int, count: int = 150) -> Path:
    """Texts that explain, found good by people, and texts that only name a wrong metal or repeat the question."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        right, wrong = draw.sample(METALS, 2)
        question = f"Which metal is in box {number // 2} of {source}?"
        good = draw.random() < 0.5
        explains = good != (draw.random() < 0.1)
        reason = draw.choice(["heavy and dark", "light and pale", "soft and red"])
        text = f"The box holds a metal that is {reason}, because {right} looks like this in daylight and others do not."
        bad = draw.choice([f"It is in the box, so {wrong}.", f"Which metal is in box {number // 2}? {wrong}"])
        votes = {"n_annotators": 3, "n_acceptable": draw.choice([2, 3] if good else [0, 1])}
        rows.append(
            row(
                id=f"{source}-{number}",
                source=source,
                question=question,
                choices=[right, wrong] if number % 4 < 2 else [],
                gold_answer=right,
                generated_rationale=text if explains else bad,
                **votes,
            )
        )
    return write(path, rows)


def project(folder: Path) -> Project:
    (folder / "catalog.yaml").write_text("{}\n", encoding="utf-8")
    return teacherlm.open(folder, workspace=folder / "workspace")


def labels_of(path: Path) -> tuple[duckdb.DuckDBPyConnection, Any]:
    con = duckdb.connect()
    open_labels(con)
    read = read_labels(con, path)
    take_labels(con)
    return con, read


# Labels.


def test_the_two_kinds_of_label_are_told_apart(tmp_path: Path) -> None:
    evaluated = [{"quality_label": "good"}, {"quality_label": "bad"}]
    path = write(
        tmp_path / "t.parquet",
        [
            row(id="answer", is_correct=False),
            row(id="most", n_annotators=3, n_acceptable=2),
            row(id="even", n_annotators=6, n_acceptable=3),
            row(id="none", n_annotators=6, n_acceptable=0),
            row(id="votes", n_annotators=3, annotations=json.dumps({"acceptable": ["1", "-1", "1"]})),
            row(
                id="two", annotations=json.dumps({"human_evaluator_1": evaluated[0], "human_evaluator_2": evaluated[1]})
            ),
            row(id="one", annotations=json.dumps({"human_evaluator_1": evaluated[1], "gpt": evaluated[0]})),
            row(id="facts", is_correct=True, annotations=json.dumps({"factual1": "T", "consist1": "F"})),
            row(id="broken", annotations="{"),
        ],
    )
    con, read = labels_of(path)
    found = con.execute("select id, label, good, unanimous from labels order by id, label").fetchall()
    assert read.used == 9
    assert found == [
        ("answer", "answer", False, True),
        ("facts", "answer", True, True),
        ("facts", "judgement", False, True),
        ("most", "judgement", True, False),
        ("none", "judgement", False, True),
        ("one", "judgement", False, True),
        ("votes", "judgement", True, False),
    ]
    # All are texts about one sample of a source that is called as its file.
    assert con.execute("select count(distinct sample_id), count(*), min(dataset) from rationales").fetchone() == (
        1,
        9,
        "t",
    )


@pytest.mark.parametrize(
    ("choices", "gold", "options", "answer"),
    [
        (["gold", "iron"], "B", ["gold", "iron"], "iron"),
        (["A)16", "B)20.5"], "b", ["16", "20.5"], "20.5"),
        (["(A) gold", "(B) iron"], "(B) iron", ["gold", "iron"], "iron"),
        (["True", "False"], "no", ["True", "False"], "False"),
        (["gold", "iron"], "Iron.", ["gold", "iron"], "iron"),
        ([], "C", [], "C"),
        (None, "42", [], "42"),
        (["gold", "iron"], "tin", None, None),
        (["gold", "iron"], None, None, None),
    ],
)
def test_gold_answers_become_one_of_the_choices(
    tmp_path: Path, choices: Any, gold: Any, options: Any, answer: Any
) -> None:
    con, read = labels_of(write(tmp_path / "t.parquet", [row(choices=choices, gold_answer=gold)]))
    found = con.execute("select choices, answer from samples").fetchall()
    assert found == ([] if answer is None else [(options, answer)])
    assert sum(read.why.values()) == (answer is None)


def test_a_passage_is_joined_to_its_question(tmp_path: Path) -> None:
    con, _ = labels_of(write(tmp_path / "t.parquet", [row(context="Box 1 holds iron.")]))
    assert con.execute("select question from samples").fetchone() == ("Box 1 holds iron.\nWhich metal rusts?",)


# The command.


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    assert int(ended.value.code or 0) == code, shown
    return shown.out, shown.err


def test_what_cannot_be_read_is_said_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(tmp_path / "good.parquet", [row(n_annotators=3, n_acceptable=3), row(id="2", is_correct=False)])
    corrupt = tmp_path / "corrupt.parquet"
    corrupt.write_bytes(good.read_bytes()[:200])
    short = write(tmp_path / "short.parquet", [row()], drop=("gold_answer", "question"))
    project(tmp_path)
    common = ("calibrate", "--project", tmp_path, "--format", "json")
    printed, _ = run(capsys, *common, good, corrupt, short, tmp_path / "none.parquet", code=4)
    envelope = orjson.loads(printed)
    assert (envelope["command"], envelope["ok"]) == ("calibrate", False)
    assert [(error["where"], error["exit_code"]) for error in envelope["errors"]] == [
        (str(corrupt), 4),
        (str(short), 2),
        (str(tmp_path / "none.parquet"), 2),
    ]
    assert "has no column `question` and `gold_answer`; it has id," in envelope["errors"][1]["found"]
    rules = [row for row in envelope["rows"] if row["what"] == "rule" and row["rule"] == "empty"]
    assert [(row["source"], row["label"], row["good"], row["hits"]) for row in rules] == [
        ("good", "answer", 0, 0),
        ("good", "judgement", 1, 0),
    ]
    assert "no such file" in run(capsys, "calibrate", "--project", tmp_path, tmp_path / "none.parquet", code=2)[1]


def test_rules_are_counted_against_labels(tmp_path: Path) -> None:
    wrong = "Gold is heavy and old. The answer is (A)."
    rows = [
        row(id="a", is_correct=False, generated_rationale=wrong),
        row(id="b", is_correct=False, generated_rationale=wrong + " It is."),
        row(id="c", is_correct=True, generated_rationale=wrong + " Certainly."),
        row(id="d", is_correct=True),
        row(id="e", is_correct=False),
    ]
    found = project(tmp_path).calibrate([write(tmp_path / "t.parquet", rows)])
    by_rule = {rule.rule: rule for rule in found.rules}
    rule = by_rule["contradicts_gold"]
    assert (rule.hits, rule.bad_hits, rule.rationales, rule.good) == (3, 2, 5, 2)
    assert (rule.precision, rule.recall, rule.good_rejected) == pytest.approx((2 / 3, 2 / 3, 0.5))
    assert by_rule["empty"].precision is None
    assert by_rule["(all that reject)"].hits == 3


# Fitting.


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Project, list[Path], Calibration]:
    pytest.importorskip("sklearn", reason="the extra `fit` is not installed")
    folder = tmp_path_factory.mktemp("fitted")
    tables = [learnable(folder / f"{name}.parquet", name, seed) for seed, name in enumerate(("one", "two"))]
    opened = project(folder)
    return folder, opened, tables, opened.calibrate(tables, fit=True)


def areas(found: Calibration) -> dict[tuple[str, str, str], float | None]:
    return {(one.by, one.agreement.source, one.agreement.people): one.agreement.auroc for one in found.scores}


def test_a_fitted_scorer_tells_good_from_bad(fitted: tuple[Path, Project, list[Path], Calibration]) -> None:
    folder, opened, tables, found = fitted
    assert found.written == folder / "quality" / "scorer.json"
    for by in (SEEN_NONE, OTHER_SOURCES, NO_GOLD):
        for source in ("one", "two"):
            assert 0.75 < (areas(found)[by, source, "all"] or 0) < 0.99
    for one in found.scores:
        if one.by == SEEN_NONE:
            assert one.agreement.low is not None and one.agreement.auroc is not None
            assert one.agreement.low < one.agreement.auroc
            assert one.agreement.ece < 0.2
    # The shipped file gives the same figures again, without scikit-learn: the held-out models stand in it.
    again = opened.calibrate(tables)
    assert {key: value for key, value in areas(found).items() if key[0] == SEEN_NONE} == pytest.approx(areas(again))


def test_the_sql_gives_what_scikit_learn_gives(fitted: tuple[Path, Project, list[Path], Calibration]) -> None:
    folder, opened, tables, _ = fitted
    con = duckdb.connect()
    open_labels(con)
    for path in tables:
        read_labels(con, path)
    take_labels(con)
    METRICS.take(con)
    design, scorer = read_features(opened.files), load_scorer(folder / "quality" / "scorer.json")
    labelled = fitting.read_design(con, design)
    for fold in (None, 3):
        expression = scorer.sql(None if fold is None else str(fold))
        rows = con.execute(
            f"select {expression} from metrics m join labels l on l.sample_id = m.sample_id and l.repeat = m.repeat "
            "order by l.sample_id, l.repeat, l.label"
        ).fetchall()
        by_sql = np.array([row[0] for row in rows])
        for number in np.unique(labelled.part):
            mine = labelled[labelled.part == number]
            seen = mine if fold is None else mine[mine.fold != fold]
            columns = np.flatnonzero(seen.values.std(axis=0) > 1e-12)
            model = fitting.pipeline(seen, columns)
            expected = model.predict_proba(mine.values[:, columns])[:, 1]
            assert np.abs(by_sql[labelled.part == number] - expected).max() < 1e-9


def test_no_question_is_both_fitted_and_tested(fitted: tuple[Path, Project, list[Path], Calibration]) -> None:
    _, opened, tables, _ = fitted
    con, _ = labels_of(tables[0])
    METRICS.take(con)
    labelled = fitting.read_design(con, read_features(opened.files))
    folds = con.execute(f"select question_key, count(distinct {FOLD}) from labels l group by 1").fetchall()
    assert {count for _, count in folds} == {1}
    # Labels of a fold do not change the model that its score comes from.
    labelled = replace(labelled, good=labelled.good.astype(bool), part=np.zeros_like(labelled.part))
    turned = replace(labelled, good=np.where(labelled.fold == 2, ~labelled.good, labelled.good))
    design = replace(read_features(opened.files), parts={"any": "true"})
    first, second = (fitting.fit(design, one) for one in (labelled, turned))
    assert first.parts[0].held_out[2] == second.parts[0].held_out[2]
    assert first.parts[0].held_out[1] != second.parts[0].held_out[1]


def test_a_fit_of_the_same_labels_gives_the_same_file(fitted: tuple[Path, Project, list[Path], Calibration]) -> None:
    folder, opened, tables, _ = fitted
    opened.calibrate([*reversed(tables)], fit=True, scorer=folder / "again.json")
    assert (folder / "again.json").read_bytes() == (folder / "quality" / "scorer.json").read_bytes()


def test_too_few_labels_are_not_fitted(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `fit` is not installed")
    table = write(tmp_path / "t.parquet", [row(is_correct=True)])
    with pytest.raises(Mistake, match="1 labels with options, of which 1 are good"):
        project(tmp_path).calibrate([table], fit=True)
    assert not (tmp_path / "quality").exists()


# What people read.


def test_the_document_keeps_what_is_written_by_hand(fitted: tuple[Path, Project, list[Path], Calibration]) -> None:
    folder, _, _, found = fitted
    path = folder / "quality.md"
    path.write_text("# Quality\n\nBy hand.\n", encoding="utf-8")
    write_docs(found, path, "teacherlm calibrate TABLES/*.parquet")
    first = path.read_text(encoding="utf-8")
    assert first.startswith(
        f"# Quality\n\nBy hand.\n\n{BEGIN}\n\nMade by\n\n    teacherlm calibrate TABLES/*.parquet\n"
    )
    assert "| one.parquet | 150 | 150 |" in first
    assert str(folder) not in first
    path.write_text(first + "\nBelow.\n", encoding="utf-8")
    write_docs(found, path, "teacherlm calibrate TABLES/*.parquet")
    assert path.read_text(encoding="utf-8") == first + "\nBelow.\n"
    path.write_text(BEGIN, encoding="utf-8")
    with pytest.raises(Mistake, match=END):
        write_docs(found, path, "")


def test_the_command_prints_tables(
    fitted: tuple[Path, Project, list[Path], Calibration], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _, tables, _ = fitted
    shown, _ = run(capsys, "calibrate", *tables, "--project", folder, "--output", folder / "made.md")
    assert "auroc" in shown and "unanimous" in shown
    assert "--output made.md" in (folder / "made.md").read_text(encoding="utf-8")
    limited, _ = run(capsys, "calibrate", tables[0], "--project", folder, "--limit", "20", "--format", "json")
    assert orjson.loads(limited)["rows"][0]["used"] == 20
    assert (
        "give a number of 1 or more"
        in run(capsys, "calibrate", tables[0], "--project", folder, "--limit", "0", code=2)[1]
    )
    assert "Example: teacherlm calibrate" in run(capsys, "calibrate", "--help")[0]


# The judge.


def test_a_judge_is_asked_and_its_agreement_reported(tmp_path: Path) -> None:
    table = learnable(tmp_path / "one.parquet", "one", 3, count=60)

    def opinion(prompt: str) -> str | int:
        text = prompt.rsplit("Explanation: ", 1)[1]
        if "soft and red" in text:
            return 422
        return " 5" if "because" in text else " I cannot tell." if "Which metal" in text else " 2/5"

    with teacher(opinion) as server:
        found = project(tmp_path).calibrate([table], judge=server.url)
        assert len(server.prompts) == 60
        assert "Right answer: " in server.prompts[0] and server.prompts[0].endswith("Rating:")
    (judged,) = found.judged
    assert (judged.source, judged.label, judged.asked) == ("one", "judgement", 60)
    assert 0 < judged.unreadable < 60
    assert judged.accuracy is not None and judged.accuracy > 0.75
    assert judged.kappa is not None and judged.kappa > 0.5
    assert judged.auroc is not None and judged.auroc > 0.75


def test_a_judge_that_is_not_there_takes_nothing_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, folder = learnable(tmp_path / "one.parquet", "one", 3, count=60), project(tmp_path).files.root
    asked = ("calibrate", table, "--project", folder, "--judge")
    shown, said = run(capsys, *asked, "http://127.0.0.1:9", code=3)
    assert "auroc" in shown and "--judge http://HOST:PORT" in said and "--teacher" not in said
    made = orjson.loads(run(capsys, *asked, "http://127.0.0.1:9", "--format", "json", code=3)[0])
    assert {row["what"] for row in made["rows"]} == {"table", "rule", "score"} and len(made["errors"]) == 1
    _, said = run(capsys, *asked, "nobody", code=2)
    assert "--judge   there is no teacher `nobody`" in said


def test_a_table_that_has_nothing_to_compare_with_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    good = learnable(tmp_path / "good.parquet", "good", 1, count=20)
    bare = ("is_correct", "n_annotators", "n_acceptable", "annotations")
    tables = {
        "empty": (write(tmp_path / "empty.parquet", []), "no rows"),
        "bare": (write(tmp_path / "bare.parquet", [row()], drop=bare), "no labels: needs is_correct, or n_annotators"),
        "null": (write(tmp_path / "null.parquet", [row()]), "no labels: needs is_correct"),
        "blank": (write(tmp_path / "blank.parquet", [row(generated_rationale="")]), "no row can be used: 1 no text"),
    }
    found = project(tmp_path).calibrate([*(path for path, _ in tables.values()), good])
    assert [table.path for table in found.tables] == [good] and found.rules
    for error, (path, said) in zip(found.errors, tables.values(), strict=True):
        assert (error.exit_code, error.where) == (2, str(path))
        assert error.found.startswith(said)
    even = write(tmp_path / "even.parquet", [row(n_annotators=2, n_acceptable=1)])
    (error,) = project(tmp_path).calibrate([even]).errors
    assert "votes are even" in error.found


def test_a_score_that_is_not_held_out_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, opened = learnable(tmp_path / "one.parquet", "one", 3, count=60), project(tmp_path)
    shipped = json.loads((bundled() / "quality" / "scorer.json").read_text(encoding="utf-8"))
    for part in shipped["parts"]:
        part["held_out"] = []
    (tmp_path / "quality").mkdir()
    (tmp_path / "quality" / "scorer.json").write_text(json.dumps(shipped), encoding="utf-8")
    assert {one.by for one in opened.calibrate([table]).scores} == {NOT_HELD_OUT}
    shown, _ = run(capsys, "calibrate", table, "--project", tmp_path, "--output", tmp_path / "made.md")
    assert "scores not held out" in shown and "auroc" in shown
    assert "Not held out:" in (tmp_path / "made.md").read_text(encoding="utf-8")


# Real tables.


@pytest.mark.skipif(not ROWS.is_dir(), reason="the tables of machine rationales are not beside this checkout")
@pytest.mark.slow
def test_the_shipped_score_agrees_with_people_on_questions_that_it_did_not_see(tmp_path: Path) -> None:
    tables = [ROWS / f"{name}.parquet" for name in ("explanation_acceptability", "gsm8k_openai_models")]
    found = areas(project(tmp_path).calibrate(tables))
    # A regression on 17 surface features gave 0.65 and, where all annotators say the same, 0.72.
    assert (found[SEEN_NONE, "explanation_acceptability", "all"] or 0) > 0.68
    assert (found[SEEN_NONE, "explanation_acceptability", "unanimous"] or 0) > 0.75
    assert (found[SEEN_NONE, "gsm8k_openai_models", "all"] or 0) > 0.9
