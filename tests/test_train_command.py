"""The command `train`: what it reads, says, refuses and leaves behind."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

import teacherlm
from teacherlm.api.train_data import Records
from teacherlm.cli.main import app
from teacherlm.core.errors import Mistake
from teacherlm.lm.load import load
from teacherlm.schemas.records import record
from teacherlm.train.read import read_training
from training import TINY, curve, project

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

AUGMENTED = """
about: From a workspace.
base: {config: {model_type: opt, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, ffn_dim: 32,
                word_embed_proj_dim: 16, dropout: 0.0, max_position_embeddings: 128}}
tokenizer: {vocabulary: 400}
window: 64
precision: float32
stages:
  - name: only
    data: [{dataset: rust, layouts: [answer-first-chain], where: "quality.chain_of_thought.score > 0.5"}]
    epochs: 1
    batch_tokens: 256
    schedule: {learning_rate: 0.003}
"""


def run(*arguments: str) -> dict[str, Any]:
    """The JSON of a command in this process."""
    done = CliRunner().invoke(app, [*arguments, "--format", "json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def augmented(workspace: Path, kind: str = "augmented") -> None:
    """Twelve rows; in every third the chain is missing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for number in range(12):
        row: dict[str, Any] = {column.name: None for column in record("augmented")}
        row |= {"sample_id": f"rust/train/{number}", "dataset": "rust", "split": "train", "task": "rust"}
        row |= {"question": f"Does iron rust in {number} drops?", "choices": ["True", "False"], "answer": "True"}
        row |= {"answer_index": 0, "chain_of_thought": f"Iron meets {number} drops." if number % 3 else None}
        score = {"score": number / 12, "flags": []}
        row["quality"] = dict.fromkeys(("fundamentals", "chain_of_thought", "common_mistakes"), score)
        rows.append(row)
    schema = record("augmented").arrow() if kind == "augmented" else record("sample").arrow()
    (workspace / "samples" / "rust").mkdir(parents=True, exist_ok=True)  # by which a dataset is known
    path = workspace / kind / "rust" / "train" / "0.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([{n: row[n] for n in schema.names} for row in rows], schema=schema), path)


def test_stages_are_trained_once_and_can_be_asked(tmp_path: Path) -> None:
    folder, workspace = project(tmp_path / "p"), tmp_path / "w"
    place = ("-p", str(folder), "-w", str(workspace))
    first = run("train", "tiny", *place)
    assert first["ok"]
    (row,) = first["rows"]
    assert [(one["stage"], one["already"], one["partial"]) for one in row["stages"]] == [
        ("first", False, False),
        ("second", False, False),
    ]
    again = run("train", "train/tiny.yaml", *place)
    assert [one["already"] for one in again["rows"][0]["stages"]] == [True, True]

    model = workspace / "models" / "tiny"
    asked = load(str(model / "second"))
    assert asked.dtype == "float32"
    card = (model / "second" / "README.md").read_text()
    for words in (
        "| first |",
        "| second |",
        "## Declaration",
        "whole_numbers: 20",
        row["stages"][1]["data_fingerprint"],
    ):
        assert words in card
    assert str(tmp_path) not in card + (model / "second" / "training.json").read_text()

    sql = "SELECT stage, count(*) AS n, max(step) AS last, max(tokens) AS tokens FROM training GROUP BY 1 ORDER BY 1"
    lines = teacherlm.open(folder, workspace=workspace).sql(sql).fetchall()
    assert lines == [(one["stage"], one["steps_run"], one["steps_run"], one["tokens"]) for one in row["stages"]]
    stages = teacherlm.open(folder, workspace=workspace).sql("SELECT stage, steps FROM training_stages ORDER BY 1")
    assert stages.fetchall() == [(one["stage"], one["steps_run"]) for one in row["stages"]]

    project(folder, TINY.replace("learning_rate: 0.002", "learning_rate: 0.001"))
    refused = run("train", "tiny", *place)
    (error,) = refused["errors"]
    assert error["exit_code"] == 2
    assert re.match(r"train/tiny\.yaml:\d+:\d+", error["where"])
    assert "schedule.learning_rate was 0.002 and is 0.001" in error["found"]
    anew = run("train", "tiny", *place, "--from-stage", "second", "--restart")
    assert anew["ok"]
    assert [one["stage"] for one in anew["rows"][0]["stages"]] == ["second"]

    below = TINY.replace("base:\n", "base: {trained: 'tiny:first'}\n").replace("tokenizer: {", "# {")
    below = re.sub(r"  config: .*\n", "", below).replace("name: first", "name: third").replace("count: 40", "count: 10")
    project(folder, below, "below")
    assert run("train", "below", *place, "--stages", "third")["ok"]
    missing = run("train", "below", *place, "--stages", "second")
    assert missing["ok"]


