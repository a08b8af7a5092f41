"""`teacherlm augment` dies in the middle and finishes the same: the real command, a real server, real signals."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import teacherlm
from teacherlm.api.project import Project
from teacherlm.teacher.errors import TeacherLost
from unkind import (
    BUSY,
    DEADLINE_S,
    DROP,
    INCOMPLETE,
    TOO_LONG,
    Asked,
    Reply,
    cut,
    fails,
    says,
    slow,
    unkind_in_a_thread,
)

SAMPLES, KINDS, BUDGET, CONCURRENCY = 50, 3, 32, 6
RECIPE = """
title: Tiny
about: Sums.
source:
  files: {train: tiny.jsonl}
  columns: {id: VARCHAR, question: VARCHAR, answer: VARCHAR}
license: CC0-1.0
redistribution: allowed
task: sums
sample: {id: id, question: question, choices: "[]", answer: answer}
max_new_tokens: 32
gates: {max_rejected: 1.0, max_truncated: 1.0, max_failed: 1.0}
given: [{id: g, question: "How much is 1 and 1?", answer: "2"}]
expect: [{question: "How much is 1 and 1?", answer: "2"}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "builders").mkdir(parents=True)
    (root / "catalog.yaml").write_text("teachers: {}\n")
    (root / "builders" / "tiny.yaml").write_text(RECIPE)
    rows = [{"id": f"s{n}", "question": f"How much is {n} and {n}?", "answer": str(2 * n)} for n in range(SAMPLES)]
    (root / "builders" / "tiny.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return root


def built(project: Path, name: str) -> Project:
    opened = teacherlm.open(project, workspace=project.parent / name)
    opened.build("tiny")
    return opened


@contextmanager
def augmenting(project: Project, url: str) -> Iterator[subprocess.Popen[str]]:
    """`teacherlm augment` as a process."""
    command = [sys.executable, "-m", "teacherlm", "augment", "tiny", "--teacher", url, "--format", "json"]
    command += ["--project", str(project.files.root), "--workspace", str(project.workspace.root)]
    command += ["--concurrency", str(CONCURRENCY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(project: Project, url: str) -> tuple[int, dict[str, Any]]:
    with augmenting(project, url) as process:
        out, err = process.communicate(timeout=DEADLINE_S)
        assert out, err
        return process.returncode, json.loads(out)


def moody(asked: Asked) -> Reply:
    """Decided by the prompt alone, so that every run meets the same teacher; it refuses some and cuts some short."""
    chance = random.Random(hashlib.sha256(asked.prompt.encode()).digest())
    trouble, mood = chance.random(), chance.random()
    if asked.attempt == 1 and trouble < 0.15:
        return chance.choice([BUSY, DROP, INCOMPLETE])
    if mood < 0.08:
        return TOO_LONG
    if mood < 0.16 or (mood < 0.4 and asked.budget == BUDGET):
        return cut("One has to count from")
    if mood < 0.24:
        return TOO_LONG  # there is no room for twice the budget
    words = chance.choices(
        ["count", "from", "the", "first", "number", "onwards", "and", "carry", "what", "is", "left"], k=14
    )
    return says(f"One has to {' '.join(words)}.", tokens=18)


def is_an_answer(reply: Reply) -> bool:
    return reply.text is not None or reply is TOO_LONG


def outcome(project: Project) -> tuple[list[Any], dict[str, bytes]]:
    """The final rows without their times, and the bytes of what `check` makes of them."""
    project.check("tiny")
    columns = "status, * EXCLUDE (status, latency_ms, attempts, created_at, endpoint)"
    rows = project.sql(f"SELECT {columns} FROM rationales ORDER BY sample_id, kind, repeat").fetchall()
    root = project.workspace.root
    files = [*root.glob("augmented/**/*.parquet"), *root.glob("verdicts/**/*.parquet")]
    assert len(files) == 6
    return rows, {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_a_run_that_is_killed_again_and_again_ends_as_an_uninterrupted_one(project: Path) -> None:
    rounds = random.Random(20231019)
    whole, torn = built(project, "whole"), built(project, "torn")
    with unkind_in_a_thread(moody) as server:
        assert finish(whole, server.url)[0] == 0

    answers: Counter[str] = Counter()
    victim: list[subprocess.Popen[str]] = []
    fatal = 0

    def deadly(asked: Asked) -> Reply:
        reply = moody(asked)
        answers[json.dumps(asked.body)] += is_an_answer(reply)
        if asked.number == fatal:
            victim[-1].send_signal(signal.SIGKILL)
        return reply

    kills, kept = 6, 0
    with unkind_in_a_thread(deadly) as server:
        for _ in range(kills):
            fatal = len(server.seen) + rounds.randint(1, 40)
            with augmenting(torn, server.url) as process:
                victim.append(process)
                assert process.wait(DEADLINE_S) == -signal.SIGKILL
            (lines,) = torn.sql("SELECT count(*) FROM ledger").fetchall()[0]  # SQL works on what a kill leaves
            assert lines >= kept  # nothing is lost
            # Answered, and not in the ledger: only what was in flight at a kill.
            assert sum(answers.values()) - lines <= CONCURRENCY * len(victim)
            kept = lines
        assert 20 < kept < SAMPLES * KINDS
        code, printed = finish(torn, server.url)
        seen = len(server.seen)
        assert finish(torn, server.url)[0] == 0
        assert len(server.seen) == seen  # all is there: nothing is asked

    assert code == 0
    row = printed["rows"][0]
    settled = sum(row[name] for name in ("answered", "truncated", "refused", "exhausted"))
    assert row["planned"] == SAMPLES * KINDS == row["already"] + settled
    assert sum(count - 1 for count in answers.values()) <= CONCURRENCY * kills
    twice = "SELECT call_key FROM ledger GROUP BY call_key HAVING count(*) > 1"
    assert torn.sql(twice).fetchall() == []
    rows, files = outcome(torn)
    assert len(rows) == SAMPLES * KINDS
    assert {row[0] for row in rows} == {"ok", "truncated", "failed"}
    assert (rows, files) == outcome(whole)


def at_the_gate(gate: asyncio.Event, open_until: int) -> Any:
    def behaviour(asked: Asked) -> Reply:
        return says("Count on.") if asked.number <= open_until else slow(gate, says("Count on."))

    return behaviour


def lines_of(project: Project) -> int:
    (count,) = project.sql("SELECT count(*) FROM ledger").fetchall()[0]
    return int(count)


def test_an_interrupt_keeps_what_is_in_flight_and_another_process_is_refused_meanwhile(project: Path) -> None:
    opened, gate = built(project, "workspace"), asyncio.Event()
    with unkind_in_a_thread(at_the_gate(gate, 10)) as server, augmenting(opened, server.url) as process:
        server.wait_until(lambda: server.at_work == CONCURRENCY)
        assert lines_of(opened) == 10  # SQL works during a run
        assert opened.workspace.holder("tiny") == f"pid {process.pid} on {socket.gethostname()}"

        code, printed = finish(opened, server.url)
        assert code == 4
        (error,) = printed["errors"]
        assert error["found"] == f"dataset `tiny` is being written by pid {process.pid} on {socket.gethostname()}"
        assert len(server.seen) == 10 + CONCURRENCY

        process.send_signal(signal.SIGINT)
        server.loop.call_soon_threadsafe(gate.set)
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130, err
        asked = len(server.seen)
    assert json.loads(out)["rows"][0]["stopped_by"] == "interrupt"
    assert f"{asked} of {SAMPLES * KINDS} texts are in the ledger" in err
    assert 10 + CONCURRENCY <= lines_of(opened) == asked < SAMPLES * KINDS
    assert opened.workspace.holder("tiny") is None


def test_a_second_interrupt_does_not_wait(project: Path) -> None:
    opened = built(project, "workspace")
    with (
        unkind_in_a_thread(at_the_gate(asyncio.Event(), 10)) as server,
        augmenting(opened, server.url) as process,
    ):
        server.wait_until(lambda: server.at_work == CONCURRENCY)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            with_patience(process)
        assert process.wait(DEADLINE_S) == 130
        assert "everything that was answered is kept" in process.stderr.read() if process.stderr else False
    assert lines_of(opened) == 10


def with_patience(process: subprocess.Popen[str]) -> None:
    """Two signals at once would be one."""
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        return


def test_the_text_of_a_cut_answer_outlives_the_run_that_got_it(project: Path) -> None:
    """The next run asks with twice the budget; where that is refused, the first run's text is all there is."""
    opened = built(project, "workspace")
    first = [cut("One has to count from"), fails(401)]
    with unkind_in_a_thread(first) as server, pytest.raises(TeacherLost):
        opened.augment("tiny", teacher=server.url, limit=1, concurrency=1)
    with unkind_in_a_thread(lambda asked: TOO_LONG if asked.budget > BUDGET else says("Count on.")) as server:
        state = opened.augment("tiny", teacher=server.url, limit=1, concurrency=1)
        assert sorted(asked.budget for asked in server.seen) == [BUDGET, BUDGET, 2 * BUDGET]
    assert (state.tally.truncated, state.tally.answered, state.already) == (1, 2, 0)
    rows = opened.sql("SELECT status, text FROM rationales ORDER BY status DESC").fetchall()
    assert rows == [("truncated", "One has to count from"), ("ok", "Count on."), ("ok", "Count on.")]
