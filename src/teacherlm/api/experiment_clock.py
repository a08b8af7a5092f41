"""The time that the steps of making a dataset take: kept in the experiment's `datasets.json`, summed over its runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

SECONDS, CPU_SECONDS = "seconds", "cpu_seconds"
"""Keys of a dataset in `datasets.json`: step -> seconds; experiment_cost.py reads them."""


class Clock:
    """Measures steps, such as `build`, `explain` and `check`.

    Args:
        seconds, cpu_seconds: what earlier runs took, which is added to; the CPU's are those of this process and of
            those that it started and waited for, such as an embedded teacher.
    """

    def __init__(self, seconds: Mapping[str, float], cpu_seconds: Mapping[str, float]) -> None:
        self.seconds = dict(seconds)
        self.cpu_seconds = dict(cpu_seconds)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the block, also one that fails."""
        began, cpu = time.monotonic(), _cpu()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - began, 3)
            self.cpu_seconds[name] = round(self.cpu_seconds.get(name, 0.0) + _cpu() - cpu, 3)


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
