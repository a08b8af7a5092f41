"""The ledger at size: a long run that is killed again and again, as one of five thousand answers is.

`TEACHERLM_TEST_ANSWERS=1_000_000` makes the long one what docs/performance.md speaks of: half an hour.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import teacherlm
from teacherlm.api.project import Project

SERVER = Path(__file__).parents[1] / "benchmarks" / "loopback.py"
SIZE = int(os.environ.get("TEACHERLM_TEST_ANSWERS", "250_000"))
KINDS, CONCURRENCY = 3, 64
DEADLINE_S = 1800
RECIPE = """
title: Sized
about: Questions of one form.
source: {files: {train: sized.jsonl}, columns: {id: VARCHAR, q: VARCHAR}}
license: CC0-1.0
redistribution: allowed
task: size
sample: {id: id, question: q, choices: "['True', 'False']", answer: "'True'"}
gates: {max_rejected: 1.0, max_truncated: 1.0, max_failed: 1.0}
"""


def built(tmp_path: Path, samples: int, workspace: Path) -> Project:
    root = tmp_path / "project"
    (root / "builders").mkdir(parents=True, exist_ok=True)
    (root / "catalog.yaml").write_text("teachers: {}\n")
    (root / "builders" / "sized.yaml").write_text(RECIPE)
    with (root / "builders" / "sized.jsonl").open("w") as rows:
        for number in range(samples):
            text = f"Does iron rust faster in salt water than in {number} drops of oil?"
            rows.write(json.dumps({"id": f"q{number}", "q": text}) + "\n")
    project = teacherlm.open(root, workspace=workspace)
    project.build("sized")
    return project


# --- a server that remembers, and a run that is killed ---------------------------------------------------------------


class Server(NamedTuple):
    """A server in a process of its own."""

    url: str

    def seen(self) -> dict[str, Any]:
        """How many questions it was asked, how many different ones, and when the first since the last look came."""
        found: dict[str, Any] = json.loads(self._get("/seen"))
        return found

    def kill(self, process: subprocess.Popen[bytes], number: int) -> None:
        """Kill a process when so many questions have come."""
        self._get(f"/kill/{process.pid}/{number}")

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path) as response:
            body: bytes = response.read()
            return body


@pytest.fixture
def server() -> Iterator[Server]:
    command = [sys.executable, str(SERVER), "--remember"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        yield Server(process.stdout.readline().strip())
        process.stdin.close()


MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
with open(sys.argv[1], "w") as place: place.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024))
sys.exit(code)
"""
"""Runs a command and writes its peak memory. A process begins with the peak of the one that starts it, if that is more:
this one is small."""


class Ended(NamedTuple):
    code: int
    printed: dict[str, Any]


