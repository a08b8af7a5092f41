"""Reading prompts that begin alike: what they share is read once.

A sample is asked for several kinds of rationale, and the prompts differ in their last words only. Prompts with a common
beginning are read in two passes: one over each beginning, one over what follows it in each prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from teacherlm.lm.forward import Forward, layers, padded

Ids = tuple[int, ...]

ALIKE = 0.6
"""Share of a prompt that must be common for it to be read with others."""

WORTH = 0.8
"""Two passes are made where they read less than this share of one pass's padded tokens."""


@dataclass(frozen=True, slots=True)
class Read:
    """What the model made of some prompts; columns are aligned at the last token."""

    logits: Tensor
    """Shape (rows, vocabulary), after the last token."""
    cache: DynamicCache
    mask: Tensor
    """Shape (rows, columns)."""
    gaps: tuple[int, ...]
    """Columns of padding inside each row, between its beginning and what follows."""


def read(forward: Forward, prompts: Sequence[Ids], device: str) -> Read:
    """Read prompts with as few tokens as their common beginnings allow."""
    cuts = beginnings(prompts)
    if cuts is None:
        ids, mask = padded(prompts, device, left=True)
        cache = DynamicCache()
        return Read(forward(ids, mask, cache, keep=1)[:, -1], cache, mask, (0,) * len(prompts))
    heads = [prompt[:cut] for prompt, cut in zip(prompts, cuts, strict=True)]
    tails = [prompt[cut:] for prompt, cut in zip(prompts, cuts, strict=True)]
    places = {head: place for place, head in enumerate(dict.fromkeys(heads))}
    ids, mask = padded([*places], device, left=True)
    cache = DynamicCache()
    forward(ids, mask, cache, keep=1)
    rows = torch.tensor([places[head] for head in heads], device=device)
    for layer in layers(cache):
        layer.keys, layer.values = layer.keys[rows], layer.values[rows]
    ids, own = padded(tails, device, left=True)
    mask = torch.cat([mask[rows], own], dim=1)
    logits = forward(ids, mask, cache, keep=1)[:, -1]
    width = ids.shape[1]
    return Read(logits, cache, mask, tuple(width - len(tail) for tail in tails))


def beginnings(prompts: Sequence[Ids]) -> list[int] | None:
    """How much of each prompt is read with others, in tokens; None where one pass is as good.

    >>> beginnings([(1, 2, 3, 4, 5), (1, 2, 3, 4, 6, 7), (8, 9, 9, 9, 9)])
    [4, 4, 3]
    >>> beginnings([(1, 2, 3), (4, 5, 6)])
    """
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    groups: list[tuple[int, list[int]]] = []
    for place in order:
        prompt = prompts[place]
        if groups:
            common, members = groups[-1]
            alike = _common(prompts[members[0]][:common], prompt)
            if alike >= max(1, ALIKE * len(prompt)):
                groups[-1] = (alike, [*members, place])
                continue
        groups.append((len(prompt) - 1, [place]))
    tail = max((len(prompts[place]) - common for common, members in groups for place in members), default=0)
    cuts = [0] * len(prompts)
    for common, members in groups:
        for place in members:
            # Alone, a prompt is cut where the others are, so that no row has a longer second part than the rest.
            cuts[place] = common if len(members) > 1 else max(1, len(prompts[place]) - tail)
    if min(len(prompt) - cut for prompt, cut in zip(prompts, cuts, strict=True)) < 1:
        return None
    once = len(prompts) * max(map(len, prompts))
    twice = len(groups) * max(cuts) + len(prompts) * tail
    return cuts if twice < WORTH * once else None


def _common(one: Ids, other: Ids) -> int:
    """Tokens that both begin with; at least one of `other` is left over."""
    most = min(len(one), len(other) - 1)
    return next((place for place in range(most) if one[place] != other[place]), most)
