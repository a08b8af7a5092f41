"""The loss, the steps, and what stops a stage."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from small_disk import small_disk_of
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.train import checkpoints
from teacherlm.train.declaration import Base, Data, Schedule, Stage, Training
from teacherlm.train.failures import Diverged
from teacherlm.train.metrics import NAME, Line, MetricsLog, read_lines
from teacherlm.train.objective import quicken, targets, weighing
from teacherlm.train.schedule import factor
from teacherlm.train.stage import Ended, Job, run_stage

VOCABULARY, COLUMNS = 48, 12

SMALL: Mapping[str, Mapping[str, Any]] = {
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2, "hidden_dropout": 0.0, "attention_dropout": 0.0},
    "opt": {
        **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 32, "dropout": 0.0},
        **{"word_embed_proj_dim": 16, "max_position_embeddings": 64, "pad_token_id": 1},
    },
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "gemma2": {
        **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1},
        **{"intermediate_size": 32, "head_dim": 8, "final_logit_softcapping": 2.0},
    },
}


def model_of(kind: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    make: Any = AutoModelForCausalLM
    return make.from_config(AutoConfig.for_model(kind, vocab_size=VOCABULARY, **SMALL[kind]), dtype=torch.float32)


def rows(count: int, seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCABULARY, (count, COLUMNS), generator=draw)
    weights = torch.rand(count, COLUMNS, generator=draw) * (torch.rand(count, COLUMNS, generator=draw) > 0.4)
    ones = torch.ones_like(ids)
    places = torch.arange(COLUMNS).expand(count, -1)
    return {"input_ids": ids, "attention_mask": ones, "position_ids": places, "sequence_ids": ones, "weights": weights}


@dataclass
class Dealt:
    """Steps of eight rows each, dealt to so many micro-batches of unequal size."""

    steps: int
    accumulate: int

    @property
    def tokens(self) -> int:
        return self.steps * 8 * COLUMNS

    def __len__(self) -> int:
        return self.steps * self.accumulate

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        step, part = divmod(place, self.accumulate)
        whole = rows(8, step)
        cuts = {1: [0, 8], 2: [0, 3, 8], 4: [0, 1, 3, 4, 8]}[self.accumulate]
        return {name: value[cuts[part] : cuts[part + 1]] for name, value in whole.items()}


def training(**given: Any) -> Training:
    rate = given.pop("learning_rate", 1e-2)
    stage = Stage(
        name="only",
        data=(Data(dataset="none", layouts=("plain",)),),
        epochs=1.0,
        schedule=Schedule(learning_rate=rate),
        batch_tokens=8 * COLUMNS,
    )
    plain = {"name": "t", "about": "", "window": COLUMNS, "precision": "float32", "checkpoint_every": 2}
    return Training(**{**plain, "base": Base(config={"model_type": "bloom"}), "stages": (stage,), **given})


def run(work: Path, batches: Any, declared: Training | None = None, model: Any = None, **given: Any) -> Ended:
    declared = declared or training()
    job = Job(
        training=declared,
        stage=declared.stages[0],
        model=model or model_of("bloom"),
        batches=batches,
        inputs_of=lambda batch: {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]},
        settings={"seed": declared.seed},
        work=work,
        where=lambda loc: f"train/t.yaml:{len(loc)}:1",
        place="train/t.yaml:7:5",
    )
    return run_stage(job, lambda line: None, **given)


@pytest.mark.parametrize("kind", SMALL)
def test_the_loss_is_the_weighted_sum_whichever_way_it_is_computed(kind: str) -> None:
    model, batch = model_of(kind).eval(), rows(3, 5)
    logits = model(input_ids=batch["input_ids"]).logits[:, :-1]
    labels, weights = batch["input_ids"][:, 1:], batch["weights"][:, 1:]
    losses = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")

    with weighing(model):
        found = model(input_ids=batch["input_ids"], **targets(batch))["loss"]

    torch.testing.assert_close(found, (losses * weights).sum())
    assert model(input_ids=batch["input_ids"]).logits.shape[-1] == VOCABULARY  # its own forward pass again


def test_the_first_token_of_a_text_and_padding_weigh_nothing() -> None:
    batch = {
        "input_ids": torch.arange(6)[None],
        "sequence_ids": torch.tensor([[1, 1, 2, 2, 0, 0]]),
        "weights": torch.ones(1, 6),
    }
    assert targets(batch)["weights"].tolist() == [[1, 0, 1, 0, 0]]


def test_a_batch_that_weighs_nothing_changes_nothing() -> None:
    model, batch = model_of("bloom"), rows(2, 1)
    batch["weights"] = torch.zeros_like(batch["weights"])
    with weighing(model):
        loss = model(input_ids=batch["input_ids"], **targets(batch))["loss"]
    loss.backward()
    assert float(loss.detach()) == 0
    assert not any(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None)


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    ends = {parts: run(tmp_path / str(parts), Dealt(5, parts)) for parts in (1, 2, 4)}
    curves = {parts: read_lines(tmp_path / str(parts) / NAME) for parts in ends}
    for parts in (2, 4):
        for one, other in zip(curves[1], curves[parts], strict=True):
            assert (one.step, one.tokens) == (other.step, other.tokens)
            assert one.loss == pytest.approx(other.loss, rel=1e-5)
            assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-4)
        for name, weight in ends[1].model.state_dict().items():
            torch.testing.assert_close(weight, ends[parts].model.state_dict()[name], rtol=1e-3, atol=1e-5)


def test_blooms_activation_is_the_same_in_one_kernel() -> None:
    plain, quick = model_of("bloom"), model_of("bloom")
    assert quicken(quick) == 2
    ids = rows(2, 3)["input_ids"]
    torch.testing.assert_close(plain(input_ids=ids).logits, quick(input_ids=ids).logits, rtol=1e-4, atol=1e-5)
    assert plain.state_dict().keys() == quick.state_dict().keys()


@given(
    st.sampled_from(["constant", "linear", "cosine", "hold-then-linear"]),
    st.floats(0, 0.5),
    st.floats(0.05, 0.5),
    st.integers(1, 400),
)
def test_schedules_rise_then_never_rise_again(shape: Any, warmup: float, decay: float, steps: int) -> None:
    schedule = Schedule(learning_rate=1.0, warmup=warmup, shape=shape, decay=decay)
    found = [factor(schedule, step, steps) for step in range(steps)]
    assert all(0 <= one <= 1 for one in found)
    assert found[0] > 0
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)


@settings(max_examples=30)
@given(st.integers(0, 6), st.integers(0, 8), st.booleans())
def test_metrics_go_on_without_a_doubled_or_a_torn_line(
    tmp_path_factory: Any, kept: int, there: int, torn: bool
) -> None:
    log = MetricsLog(tmp_path_factory.mktemp("log") / NAME)
    for step in range(1, there + 1):
        log.append(_line(step))
    if torn:
        with log.path.open("ab") as file:
            file.write(b'{"step": 9, "tok')
    last = log.resume(kept)
    assert [line.step for line in read_lines(log.path)] == list(range(1, min(kept, there) + 1))
    assert (last.step if last else 0) == min(kept, there)


def _line(step: int) -> Line:
    numbers = {"tokens": 1, "loss": 1.0, "learning_rate": 1.0, "grad_norm": 1.0, "tokens_per_second": 1.0}
    return Line(step=step, seconds=1.0, cpu_seconds=1.0, peak_memory_mb=1.0, **numbers)  # type: ignore[arg-type]


def test_a_loss_that_is_no_number_stops_the_stage_and_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    class Poisoned(Dealt):
        """From the fourth step on an infinite weight."""

        def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
            batch = super().__getitem__(place)
            if place >= 3:
                batch["weights"] = batch["weights"] * float("inf")
            return batch

    with pytest.raises(Diverged, match="no number at step 4, learning rate 0") as stopped:
        run(tmp_path, Poisoned(8, 1))
    assert "the checkpoint of step 2 is kept" in stopped.value.found
    assert "learning_rate" in stopped.value.remedy
    assert [one.step for one in checkpoints.found(tmp_path)] == [2]
    assert [line.step for line in read_lines(tmp_path / NAME)] == [1, 2, 3]


def test_a_batch_that_does_not_fit_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(MachineFailed, match="does not fit into memory") as stopped:
        run(tmp_path, _Refused(8, 1), training(device_tokens=4096))
    assert "device_tokens" in stopped.value.remedy
    assert "the checkpoint of step 2 is kept" in stopped.value.found


class _Refused(Dealt):
    """The fourth micro-batch asks the allocator for more than there is."""

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        if place == 3:
            torch.empty(2**60, dtype=torch.uint8)
        return super().__getitem__(place)


def test_half_precision_needs_a_gpu(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(Mistake, match="GPUs only"):
        run(tmp_path, Dealt(2, 1), training(precision="float16"))


def test_bfloat16_keeps_float32_weights(tmp_path: Path) -> None:
    ended = run(tmp_path, Dealt(3, 2), training(precision="bfloat16"))
    assert {parameter.dtype for parameter in ended.model.parameters()} == {torch.float32}
    run(tmp_path / "exact", Dealt(3, 2))
    ends = [read_lines(place / NAME)[-1].loss for place in (tmp_path, tmp_path / "exact")]
    assert ends[0] == pytest.approx(ends[1], rel=2e-2)
    assert ends[0] != ends[1]


def test_checkpoints_are_pruned_and_gradient_checkpointing_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path / "plain", Dealt(7, 1), training(keep_checkpoints=1))
    run(tmp_path / "saving", Dealt(7, 1), training(gradient_checkpointing=True))
    assert [one.step for one in checkpoints.found(tmp_path / "plain")] == [7]
    assert [one.step for one in checkpoints.found(tmp_path / "saving")] == [7, 6]
    curves = [[line.loss for line in read_lines(tmp_path / name / NAME)] for name in ("plain", "saving")]
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_of(600, tmp_path) as disk:
        yield disk


def test_a_full_disk_is_named_and_the_last_checkpoint_is_kept(small_disk: Path, tmp_path: Path) -> None:
    declared = training(keep_checkpoints=20, checkpoint_every=1)
    with pytest.raises(MachineFailed, match="the disk is full"):
        run(small_disk / "work", Dealt(20, 1), declared)
    kept = checkpoints.found(small_disk / "work")
    assert kept
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    run(small_disk / "work", Dealt(20, 1), declared)
    run(tmp_path / "whole", Dealt(20, 1), declared)
    curves = [[line.loss for line in read_lines(place / NAME)] for place in (small_disk / "work", tmp_path / "whole")]
    assert curves[0] == curves[1]