@contextmanager
def augmenting(project: Project, url: str, within: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """`teacherlm augment` as a process; what it prints goes to files.

    Args:
        within: a command that runs it.
    """
    command = [*within, sys.executable, "-m", "teacherlm", "augment", "sized", "--teacher", url, "--format", "json"]
    command += ["--project", str(project.files.root), "--workspace", str(project.workspace.root)]
    command += ["--concurrency", str(CONCURRENCY)]
    place = project.files.root.parent
    with (place / "out").open("wb") as out, (place / "err").open("wb") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def ending(project: Project, process: subprocess.Popen[bytes]) -> Ended:
    """Wait for a process, and see what it printed."""
    code = process.wait(DEADLINE_S)
    out = (project.files.root.parent / "out").read_bytes()
    return Ended(code, json.loads(out) if out else {})


def finish(project: Project, server: Server, within: Sequence[str] = ()) -> Ended:
    with augmenting(project, server.url, within) as process:
        return ending(project, process)


def first_call(server: Server, started: float) -> float:
    """Seconds until the first question."""
    return float(server.seen()["first_at"]) - started


def import_s() -> float:
    """How long the command needs until it can begin at all."""
    started = time.time()
    subprocess.run([sys.executable, "-m", "teacherlm", "augment", "--help"], check=True, capture_output=True)
    return time.time() - started


def ledger(project: Project) -> tuple[int, int]:
    """Lines, and different keys among them."""
    (found,) = project.sql("SELECT count(*), count(DISTINCT call_key) FROM ledger").fetchall()
    return int(found[0]), int(found[1])


def tables(project: Project) -> dict[str, bytes]:
    """The bytes of what `check` makes of the answers."""
    project.check("sized")
    root = project.workspace.root
    files = [*root.glob("augmented/**/*.parquet"), *root.glob("verdicts/**/*.parquet")]
    assert len(files) == 6
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def answers(project: Project) -> list[tuple[object, ...]]:
    """How many rationales of each kind there are, and a sum over all that says what they are."""
    return project.sql(
        "SELECT kind, count(*), sum(hash(sample_id, repeat, status, text, call_key, prompt_tokens, generated_tokens)) "
        "FROM rationales GROUP BY kind ORDER BY kind"
    ).fetchall()


def run_and_kill(
    tmp_path: Path, server: Server, size: int, kills: int, outcome: Callable[[Project], object]
) -> tuple[list[float], list[float]]:
    """Kill a run at random moments, go on each time, and compare the outcome with that of an undisturbed run.

    Returns:
        For each start the seconds to the first call, and for each whole run its peak memory in MB.
    """
    samples = -(-size // KINDS)
    total = samples * KINDS
    torn = built(tmp_path, samples, tmp_path / "torn")
    moments = sorted(random.Random(20231019).sample(range(1, total), kills))
    starts: list[float] = []
    kept = 0
    for number, moment in enumerate(moments, start=1):
        started = time.time()
        with augmenting(torn, server.url) as process:
            server.kill(process, moment + number * CONCURRENCY)  # repeats are seen, too
            assert ending(torn, process).code == -signal.SIGKILL
        seen = server.seen()
        starts.append(seen["first_at"] - started)
        lines, keys = ledger(torn)
        assert kept <= lines == keys <= total  # nothing is lost, nothing is there twice
        # Asked, and not in the ledger: what was in flight at a kill.
        assert seen["questions"] - lines <= CONCURRENCY * number
        assert seen["questions"] - seen["different"] <= CONCURRENCY * (number - 1)
        kept = lines
    measured = (sys.executable, "-c", MEASURED, str(tmp_path / "peak"))
    started = time.time()
    end = finish(torn, server, measured)
    peaks = [float((tmp_path / "peak").read_text())]
    starts.append(first_call(server, started))
    seen = server.seen()
    assert end.code == 0
    row = end.printed["rows"][0]
    assert row["already"] == kept
    assert row["planned"] == total == row["already"] + row["answered"]
    assert seen["different"] == total
    assert seen["questions"] - total <= CONCURRENCY * kills
    assert ledger(torn) == (total, total)

    whole = built(tmp_path, samples, tmp_path / "whole")
    assert finish(whole, server, measured).code == 0
    peaks.append(float((tmp_path / "peak").read_text()))
    assert outcome(torn) == outcome(whole)
    return starts, peaks


@pytest.mark.timeout(DEADLINE_S)
def test_five_thousand_answers_and_three_kills(tmp_path: Path, server: Server) -> None:
    run_and_kill(tmp_path, server, 5_000, 3, tables)


@pytest.mark.slow
@pytest.mark.timeout(DEADLINE_S)
def test_a_quarter_of_a_million_answers_and_twenty_kills(
    tmp_path: Path, server: Server, record_property: Callable[[str, object], None]
) -> None:
    imports = import_s()
    # The answers are compared, not the tables that `check` makes of them: those are the smaller test's.
    starts, peaks = run_and_kill(tmp_path, server, SIZE, 20, answers)
    for name, value in (("first_call_s", starts), ("imports_s", imports), ("peak_mb", peaks)):
        record_property(name, value)
    # Other work of this machine may hold up one start, not all of the last ones, when most rows are there.
    assert min(starts[-5:]) - imports < 5
    # More or less by the versions of libraries; 388 to 402 were seen.
    assert max(peaks) < 450


# --- full disks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def stops_and_goes_on(
    project: Project, server: Server, words: str, full: Callable[[], Ended], make_space: Callable[[], None]
) -> None:
    total = 3_000 * KINDS
    kept = 0
    for attempt in range(1, 3):  # as long as there is no space the next run stops as well
        end = full()
        assert end.code == 4
        (error,) = end.printed["errors"]
        assert words in error["found"]
        lines, keys = ledger(project)
        assert kept <= lines == keys < total
        assert server.seen()["questions"] - lines <= CONCURRENCY * attempt
        kept = lines
    assert kept > 1_000
    make_space()
    end = finish(project, server)
    assert (end.code, end.printed["rows"][0]["already"]) == (0, kept)
    assert ledger(project) == (total, total)


def test_a_full_disk_stops_a_run_which_goes_on_when_there_is_space(
    tmp_path: Path, server: Server, small_disk: Path
) -> None:
    project = built(tmp_path, 3_000, small_disk / "workspace")

    def make_space() -> None:
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)

    stops_and_goes_on(project, server, "the disk is full", lambda: finish(project, server), make_space)


SMALL_FILES = ("sh", "-c", 'ulimit -f 1200; exec "$@"', "sh")
"""Files of 600 kB at most."""


def test_a_disk_that_takes_no_more_stops_a_run_which_goes_on_when_it_does(tmp_path: Path, server: Server) -> None:
    project = built(tmp_path, 3_000, tmp_path / "workspace")

    stops_and_goes_on(
        project, server, "the file system failed", lambda: finish(project, server, SMALL_FILES), lambda: None
    )
