"""The benchmark of the quality room runs, its forms agree, and what it plants is found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ROWS = 6_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import rationales

        folder = tmp_path_factory.mktemp("bench") / "project"
        rationales.make_project(folder, ROWS)
        yield folder
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_the_rows_are_the_same_every_time(root: Path, tmp_path: Path) -> None:
    import rationales

    again = rationales.make_project(tmp_path / "again", ROWS)
    for path in sorted((root / "workspace").rglob("0*.parquet")):
        assert path.read_bytes() == (again / path.relative_to(root / "workspace")).read_bytes(), path


@pytest.mark.parametrize("form", ["polars", pytest.param("expectations", marks=pytest.mark.slow)])
def test_the_ten_checks_flag_the_same_rows_in_every_form(root: Path, tmp_path: Path, form: str) -> None:
    import quality
    import ten_checks

    outs = {name: tmp_path / f"{name}.parquet" for name in ("ours", form)}
    for name, out in outs.items():
        getattr(ten_checks, name)(root / "workspace", out)
    assert quality.compare(outs, [form]) == {}
    for check in ten_checks.CHECKS:
        ((count,),) = duckdb.execute(f"select count_if(\"{check}\") from '{outs['ours']}'").fetchall()
        assert count > 0, check


def test_what_was_planted_is_rejected_and_every_part_is_measured(root: Path) -> None:
    import quality

    taken = quality.measure("whole", root)
    assert set(taken["parts"]) >= {"metrics", "scores and verdicts", "write augmented", "rule empty", "close_books"}
    assert sum(cpu for _, cpu in taken["parts"].values()) <= taken["cpu"] + 0.5
    found = dict(
        duckdb.execute(
            f"""
            select p.defect, avg((v.verdict <> 'accepted')::int)
            from '{root}/planted.parquet' p
            join '{root}/workspace/verdicts/bench/verdicts.parquet' v using (sample_id, kind)
            where p.defect in ('empty', 'too short', 'loop', 'runs on', 'wrong language', 'truncated', 'failed')
            group by all
            """
        ).fetchall()
    )
    assert len(found) == 7
    assert min(found.values()) > 0.8, found
