"""A very small training, and what it takes to run it in a process that may be killed."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import orjson

os.environ.setdefault("OMP_NUM_THREADS", "1")

TINY = """
about: Sums and days, very small.
base:
  config: {model_type: bloom, hidden_size: 16, n_layer: 1, n_head: 2, hidden_dropout: 0.1, attention_dropout: 0.0}
tokenizer: {vocabulary: 600, whole_numbers: 20}
window: 192
precision: float32
checkpoint_every: 4
stages:
  - name: first
    data: [{procedural: {count: 60, seed: 1}, layouts: [plain-text]}]
    epochs: 1
    batch_tokens: 400
    schedule: {learning_rate: 0.003}
  - name: second
    data: [{procedural: {count: 40, seed: 2}, layouts: [chain-first-text]}]
    tokens: 4000
    batch_tokens: 400
    schedule: {learning_rate: 0.002, shape: cosine}
    loss: {prompt: 0.1}
"""

SAME = ("step", "tokens", "loss", "learning_rate", "grad_norm")
"""What a line of metrics says of the weights; the rest is time and memory."""


def project(folder: Path, text: str = TINY, name: str = "tiny") -> Path:
    """A project with one declaration."""
    (folder / "train").mkdir(parents=True, exist_ok=True)
    (folder / "builders").mkdir(exist_ok=True)
    (folder / "catalog.yaml").write_text("teachers: {}\n")
    path = folder / "train" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder


def curve(path: Path) -> list[tuple[Any, ...]]:
    """The lines of a metrics file as they should be again after a kill."""
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return [tuple(line[name] for name in SAME) for line in lines]


def run(folder: str, workspace: str, name: str = "tiny") -> None:
    """Train, in a process of its own."""
    import torch

    import teacherlm

    torch.set_num_threads(1)
    teacherlm.open(folder, workspace=workspace).train(name)


_context: ForkServerContext = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["teacherlm.train.run", "teacherlm.api.project", "teacherlm.api.train"])


def started(folder: Path, workspace: Path) -> ForkServerProcess:
    """A training in a process of its own; what it imports was loaded once for all of them."""
    process = _context.Process(target=run, args=(str(folder), str(workspace)))
    process.start()
    return process
