"""A training in a process of its own: `python -m teacherlm.api.quickstart_worker`, one JSON line for each moment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from teacherlm.api.worker import Say, work

EVERY_S = 0.5
"""Between two lines on how far it is."""


def train(task: dict[str, Any], say: Say) -> None:
    """Train as ordered; a training that is stopped leaves a checkpoint."""
    from teacherlm.api.project import open as open_project
    from teacherlm.train.progress import Progress

    said = 0.0

    def watch(progress: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= EVERY_S or progress.step == progress.steps:
            said = time.monotonic()
            say(progress=progress.to_row())

    project = open_project(Path(task["project"]), workspace=task["workspace"])
    project.train(
        task["training"],
        max_steps=task["max_steps"],
        restart=task["restart"],
        watch=watch,
        tell=lambda text: say(note=text),
    )


if __name__ == "__main__":
    work(train)
