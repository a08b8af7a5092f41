"""A training in a process of its own: `python -m teacherlm.api.quickstart_worker`, one JSON line for each moment.

The order is read as one line from standard input, which stays open: when it closes, whoever asked is gone, and the
training stops at its next step with a checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import orjson

from teacherlm.core.errors import TeacherlmError

EVERY_S = 0.5
"""Between two lines on how far it is."""


def main() -> int:
    """Train as ordered; the exit code is that of docs/commands.md."""
    order: dict[str, Any] = orjson.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_stop_with_the_asker, daemon=True).start()
    from teacherlm.api.project import open as open_project
    from teacherlm.train.failures import Interrupted
    from teacherlm.train.progress import Progress

    said = 0.0

    def watch(progress: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= EVERY_S or progress.step == progress.steps:
            said = time.monotonic()
            _say(progress=progress.to_row())

    project = open_project(Path(order["project"]), workspace=order["workspace"])
    try:
        project.train(
            order["training"],
            max_steps=order["max_steps"],
            restart=order["restart"],
            watch=watch,
            tell=lambda text: _say(note=text),
        )
    except Interrupted:
        return 130
    except TeacherlmError as error:
        problems = [(problem.found, problem.edit, problem.where) for problem in error.problems]
        _say(error=problems, exit_code=error.exit_code)
        return error.exit_code
    return 0


def _say(**line: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def _stop_with_the_asker() -> None:
    # Bytes of the descriptor itself: a thread that sits in a buffered read would hold the interpreter's end up.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
