"""What decides the weights that a stage ends with: two runs with equal settings are one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from teacherlm.core.keys import digest
from teacherlm.train.declaration import Stage, Training

DATA = "data"
"""The key of the fingerprint of the prepared data, which a finished stage is not asked for again."""


def settings_of(
    training: Training, stage: Stage, *, start: Mapping[str, Any], tokenizer: str, sources: Mapping[str, str]
) -> dict[str, Any]:
    """The settings of a stage, as plain JSON values.

    How often checkpoints are written, on how many devices and with which memory-saving a stage runs is not among them:
    the steps read the same texts.

    Args:
        start: what the stage starts from.
        tokenizer: its fingerprint.
        sources: fingerprints of the stage's data sources and layouts, by a name for each.
    """
    declared = asdict(stage)
    settings = {
        "start": dict(start),
        "tokenizer": tokenizer,
        "sources": dict(sources),
        **{name: declared[name] for name in ("epochs", "tokens", "batch_tokens", "schedule", "loss")},
        "reads": {str(number): data for number, data in enumerate(declared[DATA], start=1)},
        "optimizer": asdict(training.optimizer),
        **{
            name: getattr(training, name)
            for name in ("precision", "seed", "window", "too_long", "packing", "device_tokens")
        },
    }
    # As they are read back from a file: tuples are lists there.
    plain: dict[str, Any] = orjson.loads(orjson.dumps(settings))
    return plain


def fingerprint(settings: Mapping[str, Any]) -> str:
    """16 hex digits over settings; the data's own fingerprint follows from the rest."""
    return digest({name: value for name, value in settings.items() if name != DATA})[:16]
