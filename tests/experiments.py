"""A very small experiment, and what it takes to run it in a process that may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from training import project as training_project

os.environ.setdefault("OMP_NUM_THREADS", "1")

BASE = """
about: A very small student.
base:
  config: {model_type: bloom, hidden_size: 16, n_layer: 1, n_head: 2, hidden_dropout: 0.0, attention_dropout: 0.0}
tokenizer: {vocabulary: 500, whole_numbers: 20}
window: 192
precision: float32
packing: false
stages:
  - name: student
    data: [{procedural: {families: [add], count: 24, seed: 1}, layouts: [plain-text]}]
    epochs: 1
    batch_tokens: 400
    schedule: {learning_rate: 0.003}
"""

SMALL = """
question: Does a second epoch help?
paper:
  - {says: It does., source: nowhere}
train: {extends: tiny}
factors:
  epochs:
    one:
    two:
      stages: [{name: student, epochs: 2}]
seeds: [1]
tests:
  sums: {procedural: {families: [add], count: 20, seed: 7}, max_new_tokens: 12}
comparisons:
  - {vary: epochs, baseline: one, test: sums, way: options}
"""


def project(folder: Path, text: str = SMALL, name: str = "small") -> Path:
    """A project with one student and one experiment."""
    training_project(folder, BASE)
    path = folder / "evaluate" / "experiments" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return folder


def started(folder: Path, workspace: Path, name: str = "small") -> subprocess.Popen[bytes]:
    """A run with one worker, in a process group of its own."""
    command = [sys.executable, "-m", "teacherlm", "experiment", "run", name, "--workers", "1"]
    where = ["--project", str(folder), "--workspace", str(workspace)]
    return subprocess.Popen([*command, *where], start_new_session=True, stderr=subprocess.DEVNULL)


def killed_when(process: subprocess.Popen[bytes], pattern: Path, deadline_s: float = 90.0) -> None:
    """Kill a run with all that it started as soon as a file of this pattern is there."""
    until = time.monotonic() + deadline_s
    while not list(pattern.parent.glob(pattern.name)):
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < until, "it took too long"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
