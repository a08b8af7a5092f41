"""Tasks and how they end; the engine that runs them one after the other in this process."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from teacherlm.core.errors import (
    GateFailed,
    MachineFailed,
    Mistake,
    Mistakes,
    Problem,
    RemoteFailed,
    TeacherlmError,
)

Report = Callable[[Any], bool]
"""Handed to a task: it tells how far it is, and learns whether it should stop."""

Watch = Callable[[Mapping[str, Any]], None]
"""Called with what each running task has told last, by the task's name."""


@dataclass(frozen=True)
class Task:
    """A function to be run somewhere, with what it needs."""

    name: str
    """Unique in a run, for people."""
    function: Callable[..., Any]
    """Of a module that every machine has; takes the arguments and a `Report`."""
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A TeacherlmError on its way from one process to another."""

    exit_code: int
    found: str
    remedy: str
    where: str
    problems: tuple[Problem, ...]

    @classmethod
    def of(cls, error: TeacherlmError) -> Failure:
        return cls(error.exit_code, error.found, error.remedy, error.where, tuple(error.problems))

    def error(self) -> TeacherlmError:
        if len(self.problems) > 1:
            return Mistakes(self.problems)
        kinds = {1: GateFailed, 2: Mistake, 3: RemoteFailed}
        return kinds.get(self.exit_code, MachineFailed)(self.found, self.remedy, self.where)


@dataclass(frozen=True)
class Ended:
    """How a task has ended."""

    task: str
    value: Any = None
    failure: Failure | None = None
    host: str = ""
    seconds: float = 0.0


class Engine(Protocol):
    """Runs tasks."""

    @property
    def places(self) -> int:
        """Tasks that it runs at once unless told otherwise."""
        ...

    def run(self, tasks: Sequence[Task], *, at_once: int | None = None, watch: Watch | None = None) -> Iterator[Ended]:
        """Run tasks; they are yielded as they end, those that fail too. After an interrupt no other is begun."""
        ...

    def stop(self) -> None:
        """Begin no other task, and ask those that run to finish what is in flight."""
        ...


def perform(task: Task, report: Report) -> Ended:
    """Run a task in this process; whatever goes wrong is in what is returned."""
    started, failure, value = time.monotonic(), None, None
    try:
        value = task.function(*task.arguments, report)
    except TeacherlmError as error:
        failure = Failure.of(error)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        found = f"{task.name} failed unexpectedly: {type(error).__name__}: {error}"
        where = f"{last.filename}:{last.lineno} on {socket.gethostname()}"
        failure = Failure.of(MachineFailed(found, "this is a defect of teacherlm: please report it", where))
    return Ended(task.name, value, failure, socket.gethostname(), round(time.monotonic() - started, 3))


class Inline:
    """Runs tasks in this process, one after the other."""

    def __init__(self) -> None:
        self._stopped = False

    @property
    def places(self) -> int:
        return 1

    def stop(self) -> None:
        self._stopped = True

    def run(self, tasks: Sequence[Task], *, at_once: int | None = None, watch: Watch | None = None) -> Iterator[Ended]:
        self._stopped = False
        for task in tasks:

            def report(value: Any, name: str = task.name) -> bool:
                if watch is not None:
                    watch({name: value})
                return self._stopped

            yield perform(task, report)
            if self._stopped:
                return
