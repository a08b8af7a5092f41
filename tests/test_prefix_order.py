"""What a server's prefix cache meets: requests whose prompts begin alike come close to each other."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import teacherlm
from recipes import parquet, recipe
from teacherlm.api.passages import ALIKE, SampleFile
from teacherlm.api.project import Project
from unkind import BUSY, INCOMPLETE, Asked, Reply, Unkind, says, slow, unkind_in_a_thread

KINDS, CONCURRENCY = 3, 64
CACHED = 64
"""Requests that a prefix stays in the cache for: some gigabytes of keys and values of prompts."""


def passage(number: int) -> str:
    return f"Passage {number}: " + f"what is told there of the matter {number} at some length. " * 6


def question(number: int, of: int) -> str:
    """A question about a passage, which stands first, as in SQuAD."""
    return f"{passage(of)} Which is the word of number {number}?"


# --- the order -------------------------------------------------------------------------------------------------------


def sample_file(path: Path, questions: Sequence[str], limit: int | None = None) -> SampleFile:
    rows: list[dict[str, Any]] = [
        {"sample_id": f"d/train/{number}", "question": text} for number, text in enumerate(questions)
    ]
    rows = [row | {"choices": ["a", "b"][: number % 3]} for number, row in enumerate(rows)]
    return SampleFile(parquet(path, rows), len(rows) if limit is None else limit, ["sample_id", "question", "choices"])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_samples_stand_where_their_passage_comes_first(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    shares = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=40))
    short = data.draw(st.sets(st.sampled_from(range(len(shares)))))
    limit = data.draw(st.integers(1, len(shares)))
    texts = ["Who?" if number in short else question(number, of) for number, of in enumerate(shares)]
    keys = [("alone", number) if number in short else ("passage", of) for number, of in enumerate(shares)][:limit]
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=limit, max_size=limit)))
    with sample_file(tmp_path_factory.mktemp("order") / "rows.parquet", texts, limit) as file:
        found = [one for batch in file.batches(wanted) for one in batch]
    rows = [row for row, _, _ in found]
    assert rows == [row for row in sorted(range(limit), key=lambda row: (keys.index(keys[row]), row)) if wanted[row]]
    for row, name, sample in found:
        assert sample == {
            "sample_id": f"d/train/{row}",
            "question": texts[row],
            "choices": ["a", "b"][: row % 3],
        }
        assert bool(name) == (keys.count(keys[row]) > 1)
    names = {keys[row]: name for row, name, _ in found if name}
    assert all(names.get(keys[row], "") == name for row, name, _ in found)
    assert len(set(names.values())) == len(names)


def test_rows_that_are_far_apart_are_brought_together(tmp_path: Path) -> None:
    """More rows than are read at once, in any order."""
    shares = [number // 4 for number in range(40_000)]
    random.Random(3).shuffle(shares)
    texts = [f"{of:06d} {'about this ' * 20} {number}" for number, of in enumerate(shares)]
    with sample_file(tmp_path / "rows.parquet", texts) as file:
        for wanted in (np.ones(len(shares), dtype=np.bool_), np.arange(len(shares)) % 3 == 0):
            rows = [row for batch in file.batches(wanted) for row, _, _ in batch]
            assert sorted(rows) == np.flatnonzero(wanted).tolist()
            changes = sum(shares[one] != shares[other] for one, other in itertools.pairwise(rows))
            assert changes == len({shares[row] for row in rows}) - 1


def test_what_is_in_order_is_read_as_it_is(tmp_path: Path) -> None:
    texts = [question(number, number // 5) for number in range(100)]
    with sample_file(tmp_path / "rows.parquet", texts) as file:
        rows = [row for batch in file.batches(np.ones(100, dtype=np.bool_)) for row, _, _ in batch]
        assert rows == list(range(100))
        assert file.is_as_written
    assert len(passage(0).encode()) > ALIKE


# --- what a server sees ----------------------------------------------------------------------------------------------


def project(tmp_path: Path, shares: Sequence[int]) -> Project:
    """Samples about passages, their answers not in the order of anything."""
    rows = [{"id": str(number), "q": question(number, of), "a": "word"} for number, of in enumerate(shares)]
    parquet(tmp_path / "p" / "builders" / "rows.parquet", rows)
    recipe(tmp_path / "p", {"id": "id", "question": "q", "answer": "a"})
    opened = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    opened.build("d")
    return opened


class Tired:
    """Answers after a moment, sooner or later than others, and fails every fifth request."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def __call__(self, asked: Asked) -> Reply:
        answered = asyncio.Event()
        asyncio.get_running_loop().call_later(self._chance.uniform(0.005, 0.03), answered.set)
        trouble = self._chance.random()
        reply = BUSY if trouble < 0.05 else INCOMPLETE if trouble < 0.2 else says("It is so.")
        return slow(answered, reply)


def hits(beginnings: Sequence[str]) -> float:
    """Share of the requests whose beginning is among those of the last few."""
    found = sum(beginning in beginnings[max(0, at - CACHED) : at] for at, beginning in enumerate(beginnings))
    return found / len(beginnings)


def chance_hits(beginnings: Sequence[str]) -> float:
    shuffled = list(beginnings)
    random.Random(1).shuffle(shuffled)
    return hits(shuffled)


def about(asked: Asked) -> str:
    """The passage that a request is about."""
    return asked.prompt.partition(":")[2].partition(":")[0]


@pytest.mark.parametrize("endpoints", [1, 2])
def test_samples_that_share_a_passage_are_sent_next_to_each_other(tmp_path: Path, endpoints: int) -> None:
    """Five samples of each passage, scattered over the source, asked for one kind: at best 80 % find the prefix."""
    shares = [number % 150 for number in range(750)]
    random.Random(2).shuffle(shares)
    opened = project(tmp_path, shares)
    with ExitStack() as stack:
        servers = [stack.enter_context(unkind_in_a_thread(Tired(seed))) for seed in range(endpoints)]
        state = run(opened, servers, ["chain_of_thought"])
    assert state.tally.answered == len(shares)
    assert state.tally.retries > len(shares) / 10
    for server in servers:
        seen = [about(asked) for asked in server.seen]
        assert hits(seen) > max(0.6, 1.4 * chance_hits(seen))  # measured: 0.67 to 0.72, by chance 0.28 to 0.39


def test_a_sample_s_kinds_are_sent_next_to_each_other(tmp_path: Path) -> None:
    """Three requests about each sample: at best 67 % find the prefix."""
    opened = project(tmp_path, range(400))
    with unkind_in_a_thread(Tired(0)) as server:
        state = run(opened, [server])
    assert state.tally.answered == 400 * KINDS
    seen = [about(asked) for asked in server.seen]
    assert server.most_at_work == CONCURRENCY
    assert hits(seen) > max(0.5, 3 * chance_hits(seen))  # measured: 0.56, by chance 0.12


def run(opened: Project, servers: Sequence[Unkind], kinds: Sequence[str] | None = None) -> Any:
    urls = [server.url for server in servers]
    (opened.files.root / "catalog.yaml").write_text(f"teachers: {{lab: {{urls: {urls}}}}}\n")
    fresh = teacherlm.open(opened.files.root, workspace=opened.workspace.root)
    return fresh.augment("d", teacher="lab", kinds=kinds, concurrency=CONCURRENCY)
