"""One cell in a process of its own: `python -m teacherlm.api.experiment_cell`; trains a model and asks it the tests."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from teacherlm.api.worker import Say, work
from teacherlm.core.errors import Mistake
from teacherlm.core.files import read_json, replacing
from teacherlm.experiments.declaration import Test
from teacherlm.train.request import MODELS

if TYPE_CHECKING:
    from teacherlm.api.project import Project
    from teacherlm.train.progress import Progress
    from teacherlm.train.request import Trained

EVERY_S = 1.0
"""Between two lines on how far it is."""


def run(task: dict[str, Any], say: Say) -> None:
    """Train, test, and write what was found to the file that the task names."""
    import torch
    from pydantic import TypeAdapter

    from teacherlm.api.experiment_data import model_folder
    from teacherlm.api.experiment_tests import Asker
    from teacherlm.api.project import open as open_project

    project = open_project(Path(task["project"]), workspace=task["workspace"])
    record = _train(project, task["training"], say)
    folder = model_folder(project, task["training"])
    tests = TypeAdapter(dict[str, Test]).validate_json(task["tests"])
    asker = Asker(project, task["training"], folder, task["cell"], task["seed"])
    found, items = [], []
    for name, test in tests.items():
        for way in test.asked:
            say(testing=f"{name} by {way}")
            began, cpu = time.monotonic(), time.process_time()
            tested, its = asker.ask(name, test, way)
            tested |= {
                "test_seconds": round(time.monotonic() - began, 3),
                "test_cpu_seconds": round(time.process_time() - cpu, 3),
            }
            tested["test_gpu_seconds"] = tested["test_seconds"] if torch.cuda.is_available() else 0.0
            found.append({**record, **tested, "test": name, "way": way})
            items += [asdict(item) for item in its]
    with replacing(Path(task["result"])) as temporary:
        temporary.write_bytes(orjson.dumps({"outcomes": found, "items": items}))
    if not task["keep_models"]:
        shutil.rmtree(folder.parent, ignore_errors=True)


def _train(project: Project, training: str, say: Say) -> Mapping[str, Any]:
    """What of a training stands in each row of its cell."""
    from teacherlm.api.experiment_data import model_folder
    from teacherlm.train.request import RECORD

    said = 0.0

    def watch(progress: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= EVERY_S or progress.step == progress.steps:
            said = time.monotonic()
            say(progress=progress.to_row())

    trained = _trained(project, training, watch, lambda text: say(note=text))
    stages = trained.stages
    last = read_json(model_folder(project, training) / RECORD) or {}
    return {
        "parameters": last.get("parameters", 0),
        "texts": sum(stage["data"]["texts"] for stage in stages),
        "tokens": sum(stage["tokens"] for stage in stages),
        "steps": sum(stage["steps_run"] for stage in stages),
        "loss": last.get("final_loss"),
        "train_seconds": round(sum(stage["seconds"] for stage in stages), 3),
        "train_cpu_seconds": round(sum(stage["cpu_seconds"] for stage in stages), 3),
        "train_gpu_seconds": round(sum(stage["gpu_seconds"] for stage in stages), 3),
    }


def _trained(
    project: Project, training: str, watch: Callable[[Progress], None], tell: Callable[[str], None]
) -> Trained:
    """Train; what an earlier run left of other data or layouts under the same name gives way."""
    left = (project.workspace.root / MODELS / training).exists()
    try:
        return project.train(training, watch=watch, tell=tell)
    except Mistake:
        if not left:
            raise
    return project.train(training, restart=True, watch=watch, tell=tell)


if __name__ == "__main__":
    work(run)
