"""Log-likelihoods: those of lm-evaluation-harness and of one plain pass, whatever shares a batch or a context."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import Model, random_model
from teacherlm.core.errors import MachineFailed
from teacherlm.lm.load import LoadedModel, load
from teacherlm.lm.score import LogLikelihood, not_finite, score
from teacherlm.lm.score_pairs import encoded, window_of
from teacherlm.lm.score_plan import beginnings, common
from teacherlm.lm.tokens import Tokens
from test_server_generate import toy

QUESTION = "Q: Why does iron rust? (A) water (B) the moon A: The answer is"
SUBJECT = "The following are multiple choice questions (with answers) about the earth and the sky.\n\n"
SHOTS = SUBJECT + "".join(f"What is {n} and {n}?\nA. {n}\nB. {2 * n}\nAnswer: B\n\n" for n in (2, 3, 4))
ASKED = ("Which is true?", "Why does ice float on water, and iron not?", "The sum of three and two is", "How?")
REQUESTS: list[tuple[str, str]] = [
    *((QUESTION, option) for option in (" (A).", " (B).", " water.", " the moon and the sun.", ".", " (A).")),
    *((f"{SHOTS}{asked}\nA. ice\nB. sun\nAnswer:", f" {letter}") for asked in ASKED for letter in "AB"),
    *((f"{SHOTS}{asked} Answer:", text) for asked in ASKED for text in (" ice", " the sun", " nine apples, or six")),
    ("Q: Which day comes after Monday? A: ", "Tuesday"),
    ("Q: Which day comes after Monday? A: \n\t ", "Tuesday"),
    # Joined, the last letters of the context are another token than alone.
    ("The ans", "wer is water"),
    ("naïve 日本 🦜", " 日本語 🦜🦜"),
    ("</s>Ice", " floats"),
    ("Iron", "</s>"),
    ("", "Iron"),
    ("", "</s>Iron rusts"),
    ("Iron", " rusts" * 9),
    (SHOTS * 3 + QUESTION, " water."),
    (SHOTS * 3 + QUESTION, " the moon and the sun."),
]
NARROW = 150
"""A window that the last two do not fit into."""


@cache
def family(kind: str) -> LoadedModel:
    """A toy model; `+begin` gives its tokenizer a begin token, as Llama's has."""
    name, _, begin = kind.partition("+")
    if name == "nano":
        return load("nano", device="cpu")
    loaded = mistral() if name == "mistral" else toy(name)
    return replace(loaded, tokenizer=with_begin(loaded.tokenizer)) if begin else loaded


def mistral() -> LoadedModel:
    """A model that sees its last 24 tokens only."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=24, initializer_range=0.3,
    )  # fmt: skip
    make: Any = MistralForCausalLM  # without types in some versions of transformers
    return replace(random_model(), model=make(config).eval().requires_grad_(False))


def with_begin(tokenizer: Any) -> Any:
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.post_processor = processors.TemplateProcessing(single="<pad> $A", special_tokens=[("<pad>", 1)])
    make: Any = PreTrainedTokenizerFast  # without types in transformers
    return make(tokenizer_object=backend, bos_token="<pad>", eos_token="</s>", pad_token="<pad>")


@pytest.mark.parametrize("kind", ["bloom", "bloom+begin", "gpt2", "llama+begin", "opt", "mistral", "nano"])
def test_scores_are_those_of_the_harness(kind: str) -> None:
    pytest.importorskip("lm_eval", reason="compares with lm-evaluation-harness: pip install lm-eval==0.4.13")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    loaded = family(kind)
    for window in (None, NARROW):
        harness: Any = HFLM(loaded.model, tokenizer=loaded.tokenizer, batch_size=5, max_length=window)
        instances = [Instance("loglikelihood", {}, request, place) for place, request in enumerate(REQUESTS)]
        theirs = harness.loglikelihood(instances, disable_tqdm=True)
        ours = score(loaded, REQUESTS, window=window)
        assert [one.greedy for one in ours] == [greedy for _, greedy in theirs]
        assert [one.sum for one in ours] == pytest.approx([total for total, _ in theirs], abs=1e-4)
        assert harness.max_length == (window or window_of(loaded))
        for pair, (context, continuation) in zip(encoded(loaded, REQUESTS, window), REQUESTS, strict=True):
            if context:
                before, told = harness._encode_pair(context, continuation)
                assert (list(pair.context), list(pair.continuation)) == (before[pair.cut :], told)


def plain(loaded: LoadedModel, context: str, continuation: str) -> tuple[float, bool, int]:
    """One text, one pass, no padding and no cache."""
    tokens = Tokens(loaded.tokenizer)
    before = tokens.encode(context.rstrip()) if context else sorted(loaded.eos_ids)
    joint = tokens.encode(context + continuation) if context else before + tokens.encode(continuation)
    told = joint[len(before) :]
    logprobs = loaded.model(torch.tensor([[*before, *told][:-1]])).logits[0, -len(told) :].log_softmax(dim=-1)
    total = logprobs.gather(1, torch.tensor(told)[:, None]).sum().item()
    return total, logprobs.argmax(dim=-1).tolist() == told, len(told)


@pytest.mark.parametrize("kind", ["bloom", "opt", "mistral"])
@pytest.mark.parametrize("batch_tokens", [1, 60, 8192])
def test_scores_are_those_of_one_plain_pass(kind: str, batch_tokens: int) -> None:
    loaded = family(kind)
    requests = [request for request in REQUESTS if request != ("", "</s>Iron rusts")]
    for request, found in zip(requests, score(loaded, requests, batch_tokens=batch_tokens), strict=True):
        total, greedy, tokens = plain(loaded, *request)
        assert found.sum == pytest.approx(total, abs=1e-4)
        assert (found.greedy, found.tokens, found.characters) == (greedy, tokens, len(request[1]))


def test_one_text_cut_in_two_places_keeps_its_sums() -> None:
    """The harness (0.4.13) takes the shorter continuation's token from the first position of the longer one."""
    requests = [("Iron", " rusts because"), ("Iron rusts", " because"), ("Iron rusts", " slowly")]
    for request, found in zip(requests, score(random_model(), requests), strict=True):
        assert found.sum == pytest.approx(plain(random_model(), *request)[0], abs=1e-4)


