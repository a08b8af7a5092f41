"""Work side by side, each order in a process of its own that says JSON lines; when the run is stopped, all end."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from teacherlm.core.errors import GateFailed, MachineFailed, Mistake, Mistakes, Problem, RemoteFailed, TeacherlmError

INTERRUPTED = 130
QUIET_S = 4.0
"""After so long without a word `quiet` is called."""
STOP_S = 30.0
"""How long a process may take to write a checkpoint before it is killed."""

ERRORS: Mapping[int, type[TeacherlmError]] = {
    error.exit_code: error for error in (GateFailed, Mistake, RemoteFailed, MachineFailed)
}


@dataclass(frozen=True)
class Order:
    """What one process does."""

    name: str
    """For messages."""
    module: str
    """Run with `python -m`; reads `task` as one JSON line, and ends when its standard input closes."""
    task: Mapping[str, Any]
    by_itself: str
    """The command that does the same alone, for a remedy."""


def side_by_side(
    orders: Sequence[Order],
    *,
    threads: int,
    at_once: int | None = None,
    gpus: Sequence[str] = (),
    said: Callable[[Order, Mapping[str, Any]], None],
    quiet: Callable[[], None] = lambda: None,
    ended: Callable[[Order, TeacherlmError | None], None] | None = None,
) -> None:
    """Run orders at the same time.

    Args:
        threads: of each process.
        at_once: processes at most; None: all.
        gpus: dealt out to the processes, one to each, as `CUDA_VISIBLE_DEVICES` names them; more processes share them.
        said: called with every line of a process but its errors.
        quiet: called where nothing was said for a while.
        ended: called when an order has ended, with what failed; None: the first failure stops all others and is raised.

    Raises:
        TeacherlmError: what the first one that failed said, where nobody takes failures; the others were stopped.
        KeyboardInterrupt: the run was stopped, or one of them was.
    """
    waiting = deque(_Running(order, threads) for order in orders)
    running: list[_Running] = []
    lines: queue.SimpleQueue[tuple[_Running, dict[str, Any] | None]] = queue.SimpleQueue()
    try:
        while waiting or running:
            while waiting and len(running) < (at_once or len(orders)):
                one = waiting.popleft()
                # The one that the fewest see.
                one.gpu = min(gpus, key=[other.gpu for other in running].count, default=None)
                running.append(one)
                one.start(lines)
            try:
                one, line = lines.get(timeout=QUIET_S)
            except queue.Empty:
                quiet()
                continue
            if line is None:
                failure = one.ended()
                one.hang_up()
                one.wait()
                running.remove(one)
                if ended is not None:
                    ended(one.order, failure)
                elif failure is not None:
                    raise failure
            elif "error" in line:
                one.failure = _error(line)
            else:
                said(one.order, line)
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
        self.gpu: str | None = None
        """The one that it sees; None: all."""
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._last_words: deque[str] = deque(maxlen=15)
        self._readers: list[threading.Thread] = []

    def start(self, lines: queue.SimpleQueue[Any]) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(self._threads), "TOKENIZERS_PARALLELISM": "false"}
        if self.gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpu
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", self.order.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            # A Ctrl-C in the terminal is ours to hand on.
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        # One that ended at once says why in its exit code and last words.
        with suppress(BrokenPipeError):
            process.stdin.write(orjson.dumps(dict(self.order.task), option=orjson.OPT_APPEND_NEWLINE))
            process.stdin.flush()
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout, lines), daemon=True),
            threading.Thread(target=self._listen, args=(process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def ended(self) -> TeacherlmError | None:
        """What failed.

        Raises:
            KeyboardInterrupt: it was interrupted.
        """
        assert self._process is not None
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return self.failure or MachineFailed(
                f"{self.order.name} stopped speaking but did not end in {STOP_S:g} s; it was killed",
                f"see what it does by itself: {self.order.by_itself}",
            )
        if self.failure is not None:
            return self.failure
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            self._readers[1].join(STOP_S)
            words = "\n".join(self._last_words).strip()
            return MachineFailed(
                f"{self.order.name} ended with exit code {code}" + (f":\n{words}" if words else ""),
                f"see what it says by itself: {self.order.by_itself}",
            )
        return None

    def hang_up(self) -> None:
        """Let it end; one that has ended already does not notice."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
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
                if isinstance(line, dict):
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
