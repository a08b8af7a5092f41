"""The end of a stage on disk: weights, tokenizer, metrics, `training.json` and a card, whole or not there."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm.core.clock import now
from teacherlm.core.errors import Mistake
from teacherlm.core.files import disk_errors, read_json, replacing_folder, write_json, write_text
from teacherlm.train import failures
from teacherlm.train.card import card, versions
from teacherlm.train.metrics import NAME, read_lines
from teacherlm.train.model import Where
from teacherlm.train.processes import count, is_first, together
from teacherlm.train.request import RECORD, WORK, Request
from teacherlm.train.settings import DATA, fingerprint
from teacherlm.train.stage import Ended, Job

FINAL = 50
"""The final loss is the mean over the last so many steps."""


def read_output(folder: Path) -> dict[str, Any] | None:
    """The record of a stage's end; None where there is none.

    Raises:
        MachineFailed: it is no JSON.
    """
    found = read_json(folder / RECORD)
    return found if isinstance(found, dict) and found.keys() >= {"training", "stage", "settings"} else None


def output_of(folder: Path, training: str, stage: str, where: Where) -> dict[str, Any] | None:
    """The record of a stage of a training; None where it is not finished.

    Raises:
        Mistake: something else lies where its weights would.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    found = read_output(folder)
    if found is None or (found["training"], found["stage"]) != (training, stage):
        what = f"the output of {found['training']}, stage {found['stage']}" if found else "something else"
        raise Mistake(f"{folder} holds {what}", "rename the stage, or move that folder away", where(("stages",)))
    return found


def throw_away(request: Request, stages: Sequence[str]) -> None:
    """Remove checkpoints and outputs of stages.

    Raises:
        Mistake: something else lies where the output of one would; nothing was removed.
        MachineFailed: the disk refuses.
    """
    for stage in stages:
        output_of(request.folder / stage, request.training.name, stage, request.where)
    for stage in stages:
        output = request.folder / stage
        if output.exists():
            # Renamed first: half an output, which a kill would leave, could not be told from something else.
            aside = output.with_name(f".{stage}.{uuid.uuid4().hex[:8]}.tmp")
            with disk_errors(output):
                output.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(request.folder / WORK / stage, ignore_errors=True)


def save(
    job: Job,
    ended: Ended,
    target: Path,
    tokenizer: Any,
    *,
    data: Mapping[str, Any],
    base: Mapping[str, Any],
    before: Sequence[Mapping[str, Any]],
    declaration: str,
    parameters: int,
) -> dict[str, Any]:
    """Put the end of a stage at `target` and remove its checkpoints.

    Args:
        data: the counts of its data.
        base: what the first stage started from.
        before: records of the stages that this one stands on.

    Raises:
        MachineFailed: the disk is full or refuses; the last checkpoint is still there.
    """
    state = ended.state()
    lines = read_lines(job.work / NAME) if is_first() else []
    record: dict[str, Any] = {}
    if is_first():
        record = _record(job, ended, lines, data=data, base=base, parameters=parameters)
        with replacing_folder(target) as temporary, failures.saving(target):
            ended.model.config.use_cache = True  # training went without; whoever asks the model wants it
            ended.model.save_pretrained(temporary, state_dict=state)
            tokenizer.save_pretrained(temporary)
            shutil.copyfile(job.work / NAME, temporary / NAME)
            write_json(temporary / RECORD, record)
            write_text(temporary / "README.md", card(record, before, declaration))
            for path in temporary.glob("*.safetensors"):  # safetensors lets nobody else read what it writes
                path.chmod((temporary / RECORD).stat().st_mode)
        shutil.rmtree(job.work, ignore_errors=True)
    together()
    return record


def _record(
    job: Job,
    ended: Ended,
    lines: Sequence[Any],
    *,
    data: Mapping[str, Any],
    base: Mapping[str, Any],
    parameters: int,
) -> dict[str, Any]:
    import torch

    on_gpu = torch.cuda.is_available()
    last, end = lines[-1], lines[-FINAL:]
    training, stage = job.training, job.stage
    return {
        "training": training.name,
        "about": training.about,
        "stage": stage.name,
        "partial": ended.steps_run < job.batches.steps,
        "finished_at": now(),
        "fingerprint": fingerprint(job.settings),
        "data_fingerprint": job.settings[DATA],
        "steps": job.batches.steps,
        "steps_run": ended.steps_run,
        "tokens": last.tokens,
        "batch_tokens": stage.batch_tokens,
        "accumulate": job.batches.accumulate,
        "processes": count(),
        "first_loss": lines[0].loss,
        "final_loss": sum(line.loss for line in end) / len(end),
        "schedule": job.settings["schedule"],
        "seconds": last.seconds,
        "cpu_seconds": last.cpu_seconds,
        "gpu_seconds": round(last.seconds * count(), 3) if on_gpu else 0.0,
        "peak_memory_mb": max(line.peak_memory_mb for line in lines),
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "parameters": parameters,
        "window": training.window,
        "precision": training.precision,
        "base": dict(base),
        "data": dict(data),
        "versions": versions(),
        "settings": dict(job.settings),
    }
