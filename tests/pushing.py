"""Processes for tests of publishing: each is forked from one that has the clients loaded, so that it starts at once.

`Processes` is what tests use. Run as a script it is that process: it reads one order a line, and forks for each.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Ended:
    """What a process has printed, and how it ended: negative for a signal."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Processes:
    """Forks one process at a time; each has the environment, the output and the end of a process of its own."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.home = Path(environment["HF_HOME"])
        """Where the clients keep their caches."""
        self._parent = subprocess.Popen(
            [sys.executable, __file__],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, what: str, given: Any, folder: Path, **environment: str | None) -> int:
        """Begin `push` or `command` in a folder; gives its process id.

        Args:
            environment: what to set beside what the first process has; None: what to leave out.
        """
        self._outputs = [folder / f".{name}" for name in ("stdout", "stderr")]
        order = [what, given, str(folder), [str(path) for path in self._outputs], environment]
        assert self._parent.stdin and self._parent.stdout
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())

    def wait(self) -> Ended:
        """Wait for the process that was started last."""
        assert self._parent.stdout
        code = int(self._parent.stdout.readline())
        return Ended(code, *(path.read_text(encoding="utf-8") for path in self._outputs))

    def __call__(self, what: str, given: Any, folder: Path, **environment: str | None) -> Ended:
        self.start(what, given, folder, **environment)
        return self.wait()

    def close(self) -> None:
        assert self._parent.stdin and self._parent.stdout
        self._parent.stdin.close()
        self._parent.stdout.close()
        self._parent.wait()


@functools.cache
def processes(url: str) -> Processes:
    """Those that talk to the Hub at a URL; they end with the tests."""
    import atexit

    from loopback_hub import environment_of

    home = tempfile.TemporaryDirectory(prefix="teacherlm-home-", ignore_cleanup_errors=True)
    made = Processes({**environment_of(url, home.name, None), "HOME": home.name})
    atexit.register(home.cleanup)
    atexit.register(made.close)
    return made


def push(given: Any, folder: Path) -> None:
    """Push small publications, and print what was done, or why not."""
    from hub_samples import publication
    from teacherlm.core.errors import TeacherlmError
    from teacherlm.hub import address
    from teacherlm.hub.push import PushOptions, publish_hub
    from teacherlm.hub.repository import Repository

    options = {name: given[name] for name in ("private", "tag", "create_pr", "dry_run") if name in given}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        parts, staging = Path(scratch) / "parts", Path(scratch) / "staging"
        staging.mkdir()
        sizes = given.get("train", {})
        made = [
            publication(parts / name, name, sizes.get(name, 5), **given.get("changes", {}))
            for name in given["datasets"]
        ]
        try:
            done, _ = publish_hub(made, Repository(address.parse(given["to"])), staging, PushOptions(**options))
            said = dataclasses.asdict(done)
        except TeacherlmError as error:
            traceback.print_exc()  # what a Python user would see; tests look into it for tokens
            problem = error.problems[0]
            said = {"error": type(error).__name__, "found": problem.found, "remedy": problem.edit}
    sys.stdout.write(json.dumps(said))


def command(arguments: Any, folder: Path) -> None:
    """`teacherlm …`, as the installed command; no file may grow beyond TEST_FILE_LIMIT bytes."""
    from teacherlm.cli.main import main

    if limit := os.environ.pop("TEST_FILE_LIMIT", None):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    main(arguments)


def _run(order: list[Any]) -> int:
    """In the new process: do as ordered; gives the exit code."""
    what, given, folder, outputs, environment = order
    for number, path in enumerate(outputs, start=1):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    os.chdir(folder)
    code: Any = 0
    try:
        (push if what == "push" else command)(given, Path(folder))
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0


def _serve() -> None:
    # Loaded before the first fork; what would start threads (DuckDB, polars) is not.
    for name in ("datasets", "pyarrow.parquet", "yaml", "hub_samples", "teacherlm.cli.main", "teacherlm.hub.verify"):
        importlib.import_module(name)

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        if not (child := os.fork()):
            os._exit(_run(json.loads(line)))
        print(child, file=answers, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
