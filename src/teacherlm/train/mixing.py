"""Which texts an epoch reads, and in which order: by the sources' weights and a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def epoch_texts(sources: NDArray[np.integer], weights: Sequence[float], seed: int, epoch: int) -> NDArray[np.int64]:
    """The texts of one epoch, shuffled.

    A source of weight 2 gives each of its texts twice. One of weight 0.5 gives half of them, the other half in the next
    epoch, so that over the epochs all texts are read equally often, give or take one.

    Args:
        sources: shape (texts,); the source of each text.
        weights: for each source.
        seed: with `epoch`, decides all.

    Returns:
        Places of texts.
    """
    chosen = []
    for source, weight in enumerate(weights):
        texts = np.flatnonzero(sources == source)
        if not len(texts):
            continue
        whole = int(weight)
        chosen.append(np.tile(texts, whole))
        part = round((weight - whole) * len(texts))
        if not whole:
            part = max(part, 1)
        if part:
            turned = np.random.default_rng([seed, source]).permutation(texts)
            chosen.append(turned[np.arange(epoch * part, (epoch + 1) * part) % len(texts)])
    order = np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)
    return np.random.default_rng([seed, len(weights), epoch]).permutation(order)
