"""How many tokens a stage reads, and how long that takes: counted where data is built, else estimated and said so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teacherlm.project.layouts import Layout
from teacherlm.train.declaration import Data, Stage, Training
from teacherlm.train.shapes import Shape

PART_TOKENS = {
    "question": 110,
    "answer": 8,
    "fundamentals": 60,
    "chain_of_thought": 90,
    "common_mistakes": 70,
    "options": 25,
}
"""Tokens of a part where nothing is built yet: assumptions, of the order of what such datasets have."""

UTILISATION = 0.4
"""Share of a GPU's peak rate that training reaches, for `--tflops`; PaLM (arXiv 2204.02311) reports 0.46."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """What one source gives in one epoch."""

    source: str
    records: int | None
    """None where nobody can tell before it is opened."""
    tokens: int | None
    by: str
    """How it is known: counted or estimated, for people."""


@dataclass(frozen=True, kw_only=True)
class StageForecast:
    """What a stage reads, does and takes."""

    name: str
    reads: tuple[Read, ...]
    epoch_tokens: int | None
    tokens: int | None
    steps: int | None
    batch_tokens: int
    micro_batches: int
    """Of each GPU in one step."""
    flops: float | None
    """Of the model, without what checkpointing computes again."""
    hours: float | None
    gpu_hours: float | None


def text_tokens(layout: Layout, window: int) -> int:
    """Tokens of a text in a layout, by `PART_TOKENS`; the window's at most."""
    return min(sum(PART_TOKENS[part] for part in (*layout.prompt, *layout.response)) + 1, window)


def estimated(data: Data, records: int | None, layouts: Mapping[str, Layout], window: int, tokens: int | None) -> Read:
    """What a source gives that is not built.

    Args:
        records: as recipes declare, about; None: not known.
        tokens: of one text, if the person who asks has said so.
    """
    name = str(data.dataset or data.collection or data.published or "procedural")
    if records is None:
        return Read(source=name, records=None, tokens=None, by="not built, and nobody says how large it is")
    records = min(records, data.at_most or records)
    each = [tokens or text_tokens(layouts[layout], window) for layout in data.layouts]
    # Whether a record has its kinds shows only when it is explained: as if all had.
    by = "the number given" if tokens else "an estimate"
    return Read(source=name, records=records, tokens=round(records * sum(each) * data.weight), by=by)


def forecast(
    training: Training, stage: Stage, reads: Sequence[Read], shape: Shape, tokens_per_second: float | None
) -> StageForecast:
    """The forecast of one stage.

    Args:
        tokens_per_second: of one GPU.
    """
    gpus = training.parallel.gpus
    known = [read.tokens for read in reads]
    epoch = sum(value for value in known if value is not None) if None not in known else None
    if stage.tokens is not None:
        total: int | None = stage.tokens
    else:
        total = round(epoch * (stage.epochs or 0)) if epoch is not None else None
    cells = micro_batch(training, stage)
    seconds = total / (tokens_per_second * gpus) if total is not None and tokens_per_second else None
    return StageForecast(
        name=stage.name,
        reads=tuple(reads),
        epoch_tokens=epoch,
        tokens=total,
        steps=max(math.ceil(total / stage.batch_tokens), 1) if total is not None else None,
        batch_tokens=stage.batch_tokens,
        micro_batches=max(math.ceil(stage.batch_tokens / (cells * gpus)), 1),
        flops=total * flops_per_token(shape, row_tokens(training, cells)) if total is not None else None,
        hours=seconds / 3600 if seconds is not None else None,
        gpu_hours=seconds * gpus / 3600 if seconds is not None else None,
    )


def micro_batch(training: Training, stage: Stage) -> int:
    """Tokens that one GPU takes at once."""
    # A device takes a whole text at least, however small its share of the batch is.
    share = max(math.ceil(stage.batch_tokens / training.parallel.gpus), training.window)
    return min(training.device_tokens or share, share)


def row_tokens(training: Training, cells: int) -> int:
    """Tokens of a row: the window, unless a micro-batch is smaller."""
    return min(training.window, cells)


def flops_per_token(shape: Shape, row: int) -> float:
    """Floating-point operations of training on one token: 6 N, and 12 L h s for attention.

    Rows are taken as full: a mask spares no operation. Source: Chowdhery et al. 2022 (PaLM, arXiv 2204.02311),
    appendix B; N leaves out what is only looked up.
    """
    return 6.0 * (shape.parameters - shape.looked_up) + 12.0 * shape.layers * shape.hidden * row


def rate_of(shape: Shape, row: int, tflops: float, utilisation: float, *, checkpointing: bool) -> float:
    """Tokens per second of a GPU with this peak; checkpointing computes the forward pass twice, 8 N for 6 N."""
    again = 4 / 3 if checkpointing else 1.0
    return tflops * 1e12 * utilisation / (flops_per_token(shape, row) * again)
