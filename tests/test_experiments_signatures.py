"""Failure signatures: each is found where it is, and not where it is not."""

from __future__ import annotations

import doctest
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment_answers import answers, experiment, written
from teacherlm.experiments import answer_signs
from teacherlm.experiments.answer_signs import beside_chance, chi_square, cut, one_letter, unanswered, unbalanced
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.results import Item, Results
from teacherlm.experiments.signatures import Overlap, Signature, signatures
from teacherlm.experiments.statistics import compare

SIDES = {"kinds": ["none", "chain"]}


def found(declared: Experiment, results: Results, **handed: Any) -> dict[str, Signature]:
    compared = compare(declared, results, resamples=400)
    made = signatures(declared, results, compared, **handed)
    for one in made:
        assert one.about.endswith(".") and one.found and one.remedy and one.where
        assert "nan" not in one.found.lower()
    assert len({one.name for one in made}) == len(made)
    return {one.name: one for one in made}


def gains(levels: Mapping[str, str], _: int) -> float:
    return 0.8 if levels["kinds"] == "chain" else 0.55


def calls(results: Results, count: int = 500) -> Results:
    """Who reads chains read what a teacher was asked."""
    outcomes = [replace(one, calls=count * (one.factors["kinds"] != "none")) for one in results.outcomes]
    return Results(tuple(outcomes), results.items)


def test_a_sound_experiment_shows_none() -> None:
    declared = experiment(factors=SIDES)
    sound = calls(answers(declared, gains, questions=400, loss=0.4, steps=100))
    shared = {"sums": Overlap(questions=400, shared=0, data="lessons")}
    assert found(declared, sound, accepted={"lessons": 0.97, "samples": None}, overlap=shared) == {}


def test_students_that_do_not_gain() -> None:
    declared = experiment(factors=SIDES)
    still = calls(answers(declared, lambda levels, _: 0.55, questions=400))
    one = found(declared, still)["no gain"]
    assert one.severity == "problem" and one.where == ("kinds=chain",)
    assert "1 of 1 comparison of kinds with none show no gain (0 a loss)" in one.found
    # Where one of two kinds helps, it is less grave.
    both = experiment(factors={"kinds": ["none", "chain", "mistakes"]})
    one = found(both, calls(answers(both, gains, questions=400)))["no gain"]
    assert (one.severity, one.where) == ("warning", ("kinds=mistakes",))
    # Without a teacher's calls there is nothing to gain from.
    assert "no gain" not in found(declared, answers(declared, lambda levels, _: 0.55, questions=400))


def test_teachers_whose_rationales_are_inaccurate() -> None:
    declared = experiment(
        factors={"questions": ["few", "many"]},
        tests={"chains": {"procedural": {"count": 1, "seed": 1}, "ways": ["exactness"]}},
        comparisons=[],
    )
    made = answers(declared, lambda levels, _: {"few": 0.4, "many": 0.98}[levels["questions"]], questions=200,
                   chance=None)  # fmt: skip
    items = {
        key: tuple(
            replace(item, sample_id=f"{item.sample_id}#{'common_mistakes' if place % 2 else 'chain_of_thought'}")
            for place, item in enumerate(several)
        )
        for key, several in made.items.items()
    }
    one = found(declared, Results(made.outcomes, items))["inaccurate rationales"]
    assert one.severity == "problem" and one.where == ("questions=few",)
    assert "chains: 1 of 2 teachers" in one.found
    assert "chain of thought" in one.found and "common mistakes" in one.found


@pytest.mark.parametrize(("share", "severity"), [(0.7, "warning"), (0.3, "problem")])
def test_datasets_of_which_much_was_rejected(share: float, severity: str) -> None:
    declared = experiment(factors=SIDES)
    one = found(declared, answers(declared, gains, questions=200), accepted={"weak": share})["inaccurate rationales"]
    assert (one.severity, one.where) == (severity, ("weak",)) and f"{100 * share:.1f} %" in one.found


@pytest.mark.parametrize(("shared", "severity"), [(3, "warning"), (90, "problem")])
def test_contaminated_tests(shared: int, severity: str) -> None:
    declared = experiment(factors=SIDES)
    overlap = {"sums": Overlap(questions=600, shared=shared, data="lessons")}
    one = found(declared, answers(declared, gains, questions=200), overlap=overlap)["contaminated test"]
    assert (one.severity, one.where) == (severity, ("sums",))
    assert one.found == f"{shared} of the 600 questions of sums stand in lessons"


def test_accuracies_that_guessing_explains() -> None:
    declared = experiment(factors=SIDES)
    half = answers(declared, lambda levels, _: 0.7 if levels["kinds"] == "chain" else 0.25, questions=400)
    one = found(declared, half)["chance level"]
    assert (one.severity, one.where) == ("note", ("kinds=none",)) and "(25.0 %)" in one.found
    one = found(declared, answers(declared, lambda levels, _: 0.25, questions=400))["chance level"]
    assert one.severity == "warning" and one.found.endswith("so that nothing there can be told apart")
    one = found(declared, answers(declared, lambda levels, _: 0.05, questions=400))["below chance"]
    assert one.severity == "warning" and len(one.where) == 2
    free = answers(declared, lambda levels, _: 0.05, questions=400, chance=None)
    assert found(declared, free) == {}


def test_equal_trainings_count_once() -> None:
    declared = experiment()
    one = found(declared, answers(declared, lambda levels, _: 0.25, questions=200))["chance level"]
    assert "5 of 5 settings" in one.found and "kinds=none, order=last" not in one.where


