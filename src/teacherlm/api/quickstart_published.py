"""What a stranger's `load_dataset` finds in a published folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson

from teacherlm.core.errors import MachineFailed

READ_BACK = """
import json, sys
import datasets
datasets.disable_progress_bars()
print(json.dumps({name: len(rows) for name, rows in datasets.load_dataset(sys.argv[1], sys.argv[2]).items()}))
"""
"""Run in a process of its own with a fresh cache, so that nothing that we remember helps."""


def read_back(folder: Path, dataset: str) -> dict[str, int]:
    """Rows of each split, as `datasets` reads them.

    Raises:
        MachineFailed: the folder cannot be loaded.
    """
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HF_HOME": home, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", READ_BACK, str(folder.resolve()), dataset],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise MachineFailed(
            f"the published folder cannot be loaded: {done.stderr.strip()[-500:]}", "look at the folder", str(folder)
        )
    found: dict[str, int] = orjson.loads(done.stdout.splitlines()[-1])
    return found
