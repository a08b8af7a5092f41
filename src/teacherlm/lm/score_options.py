"""Continuations of several tokens, read behind contexts that were read before.

The options of a few questions differ in length, so that in one pass half of the columns would be padding. Contexts are
kept until there are options enough, and the options are read sorted by length, wherever they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from teacherlm.lm.forward import Forward, padded
from teacherlm.lm.score_pairs import Pair
from teacherlm.lm.score_plan import HELD

KEPT = 8
"""Columns of contexts that are kept for each token of a pass."""

LOGITS = 2**27
"""Logits that are held at once: 512 MB in float32."""

Answer = tuple[Pair, float, bool]
"""A request, its log-likelihood so far, and whether it is the greedy continuation so far."""

States = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, (rows, heads, columns, width of a head)."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    source: int
    """Position among the contexts that are kept."""
    row: int
    answer: Answer
    length: int
    """Tokens to be read: all but the last."""


class Options:
    """Continuations that wait for a pass."""

    def __init__(self, forward: Forward, device: str) -> None:
        self._forward = forward
        self._device = device
        self._sources: list[tuple[States, Tensor]] = []
        self._waiting: list[_Waiting] = []
        self._columns = 0
        self._emptying = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def longest(self) -> int:
        """Columns of the widest context that is kept."""
        return max((mask.shape[1] for _, mask in self._sources), default=0)

    def add(self, states: States, mask: Tensor, going: Sequence[tuple[int, Answer]]) -> None:
        """Keep contexts, padded on the left, for the continuations that go on in their rows."""
        here = len(self._sources)
        self._sources.append((states, mask))
        self._waiting += [_Waiting(here, row, answer, len(answer[0].continuation) - 1) for row, answer in going]
        self._columns += mask.numel()

    def full(self, most: int) -> bool:
        """Whether they should be read now: there are enough for a pass, or the contexts hold too much memory."""
        if not self._emptying and (
            self._columns >= KEPT * most or sum(one.length for one in self._waiting) >= KEPT * most
        ):
            self._emptying = True
        return self._emptying

    @torch.inference_mode()
    def read(self, most: int) -> list[Answer]:
        """One pass over the longest of them, `most` padded tokens, padded on the right; their answers are final."""
        self._emptying = True
        self._waiting.sort(key=lambda one: -one.length)
        longest = self._waiting[0].length
        count = max(1, min(most // longest, HELD * most // (self.longest + longest)))
        part = sorted(self._waiting[:count], key=lambda one: one.source)
        found = self._read(part, longest)
        del self._waiting[:count]
        if not self._waiting:
            self._sources, self._columns, self._emptying = [], 0, False
        return found

    def _read(self, part: Sequence[_Waiting], longest: int) -> list[Answer]:
        pairs = [one.answer[0] for one in part]
        ids, here = padded([pair.continuation[:-1] for pair in pairs], self._device, left=False)
        cache, mask = self._gathered(part, longest)
        logits = self._forward(ids, torch.cat([mask, here], dim=1), cache, keep=0)
        following, _ = padded([pair.continuation[1:] for pair in pairs], self._device, left=False)
        values, greedy = _told(logits, following, here)
        return [
            (one.answer[0], one.answer[1] + value, one.answer[2] and best)
            for one, value, best in zip(part, values, greedy, strict=True)
        ]

    def _gathered(self, part: Sequence[_Waiting], spare: int) -> tuple[Cache, Tensor]:
        """The contexts of some continuations, a row for each, aligned on the right, with room for `spare` columns."""
        runs: list[tuple[int, int, Tensor, int]] = []
        start = 0
        for source, members in groupby(part, key=lambda one: one.source):
            rows = torch.tensor([one.row for one in members], device=self._device)
            runs.append((start, source, rows, self._sources[source][1].shape[1]))
            start += len(rows)
        wide = max(width for *_, width in runs)
        mask = torch.zeros(start, wide, dtype=torch.long, device=self._device)
        for first, source, rows, width in runs:
            mask[first : first + len(rows), wide - width :] = self._sources[source][1].index_select(0, rows)

        def gathered(layer: int, which: int) -> Tensor:
            _, heads, _, size = self._sources[runs[0][1]][0][layer][which].shape
            room = self._sources[runs[0][1]][0][layer][which].new_empty(start, heads, wide + spare, size)
            for first, source, rows, width in runs:
                own = room[first : first + len(rows)]
                # Masked, but NaN times nothing is NaN.
                own[:, :, : wide - width] = 0
                torch.index_select(self._sources[source][0][layer][which], 0, rows, out=own[:, :, wide - width : wide])
            return room

        count = len(self._sources[0][0])
        return Cache(layers=[Roomy(gathered(layer, 0), gathered(layer, 1), wide) for layer in range(count)]), mask


def _told(logits: Tensor, following: Tensor, here: Tensor) -> tuple[list[float], list[bool]]:
    """Sums of log-probabilities, and whether all tokens are the likeliest; for rows of (rows, columns, vocabulary)."""
    sums: list[float] = []
    greedy: list[bool] = []
    rows = max(1, LOGITS // (logits.shape[1] * logits.shape[2]))
    for start in range(0, len(logits), rows):
        part, after, own = (states[start : start + rows] for states in (logits, following, here))
        logprobs = part.float().log_softmax(dim=-1)
        values = logprobs.gather(2, after[:, :, None])[:, :, 0]
        # Not a product with the mask: what padding gives may be NaN.
        sums += values.masked_fill(own == 0, 0.0).sum(dim=1).tolist()
        greedy += ((part.argmax(dim=-1) == after) | (own == 0)).all(dim=1).tolist()
    return sums, greedy


class Roomy(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers' caches have no types
    """One layer's keys and values in tensors that are wide enough for what is read next."""

    def __init__(self, keys: Tensor, values: Tensor, seen: int) -> None:
        """Take tensors of shape (rows, heads, columns, width of a head) whose first `seen` columns are filled."""
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self._seen = seen
        self._room = keys, values
        self.is_initialized = True
        self._look()

    def get_seq_length(self) -> int:
        """Columns that have been read."""
        return self._seen

    def update(self, key_states: Tensor, value_states: Tensor, *unused: Any, **more: Any) -> tuple[Tensor, Tensor]:
        """Write the newest columns in their place."""
        start, self._seen = self._seen, self._seen + key_states.shape[2]
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, start : self._seen] = states
        return self._look()

    def _look(self) -> tuple[Tensor, Tensor]:
        keys, values = (room[:, :, : self._seen] for room in self._room)
        self.keys, self.values = keys, values
        return keys, values
