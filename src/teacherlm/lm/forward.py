"""One pass of a model over padded rows, with positions where the model must be told them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from teacherlm.lm.load import LoadedModel


class Forward:
    """A loaded model as a function of ids, mask and cache."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._model = loaded.model
        # ALiBi models take positions from the mask; learned and rotary ones must be told.
        self._positions = "position_ids" in inspect.signature(loaded.model.forward).parameters

    def __call__(self, ids: Tensor, mask: Tensor, cache: Cache | None, *, keep: int) -> Tensor:
        """Logits, shape (rows, kept positions, vocabulary).

        Args:
            ids: shape (rows, new columns).
            mask: shape (rows, columns of the cache and new ones): 1 for a token, 0 for padding.
            cache: what was read before; filled. None: nothing was, and nothing is kept.
            keep: how many of the last positions; 0: all.
        """
        extra: dict[str, Any] = {}
        if self._positions:
            extra["position_ids"] = (mask.cumsum(dim=-1) - 1).clamp_(min=0)[:, -ids.shape[1] :]
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=keep,
            **extra,
        )
        return output.logits  # type: ignore[no-any-return]


def layers(cache: Cache) -> list[Any]:
    """A cache's layers; their `keys` and `values` have the shape (rows, heads, columns, width of a head)."""
    return list(cache.layers)


def padded(rows: Sequence[Sequence[int]], device: str, *, left: bool) -> tuple[Tensor, Tensor]:
    """Rows of ids as one tensor, and its mask; shape (rows, longest)."""
    width = max(map(len, rows))
    ids: list[list[int]] = []
    mask: list[list[int]] = []
    for row in rows:
        gap = [0] * (width - len(row))
        ids.append([*gap, *row] if left else [*row, *gap])
        mask.append([*gap, *[1] * len(row)] if left else [*[1] * len(row), *gap])
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
