"""A teacher of one's own: the server as a child process that lives as long as it is needed, and never longer."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import IO

from teacherlm.core.errors import RemoteFailed
from teacherlm.teacher.server.run import LIFELINE

READY = "listening on "
"""What the server's first line of output begins with; its URL follows."""

STOP_S = 20.0
"""How long the server may take to answer what is in flight before it is killed."""

KEYS = ("TEACHERLM_SERVE_API_KEY", "TEACHERLM_TEACHER_TOKEN")

TAIL = 15
"""Lines of the server's stderr that are kept for an error."""


class EmbeddedTeacher:
    """`teacherlm serve MODEL` on a free port of this machine.

    The child holds the other end of a pipe on its standard input: however this process ends, the pipe closes and the
    child ends too.

    >>> with EmbeddedTeacher("nano") as teacher:  # doctest: +SKIP
    ...     print(teacher.url)
    http://127.0.0.1:40961
    """

    def __init__(
        self,
        model: str = "nano",
        *,
        arguments: Sequence[str] = (),
        command: Sequence[str] | None = None,
        start_timeout_s: float = 600.0,
    ) -> None:
        """Describe the server; it starts with `with` or `start`.

        Args:
            model: `nano`, a folder or a Hub id.
            arguments: further options of `teacherlm serve`.
            command: another command that prints `listening on URL`; `arguments` are not added to it.
            start_timeout_s: for loading, downloads included.
        """
        self.model = model
        default = [sys.executable, "-m", "teacherlm", "serve", model, "--port", "0", *arguments]
        self._command = list(command) if command is not None else default
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        self._errors: deque[str] = deque(maxlen=TAIL)
        self._url: str | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._url is None:
            raise RuntimeError("the embedded teacher has not been started")
        return self._url

    def __enter__(self) -> EmbeddedTeacher:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> str:
        """Start the server and wait until it listens. Returns its URL.

        Raises:
            RemoteFailed: it ended, or did not listen in time; with the last lines that it wrote to stderr.
        """
        if self._process is not None:
            return self.url
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=_environment(),
            # A Ctrl-C in the terminal is ours to handle: in-flight calls are answered before the teacher ends.
            start_new_session=True,
        )
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        assert self._process.stdout is not None and self._process.stderr is not None
        self._readers = [
            threading.Thread(target=_forward, args=(self._process.stdout, lines.put), daemon=True),
            threading.Thread(target=_forward, args=(self._process.stderr, self._note), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        try:
            self._url = self._await_url(lines)
        except BaseException:
            self.stop()
            raise
        return self._url

    def stop(self) -> None:
        """End the server: politely, then firmly. Does nothing if it is not running."""
        process, self._process, self._url = self._process, None, None
        if process is None:
            return
        try:
            if process.stdin is not None:
                process.stdin.close()
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        finally:
            process.wait()
            for reader in self._readers:
                reader.join()

    def _note(self, line: str | None) -> None:
        if line is not None:
            self._errors.append(line)

    def _await_url(self, lines: queue.SimpleQueue[str | None]) -> str:
        deadline = time.monotonic() + self._start_timeout_s
        while True:
            try:
                line = lines.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                raise RemoteFailed(
                    f"the embedded teacher `{self.model}` did not listen within {self._start_timeout_s:g} s",
                    "give it more time, or start it yourself: teacherlm serve " + self.model,
                ) from None
            if line is None:
                raise RemoteFailed(self._death(), "see what it says by itself: teacherlm serve " + self.model)
            if line.startswith(READY):
                return line.removeprefix(READY).strip()

    def _death(self) -> str:
        """Why it ended, in its own words."""
        assert self._process is not None
        try:
            code = f"with exit code {self._process.wait(STOP_S)}"
        except subprocess.TimeoutExpired:
            code = "its output"
        self._readers[1].join(STOP_S)
        words = "\n".join(self._errors).strip()
        return f"the embedded teacher `{self.model}` ended {code}" + (f":\n{words}" if words else "")


def _environment() -> dict[str, str]:
    """Ours, without the keys: the child serves us alone, and needs none."""
    kept = {name: value for name, value in os.environ.items() if name not in KEYS}
    return {**kept, LIFELINE: "stdin", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}


def _forward(stream: IO[str], take: object) -> None:
    """Hand on a stream's lines, then None; reading on keeps the child from blocking on a full pipe."""
    assert callable(take)
    with stream:
        for line in stream:
            take(line.rstrip("\n"))
    take(None)
