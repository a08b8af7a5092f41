"""The generation loop by itself: rows do not touch each other, whatever model runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import parrot, random_model
from teacherlm.core.errors import Mistake
from teacherlm.evaluate.scorer import Asked, LocalScorer
from teacherlm.lm.cache import compacted
from teacherlm.lm.generate import Batch, Request, Row, generate
from teacherlm.lm.load import LoadedModel, load
from teacherlm.lm.prompts import beginnings
from teacherlm.lm.sampling import Chooser, Sampling, choose
from teacherlm.lm.tokens import Tokens

PROMPTS = ("Q: Why does iron rust? A:", "Hello", "The answer is", "naïve 日本 🦜 x", "Q: a long one " * 12)


def request(text: str, max_new_tokens: int = 24, **more: Any) -> Request:
    ids = tuple(Tokens(random_model().tokenizer).encode(text))
    return Request(prompt_ids=ids, max_new_tokens=max_new_tokens, **more)


def toy(kind: str) -> LoadedModel:
    """A toy model of another family with the random teacher's tokenizer."""
    if kind == "bloom":
        return random_model()
    import transformers

    torch.manual_seed(0)
    configs: dict[str, Any] = {
        "gpt2": lambda: transformers.GPT2Config(vocab_size=512, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3),
        "opt": lambda: transformers.OPTConfig(
            vocab_size=512, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=2, init_std=0.3,
            word_embed_proj_dim=32, dropout=0.0,
        ),
        "llama": lambda: transformers.LlamaConfig(
            vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            initializer_range=0.3,
        ),
    }  # fmt: skip
    family: Any = transformers.AutoModelForCausalLM  # untyped in transformers
    model = family.from_config(configs[kind]()).eval().requires_grad_(False)
    return replace(random_model(), model=model)


def ids(row: Row) -> list[int]:
    return [token.id for token in row.tokens]


@pytest.mark.parametrize("kind", ["bloom", "gpt2", "opt", "llama"])
def test_a_row_says_in_a_batch_what_it_says_alone(kind: str) -> None:
    loaded = toy(kind)
    requests = [request(prompt, 6 + 5 * index) for index, prompt in enumerate(PROMPTS)]
    requests += [request(PROMPTS[0], 20, sampling=Sampling(seed=seed, temperature=1.3)) for seed in (1, 2**64 - 1)]
    requests += [
        request("x", 20, sampling=Sampling(seed=5, top_k=40, top_p=0.9, typical_p=0.9, repetition_penalty=1.2))
    ]
    batched = dict(generate(loaded, requests, batch_size=3))
    assert len(batched) == len(requests)
    for index, one in enumerate(requests):
        ((_, alone),) = generate(loaded, [one])
        assert ids(alone) == ids(batched[index])
        assert batched[index].text == "".join(token.text for token in batched[index].tokens if not token.special)
        for mine, other in zip(alone.tokens, batched[index].tokens, strict=True):
            assert mine.logprob == pytest.approx(other.logprob, abs=1e-3)


@pytest.mark.parametrize("kind", ["bloom", "gpt2", "opt", "llama"])
def test_prompts_that_begin_alike_are_answered_as_if_read_alone(kind: str) -> None:
    loaded = toy(kind)
    texts = [f"{PROMPTS[0]} The answer is {letter} for a reason that is told at length." for letter in "AB"]
    ends = (" The fundamental of this question is:", " Let's think step by step.", "")
    requests = [request(text + end, 4 + 6 * place) for text in texts for place, end in enumerate(ends)]
    requests += [request("One two three.", 9), requests[0]]
    assert beginnings([one.prompt_ids for one in requests]) is not None
    batched = dict(generate(loaded, requests, batch_size=8))
    for index, one in enumerate(requests):
        ((_, alone),) = generate(loaded, [one])
        assert ids(alone) == ids(batched[index])
        for mine, other in zip(alone.tokens, batched[index].tokens, strict=True):
            assert mine.logprob == pytest.approx(other.logprob, abs=1e-3)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple), min_size=1, max_size=9))
def test_beginnings_are_common_and_leave_something_to_read(prompts: list[tuple[int, ...]]) -> None:
    cuts = beginnings(prompts)
    if cuts is None:
        return
    heads = [prompt[:cut] for prompt, cut in zip(prompts, cuts, strict=True)]
    assert all(0 < cut < len(prompt) for cut, prompt in zip(cuts, prompts, strict=True))
    tail = max(len(prompt) - cut for prompt, cut in zip(prompts, cuts, strict=True))
    assert len(set(heads)) * max(cuts) + len(prompts) * tail < len(prompts) * max(map(len, prompts))


