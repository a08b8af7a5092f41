"""Reading prompts with the log-probability of each of their own tokens.

Who scores texts with a server sends the options of one question one after the other: prompts that begin alike. As in
`prompts.py` their common beginning is read once. The logits of all positions would fill gigabytes where the vocabulary
is large, so a prompt is read in as many columns at a time as `LOGITS` allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from teacherlm.lm.forward import Forward, layers, padded
from teacherlm.lm.prompts import Ids, Read, beginnings

LOGITS = 2**26
"""Log-probabilities that are held at once: 256 MB in float32."""

Likeliest = tuple[tuple[int, float], ...]
"""Ids and log-probabilities, the best first."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the model thinks of one prompt, token by token."""

    values: tuple[float, ...]
    """Natural logarithms, for all tokens but the first, which nothing precedes."""
    likeliest: tuple[Likeliest, ...]
    """Beside each of them, what the model would rather have read; empty where nobody asked."""


def read_told(forward: Forward, prompts: Sequence[Ids], top: int, device: str, most: int) -> tuple[Read, list[Told]]:
    """Read prompts, each of at least one token.

    Args:
        top: how many of the likeliest tokens are told beside each token.
        most: positions whose logits are held at once, of all prompts together; see `LOGITS`.

    Returns:
        What generation goes on from, as `prompts.read` gives it, and what the model thinks of each prompt.
    """
    cuts = beginnings(prompts)
    if cuts is None:
        ids, mask = padded(prompts, device, left=True)
        cache = DynamicCache()
        heads = _pass(forward, ids, mask, cache, top, most)
        told = [heads.told(row, len(prompt)) for row, prompt in enumerate(prompts)]
        return Read(heads.logits, cache, mask, (0,) * len(prompts)), told
    places = {head: place for place, head in enumerate(dict.fromkeys(_cut(prompts, cuts)))}
    ids, mask = padded([*places], device, left=True)
    cache = DynamicCache()
    heads = _pass(forward, ids, mask, cache, top, most)
    between = heads.logits.float().log_softmax(dim=-1)
    best = _likeliest(between, top)
    owners = [places[head] for head in _cut(prompts, cuts)]
    rows = torch.tensor(owners, device=device)
    for layer in layers(cache):
        layer.keys, layer.values = layer.keys[rows], layer.values[rows]
    rest = [prompt[cut:] for prompt, cut in zip(prompts, cuts, strict=True)]
    ids, own = padded(rest, device, left=True)
    mask = torch.cat([mask[rows], own], dim=1)
    tails = _pass(forward, ids, mask, cache, top, most)
    firsts = torch.tensor([tail[0] for tail in rest], device=device)
    crossing = between[rows, firsts].tolist()
    told = []
    for row, (owner, cut, tail) in enumerate(zip(owners, cuts, rest, strict=True)):
        head, after = heads.told(owner, cut), tails.told(row, len(tail))
        values = (*head.values, crossing[row], *after.values)
        told.append(Told(values, (*head.likeliest, *best[owner : owner + 1], *after.likeliest)))
    return Read(tails.logits, cache, mask, tuple(ids.shape[1] - len(tail) for tail in rest)), told


def _cut(prompts: Sequence[Ids], cuts: Sequence[int]) -> list[Ids]:
    return [prompt[:cut] for prompt, cut in zip(prompts, cuts, strict=True)]


@dataclass(frozen=True, slots=True)
class _Pass:
    """One reading of padded rows; columns are aligned at the last token."""

    logits: Tensor
    """Shape (rows, vocabulary), after the last token."""
    values: list[list[float]]
    """For all columns but the first."""
    likeliest: list[list[Likeliest]]

    def told(self, row: int, tokens: int) -> Told:
        """The row's own columns: its last `tokens`, of which the first is not told."""
        start = len(self.values[row]) - (tokens - 1)
        return Told(tuple(self.values[row][start:]), tuple(self.likeliest[row][start:] if self.likeliest else ()))


def _pass(forward: Forward, ids: Tensor, mask: Tensor, cache: DynamicCache, top: int, most: int) -> _Pass:
    """Read columns of ids behind what the cache holds, some at a time."""
    rows, width = ids.shape
    before = mask.shape[1] - width
    values: list[list[float]] = [[] for _ in range(rows)]
    likeliest: list[list[Likeliest]] = [[] for _ in range(rows)] if top else []
    start, columns = 0, max(1, most // rows)
    while True:
        stop = min(width, start + columns)
        logits = forward(ids[:, start:stop], mask[:, : before + stop], cache, keep=0)
        last = stop == width
        # What the last column foretells is not part of the prompt.
        known = logits[:, :-1] if last else logits
        if known.shape[1]:
            logprobs = known.float().log_softmax(dim=-1)
            following = ids[:, start + 1 : start + 1 + known.shape[1], None]
            for row, found in enumerate(logprobs.gather(2, following)[:, :, 0].tolist()):
                values[row] += found
            for row, best in enumerate(_likeliest_of_each(logprobs, top) if top else ()):
                likeliest[row] += best
        if last:
            return _Pass(logits[:, -1], values, likeliest)
        start = stop


def _likeliest(logprobs: Tensor, top: int) -> list[Likeliest]:
    """The best of each row; `logprobs`: shape (rows, vocabulary)."""
    return [best for (best,) in _likeliest_of_each(logprobs[:, None], top)] if top else []


def _likeliest_of_each(logprobs: Tensor, top: int) -> list[list[Likeliest]]:
    """The best of each row and column; `logprobs`: shape (rows, columns, vocabulary)."""
    found = torch.topk(logprobs, min(top, logprobs.shape[-1]), dim=-1)
    return [
        [tuple(zip(ids, values, strict=True)) for ids, values in zip(row_ids, row_values, strict=True)]
        for row_ids, row_values in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]
