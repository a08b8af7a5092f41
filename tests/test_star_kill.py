"""STaR dies in the middle and finishes the same: no answered draw is asked again, and what follows it goes on."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import teacherlm
from teacherlm.api.project import Project
from test_kill import BUDGET, CONCURRENCY, SAMPLES, is_an_answer, outcome, project
from unkind import BUSY, DEADLINE_S, DROP, TOO_LONG, Asked, Reply, cut, says, unkind_in_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["project"]

REPEATS = 3


def built(root: Path, name: str) -> Project:
    opened = teacherlm.open(root, workspace=root.parent / name)
    opened.build("tiny")
    return opened


@contextmanager
def drawing(opened: Project, url: str) -> Iterator[subprocess.Popen[str]]:
    """`teacherlm augment --strategy star` as a process, with a teacher that samples."""
    parameters = "{do_sample: true, temperature: 0.7, seed: 5}"
    (opened.files.root / "catalog.yaml").write_text(f"teachers: {{lab: {{url: '{url}', parameters: {parameters}}}}}\n")
    command = [sys.executable, "-m", "teacherlm", "augment", "tiny", "--teacher", "lab", "--format", "json"]
    command += ["--project", str(opened.files.root), "--workspace", str(opened.workspace.root)]
    command += ["--concurrency", str(CONCURRENCY), "--strategy", "star", "--repeats", str(REPEATS)]
    command += ["--kinds", "chain_of_thought"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(opened: Project, url: str) -> dict[str, Any]:
    with drawing(opened, url) as process:
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, err
        row: dict[str, Any] = json.loads(out)["rows"][0]
        return row


def body(asked: Asked) -> str:
    return json.dumps(asked.body, sort_keys=True)


def moody(asked: Asked) -> Reply:
    """Decided by the request alone. Draws are right, wrong, cut, refused, or tell nothing."""
    chance = random.Random(hashlib.sha256(body(asked).encode()).digest())
    trouble, mood = chance.random(), chance.random()
    if asked.attempt == 1 and trouble < 0.1:
        return chance.choice([BUSY, DROP])
    if mood < 0.05:
        return TOO_LONG
    if mood < 0.15 or (mood < 0.3 and asked.budget == BUDGET):
        return cut("One has to count from")
    if mood < 0.6:
        return says(f"One has to count on and carry what is left of it. The answer is {chance.randint(-9, -1)}.")
    if mood < 0.7:
        return says("One has to count from the first of them onwards, who knows how far.")
    number = int(asked.prompt.split()[4])
    return says(f"One has to count from the first number onwards with care. The answer is {2 * number}.")


@pytest.mark.slow
def test_draws_that_are_killed_again_and_again_end_as_uninterrupted_ones(project: Path) -> None:
    rounds = random.Random(20220328)
    whole, torn = built(project, "whole"), built(project, "torn")
    with unkind_in_a_thread(moody) as server:
        row = finish(whole, server.url)
        asked_in_all = {body(asked) for asked in server.seen}
    settled = sum(row[name] for name in ("answered", "truncated", "refused", "exhausted"))
    assert row["planned"] == SAMPLES == settled
    assert row["followed"] > SAMPLES // 2

    answers: Counter[str] = Counter()
    victim: list[subprocess.Popen[str]] = []
    fatal = 0

    def deadly(asked: Asked) -> Reply:
        reply = moody(asked)
        answers[body(asked)] += is_an_answer(reply)
        if asked.number == fatal:
            victim[-1].send_signal(signal.SIGKILL)
        return reply

    kills = 6
    with unkind_in_a_thread(deadly) as server:
        for _ in range(kills):
            fatal = len(server.seen) + rounds.randint(1, 25)
            with drawing(torn, server.url) as process:
                victim.append(process)
                assert process.wait(DEADLINE_S) == -signal.SIGKILL
        fatal = 0
        row = finish(torn, server.url)
    settled = sum(row[name] for name in ("answered", "truncated", "refused", "exhausted"))
    assert row["planned"] == SAMPLES == row["already"] + settled
    # Only what was in flight is asked twice, and nothing that the uninterrupted run did not ask.
    assert sum(count - 1 for count in answers.values()) <= CONCURRENCY * kills
    assert set(answers) == asked_in_all
    assert torn.sql("SELECT call_key FROM ledger GROUP BY call_key HAVING count(*) > 1").fetchall() == []
    strategies = dict(torn.sql("SELECT strategy, count(*) FROM rationales GROUP BY strategy").fetchall())
    assert strategies["star"] > strategies["star_hinted"] > 0
    assert outcome(torn) == outcome(whole)
    hints = torn.sql("SELECT count(*) FROM augmented WHERE provenance.chain_of_thought.strategy = 'star_hinted'")
    assert hints.fetchall() != [(0,)]