@given(st.integers(1, 9).flatmap(lambda rows: st.tuples(st.just(rows), st.sets(st.integers(0, rows - 1)))))
def test_rows_close_up_when_others_leave(case: tuple[int, set[int]]) -> None:
    rows, stay = case
    order, moved = compacted(rows, sorted(stay))
    assert sorted(order) == sorted(stay)
    assert all(source >= len(stay) > target for source, target in moved)
    places = list(range(rows))
    for source, target in moved:
        places[target] = source
    assert places[: len(stay)] == order


def test_our_greedy_loop_agrees_with_transformers() -> None:
    one = request(PROMPTS[0], 30)
    ((_, row),) = generate(random_model(), [one])
    prompt = torch.tensor([one.prompt_ids])
    theirs = random_model().model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=30, do_sample=False, pad_token_id=1
    )
    assert ids(row) == theirs[0, prompt.shape[1] :].tolist()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), min_size=1, max_size=7))
def test_any_text_comes_back_whole_from_a_running_batch(texts: list[str]) -> None:
    """Rows of all lengths join and leave; characters of several bytes come in one piece."""
    texts = [text for text in texts if "</s>" not in text and "<pad>" not in text and "\ufffd" not in text] or ["x"]
    for index, row in generate(parrot(), [request(f"{text}</s>", 100) for text in texts], batch_size=3):
        assert row.text == texts[index]
        assert row.finish_reason == "eos_token"
        assert row.tokens[-1].special
        assert all("\ufffd" not in token.text for token in row.tokens)


def test_a_short_row_does_not_wait_for_a_long_one() -> None:
    finished = [index for index, _ in generate(random_model(), [request("x", 60), request("y", 2), request("z", 1)])]
    assert finished == [2, 1, 0]


def test_a_failing_prompt_leaves_the_running_rows_alone() -> None:
    batch = Batch(random_model())
    running = Row(request(PROMPTS[1], 8))
    batch.join([running])
    with pytest.raises(IndexError):
        batch.join([Row(Request(prompt_ids=(100_000,), max_new_tokens=2))])
    while batch.rows:
        batch.step()
    ((_, alone),) = generate(random_model(), [running.request])
    assert ids(running) == ids(alone)


def test_text_cut_inside_a_character_ends_before_it() -> None:
    bird = Tokens(random_model().tokenizer).encode("🦜")
    assert len(bird) > 1
    ((_, row),) = generate(parrot(), [request("a🦜</s>", len(bird))])
    assert (row.text, row.finish_reason) == ("a", "length")


def test_stop_strings_may_begin_in_an_earlier_token_and_stay_in_the_text() -> None:
    ((_, row),) = generate(parrot(), [request("One. Two. Three.</s>", 50, stop=("Two.", "never"))])
    assert (row.text, row.finish_reason) == ("One. Two.", "stop_sequence")


def test_the_last_allowed_token_reports_length_even_if_it_stops() -> None:
    tokens = len(Tokens(random_model().tokenizer).encode("One."))
    ((_, row),) = generate(parrot(), [request("One. Two.</s>", tokens, stop=("One.",))])
    assert (row.text, row.finish_reason) == ("One.", "length")


def test_prompt_logprobs_are_those_of_one_plain_pass() -> None:
    requests = [request(prompt, 1, prompt_logprobs=True) for prompt in PROMPTS[:3]]
    for index, row in generate(random_model(), requests):
        prompt = torch.tensor([requests[index].prompt_ids])
        expected = random_model().model(prompt).logits.log_softmax(-1)[0, :-1].gather(1, prompt[0, 1:, None])[:, 0]
        assert row.prompt[0].logprob is None
        assert [token.logprob for token in row.prompt[1:]] == pytest.approx(expected.tolist(), abs=1e-3)


def test_filters_keep_what_they_promise() -> None:
    logits = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0]])

    def allowed(**filters: Any) -> list[int]:
        _, logprobs = choose(logits, [Chooser(Sampling(seed=1, **filters), [])])
        return [int(token) for token in logprobs[0].isfinite().nonzero()[:, 0]]

    assert allowed() == [0, 1, 2, 3, 4]
    assert allowed(top_k=2) == [0, 1]
    assert allowed(top_k=99) == [0, 1, 2, 3, 4]
    assert allowed(top_p=0.63) == [0]  # the first holds 0.636
    assert allowed(top_p=0.65) == [0, 1]
    assert allowed(typical_p=0.1) == [1]  # nearest to the entropy: surprise 1.45, entropy 1.0


