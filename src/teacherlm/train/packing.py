"""Several texts in one row without attention between them, for any model that takes a mask of its own.

Each text of a row sees itself alone: the mask is causal within it, and its positions begin at 0. BLOOM knows no
positions but those of its mask (ALiBi), which are read off the packed mask. Whether a model really keeps the texts
apart is not looked up but tried: see `packs`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def attention(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Which cells each cell may look at: those before it in its own text, and itself.

    Padding looks at padding, so that no row of the softmax is empty.

    Returns:
        bool, shape (rows, 1, columns, columns); the third dimension looks, the fourth is looked at.
    """
    import torch

    sequences = batch["sequence_ids"]
    columns = sequences.shape[1]
    causal = torch.ones(columns, columns, dtype=torch.bool, device=sequences.device).tril()
    same = sequences[:, None, :, None] == sequences[:, None, None, :]
    return same & causal


def forward_inputs(
    model: Any, batch: Mapping[str, torch.Tensor], *, packed: bool | None = None
) -> dict[str, torch.Tensor]:
    """What to call the model with, beside `use_cache=False`: with a cache, some models look for no borders.

    Rows of one text are padded on the right, where a causal model does not look: they need no mask, and attention runs
    at its quickest.

    Args:
        model: may be wrapped (DistributedDataParallel, FSDP, torch.compile).
        batch: of `Batches`.
        packed: whether rows hold several texts; left out, it is looked up, which waits for a GPU.
    """
    import torch

    if packed is None:
        packed = bool((batch["sequence_ids"] > 1).any())
    if not packed:
        return {"input_ids": batch["input_ids"]}
    bare = _unwrapped(model)
    inputs = {"input_ids": batch["input_ids"]}
    if "position_ids" in inspect.signature(type(bare).forward).parameters:
        inputs["position_ids"] = batch["position_ids"]
    how = getattr(bare.config, "_attn_implementation", None)
    narrow = any(getattr(bare.config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    if how not in ("sdpa", "eager") or narrow:  # these make masks of their own, the borders read off the positions
        return inputs
    allowed = attention(batch)
    if how == "sdpa":
        inputs["attention_mask"] = allowed
    else:
        kind = bare.dtype
        closed = torch.zeros_like(allowed, dtype=kind)
        inputs["attention_mask"] = closed.masked_fill_(~allowed, torch.finfo(kind).min)
    _restart_alibi(bare)
    return inputs


def packs(model: Any) -> bool:
    """Whether the model keeps the texts of a row apart, tried on two short ones.

    A text's logits must not change with the text before it, and must be those of the text alone.
    """
    import torch

    was_training = model.training
    words = int(model.get_input_embeddings().num_embeddings)
    place = model.get_input_embeddings().weight.device
    first, second = (torch.arange(start, start + 7, device=place) % words for start in (3, 11))
    other = (first + 5) % words
    model.eval()
    try:
        with torch.no_grad():
            alone = model(input_ids=second[None]).logits[0]
            packed = _together(model, first, second)
            moved = _together(model, other, second)
    except Exception:  # whatever a model that takes no such mask may raise
        return False
    finally:
        model.train(was_training)
    near = 1e-4 if alone.dtype == torch.float32 else 3e-2
    scale = float(alone.abs().max())
    return bool(
        torch.isfinite(packed).all()
        and float((packed - moved).abs().max()) <= 1e-6 * scale
        and float((packed - alone).abs().max()) <= near * scale
    )


def _together(model: Any, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Logits of the second of two texts in a row, which ends with padding; a second row holds them the other way."""
    import torch

    one, two = len(first), len(second)
    steps = torch.cat([torch.arange(one), torch.arange(two), torch.arange(2)]).to(first.device)
    order = torch.tensor([1] * one + [2] * two + [0] * 2, device=first.device)
    row = torch.cat([first, second, first[:2] * 0])
    turned = torch.cat([second, first, first[:2] * 0])
    batch = {
        "input_ids": torch.stack([row, turned]),
        "position_ids": torch.stack([steps, steps]),
        "sequence_ids": torch.stack([order, order]),
    }
    logits: torch.Tensor = model(**forward_inputs(model, batch, packed=True), use_cache=False).logits[
        0, one : one + two
    ]
    return logits


def _unwrapped(model: Any) -> Any:
    while True:
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if inner is None:
            return model
        model = inner


def _restart_alibi(model: Any) -> None:
    """Let BLOOM's biases begin anew with each text of a packed row; unpacked rows stay as they are."""
    base: Any = getattr(model, "transformer", None)
    if hasattr(base, "build_alibi_tensor") and "build_alibi_tensor" not in base.__dict__:
        base.build_alibi_tensor = MethodType(_packed_alibi, base)


def _packed_alibi(self: Any, attention_mask: torch.Tensor, num_heads: int, dtype: torch.dtype) -> torch.Tensor:
    """BLOOM's biases, shape (rows * heads, 1, columns), for its own mask or for one of `attention`.

    A cell's place in its text is one less than the number of cells that it may look at.
    """
    import torch

    build: Callable[..., torch.Tensor] = type(self).build_alibi_tensor
    if attention_mask.ndim == 2:
        return build(self, attention_mask, num_heads, dtype)
    allowed = attention_mask if attention_mask.dtype == torch.bool else attention_mask == 0
    places = allowed.sum(-1) - 1
    two = torch.ones(1, 2, dtype=torch.int64, device=attention_mask.device)
    slopes = build(self, two, num_heads, torch.float32)[:, 0, 1]
    biases = slopes[None, :, None] * places
    return biases.reshape(-1, 1, places.shape[-1]).to(dtype)
