"""Trainings side by side, each in a process of its own; when one fails or the run is stopped, all end."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from teacherlm.core.errors import GateFailed, MachineFailed, Mistake, Mistakes, Problem, RemoteFailed, TeacherlmError
from teacherlm.train.progress import Progress

INTERRUPTED = 130
QUIET_S = 4.0
"""After so long without a word `watch` is called all the same."""
STOP_S = 30.0
"""How long a training may take to write a checkpoint before it is killed."""

ERRORS: Mapping[int, type[TeacherlmError]] = {
    error.exit_code: error for error in (GateFailed, Mistake, RemoteFailed, MachineFailed)
}


@dataclass(frozen=True)
class Order:
    """One training."""

    training: str
    project: Path
    workspace: Path
    max_steps: int | None = None
    restart: bool = False


def train_side_by_side(orders: Sequence[Order], threads: int, watch: Callable[[Mapping[str, Progress]], None]) -> None:
    """Run trainings at the same time.

    Args:
        threads: of each process.
        watch: called with the latest progress of each, by its name; none while the texts are made ready.

    Raises:
        TeacherlmError: what the first one that failed said; the others were stopped, and go on from a checkpoint.
        KeyboardInterrupt: the run was stopped, or one of them was; all have a checkpoint.
    """
    running = [_Running(order, threads) for order in orders]
    lines: queue.SimpleQueue[tuple[_Running, dict[str, Any] | None]] = queue.SimpleQueue()
    latest: dict[str, Progress] = {}
    try:
        for one in running:
            one.start(lines)
        left = len(running)
        while left:
            try:
                one, line = lines.get(timeout=QUIET_S)
            except queue.Empty:
                watch(latest)
                continue
            if line is None:
                left -= 1
                one.ended()
            elif "progress" in line:
                latest[one.order.training] = Progress(**line["progress"])
                watch(latest)
            elif "error" in line:
                one.failure = _error(line)
    finally:
        for one in running:
            one.hang_up()
        for one in running:
            one.wait()


class _Running:
    """One of the processes."""

    def __init__(self, order: Order, threads: int) -> None:
        self.order = order
        self.failure: TeacherlmError | None = None
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._last_words: deque[str] = deque(maxlen=15)
        self._readers: list[threading.Thread] = []

    def start(self, lines: queue.SimpleQueue[Any]) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._threads), "TOKENIZERS_PARALLELISM": "false"}
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "teacherlm.api.quickstart_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            # A Ctrl-C in the terminal is ours to hand on.
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        order = {
            "training": self.order.training,
            "project": str(self.order.project),
            "workspace": str(self.order.workspace),
            "max_steps": self.order.max_steps,
            "restart": self.order.restart,
        }
        process.stdin.write(orjson.dumps(order, option=orjson.OPT_APPEND_NEWLINE))
        process.stdin.flush()
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout, lines), daemon=True),
            threading.Thread(target=self._listen, args=(process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def ended(self) -> None:
        """
        Raises:
            TeacherlmError, KeyboardInterrupt: it did not end well.
        """
        assert self._process is not None
        code = self._process.wait(STOP_S)
        if self.failure is not None:
            raise self.failure
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            self._readers[1].join(STOP_S)
            words = "\n".join(self._last_words).strip()
            raise MachineFailed(
                f"the training of `{self.order.training}` ended with exit code {code}"
                + (f":\n{words}" if words else ""),
                f"see what it says by itself: teacherlm train {self.order.training}",
            )

    def hang_up(self) -> None:
        """Let it end; one that has ended already does not notice."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def wait(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join()

    def _read(self, stream: Any, lines: queue.SimpleQueue[Any]) -> None:
        with stream:
            for text in stream:
                try:
                    line = orjson.loads(text)
                except orjson.JSONDecodeError:
                    continue  # a library that prints
                lines.put((self, line))
        lines.put((self, None))

    def _listen(self, stream: Any) -> None:
        with stream:
            for text in stream:
                self._last_words.append(text.decode(errors="replace").rstrip())


def _error(line: Mapping[str, Any]) -> TeacherlmError:
    problems = [Problem(where, found, edit) for found, edit, where in line["error"]]
    kind = ERRORS.get(line["exit_code"], MachineFailed)
    if kind is Mistake and len(problems) != 1:
        return Mistakes(problems)
    first = problems[0]
    return kind(first.found, first.edit, first.where)
