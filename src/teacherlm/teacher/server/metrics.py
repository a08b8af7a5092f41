"""Counters, histograms and gauges, written as Prometheus text under TGI's names.

All numbers are touched by the event loop's thread only, so there are no locks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


class Counter:
    """A number that only grows, one per label value."""

    def __init__(self, label: str = "") -> None:
        self._label = label
        self._values: dict[str, int] = {} if label else {"": 0}

    def add(self, value: str = "") -> None:
        self._values[value] = self._values.get(value, 0) + 1

    def lines(self, name: str) -> list[str]:
        return [f"# TYPE {name} counter"] + [
            f'{name}{{{self._label}="{value}"}} {count}' if self._label else f"{name} {count}"
            for value, count in sorted(self._values.items())
        ]


class Histogram:
    """How often a value fell under each bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        written, total = [f"# TYPE {name} histogram"], 0
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            written.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*written, f"{name}_sum {self._sum:.9g}", f"{name}_count {total}"]


class Gauge:
    """A number read when it is asked for."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read

    def lines(self, name: str) -> list[str]:
        return [f"# TYPE {name} gauge", f"{name} {self._read():g}"]


class Metrics:
    """What one server counts."""

    def __init__(self, *, queue_size: Callable[[], float], batch_size: Callable[[], float]) -> None:
        self.requests = Counter()
        self.successes = Counter()
        self.failures = Counter("err")
        """By `error_type`."""
        self.duration = Histogram(SECONDS)
        self.validation = Histogram(SECONDS)
        self.queue = Histogram(SECONDS)
        self.inference = Histogram(SECONDS)
        self.per_token = Histogram(SECONDS)
        self.input_length = Histogram(TOKENS)
        self.max_new_tokens = Histogram(TOKENS)
        self.generated_tokens = Histogram(TOKENS)
        self._all: dict[str, Counter | Histogram | Gauge] = {
            "tgi_request_count": self.requests,
            "tgi_request_success": self.successes,
            "tgi_request_failure": self.failures,
            "tgi_request_duration": self.duration,
            "tgi_request_validation_duration": self.validation,
            "tgi_request_queue_duration": self.queue,
            "tgi_request_inference_duration": self.inference,
            "tgi_request_mean_time_per_token_duration": self.per_token,
            "tgi_request_input_length": self.input_length,
            "tgi_request_max_new_tokens": self.max_new_tokens,
            "tgi_request_generated_tokens": self.generated_tokens,
            "tgi_queue_size": Gauge(queue_size),
            "tgi_batch_current_size": Gauge(batch_size),
        }

    def render(self) -> str:
        """Prometheus' text format, version 0.0.4."""
        return "\n".join(line for name, metric in self._all.items() for line in metric.lines(name)) + "\n"
