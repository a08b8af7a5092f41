"""A small project that was built, asked and checked: two open datasets, and one whose licence keeps its text back."""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

import teacherlm
from pushing import Ended, Processes
from recipes import parquet, recipe
from scripted import teacher

THINGS = ["iron", "wool", "pollen", "granite", "amber", "cotton", "copper", "salt", "paper", "rubber"]
OPEN, CLOSED = ("metals", "fibres"), "closed"
DATASETS = (*OPEN, CLOSED)
EVERYTHING = "everything"
"""A collection of all three."""


def rows(name: str, split: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "n": f"{split}{number}",
            "q": f"Which of these is found in {name} number {number} of the {split} list, where {thing} lies?",
            "o": [thing, "nothing at all", f"the {name} of others"],
            "a": thing,
            "h": f"People who know {name} say that {thing} lies there; list {split}, number {number}." * (number % 2),
        }
        for number, thing in ((n, THINGS[n % len(THINGS)]) for n in range(count))
    ]


def declare(root: Path) -> None:
    """The declarations and the sources."""
    sample = {"id": "n", "question": "q", "choices": "o", "answer": "a"}
    for name in DATASETS:
        for split, count in (("train", 8), ("validation", 4)):
            parquet(root / f"sources/{name}/{split}.parquet", rows(name, split, count))
        closed = name == CLOSED
        recipe(
            root,
            {**sample, "human_rationale": "h"} if closed else sample,
            name,
            source={"files": {split: f"../sources/{name}/{split}.parquet" for split in ("train", "validation")}},
            redistribution="unclear" if closed else "allowed",
            license="unknown" if closed else "CC-BY-4.0",
            citation=f"https://example.org/{name}",
            **({"human": "common_mistakes"} if closed else {}),
        )
    declared = {"collections": {EVERYTHING: {"datasets": ["*"]}}}
    (root / "catalog.yaml").write_text(yaml.safe_dump(declared, sort_keys=False))


@functools.cache
def _made() -> Path:
    """The project, made once for all workers of a test run; each has a copy of its own."""
    own = Path(tempfile.mkdtemp(prefix="teacherlm-project-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    shared = Path(tempfile.gettempdir()) / f"teacherlm-project-{os.environ.get('PYTEST_XDIST_TESTRUNUID', own.name)}"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            atexit.register(shared.with_suffix(".lock").unlink, missing_ok=True)
            atexit.register(shutil.rmtree, shared, ignore_errors=True)
            _make(own / "making")
            (own / "making").rename(shared)
        return Path(shutil.copytree(shared, own / "project"))


def _make(root: Path) -> None:
    declare(root)
    project = teacherlm.open(root, workspace=root / "workspace")
    with teacher() as served:
        for name in DATASETS:
            project.run(name, teacher=served.url)
            project.contract(name)


def copied(folder: Path) -> Path:
    """A copy of the project, to be changed at will; its workspace is inside."""
    return Path(shutil.copytree(_made(), folder / "project"))


class Command:
    """Runs `teacherlm …` in processes of their own, in a project."""

    def __init__(self, processes: Processes, root: Path) -> None:
        self.processes, self.root = processes, root

    def start(self, *arguments: str, token: str | None = None, **environment: str | None) -> int:
        return self.processes.start("command", list(arguments), self.root, HF_TOKEN=token, **environment)

    def __call__(self, *arguments: str, code: int = 0, token: str | None = None, **environment: str | None) -> Ended:
        self.start(*arguments, token=token, **environment)
        done = self.processes.wait()
        assert done.code == code, f"{arguments}: {done}"
        if "--debug" not in arguments:
            assert "Traceback" not in done.out + done.err, done.err
            assert "a mistake of teacherlm's own" not in done.err, done.err
        return done
