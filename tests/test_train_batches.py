"""Batches: every text as often as declared, limits kept, and texts of a row that do not see each other."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teacherlm.core.errors import Mistake
from teacherlm.train.batches import Batches
from teacherlm.train.declaration import Data, Loss, Schedule, Stage
from teacherlm.train.mixing import epoch_texts
from teacherlm.train.packing import attention, forward_inputs, packs
from teacherlm.train.prepared import Prepared, written
from teacherlm.train.rows import fill, runs
from teacherlm.train.windows import Row


def stage(batch_tokens: int, weights: tuple[float, ...] = (1.0,), **end: Any) -> Stage:
    data = tuple(Data(dataset=f"d{n}", layouts=("plain",), weight=weight) for n, weight in enumerate(weights))
    schedule = Schedule(learning_rate=1e-3)
    return Stage(name="s", data=data, schedule=schedule, batch_tokens=batch_tokens, **(end or {"epochs": 1.0}))


def prepared(folder: str, *sources: list[int]) -> Prepared:
    """Texts of these lengths; text n is made of the token n + 1, its first two tokens being the prompt."""
    chunks, number = [], 0
    for source, lengths in enumerate(sources):
        rows = []
        for length in lengths:
            number += 1
            rows.append(Row([number] * length, bytes([0] * min(length, 2) + [1] * max(length - 2, 0))))
        chunks.append((source, rows))
    return written(Path(folder) / "made", "key", chunks, lambda: {"texts": number})


def texts_in(batch: dict[str, torch.Tensor]) -> list[int]:
    """The texts of a micro-batch, each seen whole and in a place of its own."""
    found = []
    for ids, sequences, positions in zip(batch["input_ids"], batch["sequence_ids"], batch["position_ids"], strict=True):
        for sequence in range(1, int(sequences.max()) + 1):
            here = ids[sequences == sequence]
            assert len(set(here.tolist())) == 1, "two texts in one place"
            assert positions[sequences == sequence].tolist() == list(range(len(here)))
            found.append(int(here[0]) - 1)
    return found


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=60),
    batch=st.integers(40, 200),
    device=st.one_of(st.none(), st.integers(40, 80)),
    devices=st.integers(1, 4),
    packing=st.booleans(),
    seed=st.integers(0, 5),
)
def test_an_epoch_reads_every_text_once_and_keeps_the_limits(
    lengths: list[int], batch: int, device: int | None, devices: int, packing: bool, seed: int
) -> None:
    with TemporaryDirectory() as folder:
        made = prepared(folder, lengths)
        plan = stage(batch, epochs=2.0)
        batches = Batches(made, plan, packing=packing, window=40, device_tokens=device, devices=devices, seed=seed)
        per_step = batches.accumulate * devices
        assert len(batches) == batches.steps * per_step
        seen: list[list[int]] = []
        cells = 0
        for step in range(batches.steps):
            texts: list[int] = []
            for place in range(step * per_step, (step + 1) * per_step):
                micro = batches[place]
                found = texts_in(micro)
                texts += found
                assert device is None or micro["input_ids"].numel() <= device
                assert packing or micro["sequence_ids"].max() <= 1
                assert int(micro["attention_mask"].sum()) == sum(lengths[text] for text in found)
                cells += micro["input_ids"].numel() if found else 0
            assert 0 < sum(lengths[text] for text in texts) <= batch
            assert sorted(texts) == sorted(batches.texts_of(step).tolist())
            assert batches.tokens_until(step + 1) - batches.tokens_until(step) == sum(lengths[text] for text in texts)
            seen.append(texts)
        first = next(step for step in range(batches.steps) if batches.tokens_until(step + 1) == sum(lengths)) + 1
        for epoch in (seen[:first], seen[first:]):
            assert sorted(text for step in epoch for text in step) == list(range(len(lengths)))
        assert batches.tokens == 2 * sum(lengths)
        assert batches.padding == pytest.approx(1 - batches.tokens / cells)


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(2, 40), min_size=4, max_size=60), packing=st.booleans())
def test_what_a_step_reads_does_not_depend_on_the_devices(lengths: list[int], packing: bool) -> None:
    with TemporaryDirectory() as folder:
        made, plan = prepared(folder, lengths), stage(160)
        one, *others = (
            Batches(made, plan, packing=packing, window=40, device_tokens=80, devices=devices, seed=3)
            for devices in (1, 2, 4)
        )
        for other in others:
            assert other.steps == one.steps
            for step in range(one.steps):
                assert other.texts_of(step).tolist() == one.texts_of(step).tolist()


@pytest.mark.parametrize("packing", [True, False])
def test_the_order_is_a_pure_function_and_differs_by_epoch_and_seed(tmp_path: Path, packing: bool) -> None:
    lengths = [2 + 7 * n % 29 for n in range(300)]
    made = prepared(str(tmp_path), lengths)

    def order(seed: int) -> list[list[int]]:
        batches = Batches(
            made, stage(120, epochs=2.0), packing=packing, window=40, device_tokens=None, devices=1, seed=seed
        )
        return [texts_in(batches[place]) for place in range(len(batches))]

    first, again, other = order(1), order(1), order(2)
    assert first == again
    assert first != other
    half = len(first) // 2
    assert first[:half] != first[half:]


def test_a_stage_ends_after_its_tokens_or_its_share_of_an_epoch(tmp_path: Path) -> None:
    made = prepared(str(tmp_path), [10] * 100)

    def batches(**end: Any) -> Batches:
        return Batches(made, stage(100, **end), packing=False, window=10, device_tokens=None, devices=1, seed=0)

    assert batches(epochs=0.5).tokens == 500
    assert batches(epochs=2.5).tokens == 2500
    assert batches(tokens=2450).tokens == 2500
    assert batches(tokens=2500).tokens == 2500
    assert batches(tokens=1).steps == 1


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    weights=st.lists(st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.0]), min_size=3, max_size=3),
    seed=st.integers(0, 3),
)
def test_sources_are_read_by_their_weights(counts: list[int], weights: list[float], seed: int) -> None:
    sources = np.repeat(np.arange(len(counts)), counts)
    over_all: Counter[int] = Counter()
    for epoch in range(8):
        order = epoch_texts(sources, weights[: len(counts)], seed, epoch)
        read = Counter(order.tolist())
        over_all.update(read)
        for source, (count, weight) in enumerate(zip(counts, weights, strict=False)):
            here = [read[text] for text in np.flatnonzero(sources == source).tolist()]
            assert max(here) - min(here) <= 1
            wanted = max(int(weight) * count + round((weight - int(weight)) * count), 1)
            assert sum(here) == wanted
    for source in range(len(counts)):
        times = [over_all[text] for text in np.flatnonzero(sources == source).tolist()]
        assert max(times) - min(times) <= 1


def test_weights_fall_on_the_predicted_token_and_never_on_a_texts_first(tmp_path: Path) -> None:
    made = prepared(str(tmp_path), [5, 4])
    loss = Loss(prompt=0.1, answer=2.0)
    batches = Batches(made, stage(20), packing=True, window=9, device_tokens=None, devices=1, seed=0, loss=loss)
    batch = batches[0]
    assert batch["sequence_ids"].tolist() == [[1] * 5 + [2] * 4]
    expected = [0, 0.1, 2, 2, 2, 0, 0.1, 2, 2]
    assert batch["weights"][0].tolist() == pytest.approx(expected)


def test_texts_longer_than_a_batch_are_named(tmp_path: Path) -> None:
    made = prepared(str(tmp_path), [30])
    with pytest.raises(Mistake, match="`batch_tokens` is 20 and the longest text of stage `s` has 30") as caught:
        Batches(made, stage(20), packing=True, window=40, device_tokens=None, devices=1, seed=0)
    assert "batch_tokens: 30" in caught.value.remedy
    with pytest.raises(Mistake, match="`device_tokens` is 20"):
        Batches(made, stage(60), packing=False, window=40, device_tokens=20, devices=1, seed=0)


@given(lengths=st.lists(st.integers(1, 20), max_size=60), room=st.integers(20, 30))
def test_rows_hold_every_text_once_and_are_few(lengths: list[int], room: int) -> None:
    places, starts = fill(np.array(lengths, dtype=np.int32), room)
    assert sorted(places.tolist()) == list(range(len(lengths)))
    filled = [sum(lengths[text] for text in places[a:b]) for a, b in pairwise(starts)]
    assert all(0 < tokens <= room for tokens in filled)
    # Any two rows together exceed the room, else best-fit would have joined them.
    assert sum(tokens * 2 <= room for tokens in filled) <= 1


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=40), count=st.integers(1, 8))
def test_runs_share_the_rows_out(lengths: list[int], count: int) -> None:
    falling = np.array(sorted(lengths, reverse=True))
    starts = runs(falling, count)
    assert len(starts) == count + 1
    assert starts[0] == 0 and starts[-1] == len(lengths)
    assert (np.diff(starts) >= (0 if len(lengths) < count else 1)).all()


def tiny(family: str) -> Any:
    from transformers import (
        AutoModelForCausalLM,
        BloomConfig,
        GPT2Config,
        LlamaConfig,
        MistralConfig,
        OPTConfig,
    )

    torch.manual_seed(7)
    configs: dict[str, Any] = {
        "bloom": BloomConfig(vocab_size=96, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2),
        "bloom-3-heads": BloomConfig(vocab_size=96, hidden_size=48, n_layer=2, n_head=3, initializer_range=0.2),
        "opt": OPTConfig(
            vocab_size=96,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            ffn_dim=64,
            word_embed_proj_dim=32,
            max_position_embeddings=16,
            init_std=0.2,
        ),
        "llama": LlamaConfig(
            vocab_size=96,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            initializer_range=0.2,
        ),
        "mistral": MistralConfig(
            vocab_size=96,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=64,
            initializer_range=0.2,
            sliding_window=4,
        ),
        "gpt2": GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=16, initializer_range=0.2),
    }
    make: Any = AutoModelForCausalLM
    return make.from_config(configs[family]).eval()


FAMILIES = ["mistral", "bloom", "bloom-3-heads", "opt", "llama", "gpt2"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("packing", [True, False])
def test_logits_of_texts_in_batches_are_those_of_the_texts_alone(tmp_path: Path, family: str, packing: bool) -> None:
    """Positions beyond a model's window are no hindrance: a row is longer than OPT's and GPT-2's 16."""
    model = tiny(family)
    lengths = [9, 7, 5, 12, 3, 4, 16, 2]
    made = prepared(str(tmp_path), lengths)
    varied = {text: torch.randint(2, 96, (length,)) for text, length in enumerate(lengths)}
    batches = Batches(made, stage(60), packing=packing, window=30, device_tokens=None, devices=1, seed=0)
    seen = 0
    with torch.no_grad():
        for place in range(len(batches)):
            batch = batches[place]
            where = []
            for row in range(len(batch["input_ids"])):
                for sequence in range(1, int(batch["sequence_ids"][row].max()) + 1):
                    cells = batch["sequence_ids"][row] == sequence
                    text = int(batch["input_ids"][row][cells][0]) - 1
                    where.append((row, cells, text))
            for row, cells, text in where:
                batch["input_ids"][row, cells] = varied[text]
            logits = model(**forward_inputs(model, batch), use_cache=False).logits
            for row, cells, text in where:
                alone = model(input_ids=varied[text][None]).logits[0]
                torch.testing.assert_close(logits[row, cells], alone, rtol=1e-4, atol=1e-4)
                seen += 1
    assert seen == len(lengths)


