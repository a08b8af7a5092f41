"""A training that is killed again and again ends with the curve and the weights of one that was not."""

from __future__ import annotations

import os
import random
import select
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import teacherlm
from teacherlm.core.errors import Mistake
from training import TINY, curve, project, started

STAGES = ("first", "second")
DEADLINE_S = 100


def lines_of(workspace: Path, stage: str) -> int:
    """Lines of metrics so far, of a stage that runs or is finished."""
    model = workspace / "models" / "tiny"
    for path in (model / stage / "metrics.jsonl", model / ".training" / stage / "metrics.jsonl"):
        if path.exists():
            return path.read_bytes().count(b"\n")
    return 0


def steps_done(workspace: Path) -> int:
    return sum(lines_of(workspace, stage) for stage in STAGES)


def kill_at(folder: Path, workspace: Path, steps: int) -> int:
    """Start the training and kill it when its metrics show so many steps; the exit code."""
    process = started(folder, workspace)
    deadline = time.monotonic() + DEADLINE_S
    while process.is_alive() and steps_done(workspace) < steps:
        assert time.monotonic() < deadline
        select.select([process.sentinel], [], [], 0.001)  # until it ends, or to look again
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode or 0


def same(one: Path, other: Path) -> None:
    for stage in STAGES:
        a, b = (workspace / "models" / "tiny" / stage for workspace in (one, other))
        assert curve(a / "metrics.jsonl") == curve(b / "metrics.jsonl")
        weights, again = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
        assert all(torch.equal(weights[name], again[name]) for name in weights)


def killed_and_whole(tmp_path: Path, kills: int, seed: int) -> None:
    folder = project(tmp_path / "project")
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    assert kill_at(folder, whole, 10**9) == 0
    total = steps_done(whole)
    draw = random.Random(seed)
    killed = 0
    for step in sorted(draw.sample(range(1, total - 1), kills)):
        killed += kill_at(folder, torn, step) == -signal.SIGKILL
    assert killed >= kills - 1  # the last one may have come too late
    assert kill_at(folder, torn, 10**9) == 0
    assert not list((torn / "models" / "tiny" / ".training").glob("*/checkpoint-*"))
    same(whole, torn)


def test_a_killed_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    killed_and_whole(tmp_path, kills=3, seed=7)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_many_moments_it_ends_the_same(tmp_path: Path, seed: int) -> None:
    killed_and_whole(tmp_path, kills=8, seed=seed)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_torn_checkpoint_is_passed_over_and_another_declaration_is_refused(tmp_path: Path) -> None:
    folder = project(tmp_path / "project")
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    assert kill_at(folder, whole, 10**9) == 0
    assert kill_at(folder, torn, 9) == -signal.SIGKILL
    work = torn / "models" / "tiny" / ".training" / "first"
    (last,) = [path for path in work.glob("checkpoint-*") if path.name == "checkpoint-8"]
    weights = (last / "model.safetensors").read_bytes()
    (last / "model.safetensors").write_bytes(weights[:-100])

    project(folder, TINY.replace("learning_rate: 0.003", "learning_rate: 0.004"))
    with pytest.raises(Mistake, match=r"schedule.learning_rate was 0.003 and is 0.004") as refused:
        teacherlm.open(folder, workspace=torn).train("tiny")
    assert "--restart" in refused.value.remedy
    assert refused.value.where.startswith("train/tiny.yaml:")

    project(folder)
    assert kill_at(folder, torn, 10**9) == 0
    same(whole, torn)