def test_a_trial_lands_elsewhere_and_is_marked(tmp_path: Path) -> None:
    folder, workspace = project(tmp_path / "p"), tmp_path / "w"
    found = run("train", "tiny", "-p", str(folder), "-w", str(workspace), "--max-steps", "2")
    assert [(one["steps_run"], one["partial"]) for one in found["rows"][0]["stages"]] == [(2, True), (2, True)]
    assert "Partial" in (workspace / "models" / "tiny.trial" / "second" / "README.md").read_text()
    assert not (workspace / "models" / "tiny").exists()


@pytest.mark.parametrize("asked", [{"restart": True}, {"max_steps": 1}])
def test_a_restart_leaves_what_is_not_its_own(tmp_path: Path, asked: dict[str, Any]) -> None:
    opened = teacherlm.open(project(tmp_path / "p"), workspace=tmp_path / "w")
    precious = tmp_path / ("out.trial" if "max_steps" in asked else "out") / "second" / "f"
    precious.parent.mkdir(parents=True)
    precious.write_text("precious")
    with pytest.raises(Mistake, match="holds something else"):
        opened.train("tiny", output=tmp_path / "out", **asked)
    assert precious.read_text() == "precious"


def test_a_restart_that_cannot_begin_leaves_what_was_trained(tmp_path: Path) -> None:
    folder, workspace = project(tmp_path / "p", AUGMENTED, "rust"), tmp_path / "w"
    augmented(workspace)
    augmented(workspace, "samples")
    opened = teacherlm.open(folder, workspace=workspace)
    (before,) = opened.train("rust").stages
    project(folder, AUGMENTED.replace("max_position_embeddings: 128", "max_position_embeddings: 32"), "rust")
    with pytest.raises(Mistake, match="32 positions"):
        opened.train("rust", restart=True)
    record = workspace / "models" / "rust" / "only" / "training.json"
    assert orjson.loads(record.read_bytes())["finished_at"] == before["finished_at"]
    project(folder, AUGMENTED, "rust")
    (anew,) = opened.train("rust", restart=True).stages
    assert not anew["already"]
    assert anew["first_loss"] == pytest.approx(before["first_loss"])


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("--stages", "third"), "--stages"),
        (("--max-steps", "0"), "--max-steps"),
        (("--from-stage", "x"), "--from-stage"),
    ],
)
def test_what_is_given_wrong_is_named(tmp_path: Path, arguments: tuple[str, ...], where: str) -> None:
    folder = project(tmp_path / "p")
    found = run("train", "tiny", "-p", str(folder), "-w", str(tmp_path / "w"), *arguments)
    assert [(error["where"], error["exit_code"]) for error in found["errors"]] == [(where, 2)]


