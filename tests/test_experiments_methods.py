"""Other augmentations than rationales: paraphrases and labels by vote, asked of scripted teachers over real sockets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

import teacherlm
from recipes import parquet, recipe
from teacherlm.api.experiment_augment import Cost, make_augmented
from teacherlm.api.orders import seed_of
from teacherlm.api.project import Project
from teacherlm.core.errors import GateFailed, Mistake, Mistakes, RemoteFailed
from teacherlm.curriculum.draw import questions
from teacherlm.curriculum.families import FAMILIES, families
from teacherlm.experiments.asked import Answer, Books
from teacherlm.experiments.declaration import Made
from teacherlm.experiments.paraphrases import objection, prompts, tidied
from teacherlm.experiments.rewordings import wordings
from teacherlm.experiments.votes import Labelled, by_vote, without_statement
from teacherlm.project.find import ProjectFiles
from teacherlm.project.layouts import Layout, render
from teacherlm.schemas.records import KINDS, record
from teacherlm.teacher.client import Retry
from unkind import DROP, TOO_LONG, Asked, Reply, Unkind, cut, says, unkind_in_a_thread

ROWS: list[dict[str, Any]] = [
    {"id": "0", "q": "Which metal rusts when it is wet?", "c": ["gold", "iron"], "a": "iron"},
    {"id": "1", "q": "A box holds 3 pens. How many do 4 boxes hold?", "c": [], "a": "12"},
    {"id": "2", "q": "Which animal gives us wool?", "c": ["sheep", "hen"], "a": "sheep"},
]
SAMPLE = {"id": "id", "question": "q", "choices": "c", "answer": "a"}
SAMPLING = "parameters: {do_sample: true, temperature: 0.5, seed: 1}"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "delay", lambda self, failures: 0.0)


def opened(tmp_path: Path, teacher: str, rows: Sequence[Mapping[str, Any]] = ROWS) -> Project:
    parquet(tmp_path / "p" / "builders" / "rows.parquet", rows)
    recipe(tmp_path / "p", SAMPLE)
    (tmp_path / "p" / "catalog.yaml").write_text(f"teachers:\n  lab: {teacher}\n")
    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    project.build("d")
    return project


def lab(server: Unkind, more: str = SAMPLING) -> str:
    return f"{{url: '{server.url}', {more}}}"


def made(project: Project, augmentation: str, **more: Any) -> tuple[Cost, list[dict[str, Any]], dict[str, Any]]:
    """The cost, the rows and the report."""
    said: list[str] = []
    of: Any = {"recipe": "d", "teacher": "lab", "augmentation": augmentation, **more}
    cost = make_augmented(project, "d", Made(**of), said.append)
    table = pq.read_table(project.workspace.augmented("d") / "train" / "00000.parquet")
    assert table.schema == record("augmented").arrow()
    report = orjson.loads((project.workspace.root / "reports" / "d" / "augmentation.json").read_bytes())
    assert "questions" in said[-1]
    return cost, table.to_pylist(), report


def digest(project: Project) -> bytes:
    return (project.workspace.augmented("d") / "train" / "00000.parquet").read_bytes()


def by_draw(**said: Sequence[Reply]) -> Callable[[Asked], Reply]:
    """Each draw of a question its own reply, in whatever order they are asked; a question is known by a word of it."""
    kinds = ("paraphrase", "chain_of_thought")
    draws = {
        seed_of(1, f"d/train/{number}", kind, draw): (word, draw)
        for number, word in enumerate(said)
        for draw in range(len(said[word]))
        for kind in kinds
    }

    def behaviour(asked: Asked) -> Reply:
        word, draw = draws[asked.body["parameters"]["seed"]]
        assert word in asked.prompt
        return said[word][draw]

    return behaviour


# --- paraphrases -----------------------------------------------------------------------------------------------------

REWORDED = {
    "rusts": [
        says(" Wet, which of the metals rusts?", tokens=9),
        says(' "Which metal gets rusty in water?"', tokens=8),
    ],
    "pens": [
        says(" How many pens are in 4 boxes with 3 in each?", tokens=12),
        says(" How many pens are in 5 boxes with 3 in each?", tokens=12),
    ],
    "wool": [says(" Does wool come from the sheep?", tokens=7), says("  Which animal gives us wool? ", tokens=7)],
}


def test_paraphrases_stand_beside_their_originals_and_every_call_is_counted(tmp_path: Path) -> None:
    with unkind_in_a_thread(by_draw(**REWORDED)) as server:
        project = opened(tmp_path, lab(server))
        cost, rows, report = made(project, "paraphrases", repeats=2)
        assert [(row["sample_id"], row["question"]) for row in rows] == [
            ("d/train/0", "Which metal rusts when it is wet?"),
            ("d/train/0/paraphrase-0", "Wet, which of the metals rusts?"),
            ("d/train/0/paraphrase-1", "Which metal gets rusty in water?"),
            ("d/train/1", "A box holds 3 pens. How many do 4 boxes hold?"),
            ("d/train/1/paraphrase-0", "How many pens are in 4 boxes with 3 in each?"),
            ("d/train/2", "Which animal gives us wool?"),
        ]
        assert [(row["choices"], row["answer"], row["answer_index"]) for row in rows[:3]] == [
            (["gold", "iron"], "iron", 1)
        ] * 3
        assert all(row[kind] is None and row["quality"][kind] is None for row in rows for kind in KINDS)
        assert cost == Cost(calls=6, tokens=55)
        rejected = {"answer": 1, "numbers": 1, "same": 1}
        assert report == {
            **{"augmentation": "paraphrases", "by": "lab", "asked": 6, "accepted": 3, "rejected": rejected},
            **{"truncated": 0, "failed": 0, "generated_tokens": 55, "written": {"train": 6}},
        }
        # Neither options nor the answer are shown, and each call has a seed of its own.
        assert sorted(server.prompts)[-1] == f"Q: {ROWS[0]['q']}\nThe same question in other words:\nQ:"
        assert not any(word in prompt for prompt in server.prompts for word in ("gold", "12", "(A)"))
        assert len({asked.body["parameters"]["seed"] for asked in server.seen}) == 6


def test_nothing_is_asked_twice_and_the_table_stays_the_same(tmp_path: Path) -> None:
    with unkind_in_a_thread(by_draw(**REWORDED)) as server:
        project = opened(tmp_path, lab(server))
        first = made(project, "paraphrases", repeats=2)
        before = digest(project)
        assert made(project, "paraphrases", repeats=2) == first
        assert digest(project) == before
        assert len(server.seen) == 6
        # Fewer calls are a part of those that were made; more ask for what is missing alone.
        fewer, rows, _ = made(project, "paraphrases", repeats=1)
        assert (fewer, len(rows), len(server.seen)) == (Cost(3, 28), 5, 6)
        some, rows, _ = made(project, "paraphrases", repeats=2, limit=1)
        assert (some, len(rows)) == (Cost(2, 17), 5)
        assert len(server.seen) == 6


def test_a_run_that_was_cut_short_goes_on_where_it_was(tmp_path: Path) -> None:
    """The server hangs up for good on one question; later it answers. Only that one is asked again."""
    ill = [True]

    def behaviour(asked: Asked) -> Reply:
        return DROP if ill and "wool" in asked.prompt else sane(asked)

    sane = by_draw(**REWORDED)
    with unkind_in_a_thread(behaviour) as server:
        project = opened(tmp_path, lab(server))
        with pytest.raises(RemoteFailed, match="failed 2 calls for `d` at every attempt"):
            made(project, "paraphrases", repeats=2)
        assert not project.workspace.augmented("d").exists()
        ill.clear()
        asked = len(server.seen)
        cost, rows, _ = made(project, "paraphrases", repeats=2)
        assert ["wool" in prompt for prompt in server.prompts[asked:]] == [True, True]
        assert (cost.calls, len(rows)) == (6, 6)


def test_cut_and_refused_calls_have_their_place_in_the_books(tmp_path: Path) -> None:
    replies = {"rusts": [cut(" Which of")], "pens": [TOO_LONG], "wool": [says(" What animal is wool taken from?")]}
    with unkind_in_a_thread(lambda asked: next(said[0] for word, said in replies.items() if word in asked.prompt)) as s:
        project = opened(tmp_path, lab(s, "parameters: {do_sample: false}"))
        _, rows, report = made(project, "paraphrases")
        assert (report["asked"], report["accepted"], report["truncated"], report["failed"]) == (3, 1, 1, 1)
        assert rows[-1]["question"] == "What animal is wool taken from?"
        assert "seed" not in s.seen[0].body["parameters"]  # one text of a greedy teacher


def test_instruct_models_are_asked_by_messages(tmp_path: Path) -> None:
    with unkind_in_a_thread(lambda asked: says(f"In other words: {ROWS[0]['q'].replace('wet', 'damp')}")) as server:
        project = opened(tmp_path, lab(server, "prompts: chat"), ROWS[:1])
        _, rows, _ = made(project, "paraphrases")
        assert rows[1]["question"] == "Which metal rusts when it is damp?"
        system, message = server.seen[0].body["messages"]
        assert "question alone" in system["content"]
        assert message["content"].endswith(f"\n\n{ROWS[0]['q']}")


def test_a_teacher_that_rewords_nothing_is_named(tmp_path: Path) -> None:
    with unkind_in_a_thread([says("The fundamentals are 17.")]) as server:
        project = opened(tmp_path, lab(server))
        with pytest.raises(Mistake, match=r"`lab` gave nothing that can be used: of 6 calls 6 numbers") as caught:
            made(project, "paraphrases", repeats=2)
    assert "nano teacher only explains" in caught.value.remedy


def test_a_teacher_that_fails_leaves_the_table_as_it_was(tmp_path: Path) -> None:
    with unkind_in_a_thread(by_draw(**REWORDED)) as server:
        project = opened(tmp_path, lab(server))
        made(project, "paraphrases", repeats=2)
        before = digest(project)
    with unkind_in_a_thread([says("The answer is 17.")]) as server:
        other = opened(tmp_path, lab(server, SAMPLING.replace("seed: 1", "seed: 2")))
        with pytest.raises(Mistake, match="gave nothing that can be used"):
            made(other, "paraphrases", repeats=2)
    assert digest(project) == before


def sample(question: str, choices: Sequence[str] = (), answer: str = "iron") -> dict[str, Any]:
    return {"sample_id": "d/train/1", "question": question, "choices": list(choices), "answer": answer}


RUSTS = sample("Which metal rusts when it is wet?", ["gold", "iron"])
PENS = sample("A box holds 1,200 pens. How many do 4.5 boxes hold?", answer="5400")


@pytest.mark.parametrize(
    ("original", "said", "reason"),
    [
        (RUSTS, "When wet, which metal rusts?", None),
        (RUSTS, "", "empty"),
        (RUSTS, "?!", "empty"),
        (RUSTS, "which metal  rusts, when it is wet", "same"),
        (RUSTS, "What rusts?", "repeated"),
        (RUSTS, "Which of 2 metals rusts?", "numbers"),
        (RUSTS, "Which metal rusts when wet, gold or iron?", "options"),
        (RUSTS, "Which metal rusts? (A) this (B) that", "options"),
        (RUSTS, "Does iron rust when it is wet?", "answer"),
        # The wrong one may not be named either: else what is left would tell.
        (RUSTS, "Does gold rust when it is wet?", "answer"),
        (RUSTS, "Which " + "very " * 40 + "wet metal rusts?", "long"),
        (PENS, "How many pens are in 4.5 boxes of 1200?", None),
        (PENS, "How many pens are in 4 boxes of 1200?", "numbers"),
        (PENS, "How many pens are in 4.5 boxes?", "numbers"),
        (sample("Is iron or gold the metal that rusts?", ["gold", "iron"]), "Which rusts, iron or gold?", None),
        (sample("Is it a metal?", ["yes", "no", "a"], "no"), "Is there no doubt that it is a metal?", None),
        (sample("Who wrote it?", answer="Ann Lee"), "Was it written by Ann Lee?", "answer"),
        (sample("Who wrote it?", answer="Ann Lee"), "By whom was it written?", None),
    ],
)
def test_why_a_paraphrase_is_rejected(original: dict[str, Any], said: str, reason: str | None) -> None:
    seen = {re.sub(r"\W+", " ", text.lower()).strip() for text in (original["question"], "What rusts?")}
    assert objection(original, tidied(said), seen) == reason


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("**Which rusts?**", "Which rusts?"),
        ("Question: Q: «Which rusts?» A:", "Which rusts?"),
        ("Paraphrase:\n\n“Which  rusts?”", "Paraphrase: “Which rusts?”"),
        ('"Rust" or "dust": which is it, "a"?', '"Rust" or "dust": which is it, "a"?'),
        ("Is it vitamin A", "Is it vitamin A"),
    ],
)
def test_what_stands_around_a_question_is_taken_off(said: str, text: str) -> None:
    assert tidied(said) == text


def test_a_project_may_ask_in_its_own_words_but_not_show_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "builders" / "prompts" / "experiments" / "paraphrase.yaml"
    path.parent.mkdir(parents=True)
    path.write_text('text: "Reword: {{ question }}"\nchat: "{{ question }}"\n')
    assert prompts(ProjectFiles(tmp_path), "text").render("chain_of_thought", RUSTS) == f"Reword: {RUSTS['question']}"
    path.write_text('text: "Reword: {{ sample_text }}"\nchat: "{{ question }}"\nhint: 1\n')
    with pytest.raises(Mistakes) as caught:
        prompts(ProjectFiles(tmp_path), "text")
    found = " ".join(problem.found for problem in caught.value.problems)
    assert "hint" in found or "shows the answer" in found


# --- votes -----------------------------------------------------------------------------------------------------------

VOTES = {
    "rusts": [
        says(" It shines. The answer is (A).", tokens=10),
        says(" Iron rusts. The answer is (B).", tokens=11),
        says(" Rust is iron oxide. So the answer is iron.", tokens=12),
    ],
    "pens": [
        says(" 3 + 4 = 7. The answer is 7.", tokens=13),
        says(" 3 x 4 = 12. The answer is 12.", tokens=13),
        says(" I cannot say.", tokens=5),
    ],
    "wool": [says(" Who knows.", tokens=3), says(" Nobody.", tokens=3), says(" Hm.", tokens=2)],
}


def test_the_majority_labels_and_its_first_chain_is_read(tmp_path: Path) -> None:
    with unkind_in_a_thread(by_draw(**VOTES)) as server:
        project = opened(tmp_path, lab(server))
        cost, rows, report = made(project, "votes", repeats=3)
        assert [(row["sample_id"], row["answer"], row["answer_index"], row["chain_of_thought"]) for row in rows] == [
            ("d/train/0", "iron", 1, "Iron rusts."),
            # As many for 12: the first that was stated, and that the gold answer is 12 plays no part.
            ("d/train/1", "7", None, "3 + 4 = 7."),
        ]
        assert [row["quality"]["chain_of_thought"] for row in rows] == [
            {"score": pytest.approx(2 / 3), "flags": []},
            {"score": pytest.approx(1 / 3), "flags": []},
        ]
        origin = rows[0]["provenance"]["chain_of_thought"]
        assert (origin["strategy"], origin["repeat"], origin["teacher_model"]) == ("star", 1, "unkind/teacher")
        key = project.sql("SELECT call_key FROM rationales WHERE sample_id = 'd/train/0' AND repeat = 1").fetchall()
        assert key == [(origin["call_key"],)]
        assert cost == Cost(calls=9, tokens=72)
        assert report == {
            **{"augmentation": "votes", "by": "lab", "asked": 9, "accepted": 5, "rejected": {"no_answer": 4}},
            **{"truncated": 0, "failed": 0, "samples": 3, "labelled": 2, "right": 1, "mean_share": pytest.approx(0.5)},
            **{"generated_tokens": 72, "written": {"train": 2}},
        }
        assert sorted(server.prompts)[-1] == f"Q: {ROWS[0]['q']} (A) gold (B) iron A: Let's think step by step."
        assert {asked.body["parameters"]["temperature"] for asked in server.seen} == {0.5}
        assert made(project, "votes", repeats=3) == (cost, rows, report)
        assert len(server.seen) == 9
        runs = project.sql("SELECT DISTINCT state, kinds, strategies FROM runs").fetchall()
        assert runs == [("done", ["chain_of_thought"], ["star"])]


def test_a_greedy_teacher_votes_at_the_temperature_of_the_source(tmp_path: Path) -> None:
    with unkind_in_a_thread([says(" The answer is (B).")]) as server:
        project = opened(tmp_path, lab(server, "parameters: {seed: 4}"), ROWS[:1])
        made(project, "votes", repeats=2)
        asked = [one.body["parameters"] for one in server.seen]
        assert [(one["do_sample"], one["temperature"]) for one in asked] == [(True, 0.7)] * 2
        assert asked[0]["seed"] != asked[1]["seed"]


def test_only_splits_for_training_are_labelled(tmp_path: Path) -> None:
    with unkind_in_a_thread([says(" The answer is (B).")]) as server:
        project = opened(tmp_path, lab(server))
        samples = project.workspace.samples("d")
        (samples / "test").mkdir()
        (samples / "test" / "00000.parquet").write_bytes((samples / "train" / "00000.parquet").read_bytes())
        cost, rows, report = made(project, "votes", limit=1)
        assert (cost.calls, len(rows), report["samples"]) == (1, 1, 1)
        assert sorted(path.name for path in project.workspace.augmented("d").iterdir()) == ["train"]


def test_who_cannot_vote_is_named(tmp_path: Path) -> None:
    with unkind_in_a_thread([says(" Who knows.")]) as server:
        project = opened(tmp_path, lab(server))
        with pytest.raises(Mistake, match="of 6 calls 6 no_answer"):
            made(project, "votes", repeats=2)
        with pytest.raises(Mistake, match="votes are a teacher's, and none is named"):
            made(project, "votes", teacher=None)
        with pytest.raises(Mistake, match="asks without the answer, so nobody can vote"):
            made(opened(tmp_path, lab(server, "prompts: one-call")), "votes")


def test_a_label_is_what_a_layout_states() -> None:
    counts = Labelled()
    answers = [Answer(repeat=0, text="It is wet. The answer is (A).", status="ok")]
    row = by_vote(RUSTS, answers, counts)
    assert row is not None
    text = render(Layout(response=("chain_of_thought", "answer")), row).text
    assert text.endswith(" A: Let's think step by step. It is wet. The answer is (A).")
    assert (counts.labelled, counts.right) == (1, 0)
    lost = [Answer(repeat=0, text="The answer is", status="truncated"), Answer(repeat=1, text="", status="failed")]
    assert by_vote(RUSTS, lost, counts) is None
    assert (counts.books.truncated, counts.books.failed, counts.samples, counts.labelled) == (1, 1, 2, 1)
    counts.books.close(3, "d")
    with pytest.raises(GateFailed, match="4 calls were wanted, 3 were answered and 3 have a verdict"):
        counts.books.close(4, "d")


@pytest.mark.parametrize(
    ("text", "chain"),
    [
        ("3.5 + 3.5 = 7. Therefore, the final answer is 7.0.", "3.5 + 3.5 = 7."),
        ("One.\nThe answer is (B).\n", "One."),
        ("The answer is (B). It rusts.", "The answer is (B). It rusts."),
        ("The answer is (B).", "The answer is (B)."),
    ],
)
def test_the_statement_at_the_end_is_left_to_the_layout(text: str, chain: str) -> None:
    assert without_statement(text) == chain


# --- rewordings by the program ---------------------------------------------------------------------------------------

CURRICULUM = """
title: Lessons
source: {procedural: {families: [add, turn], seed: 3, splits: {train: 12, test: 4}}}
license: CC0-1.0
redistribution: allowed
task: procedural
sample: {id: id, question: QUESTION, choices: choices, answer: answer, subject: family}
"""


@pytest.fixture
def lessons(tmp_path: Path) -> Iterator[Project]:
    (tmp_path / "builders").mkdir()
    (tmp_path / "catalog.yaml").write_text("{}\n")
    for name, question in (("d", "question"), ("other", "upper(question)")):
        (tmp_path / "builders" / f"{name}.yaml").write_text(CURRICULUM.replace("QUESTION", question))
    project = teacherlm.open(tmp_path, workspace=tmp_path / "w")
    for name in ("d", "other"):
        project.build(name)
    yield project


def test_the_program_that_made_a_question_says_it_in_other_words(lessons: Project) -> None:
    cost, rows, report = made(lessons, "paraphrases", repeats=2, teacher=None, limit=5)
    assert cost == Cost(0, 0)
    assert report["by"] == "the program that made the questions"
    originals = [row for row in rows if "rewording" not in row["sample_id"]]
    assert len(originals) == 12
    assert len(rows) == 12 + 5 * 2
    for row in rows:
        of = next(one for one in originals if row["sample_id"].startswith(one["sample_id"]))
        assert (row["choices"], row["answer"]) == (of["choices"], of["answer"])
        assert (row is of) == (row["question"] == of["question"])
    assert len({row["question"] for row in rows}) == len(rows)
    before = digest(lessons)
    made(lessons, "paraphrases", repeats=2, teacher=None, limit=5)
    assert digest(lessons) == before


def test_questions_that_the_program_did_not_make_need_a_teacher(lessons: Project, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="is no question that the curriculum made"):
        make_augmented(lessons, "other", Made(recipe="other", augmentation="paraphrases"), print)
    project = opened(tmp_path / "local", "{embedded: nano}")
    with pytest.raises(Mistake, match="`d` is not made by a program"):
        made(project, "paraphrases", teacher=None)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rewording_has_the_numbers_of_its_original(family: str) -> None:
    for question in questions(families([family]), "train", 20, 5):
        found = wordings(question, 3, 1)
        assert len(set(found)) == 3
        assert question.question not in found
        numbers = set(re.findall(r"\d+", question.question))
        assert all(set(re.findall(r"\d+", text)) == numbers for text in found)


def test_books_tell_what_was_lost() -> None:
    books = Books(asked=3, truncated=1)
    books.rejected["same"] += 2
    assert books.refused() == {"same": 2, "truncated": 1}
