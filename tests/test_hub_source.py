"""Hub sources, read by the real `datasets` client from a Hub on loopback."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopback_hub import Hub, loopback_hub

LABELS = ["entailment", "neutral", "contradiction"]
CARD = """---
configs:
- config_name: plain
  data_files:
  - {split: train, path: plain/train.parquet}
dataset_info:
- config_name: plain
  features:
  - {name: text, dtype: string}
  - name: label
    dtype:
      class_label:
        names:
          '0': %s
          '1': %s
          '2': %s
---
"""
RECIPE = """
title: Relations
source:
  hub: org/relations
  config: plain
  revision: REVISION
  splits: {train: train}
  columns: {text: VARCHAR, label: BIGINT}
  labels: {label: [entailment, neutral, contradiction]}
license: CC0-1.0
redistribution: allowed
task: nli
sample:
  question: text
  choices: "['entailment', 'neutral', 'contradiction']"
  answer: "['entailment', 'neutral', 'contradiction'][label + 1]"
"""


def parquet(**columns: list[Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


ROWS = parquet(text=["Rain fell. It rained.", "Rain fell. It was cold."], label=[0, 1])


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with loopback_hub() as served:
        served.put("org/relations", {"README.md": (CARD % tuple(LABELS)).encode(), "plain/train.parquet": ROWS})
        renamed = (CARD % ("implied", "open", "opposed")).encode()
        served.put("org/renamed", {"README.md": renamed, "plain/train.parquet": ROWS})
        served.put("org/script", {"script.py": b"class Script: pass", "README.md": b"# a script\n"})
        branch = {"plain/train/0000.parquet": ROWS, "other/train/0000.parquet": parquet(text=["x"], label=[2])}
        served.put("org/script", branch, "refs/convert/parquet")
        served.put("org/columns", {"README.md": b"---\n---\n", "plain/train.parquet": parquet(words=["a"], label=[0])})
        served.put("org/gated", {"README.md": b"# gated\n", "plain/train.parquet": ROWS})
        served.gated.add("org/gated")
        yield served


def build(
    folder: Path, endpoint: str, repository: str, revision: str = "main", config: str | None = "plain"
) -> tuple[int, dict[str, Any]]:
    """Build in a process of its own: the clients read their settings when they are imported."""
    (folder / "builders").mkdir(parents=True)
    (folder / "catalog.yaml").write_text("teachers: {}\n")
    text = RECIPE.replace("org/relations", repository).replace("REVISION", revision)
    text = text if config else text.replace("  config: plain\n", "")
    (folder / "builders" / "relations.yaml").write_text(text)
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_OFFLINE": "0",
    }
    environment.pop("HF_DATASETS_OFFLINE", None)
    command = [sys.executable, "-m", "teacherlm", "build", "relations", "-p", str(folder), "-w", str(folder / "w")]
    done = subprocess.run([*command, "--format", "json"], env=environment, capture_output=True, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, orjson.loads(done.stdout)


def answers(folder: Path) -> list[str]:
    return list(pq.read_table(folder / "w/samples/relations/train/00000.parquet")["answer"].to_pylist())


def test_a_hub_dataset_is_built(hub: Hub, tmp_path: Path) -> None:
    code, found = build(tmp_path, hub.url, "org/relations")
    assert (code, found["errors"]) == (0, [])
    assert answers(tmp_path) == ["entailment", "neutral"]


def test_a_script_is_read_from_the_parquet_branch(hub: Hub, tmp_path: Path) -> None:
    code, found = build(tmp_path / "a", hub.url, "org/script", "refs/convert/parquet")
    assert (code, found["errors"]) == (0, [])
    assert answers(tmp_path / "a") == ["entailment", "neutral"]  # of this configuration alone
    code, found = build(tmp_path / "b", hub.url, "org/script")
    assert code == 3
    assert "refs/convert/parquet" in found["errors"][0]["remedy"]


@pytest.mark.parametrize(
    ("repository", "code", "words"),
    [
        ("org/renamed", 2, "expected 0 entailment, 1 neutral, 2 contradiction, found 0 implied, 1 open, 2 opposed"),
        ("org/columns", 2, "the source has no column `text`"),
        ("org/gated", 3, "is gated"),
        ("org/gone", 3, "the Hub has no dataset org/gone"),
    ],
)
def test_what_has_changed_is_said_in_one_line(hub: Hub, tmp_path: Path, repository: str, code: int, words: str) -> None:
    config = None if repository == "org/columns" else "plain"
    got, found = build(tmp_path, hub.url, repository, config=config)
    assert got == code
    assert words in found["errors"][0]["found"]
    assert found["errors"][0]["remedy"]


@pytest.mark.slow  # the clients try for half a minute
def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    code, found = build(tmp_path, "http://127.0.0.1:9", "org/relations")
    assert code == 3
    assert "cannot be reached" in found["errors"][0]["found"]
