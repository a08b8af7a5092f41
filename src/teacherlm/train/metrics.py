"""One line of JSON for each optimizer step, in a file that a run which goes on continues without doubling a line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from teacherlm.core.files import disk_errors, replacing

NAME = "metrics.jsonl"


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one optimizer step did."""

    step: int
    """From 1."""
    tokens: int
    """Real tokens read since the stage began, padding not counted."""
    loss: float
    """Weighted mean over the step's tokens, before the step."""
    learning_rate: float
    grad_norm: float
    """Before it was clipped."""
    tokens_per_second: float
    seconds: float
    """Since the stage began, without the time between a kill and the next start; as the next one."""
    cpu_seconds: float
    """Of the first process."""
    peak_memory_mb: float
    """Of the GPU, or else of the process."""


class MetricsLog:
    """Appends the lines of one stage."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resume(self, step: int) -> Line | None:
        """Drop what stands after a step, and a torn last line.

        Returns:
            The line of that step, or the last one before it.

        Raises:
            MachineFailed: the disk is full or refuses.
        """
        kept = [line for line in read_lines(self.path) if line.step <= step]
        with replacing(self.path) as temporary:
            temporary.write_bytes(b"".join(_bytes(line) for line in kept))
        return kept[-1] if kept else None

    def append(self, line: Line) -> None:
        with disk_errors(self.path), self.path.open("ab") as file:
            file.write(_bytes(line))


def _bytes(line: Line) -> bytes:
    return orjson.dumps(asdict(line), option=orjson.OPT_APPEND_NEWLINE)


def read_lines(path: Path) -> list[Line]:
    """The whole lines of a file; none where there is no file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for text in data.splitlines(keepends=True):
        if text.endswith(b"\n"):
            try:
                found.append(Line(**orjson.loads(text)))
            except (orjson.JSONDecodeError, TypeError):
                break
    return found
