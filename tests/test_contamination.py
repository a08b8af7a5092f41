"""Contamination: leaks of evaluation items are found, planted in every way; other texts are left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import teacherlm
from quality_rows import METRICS, connect, rationale, sample, shipped_rules
from recipes import parquet, recipe
from scripted import sensible, teacher
from teacherlm.api.references import EvaluationSet, ReferenceReader, read_references
from teacherlm.api.workspace import Workspace
from teacherlm.cli.main import app
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake, RemoteFailed
from teacherlm.project.find import ProjectFiles
from teacherlm.quality.contamination import Reference, find_contamination
from teacherlm.quality.judge import judge

ROWS = Path(__file__).resolve().parents[2].joinpath("shared", "data")

CITIES = ("Lima", "Oslo", "Bern", "Rome", "Cairo", "Hanoi", "Quito", "Tunis", "Paris", "Berlin", "Madrid", "Vienna")
HALF = "The fleet sails at half the speed of the ferry. "
LONG = (
    "A ferry leaves the harbour at dawn and meets the fishing fleet at noon. The fleet sails at half the speed of the "
    "ferry. How far from the harbour do the two meet?"
)
ITEMS = [
    ("1", "Which metal of the first transition row rusts most quickly in salt water?", ["iron", "copper", "nickel"]),
    ("2", LONG, ["10 km", "20 km"]),
    ("3", "What is rust?", ["an oxide of iron", "a kind of moss", "a salt of copper"]),
    ("4", "Why not?", ["yes", "no"]),
    *(
        (f"t{n}", f"Which of the following statements best describes the city of {city}?", ["True", "False"])
        for n, city in enumerate(CITIES)
    ),
]


def reference(folder: Path, items: list[tuple[str, str, list[str]]] = ITEMS, task: str = "exam") -> Reference:
    path = folder / f"{task}.parquet"
    names = ("item", "question", "choices")
    pq.write_table(pa.Table.from_pylist([dict(zip(names, item, strict=True)) for item in items]), path)
    return Reference(task=task, path=path, items=len(items), fingerprint="f")


def hits(folder: Path, question: str = "", choices: tuple[str, ...] = (), text: str = "", **columns: Any) -> Any:
    asked = sample(question=question or "Where do herons nest in spring?", choices=list(choices), **columns)
    con = connect([asked], [rationale(text or "They nest in tall trees.", **columns)])
    find_contamination(con, [reference(folder)])
    return con.execute("select kind, item, shared, round(share, 2) from contamination").fetchall()


@pytest.mark.parametrize(
    ("question", "item"),
    [
        (ITEMS[0][1], "1"),
        (ITEMS[0][1].upper().replace("?", " !!"), "1"),
        ("Which metal of the first transition row corrodes most quickly in salt water?", "1"),
        ("Read this well. Which metal of the first transition row rusts most quickly in salt water? Now answer.", "1"),
        ("rusts most quickly in salt water: which metal of the first transition row", "1"),
        (LONG, "2"),
        (HALF + LONG.replace(HALF, ""), "2"),
        ("It is known that the ferry leaves the harbour at dawn and meets the fishing fleet at noon. Why?", "2"),
    ],
)
def test_a_leaked_question_is_found(tmp_path: Path, question: str, item: str) -> None:
    ((kind, found, shared, _),) = hits(tmp_path, question)
    assert (kind, found) == (None, item)
    assert len(shared.split()) >= 8


@pytest.mark.parametrize(
    "question",
    [
        "Where do herons nest in spring, and why do they come back to the same tree?",
        "Which of the following statements best describes the city of Kyoto?",  # a form that twelve items have
        "What is rust?",  # too short to be item 3 without its options
        "Why not?",
        "Which metal of these is best for a bell that hangs in salt water?",
    ],
)
def test_a_question_that_only_speaks_alike_is_none(tmp_path: Path, question: str) -> None:
    assert hits(tmp_path, question) == []


def test_a_short_question_is_known_by_its_options(tmp_path: Path) -> None:
    options = tuple(reversed(ITEMS[2][2]))
    ((_, item, shared, share),) = hits(tmp_path, "What is rust?", options)
    assert (item, share) == ("3", 1.0)
    assert shared == "what is rust a kind of moss a salt of copper an oxide of iron"
    assert hits(tmp_path, "What is rust?", ("a plant", "a stone")) == []


def test_a_rationale_that_quotes_an_item_is_found(tmp_path: Path) -> None:
    quoted = f"This is like the question: {ITEMS[0][1]} There it is iron."
    assert [row[:2] for row in hits(tmp_path, text=quoted)] == [("chain_of_thought", "1")]
    assert hits(tmp_path, text="Iron rusts most quickly in salt water, of all metals that ships are made of.") == []


def test_only_training_splits_are_looked_at(tmp_path: Path) -> None:
    assert hits(tmp_path, ITEMS[0][1], split="test") == []
    assert hits(tmp_path, ITEMS[0][1], split="train_r1") != []


def test_an_item_that_shares_all_is_one_row_and_the_nearest_come_first(tmp_path: Path) -> None:
    near: list[tuple[str, str, list[str]]] = [
        (f"n{n}", ITEMS[0][1] + " It is asked of engineers" + " again" * n, []) for n in range(5)
    ]
    con = connect([sample(question=ITEMS[0][1])], [rationale("Iron.")])
    find_contamination(con, [reference(tmp_path, [*near, ITEMS[0]])])
    rows = con.execute("select item, share from contamination").fetchall()
    assert len(rows) == 3
    assert rows[0] == ("1", 1.0)


def test_all_that_was_written_about_a_leaked_question_is_rejected(tmp_path: Path) -> None:
    samples = [sample("d/train/1", question=ITEMS[0][1]), sample("d/train/2", question="Where do herons nest?")]
    quoting = f"As in: {ITEMS[0][1]}"
    rows = [
        rationale("It is iron.", "d/train/1"),
        rationale("Salt speeds it up.", "d/train/1", kind="fundamentals"),
        rationale("In trees.", "d/train/2"),
        rationale(quoting, "d/train/2", kind="fundamentals"),
    ]
    con = connect(samples, rows)
    find_contamination(con, [reference(tmp_path)])
    judge(con, [rule for rule in shipped_rules() if rule.id == "contaminated"], METRICS)
    said = con.execute("select sample_id, kind, severity, reason from findings order by 1, 2").fetchall()
    words = "which metal of the first transition row rusts most quickly in salt water"
    assert said == [
        ("d/train/1", "chain_of_thought", "reject", f'its question is like item 1 of exam, which holds "{words}" too'),
        ("d/train/1", "fundamentals", "reject", f'its question is like item 1 of exam, which holds "{words}" too'),
        ("d/train/2", "fundamentals", "reject", f'it is like item 1 of exam, which holds "{words}" too'),
    ]


# Reading evaluation sets.


def reader(folder: Path, **declared: EvaluationSet) -> ReferenceReader:
    return ReferenceReader(ProjectFiles(bundled()), declared, Workspace(folder / "w"))


def test_a_set_is_read_in_the_form_of_its_recipe_or_of_samples(tmp_path: Path) -> None:
    raw = [{"ex_id": "1", "sentence": "Iron rusts.", "explanation": "", "label": "true"}]
    parquet(tmp_path / "validation.parquet", raw)
    parquet(tmp_path / "plain.parquet", [{"question": "Why does iron rust?", "choices": ["salt", "luck"]}])
    (tmp_path / "own.jsonl").write_text('{"question": "Why does  gold not rust?"}\n')
    sets = reader(tmp_path, creak=EvaluationSet(splits=("validation",)))
    assert list(sets.missing()) == ["creak"]
    assert sets.read("creak", tmp_path / "validation.parquet").items == 1
    for task, file in (("exam", "plain.parquet"), ("own", "own.jsonl")):
        assert sets.read(task, tmp_path / file).items == 1
    assert sets.missing() == {}
    found = {item.task: pq.read_table(item.path).to_pylist()[0] for item in read_references(sets.workspace)}
    assert list(found) == ["creak", "exam", "own"]
    assert found["creak"]["item"] == "creak/validation/1"
    assert found["creak"]["question"].endswith("sentence. Iron rusts.")
    assert found["exam"]["choices"] == ["salt", "luck"]
    assert found["own"]["question"] == "Why does gold not rust?"
    sets.read("creak", tmp_path / "plain.parquet")  # the columns of samples, and the name of a recipe
    assert (
        pq.read_table(tmp_path / "w" / "references" / "creak.parquet")["question"][0].as_py() == "Why does iron rust?"
    )


@pytest.mark.parametrize(
    ("task", "file", "found"),
    [
        ("exam", "nothing.parquet", "there is no such file"),
        ("exam", "odd.jsonl", "`question` is missing"),
        ("exam", "broken.parquet", "exam: "),
        ("exam", None, "there is no evaluation set `exam`"),
        ("../exam", "odd.jsonl", "is no name of an evaluation set"),
    ],
)
def test_a_set_that_cannot_be_read_says_where_and_why(tmp_path: Path, task: str, file: str | None, found: str) -> None:
    (tmp_path / "odd.jsonl").write_text('{"text": "Iron rusts."}\n')
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no PAR1")
    with pytest.raises(Mistake) as caught:
        reader(tmp_path).read(task, tmp_path / file if file else None)
    assert found in str(caught.value)
    assert "--source" not in str(caught.value)
    assert file is None or task != "exam" or str(tmp_path / file) in str(caught.value)
    assert read_references(Workspace(tmp_path / "w")) == ()


def test_an_error_of_a_set_speaks_of_against(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw").mkdir()
    parquet(tmp_path / "raw" / "dev.parquet", [{"ex_id": "1", "sentence": "Iron rusts.", "label": "true"}])
    sets = reader(tmp_path, creak=EvaluationSet(splits=("validation",)))
    with pytest.raises(Mistake) as caught:
        sets.read("creak", tmp_path / "raw")
    assert "catalog.yaml: evaluation_sets.creak.splits" in caught.value.remedy
    (tmp_path / "odd.jsonl").write_text('{"question": 1, "choices": 3}\n{"question"\n')
    with pytest.raises(Mistake) as caught:
        sets.read("exam", tmp_path / "odd.jsonl")
    assert "nothing was run" not in str(caught.value) and "--against exam=PATH" in caught.value.remedy
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RemoteFailed) as lost:
        sets.read("creak")
    assert "--against creak=PATH" in lost.value.remedy
    assert "build" not in lost.value.remedy and "--source" not in lost.value.remedy


@pytest.mark.parametrize("keep", [0, 40, -4, None])
def test_a_damaged_set_is_not_run_and_the_others_are(tmp_path: Path, keep: int | None) -> None:
    project = leaky(tmp_path)
    project.check("d", against={"exam": tmp_path / "exam.jsonl", "other": tmp_path / "exam.jsonl"})
    place = tmp_path / "w" / "references" / "other.parquet"
    if keep is None:
        pq.write_table(pq.read_table(place).drop_columns(["choices"]), place)
    else:
        place.write_bytes(place.read_bytes()[:keep])
    found = {against.task: against for against in project.check("d").contamination}
    assert (found["exam"].state, found["exam"].samples) == ("run", 1)
    assert found["other"].state == "not run"
    assert "cannot be read" in found["other"].why and "--against other=PATH" in found["other"].why


def leaky(folder: Path, **declared: Any) -> teacherlm.api.project.Project:
    """A project with two samples, one of which is an item of `exam.jsonl`."""
    rows = [{"q": ITEMS[0][1], "a": "iron"}, {"q": "Where do herons build their nests in spring?", "a": "in trees"}]
    parquet(folder / "builders" / "rows.parquet", rows)
    recipe(folder, **declared)
    (folder / "catalog.yaml").write_text("evaluation_sets: {exam: {splits: [test]}}\n")
    (folder / "exam.jsonl").write_text(f'{{"question": "{ITEMS[0][1]}"}}\n')
    project = teacherlm.open(folder, workspace=folder / "w")
    with teacher(sensible) as server:
        project.build("d")
        project.augment("d", teacher=server.url)
    return project


def test_a_check_says_what_was_not_run_and_holds_the_gate(tmp_path: Path) -> None:
    project = leaky(tmp_path)
    (against,) = project.check("d").contamination
    assert (against.task, against.state, against.why) == ("exam", "not run", "not read yet (--against exam=PATH)")
    report = project.check("d", against={"exam": tmp_path / "exam.jsonl"})
    (against,) = report.contamination
    assert (against.state, against.items, against.samples) == ("run", 1, 1)
    assert next(line.hits for line in report.rules if line.rule == "contaminated") == 3
    assert "max_contaminated" not in [gate.name for gate in report.gates]
    # The set stays in the workspace; once it changes, a report holds no longer.
    assert project.check("d", only_if_stale=True) == report
    (tmp_path / "exam.jsonl").write_text('{"question": "Which river flows through Lisbon into the sea?"}\n')
    assert project.check("d", against={"exam": tmp_path / "exam.jsonl"}).contamination[0].samples == 0


def test_a_declared_gate_fails_where_a_set_was_not_read(tmp_path: Path) -> None:
    project = leaky(tmp_path, gates={"max_contaminated": 0.4})
    report = project.check("d")
    (gate,) = (gate for gate in report.gates if gate.name == "max_contaminated")
    assert not gate.passed
    assert "not run" in gate.remedy
    assert "exam" in gate.remedy
    report = project.check("d", against={"exam": tmp_path / "exam.jsonl"})
    (gate,) = (gate for gate in report.gates if gate.name == "max_contaminated")
    assert (gate.passed, gate.value) == (False, 0.5)


def test_the_command_reads_sets_and_goes_on_where_one_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaky(tmp_path)
    monkeypatch.chdir(tmp_path)
    command = ["check", "d", "-w", "w", "--no-contract", "--against", "mmlu=nowhere.parquet"]
    done = CliRunner().invoke(app, [*command, "--against", "exam=exam.jsonl"])
    assert "nowhere.parquet   there is no such file or folder" in done.stderr
    assert "exam: 1 items read" in done.stderr
    assert "contaminated" in done.stdout
    twice = CliRunner().invoke(app, ["check", "d", "-w", "w", "--against", "exam", "--against", "exam"])
    assert "names `exam` twice" in str(twice.exception or twice.output)


@pytest.mark.skipif(not (ROWS / "cos_e").is_dir(), reason="the real rows are not beside this checkout")
def test_every_question_of_cos_e_that_ecqa_tests_on_is_found(tmp_path: Path) -> None:
    project = teacherlm.open(bundled(), workspace=tmp_path / "w")
    project.build("cos-e", source=ROWS / "cos_e")
    found = project.read_evaluation_set("ecqa", ROWS / "ecqa")
    con = project.sql("from samples").to_arrow_table()
    rows = [{**row, "split": "train"} for row in con.to_pylist()]
    session = connect(rows, [rationale("It is so.", row["sample_id"]) for row in rows])
    find_contamination(session, [found])
    hit = {row[0] for row in session.execute("select sample_id from contamination where kind is null").fetchall()}
    plain = "array_to_string(regexp_extract_all(lower(question), '[a-z0-9]+'), ' ')"
    same = session.execute(
        f"select sample_id from samples where {plain} in (select {plain} from '{found.path}') and question <> ''"
    ).fetchall()
    assert len(rows) > 1600
    assert len(same) > 300  # about a fifth of CommonsenseQA 1.11 is in ECQA's test set
    missed = [row[0] for row in same if row[0] not in hit]
    assert missed == []
    assert len(hit) - len(same) < 0.02 * len(rows)