def has_own_tokens(request: tuple[str, str]) -> bool:
    """Whether the continuation is not swallowed by the context's last token, as `c` after `a` is where `ac` is one."""
    tokens, (context, continuation) = Tokens(random_model().tokenizer), request
    return len(tokens.encode(context + continuation)) > len(tokens.encode(context.rstrip()))


texts = st.tuples(
    st.sampled_from(["", SHOTS, SUBJECT]).flatmap(lambda start: st.text("ab c?", max_size=6).map(start.__add__)),
    st.text("ab c.", min_size=1, max_size=12),
).filter(has_own_tokens)


def test_a_continuation_that_its_context_swallows_has_no_tokens() -> None:
    """As in the harness, which stops at it."""
    assert not has_own_tokens(("a", "c"))
    with pytest.raises(ValueError, match="position 1 has no tokens"):
        score(random_model(), [("a", " c"), ("a", "c")])


@settings(max_examples=25, deadline=None)
@given(st.lists(texts, min_size=1, max_size=8), st.randoms(), st.sampled_from([1, 7, 100, 5000]))
def test_order_batches_and_company_change_nothing(
    requests: list[tuple[str, str]], random: Any, batch_tokens: int
) -> None:
    loaded = random_model()
    together = score(loaded, requests, batch_tokens=batch_tokens)
    order = random.sample(range(len(requests)), k=len(requests))
    shuffled = score(loaded, [requests[place] for place in order])
    for place, other in zip(order, shuffled, strict=True):
        (alone,) = score(loaded, [requests[place]])
        for one in (together[place], other):
            assert one.sum == pytest.approx(alone.sum, abs=1e-4)
            assert replace(one, sum=0.0) == replace(alone, sum=0.0)


@given(st.sets(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), max_size=12), st.integers(0, 4))
def test_beginnings_are_shared_by_all_who_take_them_and_worth_it(contexts: set[tuple[int, ...]], worth: int) -> None:
    ordered = sorted(contexts)
    taken: set[int] = set()
    for length, first, count in beginnings(ordered, worth):
        members = range(first, first + count)
        assert taken.isdisjoint(members)
        taken.update(members)
        assert all(common(ordered[first], ordered[place]) >= length for place in members)
        assert (count - 1) * length > worth


def test_the_greedy_continuation_is_known_as_such() -> None:
    from teacherlm.lm.generate import Request, generate

    prompt = tuple(Tokens(random_model().tokenizer).encode(QUESTION))
    ((_, row),) = generate(random_model(), [Request(prompt_ids=prompt, max_new_tokens=1)])
    options = [row.text, "xyz"]
    assert [one.greedy for one in score(random_model(), [(QUESTION, text) for text in options])] == [True, False]


def test_a_context_longer_than_the_window_is_cut_from_the_left_and_counted() -> None:
    small = random_model()
    long = "one two three four five six seven " * 5 + QUESTION
    (cut,) = score(small, [(long, " water.")], window=12)
    ids = Tokens(small.tokenizer).encode(long + " water.")
    told = len(ids) - len(Tokens(small.tokenizer).encode(long))
    assert cut.cut == len(ids) - 1 - 12
    logprobs = small.model(torch.tensor([ids[-13:-1]])).logits[0, -told:].log_softmax(dim=-1)
    assert cut.sum == pytest.approx(logprobs.gather(1, torch.tensor(ids[-told:])[:, None]).sum().item(), abs=1e-4)


