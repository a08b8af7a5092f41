"""Tasks on a Ray cluster: one that runs already, or one that is started on this machine for as long as it is needed."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import MachineFailed, MissingExtra, Mistake
from teacherlm.engine.store import without_secrets
from teacherlm.engine.tasks import Ended, Failure, Task, Watch, perform

if TYPE_CHECKING:
    from types import ModuleType

RETRIES = 5
"""How often a task is run again after the machine or the process that ran it was lost."""

STORE_BYTES = 128 * 2**20
"""Of a local cluster's object store: tasks hand over names and counts, never rows."""

KNOCK_S = 10.0

LOOK_S = 0.5
"""How often the state of the run is looked at."""


def load_ray() -> ModuleType:
    """
    Raises:
        MissingExtra: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtra("--engine ray", "ray") from None
    return ray


@contextlib.contextmanager
def ray_engine(address: str | None = None, *, tell: Callable[[str], None] = lambda _: None) -> Iterator[OnRay]:
    """An engine on the cluster at an address, else at `$RAY_ADDRESS`, else on one of this machine.

    A program that is connected to a cluster already goes on with it.

    Raises:
        MissingExtra: Ray is not installed.
        Mistake: no cluster answers there.
        MachineFailed: none can be started here.
    """
    ray = load_ray()
    if ray.is_initialized():
        yield OnRay(ray, tell=tell)
        return
    wanted = address or os.environ.get("RAY_ADDRESS")
    own = {} if wanted else {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    tell(f"connecting to the Ray cluster at {wanted}" if wanted else "starting Ray on this machine")
    try:
        _knock(wanted)
        ray.init(address=wanted or "local", log_to_driver=False, logging_level=logging.WARNING, **own)
    except Exception as error:  # Ray raises whatever it met
        words = without_secrets(" ".join(str(error).split()))[:300]
        if wanted:
            raise Mistake(
                f"no Ray cluster answers at {wanted}: {words}",
                "start one (ray start --head --port=6379), or leave the address out for one on this machine",
                "--ray-address" if address else "$RAY_ADDRESS",
            ) from None
        raise MachineFailed(f"Ray cannot be started: {words}", "look at the newest folder in /tmp/ray") from None
    try:
        yield OnRay(ray, tell=tell)
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """See that something listens there: Ray itself goes on trying for minutes.

    Raises:
        OSError: nothing does.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()


class OnRay:
    """Runs tasks on the cluster that this process is connected to.

    A task whose machine is lost is run again on another one; it has to find out itself what it had done.
    """

    def __init__(self, ray: ModuleType, *, tell: Callable[[str], None] = lambda _: None) -> None:
        self._ray = ray
        self._tell = tell
        self._stopped = False
        self._said = False
        """Whether it was told that all workers are stopping."""

    @property
    def places(self) -> int:
        """One task for each machine: a task uses all cores of its machine, or waits for the teacher."""
        nodes = [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
        return max(1, len(nodes))

    def stop(self) -> None:
        self._stopped = True

    def run(self, tasks: Sequence[Task], *, at_once: int | None = None, watch: Watch | None = None) -> Iterator[Ended]:
        """See `Engine.run`. Ctrl-C lets the tasks finish what is in flight; a second one leaves them."""
        ray, self._stopped, self._said = self._ray, False, False
        board = _board(ray)
        remote = ray.remote(_perform)
        waiting = deque(tasks)
        running: dict[Any, Task] = {}
        begun: dict[str, int] = {}
        with self._interrupts():
            try:
                while running or (waiting and not self._stopped):
                    while waiting and len(running) < (at_once or self.places) and not self._stopped:
                        task = waiting.popleft()
                        options = {"name": task.name, "num_cpus": 1, "max_retries": RETRIES}
                        running[remote.options(scheduling_strategy="SPREAD", **options).remote(task, board)] = task
                    ready, _ = ray.wait(list(running), num_returns=1, timeout=LOOK_S)
                    for reference in ready:
                        yield self._ended(running.pop(reference), reference)
                    self._look(board, begun, watch, running.values())
            finally:
                for reference in running:
                    ray.cancel(reference, force=True)
                ray.kill(board)

    def _look(self, board: Any, begun: dict[str, int], watch: Watch | None, running: Iterable[Task]) -> None:
        if self._stopped:
            board.stop.remote()
        try:
            told, attempts, stopping = self._ray.get(board.look.remote(), timeout=LOOK_S)
        except self._ray.exceptions.RayError:  # it is slow, or starts again
            return
        for name, count in attempts.items():
            if count > begun.setdefault(name, 1):
                begun[name] = count
                self._tell(f"{name}: the machine or the process that ran it was lost; it runs again")
        if self._stopped and not self._said and stopping >= {task.name for task in running}:
            self._said = True
            self._tell("every worker knows that it should stop; what is in flight is finished")
        if watch is not None:
            watch(told)

    def _ended(self, task: Task, reference: Any) -> Ended:
        try:
            ended: Ended = self._ray.get(reference)
            return ended
        except self._ray.exceptions.RayError as error:
            words = without_secrets(str(error).strip().splitlines()[0][:300] if str(error).strip() else repr(error))
            failure = MachineFailed(
                f"{task.name}: Ray could not finish it: {type(error).__name__}: {words}",
                "look at the machines (memory, disk, `ray status`) and run the same command again: "
                "what was uploaded is kept",
            )
            return Ended(task.name, failure=Failure.of(failure))

    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(*_: object) -> None:
            if self._stopped:
                raise KeyboardInterrupt
            self.stop()

        previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)


class _Board:
    """Where tasks tell how far they are, and learn that they should stop."""

    def __init__(self) -> None:
        self._told: dict[str, Any] = {}
        self._begun: dict[str, int] = {}
        self._stopped = False
        self._stopping: set[str] = set()

    def begin(self, name: str) -> bool:
        self._begun[name] = self._begun.get(name, 0) + 1
        return self._stopped

    def tell(self, name: str, value: Any, stopping: bool) -> bool:
        self._told[name] = value
        if stopping:
            self._stopping.add(name)
        return self._stopped

    def look(self) -> tuple[dict[str, Any], dict[str, int], set[str]]:
        """What tasks have told last, how often each was begun, and those that know that they should stop."""
        return self._told, self._begun, self._stopping

    def stop(self) -> None:
        self._stopped = True


def _board(ray: ModuleType) -> Any:
    """A board on this machine: it lives as long as this process needs it, whatever happens to the others."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": here}
    return ray.remote(_Board).options(**options).remote()


def _perform(task: Task, board: Any) -> Ended:
    """Run on a worker."""
    report = _Teller(task.name, board)
    return perform(task, report)


class _Teller:
    """A `Report` that never waits: it runs in the midst of the work."""

    def __init__(self, name: str, board: Any) -> None:
        self._name, self._board = name, board
        self._last = 0.0
        self._stopped = False
        self._sent = board.begin.remote(name)

    def __call__(self, value: Any) -> bool:
        import ray

        if time.monotonic() - self._last >= LOOK_S and ray.wait([self._sent], timeout=0)[0]:
            self._last = time.monotonic()
            with contextlib.suppress(ray.exceptions.RayError):
                self._stopped = self._stopped or ray.get(self._sent)
            self._sent = self._board.tell.remote(self._name, value, self._stopped)
        return self._stopped