@pytest.mark.parametrize("family", FAMILIES)
def test_models_that_keep_texts_apart_are_told(family: str) -> None:
    model = tiny(family).train()
    assert packs(model)
    assert model.training


@pytest.mark.parametrize("family", ["bloom", "opt"])
def test_half_precision_keeps_texts_apart_as_well(family: str) -> None:
    assert packs(tiny(family).to(torch.bfloat16))


def test_a_model_that_lets_texts_see_each_other_is_told() -> None:
    """A recurrent model reads on through the whole row."""
    from transformers import AutoModelForCausalLM, MambaConfig

    torch.manual_seed(7)
    config = MambaConfig(vocab_size=96, hidden_size=32, num_hidden_layers=2, state_size=4, initializer_range=0.2)
    make: Any = AutoModelForCausalLM
    assert not packs(make.from_config(config))


def test_training_a_packed_bloom_does_not_change_how_it_reads_one_text() -> None:
    model = tiny("bloom")
    ids = torch.arange(10, 20)[None]
    padded = torch.tensor([[1] * 8 + [0] * 2])
    with torch.no_grad():
        before = model(input_ids=ids).logits, model(input_ids=ids, attention_mask=padded).logits[:, :8]
        assert packs(model)
        after = model(input_ids=ids).logits, model(input_ids=ids, attention_mask=padded).logits[:, :8]
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)


def test_the_mask_is_causal_within_each_text_and_never_empty() -> None:
    mask = attention({"sequence_ids": torch.tensor([[1, 1, 2, 0]])})
    assert mask[0, 0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
