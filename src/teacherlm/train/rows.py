"""Texts side by side in rows of one length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fill(lengths: NDArray[np.integer], room: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Put texts into as few rows as is easily done: the longest first, each where it leaves the least room.

    Args:
        lengths: shape (texts,); tokens of each, at least 1.
        room: tokens of a row.

    Returns:
        Places of texts, row after row, and shape (rows + 1,): where each row begins among them.

    Raises:
        ValueError: a text exceeds the room; names its place.

    Source: best-fit decreasing, Johnson 1973.

    >>> [part.tolist() for part in fill(np.array([5, 3, 4]), room=8)]
    [[0, 1, 2], [0, 2, 3]]
    """
    order = np.argsort(-lengths, kind="stable")
    if len(order) and lengths[order[0]] > room:
        raise ValueError(f"text {order[0]} has {lengths[order[0]]} tokens; a row holds {room}")
    waiting: list[list[int]] = [[] for _ in range(room + 1)]
    """Rows by the tokens that they have left; bit n of `some` is set where rows have n left."""
    some, rows = 0, 0
    row_of = []
    for length in lengths[order].tolist():
        if fits := some >> length:
            left = length + (fits & -fits).bit_length() - 1
            row = waiting[left].pop()
            if not waiting[left]:
                some ^= 1 << left
        else:
            left, row = room, rows
            rows += 1
        row_of.append(row)
        if left := left - length:
            waiting[left].append(row)
            some |= 1 << left
    by_row = np.argsort(np.asarray(row_of, dtype=np.int64), kind="stable")
    counts = np.bincount(np.asarray(row_of, dtype=np.int64), minlength=rows)
    return order[by_row], np.concatenate([[0], np.cumsum(counts)])


def share_out(lengths: NDArray[np.integer], cells: int) -> NDArray[np.int64]:
    """Cut rows of falling length into runs of at most `cells` cells, each row being padded to its run's longest.

    Args:
        lengths: shape (rows,); falling, the first at most `cells`.

    Returns:
        Where each run begins, and the number of rows.
    """
    starts = [0]
    while starts[-1] < len(lengths):
        starts.append(min(starts[-1] + cells // int(lengths[starts[-1]]), len(lengths)))
    return np.asarray(starts, dtype=np.int64)


def runs(lengths: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Cut rows of falling length into `count` runs of about equally many cells, the largest as small as can be.

    Returns:
        Shape (count + 1,); runs are empty where there are fewer rows than runs.
    """
    if count == 1 or len(lengths) <= count:
        return np.minimum(np.arange(count + 1) * (1 if count > 1 else len(lengths)), len(lengths))
    low, high = int(lengths[0]), int(lengths[0]) * len(lengths)
    while low < high:
        middle = (low + high) // 2
        if len(share_out(lengths, middle)) - 1 <= count:
            high = middle
        else:
            low = middle + 1
    starts = share_out(lengths, low).tolist()
    while len(starts) <= count:  # split the run of most rows, so that none is empty
        widest = max(range(len(starts) - 1), key=lambda run: starts[run + 1] - starts[run])
        starts.insert(widest + 1, (starts[widest] + starts[widest + 1]) // 2)
    return np.asarray(starts, dtype=np.int64)
