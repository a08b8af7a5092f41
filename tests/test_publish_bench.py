"""The benchmark of publishing runs: same rows every time, all forms write them, and what is sent again is less."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from teacherlm.schemas.records import record

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ROWS, DATASETS = 1_500, 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import publish

        folder = tmp_path_factory.mktemp("bench")
        publish.make_parts(folder, ROWS, DATASETS)
        yield folder
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_sizes_add_up_and_reach_from_small_to_large(root: Path) -> None:
    import publish

    sizes = [sum(splits.values()) for splits in publish.sizes(2_000_000).values()]
    assert (len(sizes), sum(sizes)) == (65, 2_000_000)
    assert 15 < max(sizes) / min(sizes) < 25


def test_the_rows_are_the_same_every_time_and_hold_the_contract(root: Path, tmp_path: Path) -> None:
    import publish

    publish.make_parts(tmp_path, ROWS, DATASETS)
    parts = sorted((root / "parts").rglob("*.parquet"))
    assert len(parts) == 2 * DATASETS
    for part in parts:
        assert part.read_bytes() == (tmp_path / part.relative_to(root)).read_bytes(), part
    table = pq.read_table(root / "parts/bench_00/train.parquet")
    assert table.schema.equals(record("augmented").arrow())
    rows = table.to_pylist()
    assert len({row["sample_id"] for row in rows}) == len(rows)
    for row in rows:
        if row["choices"]:
            assert row["choices"][row["answer_index"]] == row["answer"]
        for kind, given in row["provenance"].items():
            assert (row[kind] is None) == (given is None) == (row["quality"][kind] is None)


@pytest.mark.slow
def test_every_form_writes_all_rows_and_a_change_sends_less_than_the_files(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import publish

    out = publish.show_writing(root, ROWS, 1)  # ends with an error where rows are missing or hashes are wrong
    assert "datasets, as push_to_hub" in capsys.readouterr().out
    for change in publish.CHANGES:
        of = publish.sent(root, out, publish.names(root)[0], change)
        assert 0 < of["chunks"]["published"] < of["bytes"] * 1.1, change
        assert 0 < of["files"] < of["bytes"] * 1.1, change


def test_a_change_is_of_one_row_in_a_hundred(root: Path) -> None:
    import publish

    before = pq.read_table(root / "parts/bench_00/train.parquet").to_pylist()
    due = round(publish.SHARE * len(before))
    for name, change in publish.CHANGES.items():
        after = change(pq.read_table(root / "parts/bench_00/train.parquet")).to_pylist()
        kept = {row["sample_id"]: row for row in after}
        same = sum(kept[row["sample_id"]] == row for row in before)
        assert len(after) - same == due, name
