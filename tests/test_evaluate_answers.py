"""Answers by likelihood and by generation, read from models whose words are known, and from one with random weights."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from serving import Model, random_model
from teacherlm.core.errors import Mistake
from teacherlm.evaluate.answers import by_generation, by_likelihood
from teacherlm.evaluate.exactness import Written, exactness
from teacherlm.lm.load import LoadedModel
from teacherlm.lm.score import score
from teacherlm.lm.tokens import Tokens
from teacherlm.project.layouts import Layout

PLAIN = Layout(response=("answer",))
TEXT = Layout(response=("answer",), gold="text")
ASKS = Layout(response=("answer",), asks=True)
CHAIN = Layout(response=("chain_of_thought", "answer"))
SHOWN = Layout(prompt=("question", "answer"), response=("chain_of_thought",), asks=True)


def sample(name: str = "s", answer: str = "iron", choices: tuple[str, ...] = ("gold", "iron")) -> dict[str, Any]:
    return {"sample_id": name, "question": f"Which rusts, {name}?", "choices": list(choices), "answer": answer}


def saying(text: str) -> LoadedModel:
    """Says this after every prompt, which ends with a colon; the text has none."""
    loaded = random_model()
    tokens = Tokens(loaded.tokenizer)
    (colon,) = tokens.encode(":")
    words = [*tokens.encode(text), *loaded.eos_ids]

    def forward(
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        past_key_values: Any,
        use_cache: bool,
        logits_to_keep: int,
    ) -> Any:
        keys, _ = past_key_values.update(*[input_ids[:, None, :, None].double()] * 2, 0)
        logits = torch.zeros(len(input_ids), 1, len(loaded.tokenizer))
        for row, seen in enumerate(keys[:, 0, :, 0].long().tolist()):
            since = seen[::-1].index(colon)
            logits[row, 0, words[min(since, len(words) - 1)]] = 9.0  # more, where a beginning is read by itself
        return SimpleNamespace(logits=logits)

    return replace(loaded, model=Model(forward))


@pytest.mark.parametrize(
    ("layout", "context", "statements"),
    [
        (PLAIN, "Q: Which rusts, s? (A) gold (B) iron A: The answer is", [" (A).", " (B)."]),
        (ASKS, "Q: Which rusts, s? (A) gold (B) iron A: The answer is", [" (A).", " (B)."]),
        (CHAIN, "Q: Which rusts, s? (A) gold (B) iron A: The answer is", [" (A).", " (B)."]),
        (TEXT, "Q: Which rusts, s? (A) gold (B) iron A: The answer is", [" gold.", " iron."]),
    ],
)
def test_the_likeliest_statement_is_the_answer(layout: Layout, context: str, statements: list[str]) -> None:
    found = by_likelihood(random_model(), layout, [sample("r"), sample("s")])[1]
    likelihoods = score(random_model(), [(context, statement) for statement in statements])
    assert found.scores == pytest.approx([one.sum for one in likelihoods], abs=1e-4)
    best = max(range(2), key=lambda place: found.scores[place])
    assert found.predicted == ["gold", "iron"][best]
    assert found.correct == (found.predicted == "iron")


@pytest.mark.parametrize(
    ("said", "predicted"),
    [
        (" Iron oxidises. The answer is (B).", "iron"),
        (" The answer is (A). No, it rusts. The answer is (B).", "iron"),
        (" The answer is gold.", "gold"),
        (" The answer is (A).\nQ", "gold"),
        (" The answer is (A). Q and more. The answer is (B).", "iron"),
        (" I cannot say.", None),
        ("", None),
    ],
)
def test_the_last_answer_that_is_stated_counts(said: str, predicted: str | None) -> None:
    for one in by_generation(saying(said), CHAIN, [sample("s"), sample("a longer one")], max_new_tokens=60):
        assert (one.predicted, one.correct, one.text) == (predicted, predicted == "iron", said)
        assert one.finish_reason == "eos_token"


def test_free_text_answers_are_read_as_well() -> None:
    (one,) = by_generation(saying(" 3 + 4 = 7. The answer is 7."), CHAIN, [sample("s", "7", ())], max_new_tokens=60)
    assert (one.predicted, one.correct) == ("7", True)


def test_a_prompt_without_room_is_cut_and_counted() -> None:
    (one,) = by_generation(replace(saying(" x"), max_total_tokens=20), CHAIN, [sample()], max_new_tokens=8)
    prompt = Tokens(random_model().tokenizer).encode("Q: Which rusts, s? (A) gold (B) iron A:")
    assert one.cut == len(prompt) - 12
    with pytest.raises(Mistake, match="leave no room"):
        by_generation(random_model(), CHAIN, [sample()], max_new_tokens=2048)


def test_what_cannot_be_evaluated_is_refused() -> None:
    with pytest.raises(Mistake, match="no options"):
        by_likelihood(random_model(), PLAIN, [sample(choices=())])
    with pytest.raises(Mistake, match="shows the answer"):
        by_likelihood(random_model(), SHOWN, [sample()])
    with pytest.raises(Mistake, match="shows the answer"):
        by_generation(random_model(), SHOWN, [sample()], max_new_tokens=4)


def test_exactness_is_told_by_kind_and_family() -> None:
    texts = [
        Written("add", "fundamentals", "Sums. ", "Sums."),
        Written("add", "fundamentals", "Sum.", "Sums."),
        Written("turn", "fundamentals", None, "Turns."),
    ]
    assert [(one.family, one.kind, one.exact.count, one.exact.total) for one in exactness(texts)] == [
        (None, "fundamentals", 1, 3),
        ("add", "fundamentals", 1, 2),
        ("turn", "fundamentals", 0, 1),
    ]
