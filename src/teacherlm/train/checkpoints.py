"""Checkpoints of a stage: whole or not there, few, and only ever continued by the declaration that wrote them.

A checkpoint is the folder that transformers' Trainer writes, beside it a record of its files' sizes and of what the
stage was declared as. It is written under another name and renamed when all of it is on the disk.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import disk_errors, read_json, sweep_temporary, write_json

RECORD = "checkpoint.json"
PREFIX = "checkpoint-"
STAGING = ".staging.tmp"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint."""

    folder: Path
    step: int
    settings: dict[str, Any]
    """What the stage was declared as, and its data's fingerprint."""


def staging(folder: Path) -> Path:
    """Where the next checkpoint is written before it counts."""
    return folder / STAGING


def commit(staged: Path, folder: Path, step: int, settings: Mapping[str, Any]) -> Checkpoint:
    """Make a checkpoint that was written under `staged` count.

    Raises:
        MachineFailed: the disk is full or refuses.
    """
    files = [path for path in sorted(staged.rglob("*")) if path.is_file()]
    sizes = {path.relative_to(staged).as_posix(): path.stat().st_size for path in files}
    write_json(staged / RECORD, {"step": step, "settings": dict(settings), "files": sizes})
    for path in [*files, staged / RECORD]:
        _to_disk(path)
    target = folder / f"{PREFIX}{step}"
    with disk_errors(target):
        if target.exists():
            shutil.rmtree(target)
        staged.rename(target)
    return Checkpoint(target, step, dict(settings))


def found(folder: Path) -> list[Checkpoint]:
    """The whole checkpoints of a folder, the last one first; torn ones are passed over."""
    whole = []
    for path in folder.glob(f"{PREFIX}*"):
        try:
            record = read_json(path / RECORD)
        except MachineFailed:
            continue
        if not isinstance(record, dict) or not record.keys() >= {"step", "settings", "files"}:
            continue
        if all(_size(path / name) == size for name, size in record["files"].items()):
            whole.append(Checkpoint(path, record["step"], record["settings"]))
    return sorted(whole, key=lambda checkpoint: -checkpoint.step)


def prune(folder: Path, keep: int) -> None:
    """Remove all but the last `keep` whole checkpoints, and what was torn."""
    kept = {checkpoint.folder for checkpoint in found(folder)[: max(1, keep)]}
    for path in folder.glob(f"{PREFIX}*"):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
    sweep_temporary(folder)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What two declarations of a stage differ in, in words.

    >>> differences({"seed": 1, "schedule": {"warmup": 0.1}}, {"seed": 1, "schedule": {"warmup": 0.2}})
    ['schedule.warmup was 0.1 and is 0.2']
    """
    old, new = _flat(before), _flat(now)
    return [
        f"{name} was {_shown(old.get(name))} and is {_shown(new.get(name))}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, one in value.items():
        if isinstance(one, Mapping):
            flat |= _flat(one, f"{before}{name}.")
        else:
            flat[f"{before}{name}"] = list(one) if isinstance(one, tuple) else one
    return flat


def _shown(value: Any) -> str:
    words = "nothing" if value is None else str(value)
    return words if len(words) <= 60 else f"{words[:57]}..."


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _to_disk(path: Path) -> None:
    """A rename must not be on the disk before what it names is."""
    with disk_errors(path), path.open("rb") as file:
        os.fsync(file.fileno())