def test_writings_without_an_answer_and_prompts_that_were_cut() -> None:
    declared = experiment(factors=SIDES)
    seen = found(declared, answers(declared, gains, questions=200, unanswered=30, cut=8))
    assert set(seen) == {"unanswered"} and seen["unanswered"].severity == "warning"
    assert seen["unanswered"].where == ("kinds=none", "kinds=chain")
    assert "2 of 2 settings" in seen["unanswered"].found and "15.0 % of 600 writings" in seen["unanswered"].found
    seen = found(declared, answers(declared, gains, questions=200, unanswered=150, cut=20))
    assert (seen["unanswered"].severity, seen["cut prompts"].severity) == ("problem", "warning")
    assert unanswered(0, 0, where="x") is None and cut(1, 20, where="x") is None


def test_losses_that_are_no_numbers_and_cells_that_failed() -> None:
    declared = experiment(factors=SIDES)
    made = answers(declared, gains, questions=200, steps=10, loss=0.3, lacking={"chain-2": "boom"})
    lost = [replace(one, loss=float("nan")) if one.cell == "none-1" else one for one in made.outcomes]
    seen = found(declared, Results(tuple(lost), made.items))
    assert seen["loss is no number"].where == ("kinds=none, seed 1",)
    assert seen["failed cells"].where == ("kinds=chain, seed 2",) and "1 of 6 cells" in seen["failed cells"].found
    assert [one.severity for one in seen.values()] == ["problem", "problem"]


def test_seeds_that_disagree() -> None:
    declared = experiment(factors=SIDES)
    lucky = {1: 0.95, 2: 0.55, 3: 0.9}
    made = answers(declared, lambda levels, seed: lucky[seed] if levels["kinds"] == "chain" else 0.55, questions=300)
    one = found(declared, made)["seeds disagree"]
    assert one.where == ("kinds=chain",) and "(seed 2)" in one.found
    # Few questions: the noise of answers explains as much.
    few = answers(declared, lambda levels, _: 0.6, questions=20)
    assert "seeds disagree" not in found(declared, few)


def test_an_unbalanced_test_and_a_model_of_one_letter() -> None:
    declared = experiment(factors=SIDES)
    made = answers(declared, lambda levels, _: 0.9, questions=200)

    def first_mostly(place: int, item: Item) -> Item:
        gold = 0 if place % 5 < 3 else 1 + place % 3
        return replace(item, position=gold, said=gold if item.correct else (gold + 1) % 4)

    items = {key: tuple(first_mostly(*one) for one in enumerate(several)) for key, several in made.items.items()}
    one = found(declared, Results(made.outcomes, items))["unbalanced answers"]
    assert one.where == ("sums, by writing",) and "always saying (A) is right in 60.0 %" in one.found

    def always_second(item: Item) -> Item:
        return replace(item, said=1, correct=item.position == 1)

    items = {
        key: tuple(always_second(item) for item in several) if key[0].startswith("none") else several
        for key, several in made.items.items()
    }
    one = found(declared, Results(made.outcomes, items))["one letter"]
    assert one.where == ("kinds=none",) and "100.0 % of 600 answers are (B)" in one.found


def test_gold_answers_in_turn_are_balanced_whatever_the_number_of_options() -> None:
    source = random.Random(4)
    options = [source.choice((2, 3, 5)) for _ in range(900)]
    positions = [source.randrange(of) for of in options]
    # The first place has the most by far, as it has to: every question has it.
    assert positions.count(0) > 2 * positions.count(3) and unbalanced(positions, options, where="x") is None
    lean = [0 if source.random() < 0.3 else place for place in positions]
    one = unbalanced(lean, options, where="x")
    assert one is not None and one.name == "unbalanced answers"
    assert unbalanced(lean, None, where="x") is None and unbalanced(lean[:10], options[:10], where="x") is None
    assert unbalanced([None] * 900, options, where="x") is None
    with pytest.raises(ValueError, match="do not match"):
        unbalanced([0], [4, 4], where="x")


@given(st.lists(st.integers(0, 3), min_size=40, max_size=80), st.lists(st.integers(0, 3), min_size=1, max_size=80))
def test_one_letter_is_said_of_models_that_are_mostly_wrong_alone(said: list[int], gold: list[int]) -> None:
    assert one_letter(gold * 40, gold * 40, where="x") is None
    one = one_letter(said, gold, where="x")
    most = max(range(4), key=said.count)
    prefers = said.count(most) / len(said) >= 0.6
    assert (one is None) or prefers
    assert one_letter([2] * 40, [0, 1, 2, 3], where="x") is not None
    assert one_letter([None] * 40, gold, where="x") is None


def test_the_chi_square_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 3, 4, 7, 30):
        for statistic in (0.0, 0.1, 1.0, 5.0, 25.0, 300.0, 2_000.0):
            known = stats.chi2.sf(statistic, freedom)
            assert chi_square(statistic, freedom) == pytest.approx(known, rel=1e-9, abs=1e-300)
    counts = [130, 90, 95, 85]
    positions = [place for place, of in enumerate(counts) for _ in range(of)]
    known = stats.chisquare(counts).pvalue
    one = unbalanced(positions, 4, where="x")
    assert known < 0.01 and one is not None and f"p = {known:.3f}" in one.found


def test_where_an_interval_lies() -> None:
    assert beside_chance(0.26, 0.3, 0.25) == "above" and beside_chance(float("nan"), 1.0, 0.25) == "unknown"
    assert doctest.testmod(answer_signs).failed == 0
    assert written("c", "t", "w", [True, False])[1].said != written("c", "t", "w", [True, False])[1].position
