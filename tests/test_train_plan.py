"""Plans of trainings: sizes, memory against what torch holds, steps, hours, and what would make a model fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import teacherlm
from recipes import parquet
from teacherlm.cli.main import app
from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.train.declaration import Base, TokenizerSpec
from teacherlm.train.forecast import flops_per_token
from teacherlm.train.memory import GIB, activations, per_gpu
from teacherlm.train.shapes import Shape, known, shape_of

DECLARED = """\
about: A small one.
base: {config: {model_type: bloom, hidden_size: 32, n_layer: 2, n_head: 4}}
tokenizer: {vocabulary: 300}
window: 64
precision: float32
stages:
  - name: only
    data: [{dataset: d, layouts: [plain, chain-first], fallback: plain}]
    epochs: 3
    batch_tokens: 128
    schedule: {learning_rate: 1.0e-3}
"""


def project(folder: Path, text: str = DECLARED, name: str = "mine") -> teacherlm.Project:
    (folder / "train").mkdir(exist_ok=True)
    (folder / "catalog.yaml").touch()
    (folder / "train" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return teacherlm.open(folder, workspace=folder / "workspace")


def augmented(folder: Path) -> None:
    rows = [
        {
            "question": "What is 2 + 2?" + " x" * n,
            "choices": ["3", "4"],
            "answer": "4",
            "chain_of_thought": "2 + 2 = 4." if n % 2 else None,
        }
        for n in range(10)
    ]
    parquet(folder / "workspace" / "augmented" / "d" / "train" / "00000.parquet", rows)
    (folder / "workspace" / "samples" / "d").mkdir(parents=True)


def tiny(family: str, hidden: int = 64, layers: int = 2, heads: int = 4) -> Base:
    if family == "bloom":
        config: dict[str, Any] = {"hidden_size": hidden, "n_layer": layers, "n_head": heads}
    else:
        config = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
        config |= {"ffn_dim": 4 * hidden, "word_embed_proj_dim": hidden, "max_position_embeddings": 512}
    return Base(config={"model_type": family, "vocab_size": 300, **config})


def shape(base: Base) -> Shape:
    return shape_of(base, None, "here")


@pytest.mark.parametrize("name", list(known()))
def test_known_sizes_have_the_parameters_that_they_state(name: str) -> None:
    assert shape(Base(model=name)).parameters == known()[name]["parameters"]


@pytest.mark.parametrize("family", ["bloom", "opt"])
def test_weights_gradients_and_adams_states_are_exact(family: str) -> None:
    import torch
    import transformers

    base = tiny(family)
    assert base.config is not None
    values = {key: value for key, value in base.config.items() if key != "model_type"}
    models: Any = transformers.AutoModelForCausalLM
    model = models.from_config(transformers.AutoConfig.for_model(family, **values))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 4, dtype=torch.int64)).logits.sum().backward()
    optimizer.step()
    states = [value for state in optimizer.state.values() for value in state.values() if value.ndim]
    need = per_gpu(shape(base), cells=8, row=8, precision="float32")
    assert need.weights == sum(p.nbytes for p in model.parameters())
    assert need.gradients == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    assert need.optimizer == sum(value.nbytes for value in states)


def kept(base: Base, rows: int, row: int, half: bool, checkpointing: bool) -> int:
    """Bytes that torch really keeps for the backward pass of the layers, weights and copies of weights left out."""
    import torch
    import transformers

    from teacherlm.train.objective import quicken

    assert base.config is not None
    config = {key: value for key, value in base.config.items() if key != "model_type"}
    models: Any = transformers.AutoModelForCausalLM
    made = models.from_config(transformers.AutoConfig.for_model(base.config["model_type"], **config))
    quicken(made)
    made.train()
    if checkpointing:
        # The older name until transformers 5.22.
        getattr(made, "activation_checkpointing_enable", made.gradient_checkpointing_enable)()
    weights = {p.untyped_storage().data_ptr() for p in made.parameters()}
    shapes = {tuple(p.shape) for p in made.parameters() if p.ndim == 2}
    shapes |= {tuple(reversed(one)) for one in shapes}
    seen: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        place = tensor.untyped_storage().data_ptr()
        copy = tensor.dtype == torch.bfloat16 and tuple(tensor.shape) in shapes
        if place not in weights and not copy:
            seen[place] = tensor
        return tensor

    ids = torch.ones(rows, row, dtype=torch.int64)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        made.base_model(ids, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


@pytest.mark.parametrize("family", ["bloom", "opt"])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("rows", "row"), [(2, 48), (4, 160)])
def test_activations_are_within_a_twelfth_of_what_torch_keeps(family: str, half: bool, rows: int, row: int) -> None:
    base = tiny(family, layers=4)
    said = activations(shape(base), cells=rows * row, row=row, half=half, checkpointing=False)
    assert said == pytest.approx(kept(base, rows, row, half, False), rel=1 / 12)


@pytest.mark.parametrize("family", ["bloom", "opt"])
def test_checkpointing_keeps_the_input_of_each_layer(family: str) -> None:
    few, many = (kept(tiny(family, layers=layers), 2, 48, True, True) for layers in (2, 6))
    said = [
        activations(shape(tiny(family, layers=layers)), cells=96, row=48, half=True, checkpointing=True)
        for layers in (2, 6)
    ]
    assert said[1] - said[0] == many - few


@given(
    st.sampled_from(["bigscience/bloom-560m", "bigscience/bloom-7b1"]),
    st.integers(1, 16),
    st.sampled_from(["float32", "bfloat16"]),
    st.booleans(),
)
def test_memory_grows_with_tokens_and_shrinks_with_shares(
    name: str, rows: int, precision: Any, checkpointing: bool
) -> None:
    if name not in SHAPES:
        SHAPES[name] = shape(Base(model=name))
    model = SHAPES[name]
    common = {"row": 2048, "precision": precision, "checkpointing": checkpointing}
    one = per_gpu(model, cells=2048 * rows, gpus=8, fsdp=True, **common)
    more = per_gpu(model, cells=2048 * rows + 2048, gpus=8, fsdp=True, **common)
    shared = per_gpu(model, cells=2048 * rows, gpus=16, fsdp=True, **common)
    whole = per_gpu(model, cells=2048 * rows, gpus=1, **common)
    assert shared.total < one.total < more.total
    assert one.weights * 8 == whole.weights == 4 * model.parameters
    assert one.activations == whole.activations


SHAPES: dict[str, Shape] = {}


def test_the_papers_largest_model_is_held_as_its_size_says() -> None:
    model = shape(Base(model="bigscience/bloom"))
    need = per_gpu(model, cells=2048, row=2048, precision="bfloat16", gpus=128, fsdp=True, checkpointing=True)
    assert 128 * (need.weights + need.gradients + need.optimizer) == 16 * 176_247_271_424
    assert need.total < 80 * GIB
    # 6 N and, for a row of 2048 tokens, 2 % for attention.
    assert flops_per_token(model, 2048) == pytest.approx(6 * 176.2e9, rel=0.03)


def test_a_plan_counts_what_is_built(tmp_path: Path) -> None:
    augmented(tmp_path)
    row = project(tmp_path).plan_train("train/mine").to_row()
    (stage,) = row["stages"]
    (read,) = stage["reads"]
    assert (read["records"], row["shape_from"]) == (10, "the declaration")
    assert read["by"].startswith("counted in the workspace")
    # Each record in `plain`, and in `chain-first` or, without a chain, in `plain` again: about 20 tokens each.
    assert 20 * 15 < read["tokens"] < 20 * 35
    assert stage["tokens"] == 3 * read["tokens"]
    assert stage["steps"] == -(-stage["tokens"] // 128)
    assert row["fits"] is None and row["hours"] is None


def test_one_estimates_what_is_not_built_and_says_so() -> None:
    row = teacherlm.open(".").plan_train("paper/students/single-augmented/creak").to_row()
    (read,) = row["stages"][0]["reads"]
    assert read["records"] == 10176
    assert read["by"] == "an estimate"
    given = teacherlm.open(".").plan_train("paper/students/single-plain/creak", text_tokens=50).to_row()
    assert given["stages"][0]["reads"][0]["tokens"] == 50 * 10176


def test_hours_follow_from_a_rate_that_is_given(tmp_path: Path) -> None:
    augmented(tmp_path)
    mine = project(tmp_path, DECLARED + "parallel: {gpus: 4, tokens_per_second: 100}\n")
    row = mine.plan_train("mine").to_row()
    assert row["rate_by"] == "the declaration"
    assert row["hours"] == pytest.approx(row["stages"][0]["tokens"] / 400 / 3600)
    assert row["gpu_hours"] == pytest.approx(4 * row["hours"])
    assert mine.plan_train("mine", tokens_per_second=200).to_row()["hours"] == pytest.approx(row["hours"] / 2)
    peak = mine.plan_train("mine", tflops=1e-4, utilisation=0.5)
    assert peak.rate.tokens_per_second == pytest.approx(5e7 / flops_per_token(peak.shape, 64), abs=0.1)


def test_a_rate_is_taken_from_an_earlier_run_of_the_same_model(tmp_path: Path) -> None:
    augmented(tmp_path)
    mine = project(tmp_path)
    model = mine.plan_train("mine").shape.parameters
    for name, parameters, seconds in (("a", model, 10.0), ("b", model + 1, 1.0), ("c", model, 1.0)):
        folder = tmp_path / "workspace" / "models" / "other" / name
        folder.mkdir(parents=True)
        record = {"training": "other", "stage": name, "settings": {}, "tokens": 5000, "processes": 2, "device": "CPU"}
        record |= {"parameters": parameters, "precision": "float32", "seconds": seconds, "finished_at": name}
        record["partial"] = name == "c"
        (folder / "training.json").write_text(json.dumps(record))
    rate = mine.plan_train("mine").rate
    assert (rate.tokens_per_second, rate.by) == (250.0, "measured on CPU in other, stage a")


def test_what_would_make_it_fit_is_said_step_by_step(tmp_path: Path) -> None:
    text = "extends: paper/teacher-7b1\nabout: Too large.\ngradient_checkpointing: false\n"
    text += "parallel: {gpus: 1, fsdp: false, gpu_gib: 40}\ndevice_tokens: 16384\n"
    plan = project(tmp_path, text + CATALOG_FREE).plan_train("mine")
    assert plan.fits is False
    assert plan.remedies[0].startswith("gradient_checkpointing: true")
    assert plan.remedies[1].startswith("device_tokens: 2048")
    # 16 bytes for each of 7.07 billion parameters, shared out, and what one GPU holds alone.
    assert plan.remedies[-1].startswith("parallel: {fsdp: true, gpus: 8}: ")
    assert [r.split(": ")[0] for r in plan.remedies[2:]] == ["parallel"] * (len(plan.remedies) - 2)


CATALOG_FREE = "\n".join(
    ["stages:"]
    + [
        f"  - {{name: {name}, tokens: 1000000, data: [{{procedural: {{count: 10, seed: 1}}, layouts: [plain]}}]}}"
        for name in ("multi-task", "personalisation", "fundamental", "cot", "common-mistake")
    ]
)
"""Stages of the paper on made questions, so that the project needs no collection."""


def test_a_window_beyond_the_models_positions(tmp_path: Path) -> None:
    text = DECLARED.replace("base: {config: {model_type: bloom, hidden_size: 32, n_layer: 2, n_head: 4}}", OPT)
    with pytest.raises(Mistake) as caught:
        project(tmp_path, text.replace("dataset: d", "procedural: {count: 1, seed: 1}")).plan_train("mine")
    assert (caught.value.where, caught.value.remedy) == ("train/mine.yaml:5:9", "write  window: 32")


OPT = """\
base: {config: {model_type: opt, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4, ffn_dim: 64,
  word_embed_proj_dim: 32, max_position_embeddings: 32}}"""


def test_data_that_nobody_declares(tmp_path: Path) -> None:
    with pytest.raises(Mistakes) as caught:
        project(tmp_path).plan_train("mine")
    assert str(caught.value.problems[0]).startswith("train/mine.yaml:8:22   there is no dataset `d`")


@pytest.mark.parametrize(
    "config",
    ["{model_type: blom}", "{model_type: bloom, n_layer: 0}", "{model_type: bloom, hidden_size: 30, n_head: 4}"],
)
def test_a_configuration_of_which_no_model_can_be_made(tmp_path: Path, config: str) -> None:
    text = DECLARED.replace("{model_type: bloom, hidden_size: 32, n_layer: 2, n_head: 4}", config)
    with pytest.raises(Mistake) as caught:
        project(tmp_path, text.replace("dataset: d", "procedural: {count: 1, seed: 1}")).plan_train("mine")
    assert caught.value.where == "train/mine.yaml:2:7"


def test_shipped_declarations_are_planned_in_every_project_and_trained_where_their_data_is(tmp_path: Path) -> None:
    mine = project(tmp_path)
    assert mine.plan_train("paper/students/multi-plain/bloom-560m").stages[0].steps
    with pytest.raises(Mistakes, match="`p3-sense-3k` ships with teacherlm"):
        mine.train("paper/students/multi-plain/bloom-560m")


def test_a_vocabulary_to_be_trained_gives_the_models_size() -> None:
    base = Base(config={"model_type": "bloom", "hidden_size": 32, "n_layer": 1, "n_head": 4})
    assert shape_of(base, TokenizerSpec(vocabulary=777), "here").vocabulary == 777


def test_the_command_shows_a_table_and_gives_json(tmp_path: Path) -> None:
    asked = ["plan", "train/paper/students/multi-augmented/bloom-7b1", "--tflops", "989", "--workspace", str(tmp_path)]
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0, shown.output
    for words in ("7.07 B parameters", "student", "fits into 80 GiB", "an estimate", "GPU-hours"):
        assert words in shown.output
    said = json.loads(CliRunner().invoke(app, [*asked, "--format", "json"]).stdout)
    (row,) = said["rows"]
    assert said["ok"] and row["parameters"] == 7_069_016_064 and row["fits"] is True
    assert row["memory_gib_total"] < 80 and row["gpu_hours"] == pytest.approx(16 * row["hours"])
    wrong = CliRunner().invoke(app, ["plan", "paper/teacher-7b", "--workspace", str(tmp_path)])
    assert wrong.exit_code == 2 and "paper/teacher-7b1" in wrong.output