def test_records_of_a_workspace_are_read_where_the_condition_holds(tmp_path: Path) -> None:
    folder, workspace = project(tmp_path / "p", AUGMENTED, "rust"), tmp_path / "w"
    (workspace / "samples" / "rust").mkdir(parents=True)
    opened = teacherlm.open(folder, workspace=workspace)
    with pytest.raises(Mistake, match="has no split `train`") as absent:
        opened.train("rust")
    assert absent.value.where.startswith("train/rust.yaml:")
    augmented(workspace, "samples")
    with pytest.raises(Mistake, match="no rationales yet"):
        opened.train("rust")
    augmented(workspace)
    (stage,) = opened.train("rust").stages
    assert stage["data"]["records"] == 5  # 7 to 11
    assert stage["data"]["lacking"] == 1  # 9
    bound = read_training(opened.files, "rust")
    assert Records(opened, bound).count(bound.training.stages[0].data[0]) == 5

    for wrong in ("quality.nothing > 1", "score >"):
        project(folder, AUGMENTED.replace("quality.chain_of_thought.score > 0.5", wrong), "rust")
        with pytest.raises(Mistake, match="`where` is no condition") as refused:
            teacherlm.open(folder, workspace=workspace).train("rust")
        assert re.match(r"train/rust\.yaml:10:\d+", refused.value.where)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("max_position_embeddings: 128", "max_position_embeddings: 32", "the model has 32 positions"),
        ("dropout: 0.0,", "dropout: 0.0, vocab_size: 100,", "`vocab_size` is 100"),
        ("tokenizer: {vocabulary: 400}\n", "", "no tokenizer"),
        ("answer-first-chain]", "answer-first-all]", "no text to train a tokenizer"),
        ("window: 64", "window: 8", "window"),
        ("model_type: opt", "model_type: optt", "optt"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(
    tmp_path: Path, before: str, after: str, words: str
) -> None:
    assert before in AUGMENTED
    folder, workspace = project(tmp_path / "p", AUGMENTED.replace(before, after), "rust"), tmp_path / "w"
    augmented(workspace)
    with pytest.raises(Mistake) as refused:
        teacherlm.open(folder, workspace=workspace).train("rust")
    assert words in str(refused.value)
    assert "train/rust.yaml" in str(refused.value)
    assert not list((workspace / "models").rglob("metrics.jsonl"))


LONG = TINY.replace("epochs: 1\n", "epochs: 400\n").replace("checkpoint_every: 4", "checkpoint_every: 100000")


def started(folder: Path, workspace: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "teacherlm", "train", "tiny", "-p", str(folder), "-w", str(workspace), *arguments]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_ctrl_c_saves_a_checkpoint_and_exits_with_130(tmp_path: Path) -> None:
    folder, workspace = project(tmp_path / "p", LONG), tmp_path / "w"
    metrics = workspace / "models" / "tiny" / ".training" / "first" / "metrics.jsonl"
    process = started(folder, workspace)
    deadline = time.monotonic() + 100
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"a checkpoint is saved" in said
    (checkpoint,) = metrics.parent.glob("checkpoint-*")
    assert checkpoint.name == f"checkpoint-{len(curve(metrics))}"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("launcher", ["--processes", "torchrun"])
def test_two_processes_take_the_steps_of_one(tmp_path: Path, launcher: str) -> None:
    folder = project(tmp_path / "p", TINY.replace("hidden_dropout: 0.1", "hidden_dropout: 0.0"))
    one, two = tmp_path / "one", tmp_path / "two"
    alone = started(folder, one)
    alone.communicate()
    assert alone.returncode == 0
    if launcher == "--processes":
        process = started(folder, two, "--processes", "2", "--format", "json")
    else:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        asked = ["-m", "teacherlm", "train", "tiny", "-p", str(folder), "-w", str(two), "--format", "json"]
        process = subprocess.Popen([*torchrun, *asked], env=ENVIRONMENT, stdout=subprocess.PIPE)
    printed, _ = process.communicate()
    assert process.returncode == 0
    assert orjson.loads(printed)["ok"]  # printed once
    for stage in ("first", "second"):
        curves = [curve(place / "models" / "tiny" / stage / "metrics.jsonl") for place in (one, two)]
        assert [line[:2] for line in curves[0]] == [line[:2] for line in curves[1]]
        for a, b in zip(*curves, strict=True):
            assert a[2:] == pytest.approx(b[2:], rel=1e-3)
