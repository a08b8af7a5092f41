"""The options-only control: the families leave a guesser at chance, and one that leaks is found out."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from teacherlm.core.errors import Mistake
from teacherlm.curriculum.control import options_only, wilson
from teacherlm.curriculum.draw import questions
from teacherlm.curriculum.families import FAMILIES, families
from teacherlm.curriculum.question import Question


def test_the_options_of_no_family_tell_the_answer() -> None:
    learned = list(questions(families(), "teacher", 500 * len(FAMILIES), 3))
    found = options_only(learned, list(questions(families(), "test", 400 * len(FAMILIES), 4)))
    assert [row.family for row in found] == [*FAMILIES, "all"]
    for row in found:
        assert not row.leaks, row
        assert row.low < row.chance < row.high
        assert 0 <= row.rule_low <= row.rule_accuracy <= row.rule_high <= 1


def leaking(count: int, seed: int) -> list[Question]:
    """Sums whose answer lies in the middle of the options."""
    source = random.Random(seed)
    made = []
    for question in questions([FAMILIES["add"]], "teacher", count, seed):
        answer = int(question.answer)
        options = [answer, answer - source.choice((1, 2)), answer + source.choice((1, 2)), answer + 10]
        source.shuffle(options)
        made.append(replace(question, choices=tuple(str(option) for option in options)))
    return made


def test_answers_in_the_middle_are_found_out() -> None:
    (add, overall) = options_only(leaking(600, 1), leaking(300, 2))
    assert add.leaks
    assert overall.leaks
    assert add.rule == "most 2. by size"
    assert add.accuracy > 0.9


def test_an_answer_that_is_always_the_same_is_found_out() -> None:
    def same(seed: int) -> list[Question]:
        drawn = questions([FAMILIES["turn"]], "teacher", 300, seed)
        return [question for question in drawn if question.answer == "north" or question.parameters[-1] == "north"]

    assert options_only(same(1), same(2))[0].leaks


def test_what_cannot_be_controlled_is_refused() -> None:
    add = list(questions([FAMILIES["add"]], "teacher", 20, 1))
    with pytest.raises(Mistake, match="no question to guess"):
        options_only(add, [])
    with pytest.raises(Mistake, match="no question of `turn` to learn from"):
        options_only(add, list(questions([FAMILIES["turn"]], "test", 5, 1)))
    with pytest.raises(Mistake, match="numbers of options differ"):
        options_only(add, [replace(add[0], choices=add[0].choices[:3])])


def test_intervals_are_those_of_the_score_test() -> None:
    # Newcombe (1998), table I: 81 of 263 and 15 of 148.
    assert [round(bound, 4) for bound in wilson(81, 263)] == [0.2553, 0.3662]
    assert [round(bound, 4) for bound in wilson(15, 148)] == [0.0624, 0.1605]
    narrow, wide = wilson(25, 100), wilson(25, 100, comparisons=28)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
