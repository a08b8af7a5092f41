"""The parts of the quickstart that need no model: its declaration, its journal, its examples, its processes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm.api.quickstart_declared import TEST, TRAIN, lay_out, read_declared, sized
from teacherlm.api.quickstart_examples import choose_examples
from teacherlm.api.quickstart_explained import Made, contents, exactness, guess, judged, make_questions
from teacherlm.api.quickstart_figures import ALL, CHAIN_FIRST, COMPARED, PLAIN, Said, Text, Way
from teacherlm.api.quickstart_journal import Journal
from teacherlm.api.quickstart_scores import differences, scores
from teacherlm.api.quickstart_students import Model
from teacherlm.api.quickstart_trainings import Order, train_side_by_side
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake
from teacherlm.curriculum.draw import questions
from teacherlm.curriculum.families import families
from teacherlm.curriculum.question import Question
from teacherlm.schemas.records import KINDS

WAYS: tuple[tuple[str, Way], ...] = (
    (PLAIN, "options"),
    (PLAIN, "writing"),
    (CHAIN_FIRST, "options"),
    (CHAIN_FIRST, "writing"),
)


def some_questions(count: int) -> dict[str, Question]:
    return {f"curriculum/{TEST}/{one.id}": one for one in questions(families(), TEST, count, 7)}


def answers_of(
    made: dict[str, Question], right: dict[tuple[str, Way], list[bool]]
) -> dict[tuple[str, Way], list[Said]]:
    return {
        (student, way): [
            Said(student=student, way=way, text=one.answer if hit else "?", answer=one.answer if hit else None,
                 is_right=hit)
            for one, hit in zip(made.values(), right[student, way], strict=True)
        ]
        for student, way in WAYS
    }  # fmt: skip


def texts_of(question: Question, *, chain: str | None = None, verdict: str = "accepted") -> dict[str, Text]:
    made = {kind: getattr(question, kind) for kind in KINDS}
    written = {**made, "chain_of_thought": chain or made["chain_of_thought"]}
    verdicts = {kind: verdict if kind == "chain_of_thought" else "accepted" for kind in KINDS}
    return {
        kind: Text(kind=kind, text=written[kind], gold=made[kind], verdict=verdicts[kind], reasons=()) for kind in KINDS
    }


def test_the_declaration_is_whole_and_its_sizes_follow_the_questions() -> None:
    declared = read_declared()
    assert sized(declared, None) is declared
    for count in (30, 60, 500, declared.questions, 2 * declared.questions):
        small = sized(declared, count)
        assert small.questions == count and small.seed == declared.seed
        assert small.examples <= small.shown <= small.test <= declared.test
    with pytest.raises(Mistake, match="six of each family"):
        sized(declared, 29)


def test_the_project_of_a_run_has_its_numbers(tmp_path: Path) -> None:
    declared = sized(read_declared(), 60)
    project = lay_out(declared, tmp_path, None)
    source = project.recipe(declared.dataset).recipe.source.procedural
    assert source is not None
    assert source.splits == {TRAIN: 60, TEST: declared.shown} and source.seed == declared.seed
    before = (project.files.root / "catalog.yaml").stat().st_mtime_ns
    assert lay_out(declared, tmp_path, None).teacher(declared.teacher).profile.embedded == "nano"
    assert (project.files.root / "catalog.yaml").stat().st_mtime_ns == before
    other = lay_out(declared, tmp_path, tmp_path / "model")
    assert other.teacher(declared.teacher).profile.embedded == str((tmp_path / "model").resolve())


def test_the_questions_made_again_are_those_that_are_built(tmp_path: Path) -> None:
    declared = sized(read_declared(), 60)
    project = lay_out(declared, tmp_path, None)
    project.build(declared.dataset)
    made = make_questions(project, declared)
    rows = project.sql("SELECT sample_id, split, question, choices, answer FROM samples").fetchall()
    assert len(rows) == 60 + declared.shown
    for sample, split, question, choices, answer in rows:
        gold = (made.train if split == TRAIN else made.test)[sample]
        assert (question, tuple(choices), answer) == (gold.question, gold.choices, gold.answer)
    # Those that are explained are the first of those that the students are tested on.
    shown = {sample for sample, split, *_ in rows if split == TEST}
    assert shown == set(list(made.test)[: declared.shown]) and len(made.test) == declared.test


@given(st.data())
def test_scores_and_differences_count_what_was_said(data: st.DataObject) -> None:
    made = some_questions(30)
    hits = st.lists(st.booleans(), min_size=30, max_size=30)
    right = {pair: data.draw(hits) for pair in WAYS}
    answers = answers_of(made, right)
    names = sorted({one.family for one in made.values()})
    for score in scores(answers, made, names):
        assert score.rate.right == sum(right[score.student, score.way]) and score.rate.of == 30
        assert score.rate.low <= score.rate.share <= score.rate.high
        assert sum(part.rate.right for part in score.families) == score.rate.right
        assert sum(part.rate.of for part in score.families) == 30
    for found, (first, second) in zip(differences(answers, made, 1), COMPARED, strict=True):
        assert found.points == pytest.approx(100 * (sum(right[second]) - sum(right[first])) / 30)
        assert found.low <= found.points + 1e-9 and found.points - 1e-9 <= found.high


def test_exactness_and_verdicts_are_counted_apart() -> None:
    made = some_questions(28)
    texts = {sample: texts_of(question) for sample, question in made.items()}
    first, second, third = list(made)[:3]
    texts[first] = texts_of(made[first], chain="The result is 1.", verdict="rejected")
    texts[second] = texts_of(made[second], chain="The result is 2.")
    texts[third] = texts_of(made[third], verdict="rejected")
    names = list(dict.fromkeys(one.family for one in made.values()))
    rates = {(row.family, row.kind): row.rate for row in exactness(texts, made, names)}
    assert (rates[ALL, "chain_of_thought"].right, rates[ALL, "chain_of_thought"].of) == (26, 28)
    assert rates[ALL, "fundamentals"].right == 28
    assert rates[made[first].family, "chain_of_thought"].right == 1
    chains = next(row for row in judged(texts) if row.kind == "chain_of_thought")
    assert (chains.asked, chains.accepted, chains.rejected) == (28, 26, 2)
    assert (chains.exact_of_accepted.right, chains.exact_of_accepted.of) == (25, 26)
    assert (chains.refused_of_wrong.right, chains.refused_of_wrong.of) == (1, 2)
    # Texts that are to be the same count once.
    assert rates[ALL, "fundamentals"].distinct == len({one.fundamentals for one in made.values()}) < 28


def test_questions_of_one_content_widen_the_intervals() -> None:
    made = some_questions(60)
    once = answers_of(made, {pair: [place % 3 > 0 for place in range(60)] for pair in WAYS})
    thrice = {f"{copy} {sample}": one for sample, one in made.items() for copy in range(3)}
    again = {pair: [one for one in said for _ in range(3)] for pair, said in once.items()}
    names = sorted({one.family for one in made.values()})
    for few, many in zip(scores(once, made, names), scores(again, thrice, names), strict=True):
        assert many.rate.of == 180 and many.rate.distinct == few.rate.distinct == len(set(contents(made)))
        assert (many.rate.low, many.rate.high) == pytest.approx((few.rate.low, few.rate.high), abs=0.02)


def test_the_control_shows_the_best_single_rule_as_well() -> None:
    declared = sized(read_declared(), 60)
    made = some_questions(56)
    names = tuple(dict.fromkeys(one.family for one in made.values()))
    found = guess(replace(declared, control=140), Made({}, made, names))
    for of in (found.rate, found.rule):
        assert of.of == 56 and of.distinct == len(set(contents(made))) and of.low <= of.share <= of.high


def test_only_what_a_training_reads_decides_whether_it_is_done_again(tmp_path: Path) -> None:
    project = lay_out(read_declared(), tmp_path, None)
    students = read_declared().students.values()

    def key() -> list[str]:
        return [Model(project, name, None).key("data") for name in students]

    before = key()
    shipped = (bundled() / "train" / "layouts.yaml").read_text()
    path = project.files.root / "train" / "layouts.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(shipped.replace('about: "Question and answer, as text."', "about: Other words."))
    assert "Other words" in path.read_text()
    assert key() == before
    path.write_text(shipped + "\nunrelated:\n  about: New.\n  response: [answer, fundamentals]\n")
    assert key() == before
    assert "\nplain-text: {" in shipped
    path.write_text(shipped.replace("\nplain-text: {", "\nplain-text: {asks: true, "))
    # The chain-first student falls back on it where there is no chain.
    assert not set(key()) & set(before)


@given(wrong=st.integers(0, 28), count=st.integers(1, 10))
def test_examples_show_what_is_wrong_where_something_is(wrong: int, count: int) -> None:
    made = some_questions(28)
    texts = {
        sample: texts_of(question, chain="The result is 1.", verdict="rejected")
        if place < wrong
        else texts_of(question)
        for place, (sample, question) in enumerate(made.items())
    }
    answers = answers_of(made, {pair: [True] * 28 for pair in WAYS})
    chosen = choose_examples(made, texts, answers, count)
    assert len(chosen) == len({one.sample_id for one in chosen}) == count
    flawed = sum(one.is_flawed for one in chosen)
    assert flawed >= min(wrong, round(0.6 * count)) and (wrong or not flawed)
    if wrong in (0, 28):
        # No family comes twice before each came once.
        assert len({one.family for one in chosen}) == min(count, len({one.family for one in made.values()}))


def test_a_journal_remembers_how_long_a_step_took(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    journal = Journal(path)
    with journal.step("build") as doing:
        doing.did, doing.seconds = "3 questions", 12.5
    journal.begin("nano/teacher", "key")
    with pytest.raises(RuntimeError), journal.step("check"):
        raise RuntimeError
    later = Journal(path)
    with later.step("build") as doing:
        doing.did, doing.done_now = "3 questions", False
    assert later.steps[0].seconds == 12.5 and not later.steps[0].done_now
    assert later.key("nano/teacher") == "key" and later.key("check") is None
    path.write_text("{ torn")
    assert Journal(path).steps == []


TINY = """
about: Some steps of a very small model.
base: {config: {model_type: bloom, hidden_size: 16, n_layer: 1, n_head: 2}}
tokenizer: {vocabulary: 300}
window: 256
precision: float32
packing: false
stages:
  - name: only
    data: [{procedural: {split: teacher, count: 28, seed: 1}, layouts: [plain-text]}]
    epochs: 2
    batch_tokens: 512
    schedule: {learning_rate: 1.0e-3}
