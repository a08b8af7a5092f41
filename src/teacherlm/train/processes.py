"""The processes of one training, as torchrun or `accelerate launch` start them: who is first, who waits."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Made = TypeVar("Made")


def count() -> int:
    """Processes of this training."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def launch(arguments: Sequence[str], processes: int) -> int:
    """Run `teacherlm ARGUMENTS` in several processes of this machine, as torchrun would, and wait for them.

    Ctrl-C reaches all of them by the terminal; where one fails the others are ended.

    Returns:
        The exit code of the first that failed, else 0.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}
    running: list[subprocess.Popen[bytes]] = []
    left: list[subprocess.Popen[bytes]] = []
    before = signal.getsignal(signal.SIGINT)
    try:
        for rank in range(processes):
            environment = {**threads, **os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            command = [sys.executable, "-m", "teacherlm", *arguments]
            running.append(subprocess.Popen(command, env=environment))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # theirs to answer
        left += running
        first_failure = 0
        while left:
            pid, status = os.wait()
            ended = next((one for one in left if one.pid == pid), None)
            if ended is None:
                continue
            left.remove(ended)
            code = os.waitstatus_to_exitcode(status)
            first_failure = first_failure or code
            if code not in (0, 130):
                _end(left)
        return first_failure
    finally:
        _end(left)
        signal.signal(signal.SIGINT, before)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def first_then_others(make: Callable[[], Made]) -> Made:
    """Call `make` in the first process, and then, when what it wrote is there, in the others."""
    if count() == 1:
        return make()
    with _state().main_process_first():
        return make()


def together() -> None:
    """Wait until all processes are here."""
    if count() > 1:
        _state().wait_for_everyone()


def _state() -> Any:
    import torch
    from accelerate import PartialState  # type: ignore[import-untyped]

    return PartialState(cpu=not torch.cuda.is_available())