def test_draws_follow_the_distribution() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.0, 0.2])
    rows = [Chooser(Sampling(seed=seed), []) for seed in range(4000)]
    chosen, _ = choose(probabilities.log().repeat(len(rows), 1), rows)
    shares = torch.bincount(torch.tensor(chosen), minlength=4) / len(rows)
    assert shares.tolist() == pytest.approx(probabilities.tolist(), abs=0.03)
    assert shares[2] == 0


@pytest.mark.parametrize("temperature", [1e-3, 1e-39, 1e-60])
def test_a_temperature_near_zero_is_greedy(temperature: float) -> None:
    cold = Chooser(Sampling(seed=1, temperature=temperature), [])
    chosen, logprobs = choose(torch.tensor([[1.0, 9.0, 3.0]]), [cold])
    assert (chosen, logprobs[0, 1].item()) == ([1], 0.0)


def test_penalties_disfavour_what_was_said() -> None:
    chooser = Chooser(Sampling(repetition_penalty=2.0), prompt_ids=[0])
    assert choose(torch.tensor([[3.0, 2.0, -1.0]]), [chooser])[0] == [1]  # 0 was in the prompt: 3 / 2
    often = Chooser(Sampling(frequency_penalty=1.0), prompt_ids=[0])
    logits = torch.tensor([[3.0, 1.5, -1.0]])
    assert [choose(logits, [often])[0][0] for _ in range(4)] == [0, 0, 1, 0]  # 3, 2, then 1 < 1.5, then 1 > 0.5


def test_loading_nano_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    assert load("nano").model_sha == load("nano").model_sha
    assert torch.equal(before, torch.get_rng_state())


def test_a_saved_model_loads_with_a_digest_of_its_own(tmp_path: Any) -> None:
    random_model().model.save_pretrained(tmp_path)
    random_model().tokenizer.save_pretrained(tmp_path)
    loaded = load(str(tmp_path))
    one = request(PROMPTS[0])
    assert [row.text for _, row in generate(loaded, [one])] == [row.text for _, row in generate(random_model(), [one])]
    assert (loaded.dtype, loaded.max_total_tokens) == ("float32", 2048)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    assert load(str(tmp_path)).model_sha != loaded.model_sha


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "./nowhere"}, "there is no model folder"),
        ({"model": "nano", "device": "toaster"}, "device `toaster` cannot be used"),
        ({"model": "nano", "dtype": "int3"}, "dtype `int3` is unknown"),
        ({"model": "nano", "revision": "main"}, "no revisions"),
    ],
)
def test_what_cannot_be_loaded_is_a_mistake_with_a_remedy(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake, match=message) as caught:
        load(**arguments)
    assert caught.value.remedy


def test_a_folder_without_a_model_and_a_tokenizer_without_an_end_are_mistakes(tmp_path: Any) -> None:
    with pytest.raises(Mistake, match=r"config\.json is missing"):
        load(str(tmp_path))
    from transformers import PreTrainedTokenizerFast

    config = random_model().model.config.to_dict() | {"eos_token_id": None}
    model = type(random_model().model)(type(random_model().model.config).from_dict(config))
    model.generation_config.eos_token_id = None
    model.save_pretrained(tmp_path)
    make: Any = PreTrainedTokenizerFast
    make(tokenizer_object=random_model().tokenizer.backend_tokenizer).save_pretrained(tmp_path)
    with pytest.raises(Mistake, match="no end token"):
        load(str(tmp_path))
    # How likely a text is can be asked all the same, but for a text after nothing.
    loaded = load(str(tmp_path), ends=False)
    known = LocalScorer(replace(random_model(), model=loaded.model), "known").loglikelihoods([("a b", " c")], _hear)
    scorer = LocalScorer(loaded, "endless")
    assert not loaded.eos_ids and scorer.loglikelihoods([("a b", " c")], _hear) == known
    assert len(scorer.generate([Asked(prompt="a b", max_gen_toks=3)], _hear)) == 1
    with pytest.raises(Mistake, match=r"empty context.*no begin or end token"):
        scorer.loglikelihoods([("", "c")], _hear)
    with pytest.raises(Mistake, match="a prompt is empty"):
        scorer.generate([Asked(prompt="", max_gen_toks=3)], _hear)


def _hear(done: int) -> None:
    pass
