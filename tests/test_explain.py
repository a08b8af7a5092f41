"""Explain: all that is known of a row is shown, and what it says of the next run is what the next run does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

import teacherlm
from recipes import parquet, recipe
from scripted import sensible, teacher
from teacherlm.api.explain import Explained
from teacherlm.api.explain_changes import KeyPart
from teacherlm.api.project import Project
from teacherlm.cli.main import main
from teacherlm.core.errors import Mistake
from teacherlm.teacher.client import Retry
from teacherlm.teacher.ledger import Ledger
from teacherlm.teacher.segments import kind_folders, list_segments
from unkind import BAD_GATEWAY, INFO, TOO_LONG, Asked, Behaviour, Reply, Unkind, cut, plain, says, unkind_in_a_thread

GOLDEN = Path(__file__).parent / "golden" / "explain.txt"

ROWS: list[dict[str, Any]] = [
    {"id": "iron", "q": "Which metal rusts when it is wet?", "c": ["gold", "iron"], "a": "iron", "h": None},
    {"id": "wool", "q": "Which animal gives us wool?", "c": ["sheep", "hen"], "a": "sheep", "h": "Wool is shorn."},
    {"id": "ironing", "q": " ", "c": [], "a": "8", "h": None},
]
SAMPLE = {"id": "id", "question": "q", "choices": "c", "answer": "a", "human_rationale": "h"}
IRON, WOOL = "d/train/iron", "d/train/wool"
SAMPLING = "parameters: {do_sample: true, temperature: 0.7, seed: 1}"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "delay", lambda self, failures: 0.0)
    for name in ("TEACHERLM_WORKSPACE", "TEACHERLM_TEACHER", "TEACHERLM_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def opened(tmp_path: Path, catalog: str = "", rows: Sequence[Mapping[str, Any]] = ROWS, **entries: Any) -> Project:
    parquet(tmp_path / "builders" / "rows.parquet", rows)
    recipe(tmp_path, SAMPLE, **entries)
    (tmp_path / "catalog.yaml").write_text(catalog)
    project = teacherlm.open(tmp_path, workspace=tmp_path / "w")
    project.build("d")
    return project


def again(project: Project, **entries: Any) -> Project:
    """The project with another recipe."""
    recipe(project.files.root, SAMPLE, **entries)
    return teacherlm.open(project.files.root, workspace=project.workspace.root)


def parts(explained: Explained, kind: str = "fundamentals", repeat: int = 0) -> dict[str, KeyPart]:
    (text,) = [text for text in explained.texts if (text.kind, text.repeat) == (kind, repeat)]
    return {part.part: part for part in text.now.parts}


def changed(explained: Explained, kind: str = "fundamentals") -> set[str]:
    return {name for name, part in parts(explained, kind).items() if part.state == "changed"}


def lines_of(project: Project, sample_id: str = IRON) -> list[tuple[str, int, str]]:
    found: list[tuple[str, int, str]] = project.sql(
        f"SELECT kind, repeat, call_key FROM ledger WHERE sample_id = '{sample_id}' ORDER BY ALL"
    ).fetchall()
    return found


# --- What it says of the next run is what the next run does -------------------------------------------------------


def other_model(server: Unkind) -> None:
    server.info = plain(200, json.dumps({**INFO, "model_sha": "0ther"}), "application/json")


def nothing(server: Unkind) -> None:
    pass


ANSWER = says("Iron rusts. The answer is (B).")
WRONG = says("Gold does. The answer is (A).")


def cut_at(budget: int) -> Behaviour:
    """Answers with a smaller budget are cut."""
    return lambda asked: cut("Iron is") if asked.budget <= budget else ANSWER


def refused_once(asked: Asked) -> Reply:
    return BAD_GATEWAY if asked.number <= 6 else ANSWER


HOW = dict[str, Any]
CASES: dict[str, tuple[Behaviour, HOW, HOW, HOW, Callable[[Unkind], None], set[str]]] = {
    # What the teacher does; the recipe before; the recipe afterwards; how it is asked; the server's change; what the
    # parts that changed are, of the fundamentals.
    "nothing": ([ANSWER], {}, {}, {}, nothing, set()),
    "budget": ([ANSWER], {}, {"max_new_tokens": 96}, {}, nothing, {"parameters"}),
    "prompts": ([ANSWER], {}, {"prompts": "chat"}, {}, nothing, {"prompt", "parameters"}),
    "revision": ([ANSWER], {}, {}, {}, other_model, {"revision"}),
    "fewer kinds": ([ANSWER], {}, {"kinds": ["chain_of_thought"]}, {}, nothing, {"kind"}),
    "more kinds": ([ANSWER], {"kinds": ["fundamentals"]}, {}, {}, nothing, set()),
    "refused": ([TOO_LONG], {}, {}, {}, nothing, set()),
    "cut twice": (cut_at(4096), {}, {}, {}, nothing, set()),
    "cut once": (cut_at(512), {}, {}, {}, nothing, set()),
    "cut, other budget": (cut_at(512), {}, {"max_new_tokens": 600}, {}, nothing, {"parameters"}),
    "exhausted": (refused_once, {"kinds": ["fundamentals"]}, {}, {}, nothing, set()),
    "human": ([ANSWER], {"human": "fundamentals"}, {}, {}, nothing, set()),
    "star": ([WRONG, WRONG, WRONG, ANSWER], {"strategy": "star"}, {"strategy": "star"}, {}, nothing, set()),
    "star no more": ([WRONG], {"strategy": "star"}, {}, {"strategy": "star"}, nothing, set()),
    "repeats": ([ANSWER], {}, {}, {"repeats": 3}, nothing, set()),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sample_id", [IRON, WOOL])
def test_what_would_be_asked_again_is_asked_again(tmp_path: Path, case: str, sample_id: str) -> None:
    behaviour, before, after, how, change, parts_changed = CASES[case]
    with unkind_in_a_thread(behaviour) as server:
        project = opened(tmp_path, f"teachers:\n  lab: {{url: '{server.url}', {SAMPLING}}}\n", **before)
        project.augment("d", teacher="lab", **how)
        first = lines_of(project, sample_id)
        project = again(project, **after)
        change(server)
        asked = len(server.seen)
        explained = project.explain(sample_id, teacher="lab")
        assert explained.teacher_asked
        assert len(server.seen) == asked, "to explain is not to ask"
        said = {(text.kind, text.repeat) for text in explained.texts if text.now.asks_again}
        assert changed(explained) == parts_changed
        project.augment("d", teacher="lab", **how)
        second = lines_of(project, sample_id)
    for line in first:
        second.remove(line)
    assert {(kind, repeat) for kind, repeat, _ in second} == said
    for text in explained.texts:
        assert text.now.because.startswith(("nothing changed", "not asked yet", "nobody", "it would be asked"))
        if text.now.asks_again and text.now.call_key:
            assert text.now.call_key in {key for _, _, key in second}


def test_the_words_for_what_is_asked_again_though_nothing_changed(tmp_path: Path) -> None:
    with unkind_in_a_thread([BAD_GATEWAY]) as server:
        project = opened(tmp_path, kinds=["fundamentals"])
        project.augment("d", teacher=server.url)
        (text,) = project.explain(IRON, teacher=server.url).texts
    assert text.now.because == "nothing changed, but every attempt failed: it would be asked again"
    assert text.answers[-1]["failure"].startswith("exhausted: ")
    assert text.answers[-1]["parameters"]["max_new_tokens"] == 512


def test_an_answer_of_before_is_taken_up_again(tmp_path: Path) -> None:
    with teacher() as one, unkind_in_a_thread([ANSWER]) as other:
        project = opened(tmp_path, kinds=["fundamentals"])
        project.augment("d", teacher=one.url)
        project.augment("d", teacher=other.url)
        (text,) = project.explain(IRON, teacher=one.url).texts
        assert [answer["teacher_model"] for answer in text.answers] == ["tests/scripted", "unkind/teacher"]
        assert not text.now.asks_again
        assert re.fullmatch(r"it would not be asked again: the answer of .* UTC is taken up again", text.now.because)
        assert {part.part for part in text.now.parts if part.state == "changed"} == {"model", "revision"}


def test_all_kinds_in_one_call(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        schema = (asked.body.get("response_format") or asked.body["parameters"]["grammar"])["value"]
        return says(json.dumps({name: f"A text of {name}." for name in schema["required"]}))

    declared: HOW = {"prompts": "one-call", "human": "chain_of_thought"}
    with unkind_in_a_thread(answer) as server:
        project = opened(tmp_path, **declared, kinds=["fundamentals", "chain_of_thought"])
        project.augment("d", teacher=server.url)
        for sample_id in (IRON, WOOL):
            explained = project.explain(sample_id, teacher=server.url)
            assert [text.now.asks_again for text in explained.texts] == [False] * 2
            assert all(text.now.because.startswith("nothing changed") for text in explained.texts)
        explained = again(project, **declared).explain(WOOL, teacher=server.url)
        assert changed(explained) == {"prompt", "parameters"}
        assert "the prompts `one-call` still give it, for other kinds" in parts(explained)["prompt"].note
        assert [text.now.asks_again for text in explained.texts] == [True, False, True]


# --- What is not known is said to be unknown ----------------------------------------------------------------------


def test_a_teacher_that_is_not_named_is_not_asked(tmp_path: Path) -> None:
    with teacher() as server:
        project = opened(tmp_path, kinds=["fundamentals"])
        project.augment("d", teacher=server.url)
    explained = project.explain(IRON)
    assert (explained.teacher, explained.teacher_from, explained.teacher_asked) == (server.url, "the last run", False)
    found = parts(explained)
    assert {name for name, part in found.items() if part.state == "unknown"} == {"model", "revision"}
    assert found["model"].old == "tests/scripted"
    (text,) = explained.texts
    assert text.now.because == (
        "nothing changed: it would not be asked again, as long as the teacher is still tests/scripted (revision 1)"
    )
    # Named, and not there any more.
    explained = project.explain(IRON, teacher=server.url)
    assert not explained.teacher_asked
    assert "could not be asked for model and revision" in explained.notes[0]
    # Nobody knows which teacher it was: its sampling is taken as it was.
    project.workspace.run_record("d").unlink()
    explained = again(project, kinds=["fundamentals"], max_new_tokens=96).explain(IRON)
    assert explained.teacher is None
    assert (parts(explained)["parameters"].old, parts(explained)["parameters"].new) == (
        {"max_new_tokens": 512},
        {"max_new_tokens": 96},
    )


def test_an_old_ledger_has_neither_endpoint_nor_parameters(tmp_path: Path) -> None:
    with teacher() as server:
        project = opened(tmp_path, kinds=["fundamentals"])
        project.augment("d", teacher=server.url)
        for folder in kind_folders(project.workspace.rationales("d")):
            for segment in list_segments(folder):
                table = pq.read_table(segment.path).drop_columns(["endpoint", "parameters"])
                pq.write_table(table, segment.path)
        explained = project.explain(IRON, teacher=server.url)
        assert explained.texts[0].answers[0]["endpoint"] is None
        assert {part.state for part in parts(explained).values()} == {"same"}
        explained = again(project, kinds=["fundamentals"], max_new_tokens=96).explain(IRON, teacher=server.url)
    found = parts(explained)["parameters"]
    assert (found.state, found.old) == ("unknown", None)
    assert "before parameters were kept" in found.note
    assert explained.texts[0].now.asks_again


def test_where_an_old_prompt_may_come_from(tmp_path: Path) -> None:
    with teacher() as server:
        project = opened(tmp_path, kinds=["fundamentals"])
        own = tmp_path / "builders" / "prompts" / "own.yaml"
        own.parent.mkdir()
        own.write_text("kinds: {fundamentals: '{{ sample_text }} Why?'}\n")
        project = again(project, kinds=["fundamentals"], prompts="own")
        project.augment("d", teacher=server.url)
        # Another profile is asked with: the old prompt can still be rendered.
        explained = again(project, kinds=["fundamentals"]).explain(IRON)
        assert parts(explained)["prompt"].note == "the prompts `own` still give it"
        assert parts(explained)["prompt"].diff.splitlines()[1].endswith("A: The answer is (B). Why?")
        # The file was changed: its old text is nowhere.
        own.write_text("kinds: {fundamentals: '{{ sample_text }} How so?'}\n")
        found = parts(again(project, kinds=["fundamentals"], prompts="own").explain(IRON))["prompt"]
        assert "only the hash" in found.note
        assert "the question has not" in found.note
        assert not found.diff
        # The question was changed too.
        rows = [{**ROWS[0], "q": "Which metal does rust?"}, *ROWS[1:]]
        project = opened(tmp_path, rows=rows, kinds=["fundamentals"], prompts="own")
        assert "the question may have changed" in parts(project.explain(IRON))["prompt"].note


def test_what_is_declared_no_more(tmp_path: Path) -> None:
    with teacher() as server:
        project = opened(tmp_path, kinds=["fundamentals"])
        project.augment("d", teacher=server.url)
        # The sample is gone from the source.
        project = opened(tmp_path, rows=ROWS[1:], kinds=["fundamentals"])
        explained = project.explain(IRON)
        assert explained.sample is None
        assert changed(explained) == {"sample id"}
        assert "the sample is not among the samples any more" in explained.texts[0].now.because
        # The recipe is gone.
        (tmp_path / "builders" / "d.yaml").unlink()
        explained = project.explain(WOOL)
        assert explained.source["recipe"] is None
        assert "there is no dataset `d`" in explained.texts[0].now.because
        assert explained.texts[0].answers


# --- The command --------------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()
    assert (ended.value.code or 0) == code, shown
    return shown.out, shown.err


def steady(text: str, tmp_path: Path) -> str:
    """What differs from run to run taken out."""
    for pattern, word in (
        (re.escape(str(tmp_path)), "PROJECT"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DAY TIME"),
        (r"[\d,.]+ ms", "T ms"),
        (r"(?<=, score )[\d.]+", "S"),
        (r"(?<=fingerprint  )[0-9a-f]{64}", "FINGERPRINT"),
    ):
        text = re.sub(pattern, word, text)
    return text


def answers(prompt: str) -> str:
    return " iron iron iron iron" if prompt.endswith("step by step.") else sensible(prompt)


def test_it_reads_as_in_the_golden_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with teacher(answers) as server:
        project = opened(tmp_path, kinds=["fundamentals", "chain_of_thought"], human="chain_of_thought")
        project.augment("d", teacher=server.url)
        project.check("d")
        again(project, kinds=["fundamentals", "chain_of_thought"], max_new_tokens=96)
        out, err = run(capsys, "explain", "d/train/iro", "--workspace", "w", "--teacher", server.url)
        assert not err
        assert steady(out, tmp_path) == GOLDEN.read_text()
        assert all(len(line) <= 100 for line in steady(out, tmp_path).splitlines())
        out, _ = run(capsys, "explain", WOOL, "--workspace", "w", "--kind", "chain_of_thought")
        assert "the text was taken from the source, and is not any more" in out
        assert "fundamentals" not in out
        out, _ = run(capsys, "explain", IRON, "--workspace", "w", "--format", "json")
        envelope = orjson.loads(out)
    assert list(envelope) == ["schema_version", "command", "ok", "rows", "errors"]
    (row,) = envelope["rows"]
    assert [text["kind"] for text in row["texts"]] == ["fundamentals", "chain_of_thought"]
    answer = row["texts"][1]["answers"][0]
    assert answer["endpoint"] == server.url
    assert answer["parameters"] == {"do_sample": False, "max_new_tokens": 512, "stop": ["Q: ", "\nQ:"]}
    assert answer["verdict"]["verdict"] == "rejected"
    assert answer["verdict"]["findings"][0]["reason"]
    assert not answer["is_in_augmented"]
    assert row["texts"][0]["answers"][0]["is_in_augmented"]
    assert row["texts"][0]["now"]["prompt"].startswith("Q: Which metal rusts when it is wet?")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("d/train/wol", ["there is no sample `d/train/wol`", "the nearest are d/train/wool"]),
        ("d/train/", ["begins the ids of several samples", "d/train/iron, d/train/wool"]),
        ("d/train/ironing", ["row 3 of the source was refused: empty question"]),
        ("dd/train/iron", ["nothing of `dd` is in", "did you mean d/train/iron?"]),
        ("elsewhere", ["ids begin with DATASET/SPLIT/", "known are d"]),
        ("", ["ids begin with DATASET/SPLIT/"]),
    ],
)
def test_a_sample_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, words: list[str]
) -> None:
    project = opened(tmp_path)
    place = ("--project", str(tmp_path), "--workspace", str(tmp_path / "w"))
    out, err = run(capsys, "explain", given, *place, code=2)
    assert not out
    for word in words:
        assert word in err
    out, _ = run(capsys, "explain", given, *place, "--format", "json", code=2)
    assert orjson.loads(out)["errors"][0]["remedy"]
    with pytest.raises(Mistake, match='is "cot"'):
        project.explain(IRON, kind="cot")
    with pytest.raises(Mistake, match="no teacher `nanno`"):
        project.explain(IRON, teacher="nanno")


def test_a_sample_of_a_collection_is_found_in_its_workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened(tmp_path, "collections:\n  zoo: {datasets: [d], at_most: 1}\n")
    place = ("--project", str(tmp_path), "--workspace", str(tmp_path / "elsewhere"), "--format", "json")
    zoo = teacherlm.open(tmp_path, workspace=tmp_path / "elsewhere").collection("zoo")
    zoo.build()
    (sample_id,) = zoo.project.sql("SELECT sample_id FROM samples").fetchall()[0]
    out, _ = run(capsys, "explain", sample_id, *place)
    assert orjson.loads(out)["rows"][0]["sample_id"] == sample_id
    run(capsys, "explain", sample_id, "--project", str(tmp_path), "--workspace", str(tmp_path / "nowhere"), code=2)


def test_a_row_that_was_never_asked_and_one_that_is_being_written(tmp_path: Path) -> None:
    project = opened(tmp_path, kinds=["fundamentals"])
    (text,) = project.explain(IRON).texts
    assert (text.answers, text.now.because, text.now.asks_again) == ((), "not asked yet", True)
    assert text.now.prompt is not None
    with teacher() as server:
        project.augment("d", teacher=server.url)
        line = project.sql(f"FROM rationales WHERE sample_id = '{IRON}'").to_arrow_table().to_pylist()[0]
        with Ledger(project.workspace.rationales("d")) as ledger:
            ledger.append({**line, "created_at": "2020-01-01T00:00:00.000000Z", "text": "Written just now."})
            assert [answer["text"] for answer in project.explain(IRON).texts[0].answers][1] == "Written just now."
