"""The shipped rules and the curriculum: its gold rationales pass, and one number, day or turn changed is caught."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from quality_rows import judged, rationale, sample
from teacherlm.curriculum.draw import questions
from teacherlm.curriculum.families import FAMILIES, families
from teacherlm.curriculum.question import Question
from teacherlm.schemas.records import KINDS

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
POOLS = (DAYS, ("north", "east", "south", "west"), ("right", "left", "around"))
PART = re.compile(rf"\d+|{'|'.join(DAYS)}|north|east|south|west|right|(?<!ones )around|left(?! to)")


def as_sample(question: Question) -> dict[str, Any]:
    place = question.choices.index(question.answer)
    return sample(
        f"d/test/{question.id}",
        task="procedural",
        question=question.question,
        choices=list(question.choices),
        answer=question.answer,
        answer_index=place,
    )


def corrupted(text: str, source: random.Random) -> str:
    """The text with one number, day, direction or turn in the place of another."""
    parts = list(PART.finditer(text))
    while True:
        part = source.choice(parts)
        if part[0].isdigit():
            number = max(0, int(part[0]) + source.choice([-10, -3, -2, -1, 1, 2, 3, 10]))
            other = f"{number:02}" if part[0].startswith("0") and len(part[0]) > 1 else str(number)
        else:
            other = source.choice(next(pool for pool in POOLS if part[0] in pool))
        if other != part[0]:
            return text[: part.start()] + other + text[part.end() :]


@pytest.fixture(scope="module")
def verdicts() -> dict[tuple[str, str, bool], list[tuple[str, str, list[str]]]]:
    """By family, kind, and whether the text was corrupted: text, verdict, flags."""
    source = random.Random(11)
    samples, rationales = [], []
    for question in questions(families(), "test", 60 * len(FAMILIES), 2):
        samples.append(as_sample(question))
        for kind in KINDS:
            text = getattr(question, kind)
            texts = [text] if kind == "fundamentals" else [text, corrupted(text, source), corrupted(text, source)]
            rationales += [
                rationale(text, samples[-1]["sample_id"], kind=kind, repeat=repeat) for repeat, text in enumerate(texts)
            ]
    found: dict[tuple[str, str, bool], list[tuple[str, str, list[str]]]] = {}
    rows = (
        judged(samples, rationales)
        .execute("""
            select split_part(split_part(sample_id, '/', 3), '-', 1), kind, repeat > 0, text, verdict, flags
            from verdicts join rationales using (sample_id, kind, repeat)""")
        .fetchall()
    )
    for family, kind, wrong, *rest in rows:
        found.setdefault((family, kind, wrong), []).append((rest[0], rest[1], rest[2]))
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_gold_rationales_pass(verdicts: dict[Any, list[tuple[str, str, list[str]]]], family: str) -> None:
    for kind in KINDS:
        for text, verdict, flags in verdicts[family, kind, False]:
            assert verdict == "accepted", (text, flags)
            assert set(flags) <= {"duplicate_text"}, text


@pytest.mark.parametrize("kind", ["chain_of_thought", "common_mistakes"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_corrupted_step_is_caught(
    verdicts: dict[Any, list[tuple[str, str, list[str]]]], family: str, kind: str
) -> None:
    missed = [text for text, verdict, _ in verdicts[family, kind, True] if verdict != "rejected"]
    assert len(verdicts[family, kind, True]) == 120
    assert not missed


WRONG = [
    ("week", "12 days hold 1 week of 7 days: 1 x 7 = 7. 12 - 7 = 5. Counting on from Monday: 1 Tuesday, 2 Wednesday, "
     "3 Thursday, 4 Saturday, 5 Sunday. The result is Sunday.", "1 Tuesday, 2 Wednesday, 3 Thursday, 4 Saturday"),
    ("week", "12 days hold 2 weeks of 7 days: 2 x 7 = 14.", "12 days hold 2 weeks of 7 days"),
    ("clock", "It follows that 40 minutes after 4:35 is 5:25.", "40 minutes after 4:35 is 5:25"),
    ("turn", "First, right from north is west. Second, left from west is south.", "right from north is west"),
    ("convert", "1 foot has 10 inches. 6 x 10 = 60.", "1 foot has 10 inches"),
    ("compare", "From 27 to 30 it is 4, so we go on from there.", "From 27 to 30 it is 4"),
    ("add", "First we see that 47 is 30 + 17, and 36 is 30 + 5.", "36 is 30 + 5"),
    ("share", "The others are shared, and 74 / 8 = 9 for each of them.", "74 / 8 = 9"),
]  # fmt: skip


def test_a_wrong_step_is_named_in_other_words_too() -> None:
    asked = [next(questions([FAMILIES[family]], "test", 1, seed)) for seed, (family, _, _) in enumerate(WRONG)]
    texts = [rationale(text, f"d/test/{of.id}") for of, (_, text, _) in zip(asked, WRONG, strict=True)]
    con = judged([as_sample(question) for question in asked], texts)
    found = con.execute("select sample_id, reason from findings where rule = 'wrong_step'").fetchall()
    reasons = dict(found)
    assert len(found) == len(WRONG)
    for question, (_, _, step) in zip(asked, WRONG, strict=True):
        assert step in reasons[f"d/test/{question.id}"]


def test_chains_in_other_words_and_other_questions_are_left_alone() -> None:
    (question,) = questions([FAMILIES["add"]], "test", 1, 1)
    free = f"We put both together and so we reach {question.answer}, as 100 would be too many."
    of = as_sample(question)
    other = sample("d/train/2", question="Which is more?")
    con = judged(
        [of, other],
        [rationale(free, of["sample_id"]), rationale("We know 5 is less than 4. So it is iron.", "d/train/2")],
    )
    assert con.execute("select count(*) from findings where rule = 'wrong_step'").fetchone() == (0,)
