"""The keys and values of a running batch, in tensors with room to spare.

Transformers' own cache copies everything for each token (`cat`), and again for each row that joins or leaves. Here a
token is written in place, a row that joins is written below the others, and where one leaves the last row takes its
place. What is kept is moved to fresh tensors only when they are full.

Columns are aligned at the newest token. A row's own columns are the last ones; to their left it has padding, whose
content does not matter as long as it is finite, since the mask excludes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from teacherlm.lm.forward import layers

SPARE_COLUMNS = 64
"""Tokens that a batch can grow by, at least, before it is moved."""


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer: `keys` and `values`, (rows, heads, columns, width of a head), are windows into larger tensors."""

    def __init__(self, place: RunningCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.place = place
        self.room: tuple[Tensor, ...] = ()
        """Keys and values with the rows and columns to spare."""

    def update(self, key_states: Tensor, value_states: Tensor, *unused: Any, **more: Any) -> tuple[Tensor, Tensor]:
        """Write the newest columns; `RunningCache.grow` has made room for them."""
        place, columns = self.place, key_states.shape[2]
        for room, states in zip(self.room, (key_states, value_states), strict=True):
            room[: place.rows, :, place.end - columns : place.end] = states
        return self.look()

    def look(self) -> tuple[Tensor, Tensor]:
        """Set `keys` and `values` to what is in use."""
        place = self.place
        keys, values = (room[: place.rows, :, place.first : place.end] for room in self.room)
        self.keys, self.values = keys, values
        return keys, values


class RunningCache(Cache):
    """The cache and the mask of a batch that rows join and leave."""

    def __init__(self, device: str | torch.device) -> None:
        self._own: list[_Layer] = []
        super().__init__(layers=[*self._own])
        self.rows = 0
        self.first = 0
        """The leftmost column that is in use."""
        self.end = 0
        """One past the newest column."""
        self._mask = torch.zeros(0, 0, dtype=torch.long, device=device)
        self._seen = 0
        """Columns that the layers hold: fewer than `end` while the model reads the newest."""

    @property
    def mask(self) -> Tensor:
        """Shape (rows, columns): 1 where the cache holds a token of the row, 0 where it is padding."""
        return self._mask[: self.rows, self.first : self.end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns that have been read."""
        return self._seen - self.first

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Columns including those being read, and the offset of the first."""
        return self._seen - self.first + query_length, 0

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        """The keys and values of a layer, the newest included; called by the model."""
        return self._own[layer_idx].update(key_states, value_states)

    def grow(self) -> None:
        """Open one more column, which the model will fill for every row."""
        if self.end == self._mask.shape[1]:
            self._move(self.rows, self.end - self.first)
        self._mask[: self.rows, self.end] = 1
        self.end += 1

    def grown(self) -> None:
        """The model has filled the newest column."""
        self._seen = self.end

    def add(self, read: DynamicCache, mask: Tensor) -> None:
        """Put rows below the running ones.

        Args:
            read: what the model made of their prompts, padded on the left.
            mask: shape (new rows, columns).
        """
        new, width = mask.shape
        rows, columns = self.rows + new, max(width, self.end - self.first)
        if not self._own:
            for layer in layers(read):
                mine = _Layer(self)
                mine.room = (layer.keys[:0, :, :0], layer.values[:0, :, :0])
                self._own.append(mine)
            self.layers = [*self._own]
        if rows > self._mask.shape[0] or width > self.end:
            self._move(rows, columns)
        start = self.end - width
        self._mask[self.rows : rows, : self.end] = 0
        self._mask[self.rows : rows, start : self.end] = mask
        for mine, layer in zip(self._own, layers(read), strict=True):
            for room, states in zip(mine.room, (layer.keys, layer.values), strict=True):
                room[self.rows : rows, :, start : self.end] = states
        self.rows, self.first, self._seen = rows, min(self.first, start), self.end
        self._look()

    def keep(self, order: Sequence[int], moved: Sequence[tuple[int, int]], longest: int) -> None:
        """Drop rows.

        Args:
            order: the rows that stay, as they stand afterwards; see `compacted`.
            moved: `(from, to)` for those which change their place.
            longest: columns of the longest of them; those left of it are given up.
        """
        if moved:
            sources, targets = (torch.tensor(places, device=self._mask.device) for places in zip(*moved, strict=True))
            self._mask[targets] = self._mask[sources]
            for layer in self._own:
                for room in layer.room:
                    room[targets, :, self.first : self.end] = room[sources, :, self.first : self.end]
        self.rows = len(order)
        self.first = max(self.first, self.end - longest)
        self._look()

    def _move(self, rows: int, columns: int) -> None:
        """Take fresh tensors with room for so many rows and columns, and some columns more; the old content goes along.

        Zeros, not whatever the memory held: a masked NaN would still be one.
        """
        height, width = rows + rows // 4, columns + max(SPARE_COLUMNS, columns // 4)
        held = self.end - self.first
        start = columns - held
        old, self._mask = self._mask, self._mask.new_zeros(height, width)
        self._mask[: self.rows, start:columns] = old[: self.rows, self.first : self.end]
        for layer in self._own:
            fresh = []
            for room in layer.room:
                larger = room.new_zeros(height, room.shape[1], width, room.shape[3])
                larger[: self.rows, :, start:columns] = room[: self.rows, :, self.first : self.end]
                fresh.append(larger)
            layer.room = tuple(fresh)
        self.first, self.end, self._seen = start, columns, columns
        self._look()

    def _look(self) -> None:
        for layer in self._own:
            layer.look()


def compacted(rows: int, stay: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """How rows close up when others leave: the last ones take the places that became free.

    Returns:
        The rows in their new order, and `(from, to)` of those which moved.

    >>> compacted(5, [0, 2, 4])
    ([0, 4, 2], [(4, 1)])
    """
    left = len(stay)
    free = sorted(set(range(left)).difference(stay))
    moved = list(zip((row for row in stay if row >= left), free, strict=True))
    order = list(range(left))
    for source, target in moved:
        order[target] = source
    return order, moved