def test_a_continuation_without_tokens_or_beyond_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="position 1 has no tokens"):
        score(random_model(), [("a", "b"), ("a", "")])
    with pytest.raises(ValueError, match=r"50 tokens; the model's window holds 3"):
        score(random_model(), [("a", "b" * 50)], window=3)


def test_a_context_of_blanks_alone_is_as_good_as_none() -> None:
    blank, empty = score(random_model(), [(" ", "Iron"), ("", " Iron")])
    assert blank.sum == pytest.approx(empty.sum, abs=1e-5)


def test_progress_is_told_and_ends_with_all() -> None:
    told: list[int] = []
    score(random_model(), REQUESTS, batch_tokens=100, tell=told.append)
    assert told == sorted(told)
    assert (told[-1], len(told) > 2) == (len(REQUESTS), True)


def test_values_that_are_not_finite_are_kept_and_found() -> None:
    whole = random_model()

    def forward(
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        past_key_values: Any,
        use_cache: bool,
        logits_to_keep: int,
    ) -> Any:
        made = whole.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
        )
        broken = (input_ids == moon).any(dim=1)
        made.logits[broken] = math.nan
        return made

    (moon,) = Tokens(whole.tokenizer).encode("ö")[:1]
    found = score(replace(whole, model=Wrapped(whole, forward)), [("Iron", " a"), ("ö", " a"), ("ö", " a b c")])
    assert not_finite(found) == [1, 2]
    assert math.isnan(found[2].sum)
    assert not_finite([replace(found[0], sum=-math.inf)]) == [0]


class Wrapped(Model):
    """A model with something in between; what `score` asks it besides is the whole one's."""

    def __init__(self, whole: LoadedModel, forward: Callable[..., Any]) -> None:
        super().__init__(forward)
        self.config = whole.model.config


def small_memory(room: int) -> tuple[LoadedModel, list[int]]:
    """A model whose memory holds so many cells, rows times columns, of one pass; and the passes that it made."""
    whole = random_model()
    made: list[int] = []

    def forward(
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        past_key_values: Any,
        use_cache: bool,
        logits_to_keep: int,
    ) -> Any:
        made.append(attention_mask.numel())
        if made[-1] > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return whole.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
        )

    return replace(whole, model=Wrapped(whole, forward)), made


def sums(found: Sequence[LogLikelihood]) -> list[float]:
    return [one.sum for one in found]


def test_where_memory_runs_out_less_is_read_at_once() -> None:
    room = 2 * max(len(pair.context) + len(pair.continuation) for pair in encoded(random_model(), REQUESTS))
    tight, made = small_memory(room)
    assert sums(score(tight, REQUESTS, batch_tokens=50_000)) == pytest.approx(
        sums(score(random_model(), REQUESTS)), abs=1e-4
    )
    # Halved a few times, not once for each batch.
    assert 2 <= sum(cells > room for cells in made) <= 12


def test_a_text_that_does_not_fit_at_all_is_named() -> None:
    tight, _ = small_memory(10)
    with pytest.raises(MachineFailed, match=r"a text of \d\d tokens does not fit into the memory of cpu"):
        score(tight, [(QUESTION, " water.")])


def test_other_errors_of_a_model_are_not_taken_for_a_small_memory() -> None:
    def forward(**_: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        score(replace(random_model(), model=Wrapped(random_model(), forward)), [("a", "b")])


@pytest.mark.parametrize(
    ("config", "limit", "window"),
    [
        ({"n_positions": 1024}, 512, 1024),
        ({"max_position_embeddings": 4096}, int(1e30), 4096),
        ({"seq_length": 64}, 700, 700),
        ({"seq_length": 64}, int(1e30), 2048),
        ({"max_position_embeddings": 12, "text_config": SimpleNamespace(max_position_embeddings=99)}, 5, 99),
    ],
)
def test_the_window_is_the_harness_s(config: dict[str, Any], limit: int, window: int) -> None:
    pytest.importorskip("lm_eval", reason="compares with lm-evaluation-harness: pip install lm-eval==0.4.13")
    from lm_eval.models.utils import resolve_max_length

    stated: Any = SimpleNamespace(**config)
    tokenizer: Any = SimpleNamespace(model_max_length=limit)
    loaded = replace(random_model(), model=SimpleNamespace(config=stated), tokenizer=tokenizer)
    assert window_of(loaded) == resolve_max_length(stated, tokenizer) == window
