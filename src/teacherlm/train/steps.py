"""Which texts each optimizer step of an epoch reads, and in which rows; devices play no part in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from teacherlm.train.rows import fill

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]
    Lengths = NDArray[np.int32]

_POOL = 64
"""Micro-batches' worth of rows that are sorted by length together."""
_LONGER = 0.1
"""What a row of one window more costs, as a share: attention grows with the square of its length."""
_TRIED, _SAMPLE = 16, 4096
"""Lengths of rows that are tried, and texts that they are tried on."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Optimizer steps as rows of texts."""

    texts: Places
    """Row after row."""
    rows: Places
    """Shape (rows + 1,): where each row begins in `texts`."""
    steps: Places
    """Shape (steps + 1,): where each step begins in the rows."""

    def __len__(self) -> int:
        return len(self.steps) - 1

    def first(self, count: int) -> Steps:
        """The first steps alone."""
        steps = self.steps[: count + 1]
        rows = self.rows[: steps[-1] + 1]
        return Steps(self.texts[: rows[-1]], rows, steps)

    def row_tokens(self, lengths: Lengths) -> Places:
        """Real tokens of each row."""
        return np.diff(np.concatenate([[0], np.cumsum(lengths[self.texts], dtype=np.int64)])[self.rows])

    def tokens(self, lengths: Lengths) -> Places:
        """Real tokens of each step."""
        return np.diff(np.concatenate([[0], np.cumsum(self.row_tokens(lengths))])[self.steps])


def joined(parts: Sequence[Steps]) -> Steps:
    """Epochs one after the other."""
    rows, steps = [np.zeros(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
    for part in parts:
        rows.append(part.rows[1:] + rows[-1][-1])
        steps.append(part.steps[1:] + steps[-1][-1])
    return Steps(np.concatenate([part.texts for part in parts]), np.concatenate(rows), np.concatenate(steps))


def room_of_rows(lengths: Lengths, window: int, batch_tokens: int, most: int | None) -> int:
    """Tokens of a row of several texts, so that whole rows make up a step and little is left empty.

    Of rows of three quarters of the window to one and a half, the ones that a sample of the texts fills best; positions
    begin anew in each text, so a row may be longer than the window. Never less than the longest text, never more than
    `most`.

    >>> room_of_rows(np.array([200, 200, 50]), window=256, batch_tokens=1000, most=None)
    250
    """
    longest = int(lengths.max())
    low = min(max(longest, window * 3 // 4), batch_tokens, most or batch_tokens)
    high = max(min(window * 3 // 2, batch_tokens, most or batch_tokens), low)
    few, many = -(-batch_tokens // high), batch_tokens // low
    rooms = {batch_tokens // rows for rows in np.linspace(few, max(few, many), _TRIED, dtype=np.int64).tolist()}
    sample = lengths[:: -(-len(lengths) // _SAMPLE)]

    def cost(room: int) -> float:
        rows = len(fill(sample, room)[1]) - 1
        return float(room * rows * (1 + _LONGER * room / window))

    return min(sorted(int(room) for room in {*rooms, high} if low <= room <= high), key=cost)


def bucketed(
    texts: Places, starts: Places, lengths: Lengths, batch_tokens: int, most: int | None, source: np.random.Generator
) -> Steps:
    """Rows in steps of at most `batch_tokens` real tokens.

    Rows of about equal length go together, so that little is padded: those of a pool of neighbours, whose steps are
    then shuffled.

    Args:
        texts: row after row.
        starts: shape (rows + 1,); where each row begins among the texts.
        lengths: tokens of each text.
        most: cells of a micro-batch; where a step has many of them, it is a pool by itself.
        source: shuffles the rows, and the steps of a pool.
    """
    tokens = np.add.reduceat(lengths[texts].astype(np.int64), starts[:-1])
    shuffled = source.permutation(len(tokens))
    together = max(_POOL * min(most or batch_tokens, batch_tokens) // batch_tokens, 1)
    rows, steps = [], [0]
    for begin, end in pairwise(_cut(tokens[shuffled], together * batch_tokens).tolist()):
        pool = shuffled[begin:end]
        pool = pool[np.argsort(-tokens[pool], kind="stable")]
        cuts = _cut(tokens[pool], batch_tokens)
        for step in source.permutation(len(cuts) - 1):
            rows.append(pool[cuts[step] : cuts[step + 1]])
            steps.append(steps[-1] + len(rows[-1]))
    return Steps(*_in_order(texts, starts, np.concatenate(rows)), np.asarray(steps, dtype=np.int64))


def _in_order(texts: Places, starts: Places, rows: Places) -> tuple[Places, Places]:
    """The same rows in another order."""
    counts = np.diff(starts)[rows]
    begins = np.concatenate([[0], np.cumsum(counts)])
    inside = np.arange(begins[-1]) - np.repeat(begins[:-1], counts)
    return texts[np.repeat(starts[rows], counts) + inside], begins


def _cut(lengths: Places, tokens: int) -> Places:
    """Cut rows into runs of at most `tokens` tokens, the last ones as long as the others if possible."""
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    starts, total = [0], int(ends[-1])
    while starts[-1] < len(lengths):
        done = int(ends[starts[-1]])
        share = -(-(total - done) // -(-(total - done) // tokens))
        reached = int(np.searchsorted(ends, done + share, side="left"))
        most = int(np.searchsorted(ends, done + tokens, side="right")) - 1
        starts.append(min(reached, most))
    return np.asarray(starts, dtype=np.int64)
