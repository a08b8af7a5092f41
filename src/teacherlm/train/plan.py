"""A declaration of training checked whole without weights: steps, memory on each GPU, what would make it fit, hours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from teacherlm.core.errors import Mistake
from teacherlm.train.declaration import Training
from teacherlm.train.forecast import (
    Read,
    StageForecast,
    forecast,
    micro_batch,
    rate_of,
    row_tokens,
)
from teacherlm.train.memory import GIB, Need, per_gpu
from teacherlm.train.shapes import Shape

MOST_GPUS = 4096


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Tokens per second of one GPU, and who says so."""

    tokens_per_second: float | None
    by: str


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """What a run of a declaration would read, hold and take."""

    training: Training
    shape: Shape
    stages: tuple[StageForecast, ...]
    need: Need
    """Of the stage that needs most."""
    remedies: tuple[str, ...]
    """What would make it fit; empty where it does, or where no size of a GPU is declared."""
    rate: Rate

    @property
    def fits(self) -> bool | None:
        """Whether a GPU holds it; None where its size is not declared."""
        room = self.training.parallel.gpu_gib
        return None if room is None else self.need.total <= room * GIB

    def to_row(self) -> dict[str, Any]:
        """As JSON; memory in GiB."""
        training, shape = self.training, self.shape
        hours = [stage.hours for stage in self.stages]
        known = None not in hours and bool(hours)
        return {
            "training": training.name,
            "about": training.about,
            "base": training.base.model or training.base.trained or str((training.base.config or {})["model_type"]),
            "shape_from": shape.source,
            "parameters": shape.parameters,
            "layers": shape.layers,
            "hidden": shape.hidden,
            "heads": shape.heads,
            "window": training.window,
            "precision": training.precision,
            "packing": training.packing,
            "gradient_checkpointing": training.gradient_checkpointing,
            "device_tokens": max(micro_batch(training, stage) for stage in training.stages),
            "gpus": training.parallel.gpus,
            "fsdp": training.parallel.fsdp,
            "gpu_gib": training.parallel.gpu_gib,
            "memory_gib": {key: round(value / GIB, 3) for key, value in asdict(self.need).items()},
            "memory_gib_total": round(self.need.total / GIB, 2),
            "fits": self.fits,
            "remedies": list(self.remedies),
            "tokens_per_second": self.rate.tokens_per_second,
            "rate_by": self.rate.by,
            "stages": [asdict(stage) for stage in self.stages],
            "hours": sum(hour for hour in hours if hour is not None) if known else None,
            "gpu_hours": sum(stage.gpu_hours or 0 for stage in self.stages) if known else None,
            "flops": sum(s.flops or 0 for s in self.stages) if all(s.flops is not None for s in self.stages) else None,
        }


def plan(training: Training, shape: Shape, reads: Mapping[str, Sequence[Read]], rate: Rate, where: str) -> TrainPlan:
    """Plan a run.

    Args:
        reads: what each stage's sources give, by the stage's name.
        where: `file:line:column` of the window.

    Raises:
        Mistake: the model has fewer positions than the window.
    """
    if shape.positions is not None and training.window > shape.positions:
        found = f"the window is {training.window:,} tokens, the model has {shape.positions:,} positions"
        raise Mistake(found, f"write  window: {shape.positions}", where)
    speed = rate.tokens_per_second
    stages = tuple(forecast(training, stage, reads[stage.name], shape, speed) for stage in training.stages)
    return TrainPlan(
        training=training,
        shape=shape,
        stages=stages,
        need=most_needed(training, shape),
        remedies=tuple(_remedies(training, shape)),
        rate=rate,
    )


def most_needed(training: Training, shape: Shape) -> Need:
    """What the stage with the largest micro-batch holds on one GPU."""
    cells = max(micro_batch(training, stage) for stage in training.stages)
    return per_gpu(
        shape,
        cells=cells,
        row=row_tokens(training, cells),
        precision=training.precision,
        gpus=training.parallel.gpus,
        fsdp=training.parallel.fsdp,
        checkpointing=training.gradient_checkpointing,
    )


def given_rate(training: Training, shape: Shape, tflops: float, utilisation: float) -> Rate:
    """A rate from the peak of a GPU and the share of it that training reaches."""
    cells = max(micro_batch(training, stage) for stage in training.stages)
    row = row_tokens(training, cells)
    speed = rate_of(shape, row, tflops, utilisation, checkpointing=training.gradient_checkpointing)
    return Rate(tokens_per_second=round(speed, 1), by=f"{tflops:g} TFLOP/s at {utilisation:.0%}")


def _remedies(training: Training, shape: Shape) -> Iterator[str]:
    """Changes of the declaration, each with those before it, until it fits."""
    room = training.parallel.gpu_gib
    if room is None or most_needed(training, shape).total <= room * GIB:
        return
    for text, changed in _changes(training):
        training = changed
        need = most_needed(training, shape).total
        yield f"{text}: {need / GIB:,.1f} GiB"
        if need <= room * GIB:
            return
    yield f"no number of GPUs up to {MOST_GPUS:,} is enough: take larger ones or a smaller model"


def _changes(training: Training) -> Iterator[tuple[str, Training]]:
    """What to try, what costs least first."""
    if not training.gradient_checkpointing:
        training = replace(training, gradient_checkpointing=True)
        yield "gradient_checkpointing: true", training
    cells = max(micro_batch(training, stage) for stage in training.stages)
    if cells > training.window:
        training = replace(training, device_tokens=training.window)
        yield f"device_tokens: {training.window}", training
    gpus = training.parallel.gpus
    if not training.parallel.fsdp:
        gpus = max(gpus, 2)
        training = replace(training, parallel=replace(training.parallel, fsdp=True, gpus=gpus))
        yield f"parallel: {{fsdp: true, gpus: {gpus}}}", training
    while gpus < MOST_GPUS:
        gpus = 2 ** (math.floor(math.log2(gpus)) + 1)
        training = replace(training, parallel=replace(training.parallel, gpus=gpus))
        yield f"parallel: {{fsdp: true, gpus: {gpus}}}", training
