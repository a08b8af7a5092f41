"""Votes: the majority of several writings, drawn by seeds, of models whose chances are known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from serving import Model, random_model
from teacherlm.core.errors import Mistake
from teacherlm.evaluate.answers import by_generation
from teacherlm.evaluate.votes import Majority, by_votes, majority, stated_in
from teacherlm.lm.load import LoadedModel
from teacherlm.lm.tokens import Tokens
from teacherlm.project.layouts import Layout

PLAIN = Layout(response=("answer",))
SHOWN = Layout(prompt=("question", "answer"), response=("chain_of_thought",), asks=True)
ANSWERS = st.lists(st.sampled_from(["gold", "iron", "tin", None]), min_size=1, max_size=9)


def sample(number: int, answer: str = "B", choices: tuple[str, ...] = ("A", "B")) -> dict[str, Any]:
    question = f"Which rusts, {number}?"
    return {"sample_id": f"s{number}", "question": question, "choices": list(choices), "answer": answer}


def drawing(chances: Mapping[str, float], before: str = "The answer is ") -> LoadedModel:
    """Writes one of the texts after every prompt, which ends with a colon; each begins with another token."""
    loaded = random_model()
    tokens = Tokens(loaded.tokenizer)
    (colon,) = tokens.encode(":")
    begin = tokens.encode(f" {before}(")
    ends = {tokens.encode(text)[0]: (tokens.encode(text)[1:], math.log(chance)) for text, chance in chances.items()}
    assert len(ends) == len(chances)

    def following(said: list[int]) -> Mapping[int, float]:
        if len(said) < len(begin):
            return {begin[len(said)]: 0.0}
        if len(said) == len(begin):
            return {first: logit for first, (_, logit) in ends.items()}
        rest, done = ends[said[len(begin)]][0], len(said) - len(begin) - 1
        return {rest[done] if done < len(rest) else min(loaded.eos_ids): 0.0}

    def forward(
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        past_key_values: Any,
        use_cache: bool,
        logits_to_keep: int,
    ) -> Any:
        keys, _ = past_key_values.update(*[input_ids[:, None, :, None].double()] * 2, 0)
        logits = torch.full((len(input_ids), 1, len(loaded.tokenizer)), -1e4)
        for row, seen in enumerate(keys[:, 0, :, 0].long().tolist()):
            if colon not in seen:  # a beginning of prompts, read by itself
                continue
            said = seen[len(seen) - seen[::-1].index(colon) :]
            for token, logit in (following(said) if said[: len(begin)] == begin[: len(said)] else {0: 0.0}).items():
                logits[row, 0, token] = logit
        return SimpleNamespace(logits=logits)

    return replace(loaded, model=Model(forward))


def test_votes_find_the_answer_that_a_model_most_often_comes_to() -> None:
    """It says B in 65 of 100 writings: alone right as often, by nine votes 83 times (binomial)."""
    loaded = drawing({"B).": 0.65, "A).": 0.35})
    samples = [sample(number) for number in range(120)]
    one = by_votes(loaded, PLAIN, samples, votes=1, max_new_tokens=16, temperature=1.0, seed=3)
    nine = by_votes(loaded, PLAIN, samples, votes=9, max_new_tokens=16, temperature=1.0, seed=3)
    alone, together = (sum(found.correct for found in of) / 120 for of in (one, nine))
    assert 0.52 < alone < 0.78
    assert 0.72 < together < 0.93
    assert together > alone
    assert {found.finish_reason for found in nine} == {"eos_token"}
    assert {(found.predicted, found.text) for found in nine} == {
        ("A", " The answer is (A)."),
        ("B", " The answer is (B)."),
    }


def test_what_is_drawn_depends_on_seed_sample_and_vote_alone() -> None:
    loaded = drawing({"B).": 0.5, "A).": 0.5})
    samples = [sample(number) for number in range(40)]

    def asked(some: list[dict[str, Any]], votes: int, seed: int, batch_size: int = 128) -> list[str | None]:
        found = by_votes(
            loaded, PLAIN, some, votes=votes, max_new_tokens=16, temperature=1.0, seed=seed, batch_size=batch_size
        )
        return [one.predicted for one in found]

    whole = asked(samples, 3, 1)
    assert asked(samples[20:], 3, 1, batch_size=7) == whole[20:]
    assert asked(samples, 3, 2) != whole
    assert Counter(asked(samples, 1, 1)) != Counter(["A"] * 40)


def test_the_temperature_decides_how_often_the_less_likely_is_drawn() -> None:
    loaded = drawing({"B).": 0.7, "A).": 0.3})
    samples = [sample(number) for number in range(80)]
    shares = [
        sum(one.correct for one in by_votes(loaded, PLAIN, samples, votes=1, max_new_tokens=16, temperature=heat)) / 80
        for heat in (0.05, 1.0, 50.0)
    ]
    assert shares[0] == 1.0
    assert shares[0] > shares[1] > shares[2] > 0.3


def test_one_cold_vote_is_what_the_model_writes_greedily() -> None:
    loaded, samples = random_model(), [sample(number) for number in range(3)]
    cold = by_votes(loaded, PLAIN, samples, votes=1, max_new_tokens=20, temperature=1e-6)
    assert cold == by_generation(loaded, PLAIN, samples, max_new_tokens=20)


def test_writings_without_an_answer_vote_for_none() -> None:
    (found,) = by_votes(drawing({"?": 1.0}, "I wonder "), PLAIN, [sample(1)], votes=3, max_new_tokens=16)
    assert (found.predicted, found.correct, found.text) == (None, False, " I wonder (?")


def test_a_prompt_without_room_is_cut_and_counted() -> None:
    loaded = replace(drawing({"B).": 1.0}), max_total_tokens=30)
    prompt = Tokens(loaded.tokenizer).encode("Q: Which rusts, 1? (A) A (B) B A:")
    (found,) = by_votes(loaded, PLAIN, [sample(1)], votes=2, max_new_tokens=14)
    assert found.cut == len(prompt) - 16


@given(ANSWERS)
def test_the_majority_is_no_rarer_than_any_other_and_the_first_of_its_equals(stated: list[str | None]) -> None:
    found = majority(stated, ["gold", "iron", "tin"])
    counts = Counter(answer for answer in stated if answer is not None)
    if not counts:
        assert found == Majority(None, 0, len(stated), 0)
        return
    assert found.answer is not None
    assert found.votes == counts[found.answer] == max(counts.values())
    assert found.share == found.votes / len(stated)
    assert found.first == min(stated.index(answer) for answer, count in counts.items() if count == found.votes)
    assert stated[found.first] == found.answer


def test_free_answers_are_counted_as_they_are_compared() -> None:
    assert majority(["1,200", "1300", "1200.0", "$1200"], []).votes == 3
    assert majority(["Paris", "paris.", "the Paris", "Rome"], []) == Majority("Paris", 3, 4, 0)
    assert majority(["yes", "no", "no"], []).answer == "no"
    # Of options each is its own, whatever it looks like.
    assert majority(["1", "1.0", "1.0"], ["1", "1.0"]).answer == "1.0"


@pytest.mark.parametrize(
    ("text", "choices", "answer", "stated"),
    [
        ("So it rusts. The answer is (B).", ["gold", "iron"], "gold", "iron"),
        ("It is iron, I think.", ["gold", "iron"], "iron", None),
        ("Both. The answer is (A) or (B).", ["gold", "iron"], "iron", None),
        ("3 + 4 = 7. The answer is 7.", [], "12", "7"),
        ("3 + 4 = 7.", [], "7", None),
    ],
)
def test_only_what_is_stated_is_a_vote(text: str, choices: list[str], answer: str, stated: str | None) -> None:
    assert stated_in(text, choices, answer) == stated


def test_what_cannot_be_asked_is_refused() -> None:
    for wrong, said in (
        ({"votes": 0}, "`votes` is 0"),
        ({"temperature": 0.0}, "all writings would be the same"),
        ({"max_new_tokens": 2048}, "leave no room"),
        ({"layout": SHOWN}, "shows the answer"),
    ):
        asked: dict[str, Any] = {"layout": PLAIN, "votes": 2, "max_new_tokens": 8, **wrong}
        with pytest.raises(Mistake, match=said):
            by_votes(random_model(), samples=[sample(1)], **asked)
