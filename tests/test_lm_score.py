"""Log-likelihoods: the same as one plain pass over each text, whatever shares a batch or a context."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import random_model
from teacherlm.lm.load import LoadedModel
from teacherlm.lm.score import LogLikelihood, score
from teacherlm.lm.tokens import Tokens
from test_server_generate import toy

QUESTION = "Q: Why does iron rust? (A) water (B) the moon A: The answer is"
REQUESTS = [
    *((QUESTION, option) for option in (" (A).", " (B).", " water.", " the moon and the sun.")),
    ("Q: Which day comes after Monday? A: ", "Tuesday"),
    (QUESTION, "."),
    ("", "Iron"),
    ("Iron", " rusts" * 9),
]


def plain(loaded: LoadedModel, context: str, continuation: str) -> tuple[float, bool, int]:
    """One text, one pass, no padding and no cache."""
    tokens = Tokens(loaded.tokenizer)
    before = tokens.encode(context.rstrip()) or sorted(loaded.eos_ids)
    joint = tokens.encode(context + continuation) if context else before + tokens.encode(continuation)
    told = joint[len(before) :]
    logprobs = loaded.model(torch.tensor([joint[:-1]])).logits[0, -len(told) :].log_softmax(dim=-1)
    total = logprobs.gather(1, torch.tensor(told)[:, None]).sum().item()
    return total, logprobs.argmax(dim=-1).tolist() == told, len(told)


@pytest.mark.parametrize("kind", ["bloom", "opt"])
@pytest.mark.parametrize("batch_tokens", [1, 60, 8192])
def test_scores_are_those_of_one_plain_pass(kind: str, batch_tokens: int) -> None:
    loaded = toy(kind)
    for request, found in zip(REQUESTS, score(loaded, REQUESTS, batch_tokens=batch_tokens), strict=True):
        total, greedy, tokens = plain(loaded, *request)
        assert found.sum == pytest.approx(total, abs=1e-4)
        assert (found.greedy, found.tokens, found.characters) == (greedy, tokens, len(request[1]))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["Q: a", "Q: a b c", "Iron"]), st.text("ab c.", min_size=1)), max_size=6))
def test_what_shares_a_batch_changes_nothing(requests: list[tuple[str, str]]) -> None:
    together = score(random_model(), requests)
    for one, request in zip(together, requests, strict=True):
        (alone,) = score(random_model(), [request])
        assert one.sum == pytest.approx(alone.sum, abs=1e-4)
        assert replace_sum(one) == replace_sum(alone)


def replace_sum(one: LogLikelihood) -> LogLikelihood:
    return replace(one, sum=0.0)


def test_the_greedy_continuation_is_known_as_such() -> None:
    from teacherlm.lm.generate import Request, generate

    prompt = tuple(Tokens(random_model().tokenizer).encode(QUESTION))
    ((_, row),) = generate(random_model(), [Request(prompt_ids=prompt, max_new_tokens=1)])
    texts = [row.text, "xyz"]
    assert [one.greedy for one in score(random_model(), [(QUESTION, text) for text in texts])] == [True, False]


def test_a_context_longer_than_the_window_is_cut_from_the_left_and_counted() -> None:
    small = replace(random_model(), max_total_tokens=12)
    long = "one two three four five six seven " * 5 + QUESTION
    (cut,) = score(small, [(long, " water.")])
    ids = Tokens(small.tokenizer).encode(long + " water.")
    told = len(ids) - len(Tokens(small.tokenizer).encode(long))
    assert cut.cut == len(ids) - 1 - 12
    logprobs = small.model(torch.tensor([ids[-13:-1]])).logits[0, -told:].log_softmax(dim=-1)
    assert cut.sum == pytest.approx(logprobs.gather(1, torch.tensor(ids[-told:])[:, None]).sum().item(), abs=1e-4)


def test_a_continuation_without_tokens_or_beyond_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="position 1 has no tokens"):
        score(random_model(), [("a", "b"), ("a", "")])
    with pytest.raises(ValueError, match="more than the model's window"):
        score(replace(random_model(), max_total_tokens=3), [("a", "b" * 50)])
