"""The curriculum: what its questions and gold rationales keep to, and that no question stands in two splits."""

from __future__ import annotations

import random
import re
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacherlm.core.errors import Mistake
from teacherlm.curriculum.draw import PLENTY, SHARES, questions, shelves, split_of
from teacherlm.curriculum.families import FAMILIES, families
from teacherlm.curriculum.family import Family
from teacherlm.curriculum.question import Question
from teacherlm.curriculum.records import record
from teacherlm.schemas.records import KINDS
from teacherlm.schemas.records import record as contract

EACH = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
SEEDS = st.integers(0, 2**32)
STEP = re.compile(r"(\d+) ([-+x/]) (\d+) = (\d+)")
LARGEST = 129


def some(family: Family, count: int = 150, split: str = "teacher", seed: int = 1) -> list[Question]:
    return list(questions([family], split, count, seed))


@EACH
def test_a_question_has_four_options_and_an_answer_among_them(family: Family) -> None:
    for question in some(family):
        assert len(set(question.choices)) == len(question.choices) == 4
        assert question.answer in question.choices
        assert question.family == family.name


@EACH
def test_every_text_reads_well(family: Family) -> None:
    for question in some(family):
        for text in (question.question, *(getattr(question, kind) for kind in KINDS)):
            assert text == " ".join(text.split())
            assert text[0].isupper() or text[0].isdigit()
            assert text.endswith("." if text != question.question else ("?", "."))
            assert "{" not in text
            assert not re.search(r"\b(\w+) \1\b", text)
            assert not re.search(r"\b[Aa] [aeiou]", text)
            assert all(int(number) <= LARGEST for number in re.findall(r"\d+", text))


@EACH
def test_every_step_is_true_and_the_last_sentence_states_the_answer(family: Family) -> None:
    for question in some(family):
        for kind in KINDS:
            for a, sign, b, result in STEP.findall(getattr(question, kind)):
                one, two, three = int(a), int(b), int(result)
                assert {"+": one + two, "-": one - two, "x": one * two}.get(sign, -1) == three or (
                    sign == "/" and two * three == one
                )
            assert getattr(question, kind).count(" = ") == len(STEP.findall(getattr(question, kind)))
        assert question.chain_of_thought.endswith(f" The result is {question.answer}.")
        assert not re.search(rf"(?<![\w:]){question.answer}(?![\w:])", question.fundamentals)


@EACH
def test_the_result_of_the_mistake_is_wrong(family: Family) -> None:
    wrong = re.compile(r"(?:= |says (?:\w+ from \w+ is |that \w+ from \w+ is )?)(\d+:\d\d|\w+)(?=\W)")
    for question in some(family):
        text = question.common_mistakes
        found = re.findall(r"(\w+) is one day too", text) or wrong.findall(text)
        assert found, text
        assert found[-1] != question.answer


@EACH
def test_equal_seeds_give_equal_questions_and_other_seeds_others(family: Family) -> None:
    assert some(family, 40, seed=7) == some(family, 40, seed=7)
    assert some(family, 40, seed=7)[:20] == some(family, 20, seed=7)
    assert some(family, 40, seed=7) != some(family, 40, seed=8)
    # A family's questions do not depend on those that it is drawn with.
    among = list(questions(families(), "teacher", 40 * len(FAMILIES), 7))
    assert [question for question in among if question.family == family.name] == some(family, 40, seed=7)


@EACH
def test_what_a_question_says_decides_its_rationales(family: Family) -> None:
    """However often the same content is drawn: texts differ where the wording does, and rationales follow the text."""
    texts: dict[str, tuple[str, ...]] = {}
    for seed in range(8):
        for question in some(family, 300, "test", seed):
            said = (question.answer, *(getattr(question, kind) for kind in KINDS))
            assert texts.setdefault(question.question, said) == said


@EACH
def test_no_text_belongs_to_two_splits(family: Family) -> None:
    """Exhaustive over all that can be asked: one text for every template, with the same names."""
    splits: dict[str, str] = {}
    answers: dict[str, object] = {}
    for answer, core in family.cores():
        split = split_of(family.name, family.asked(core))
        wordings = family.wordings(core)
        for number in range(len(wordings.templates)):
            source = random.Random(number)
            while (dress := wordings.draw(source))[0] != number:
                pass
            text = wordings.fill(dress, family.fields(core))
            assert splits.setdefault(text, split) == split
            assert answers.setdefault(text, answer) == answer