"""


def test_trainings_run_side_by_side_and_one_that_cannot_begin_says_why(tmp_path: Path) -> None:
    root = lay_out(read_declared(), tmp_path, None).files.root
    for name in ("one", "other"):
        (root / "train" / f"{name}.yaml").parent.mkdir(exist_ok=True)
        (root / "train" / f"{name}.yaml").write_text(TINY)
    (root / "train" / "wrong.yaml").write_text(TINY.replace("batch_tokens: 512", "batch_tokens: 512\n    epoch: 3"))
    last: dict[str, tuple[int, int]] = {}
    train_side_by_side(
        [Order(name, root, tmp_path) for name in ("one", "other")],
        1,
        lambda latest: last.update({name: (one.step, one.steps) for name, one in latest.items()}),
    )
    assert set(last) == {"one", "other"} and all(step == steps for step, steps in last.values())
    assert {path.parent.parent.name for path in (tmp_path / "models").rglob("training.json")} == {"one", "other"}
    with pytest.raises(Mistake) as caught:
        train_side_by_side([Order("wrong", root, tmp_path)], 1, lambda _: None)
    assert "train/wrong.yaml:" in str(caught.value) and "`epoch`" in str(caught.value)


def test_without_the_extra_it_says_so_at_once(tmp_path: Path) -> None:
    program = "import sys; sys.modules['torch'] = None\nfrom teacherlm.cli.main import main\nmain(['quickstart'])"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "pip install 'teacherlm[local]'" in done.stderr
    assert not list(tmp_path.iterdir())
