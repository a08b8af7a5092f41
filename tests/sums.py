"""A project with one dataset of sums, and what it looks like at a URL."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow.parquet as pq

import teacherlm
from teacherlm.api.project import Project
from teacherlm.engine.store import Store
from test_kill import RECIPE

KINDS = 3


def sums_project(folder: Path, samples: int) -> Project:
    """A project with the dataset `tiny`; its own workspace is `folder/local`."""
    root = folder / "project"
    (root / "builders").mkdir(parents=True)
    (root / "catalog.yaml").write_text("teachers: {}\n")
    (root / "builders" / "tiny.yaml").write_text(RECIPE)
    rows = [{"id": f"s{n}", "question": f"How much is {n} and {n}?", "answer": str(2 * n)} for n in range(samples)]
    (root / "builders" / "tiny.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return teacherlm.open(root, workspace=folder / "local")


def ledger_lines(store: Store, dataset: str = "tiny") -> int:
    """Answers that were uploaded."""
    found = [store.read(entry.name) for entry in store.entries(f"rationales/{dataset}")]
    return sum(pq.read_metadata(io.BytesIO(data)).num_rows for data in found if data is not None)