@settings(deadline=None, max_examples=15)
@given(SEEDS, SEEDS, SEEDS)
def test_no_question_of_one_split_stands_in_another_whatever_the_seeds(teacher: int, train: int, test: int) -> None:
    drawn = {
        split: list(questions(families(), split, 140, seed))
        for split, seed in zip(SHARES, (teacher, train, test), strict=True)
    }
    for told in (lambda q: q.question, lambda q: (q.question, q.choices), lambda q: (q.family, q.core), lambda q: q.id):
        seen = {split: {told(question) for question in part} for split, part in drawn.items()}
        assert not seen["test"] & (seen["teacher"] | seen["train"])
        assert not seen["teacher"] & seen["train"]


@EACH
def test_questions_differ_in_text_and_id(family: Family) -> None:
    drawn = some(family, 1500, "test")
    assert len({question.question for question in drawn}) == len({question.id for question in drawn}) == 1500
    assert len({question.parameters for question in drawn}) == 1500


@EACH
def test_reordered_numbers_stay_in_the_split(family: Family) -> None:
    by_asked = defaultdict(set)
    for _, core in family.cores():
        by_asked[family.asked(core)].add(split_of(family.name, family.asked(core)))
    assert all(len(splits) == 1 for splits in by_asked.values())
    if family.name == "add":
        assert split_of("add", family.asked((47, 36))) == split_of("add", family.asked((36, 47)))


def test_there_are_millions_of_questions_and_plenty_in_every_family() -> None:
    sizes = {name: {split: shelf.size for split, shelf in shelves(family).items()} for name, family in FAMILIES.items()}
    assert min(size for parts in sizes.values() for size in parts.values()) >= PLENTY
    assert sum(size for parts in sizes.values() for size in parts.values()) > 100_000_000


def test_shares_are_about_those_declared() -> None:
    splits = [split_of(name, family.asked(core)) for name, family in FAMILIES.items() for _, core in family.cores()]
    for name, share in SHARES.items():
        assert abs(splits.count(name) / len(splits) - share) < 0.01


def test_what_cannot_be_drawn_is_refused() -> None:
    add, turn = FAMILIES["add"], FAMILIES["turn"]
    with pytest.raises(Mistake, match="no split `exam`"):
        next(questions([add], "exam", 3, 1))
    with pytest.raises(Mistake, match="no family is named"):
        next(questions([], "test", 3, 1))
    with pytest.raises(
        Mistake, match=r"the family `turn` holds [\d,]+ different questions for `test`; wanted: 500,000"
    ):
        next(questions([add, turn], "test", 1_000_000, 1))
    with pytest.raises(Mistake, match="there is no family `sum`"):
        families(["add", "sum"])


def test_a_record_has_the_columns_of_an_augmented_sample() -> None:
    (question,) = some(FAMILIES["add"], 1, "test")
    row = record(question)
    assert set(row) == set(contract("augmented").names) - {"quality", "provenance"}
    assert row["sample_id"] == f"curriculum/test/{question.id}"
    assert row["choices"][row["answer_index"]] == row["answer"]
    assert record(question, "train", "mine")["sample_id"] == f"mine/train/{question.id}"


def test_families_know_an_answer_as_people_do() -> None:
    """Portraits: one question of each kind of answer, worked out by hand."""
    asked = {
        ("clock", (11, 50, 5)): "11:55",
        ("clock", (4, 25, -40)): "3:45",
        ("week", ("Monday", 12)): "Saturday",
        ("week", ("Sunday", -8)): "Saturday",
        ("turn", ("north", "right", "right", "left")): "east",
        ("convert", ("foot", 6, 2)): "74",
        ("share", (47, 5, 6)): "7",
        ("age", (20, -4, 5)): "21",
        ("sequence", (30, -4)): "14",
    }
    for (name, core), answer in asked.items():
        family = FAMILIES[name]
        assert [family.shown(found) for found, other in family.cores() if other == core] == [answer]
