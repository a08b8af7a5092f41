"""The learning rate over a stage."""

from __future__ import annotations

import math

from teacherlm.train.declaration import Schedule


def factor(schedule: Schedule, step: int, steps: int) -> float:
    """What the learning rate is multiplied by at a step.

    Args:
        step: from 0 to `steps - 1`.
        steps: optimizer steps of the whole stage.

    Returns:
        From 0 to 1. The warm-up rises linearly and its first step is not 0; the shape holds over what is left.

    >>> flat = Schedule(learning_rate=1e-3, warmup=0.2, shape="hold-then-linear", decay=0.5)
    >>> [round(factor(flat, step, 10), 2) for step in range(10)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]
    """
    warm = math.ceil(schedule.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    if schedule.shape == "linear":
        return max(0.0, 1.0 - done)
    if schedule.shape == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
    if schedule.shape == "hold-then-linear":
        falling = max(1, round(schedule.decay * steps))
        return min(1.0, max(0.0, (steps - step) / falling))
    return 1.0
