"""What training minimises: the weighted loss of the next token, with the output layer only where a weight stands."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

PLAIN_HEADS = frozenset({"bloom", "opt", "gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3"})
"""Families whose logits are the output layer over the base model's last hidden state, with nothing in between."""

_TARGETS = ("labels", "weights")


def targets(batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What is to be predicted, and how much each prediction counts.

    Args:
        batch: `input_ids`, `sequence_ids` and `weights`, each of shape (rows, columns); `weights` holds what the
            prediction of the token AT a position weighs.

    Returns:
        `labels` and `weights`, each of shape (rows, columns - 1): column c is predicted from column c of the input.
        The first token of a text weighs nothing: it would be predicted from another text.
    """
    sequences = batch["sequence_ids"]
    inside = (sequences[:, 1:] == sequences[:, :-1]) & (sequences[:, 1:] > 0)
    return {"labels": batch["input_ids"][:, 1:], "weights": batch["weights"][:, 1:] * inside}


def weighted_sum(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum of the weighted losses, in float32.

    Args:
        logits: shape (positions, vocabulary).
        labels, weights: shape (positions,).
    """
    losses = functional.cross_entropy(logits.float(), labels, reduction="none")
    return (losses * weights).sum()


@contextmanager
def weighing(model: Any) -> Iterator[None]:
    """Let the model's forward pass take `labels` and `weights` and return the weighted sum of the losses.

    It is the forward pass itself that changes, so that wrappers for several devices, which hook into it, see all
    that is computed. The weights and the configuration are left alone.
    """
    plain = model.config.model_type in PLAIN_HEADS and model.get_output_embeddings() is not None
    model.forward = types.MethodType(_at_weights if plain else _everywhere, model)
    try:
        yield
    finally:
        model.__dict__.pop("forward", None)


def _at_weights(self: Any, *, labels: torch.Tensor, weights: torch.Tensor, **inputs: Any) -> dict[str, torch.Tensor]:
    hidden = self.base_model(**inputs, use_cache=False)[0][:, :-1]
    counts = weights != 0
    logits = self.get_output_embeddings()(hidden[counts])
    return {"loss": weighted_sum(logits, labels[counts], weights[counts])}


def _everywhere(self: Any, *, labels: torch.Tensor, weights: torch.Tensor, **inputs: Any) -> dict[str, torch.Tensor]:
    logits = type(self).forward(self, **inputs, use_cache=False).logits[:, :-1]
    counts = weights != 0
    return {"loss": weighted_sum(logits[counts], labels[counts], weights[counts])}


def quicken(model: nn.Module) -> int:
    """Replace BLOOM's own GELU by torch's tanh approximation: the same function, in one kernel instead of eight.

    Returns:
        How many were replaced.
    """
    found = 0
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ == "BloomGelu":
                setattr(module, name, nn.GELU(approximate="tanh"))
                found += 1
    return found
