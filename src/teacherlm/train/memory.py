"""Memory that training takes on one GPU, by formula: before one is rented.

What is held all the time follows from how `train` works: float32 weights, gradients and AdamW's two states, 4 + 4 + 8
bytes a parameter (mixed precision keeps such a float32 copy: Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1).
FSDP with full sharding gives each GPU its share of these and gathers one layer at a time (Zhao et al. 2023,
arXiv 2304.11277, section 3).

Activations follow Korthikanti et al. 2022 (arXiv 2205.05198), section 4.1: a layer keeps  s b h (C + Q a s / h)  bytes,
of s tokens a row, b rows, h wide, with a heads. The paper's C = 34 and Q = 5 are for weights and residuals of 16 bits;
ours were counted on what torch keeps for the backward pass, where residuals and norms are float32. With checkpointing a
layer keeps its input alone, and one layer at a time is computed again.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from teacherlm.train.declaration import Precision
from teacherlm.train.shapes import Shape

GIB = 2**30

OVERHEAD = 0.08
"""Of what is needed: the allocator's gaps, and what libraries hold."""

COEFFICIENTS: dict[tuple[str, bool], tuple[float, float]] = {
    # (family, half precision): C, Q. BLOOM computes its attention step by step and keeps the s x s scores.
    ("bloom", True): (36, 6),
    ("bloom", False): (64, 4),
    ("opt", True): (36, 0),
    ("opt", False): (56, 0),
}
OTHERS = {True: (36.0, 6.0), False: (64.0, 5.0)}
"""Families that were not counted: as those that keep most."""

LOGITS = 10
"""Bytes of a logit: in half precision, in float32, and its loss's float32."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes that one GPU holds at the most, by what they are for."""

    weights: float
    gradients: float
    optimizer: float
    copies: float
    """Half-precision copies of the weights; with FSDP also layers that are gathered, and their gradients."""
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """All of them and what is lost between them."""
        return sum(float(getattr(self, field.name)) for field in fields(self)) * (1 + OVERHEAD)


def per_gpu(
    shape: Shape,
    *,
    cells: int,
    row: int,
    precision: Precision,
    gpus: int = 1,
    fsdp: bool = False,
    checkpointing: bool = False,
) -> Need:
    """What one GPU needs.

    Args:
        cells: tokens of a micro-batch on this GPU, padding included.
        row: tokens of one of its rows.
        gpus: all of them, over all machines.
        fsdp: weights, gradients and states are shared out; otherwise each GPU has all.
    """
    half = precision != "float32"
    share = gpus if fsdp else 1
    gradients = 4.0 * shape.parameters / share
    if fsdp:
        # The layer at work and the next one, which is fetched meanwhile, and the gradients of one before they are
        # dealt out; what is outside the layers stays gathered.
        size = 2.0 if half else 4.0
        copies = size * (2 * shape.outside + 3 * shape.block)
    else:
        copies = 2.0 * shape.parameters if half else 0.0
        # DistributedDataParallel sends gradients in buckets beside them.
        copies += 4.0 * shape.parameters if gpus > 1 else 0.0
    return Need(
        weights=4.0 * shape.parameters / share,
        gradients=gradients,
        optimizer=8.0 * shape.parameters / share,
        copies=copies,
        activations=activations(shape, cells=cells, row=row, half=half, checkpointing=checkpointing),
        logits=float(LOGITS * cells * shape.vocabulary),
    )


def activations(shape: Shape, *, cells: int, row: int, half: bool, checkpointing: bool) -> float:
    """Bytes that the layers and what is around them keep for the backward pass, without copies of weights.

    Source: Korthikanti et al. 2022, equations 1 and 2, and section 5 for checkpointing.
    """
    linear, square = COEFFICIENTS.get((shape.family, half), OTHERS[half])
    one = cells * (linear * shape.hidden + square * shape.heads * row)
    ends = 8.0 * cells * shape.hidden
    if checkpointing:
        return 4.0 * cells * shape.hidden * shape.layers + one + ends
    return one * shape.layers + ends
