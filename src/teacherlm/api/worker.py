"""What a process of `side_by_side` is: it reads its task, says JSON lines, and ends with whoever asked for it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import orjson

from teacherlm.core.errors import TeacherlmError


class Say(Protocol):
    """Says one line."""

    def __call__(self, **line: Any) -> None: ...


def work(do: Callable[[dict[str, Any], Say], None]) -> NoReturn:
    """Do the task that is read as one line from standard input, which stays open.

    When it closes, whoever asked is gone: the process gets SIGTERM, as if a person had stopped it. What fails is said
    as a line; the exit code is that of docs/commands.md.
    """
    task: dict[str, Any] = orjson.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_stop_with_the_asker, daemon=True).start()
    code = 0
    try:
        do(task, _say)
    except KeyboardInterrupt:  # train's `Interrupted` is one
        code = 130
    except TeacherlmError as error:
        problems = [(problem.found, problem.edit, problem.where) for problem in error.problems]
        _say(error=problems, exit_code=error.exit_code)
        code = error.exit_code
    sys.stdout.flush()
    os._exit(code)


def _say(**line: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def _stop_with_the_asker() -> None:
    # Bytes of the descriptor itself: a thread that sits in a buffered read would hold the interpreter's end up.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
