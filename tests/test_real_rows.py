"""The main job on real rows: from the rows of four datasets to a published folder that a fresh process loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

import teacherlm
from scripted import sensible, teacher
from teacherlm.core.bundle import bundled
from teacherlm.schemas.records import KINDS

# Real rows, where a checkout has them beside it.
ROWS = Path(__file__).resolve().parents[2].joinpath("shared", "data")

FOLDERS = {"creak": "creak", "strategy-qa": "strategy_qa", "ecqa": "ecqa", "gsm8k": "gsm8k"}

LIMIT = 40

pytestmark = pytest.mark.skipif(
    not all((ROWS / folder).is_dir() for folder in FOLDERS.values()),
    reason="the real rows of creak, strategy-qa, ecqa and gsm8k are not beside this checkout",
)

LOAD = """
import json, sys
import datasets
datasets.disable_progress_bars()
found = {}
for name in sys.argv[2:]:
    parts = datasets.load_dataset(sys.argv[1], name)
    found[name] = {split: [dict(row) for row in rows if row["chain_of_thought"]] for split, rows in parts.items()}
    found[name]["rows"] = sum(rows.num_rows for rows in parts.values())
print(json.dumps(found))
"""


def loaded(folder: Path, home: Path) -> dict[str, Any]:
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-c", LOAD, str(folder), *FOLDERS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert not done.returncode, done.stderr
    found: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])
    return found


def test_four_real_datasets_go_the_whole_way(tmp_path: Path) -> None:
    project = teacherlm.open(bundled(), workspace=tmp_path / "workspace")
    counts: dict[str, int] = {}
    with teacher(sensible) as server:
        for name, folder in FOLDERS.items():
            made = project.build(name, source=ROWS / folder)
            assert made.samples >= LIMIT, made
            for part in made.splits:
                assert part.rows == part.samples + part.filtered + sum(part.rejected.values())
                assert part.samples >= 0.9 * part.rows, part
            counts[name] = made.samples
            state = project.augment(name, teacher=server.url, limit=LIMIT)
            assert (state.planned, state.tally.answered) == (3 * LIMIT, 3 * LIMIT)
            report = project.check(name)
            assert report.passed, report.gates
            books = report.books
            assert books.asked == 3 * LIMIT == books.accepted + books.rejected + books.truncated + books.failed
            assert books.accepted >= 0.9 * books.asked, report.rules
        assert len(server.prompts) == 3 * LIMIT * len(FOLDERS)
        assert project.augment("creak", teacher=server.url, limit=LIMIT).already == 3 * LIMIT
    project.publish(*FOLDERS, to=tmp_path / "published")
    found = loaded(tmp_path / "published", tmp_path / "cache")
    for name, count in counts.items():
        assert found[name].pop("rows") == count
        explained = [row for rows in found[name].values() for row in rows]
        assert len(explained) >= 0.9 * LIMIT
        for row in explained:
            gold = row["answer"]
            if row["choices"]:
                gold = f"({'ABCDEFGH'[row['answer_index']]})"
                assert row["choices"][row["answer_index"]] == row["answer"]
            assert row["chain_of_thought"].endswith(f"So the answer is {gold}.")
            assert "  " not in row["question"]
            for kind in KINDS:
                assert row[kind] is None or row["provenance"][kind]["teacher_model"] == "tests/scripted"
