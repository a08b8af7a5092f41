"""Builds at scale: the same bytes for any number of threads, and parts that are drawn by seed."""

from __future__ import annotations

import hashlib
import random
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import teacherlm.builders.build as building
from recipes import column, parquet, recipe, rejects, samples
from teacherlm.builders.build import Built, build, read_manifest
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.builders.sources import OpenSource, open_source
from teacherlm.builders.take import Take
from teacherlm.core.errors import Mistake, Mistakes

CHOSEN = {"question": "q", "answer": "a", "id": "i"}
SCHEMA = pa.schema([("i", pa.string()), ("q", pa.string()), ("a", pa.string())])


def opened(bound: BoundRecipe, source: Path) -> OpenSource:
    return open_source(bound.recipe, bound.located.path.parent, source=source)


def made_rows(path: Path, rows: int) -> Path:
    """Rows of which some are left out, some refused and some have the id of another."""
    query = f"""
        SELECT 'q' || CASE WHEN i % 31 = 0 THEN i // 7 ELSE i END AS i, i % 5 AS w, 'a' || i % 9 AS a,
               CASE WHEN i % 17 = 0 THEN NULL ELSE 'Why  ' || md5('' || i) || repeat(chr(10), i % 3) END AS q
        FROM range({rows}) AS r(i)"""
    duckdb.connect().execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 6000)")
    return path


@pytest.mark.parametrize("take", [None, Take(at_most=30_000, seed=3)])
def test_the_bytes_do_not_depend_on_the_number_of_threads(tmp_path: Path, take: Take | None) -> None:
    bound = recipe(tmp_path, CHOSEN | {"where": "w <> 3"})
    source = opened(bound, made_rows(tmp_path / "rows.parquet", 60_000))
    found = []
    for threads in (1, 2, 4):
        built = build(bound, source, tmp_path / "out", take=take, threads=threads, force=True)
        files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
        found.append({path.name: path.read_bytes() for path in files})
    assert found[0] == found[1] == found[2]
    assert set(found[0]) == {"00000.parquet", "rejects.parquet", "manifest.json"}
    (counts,) = built.splits
    assert counts.filtered == 12_000
    assert set(counts.rejected) == {"empty question", "duplicate id"}
    assert counts.rows == counts.samples + counts.filtered + built.rejected + counts.left == 60_000
    assert counts.samples == 30_000 if take else counts.left == 0


def test_a_build_with_little_memory_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound = recipe(tmp_path, CHOSEN)
    source = opened(bound, made_rows(tmp_path / "rows.parquet", 60_000))
    build(bound, source, tmp_path / "plenty")
    monkeypatch.setattr(building, "MEMORY", "2MB")
    build(bound, source, tmp_path / "little")
    for file in ("train/00000.parquet", "rejects.parquet"):
        assert (tmp_path / "plenty" / file).read_bytes() == (tmp_path / "little" / file).read_bytes()


def drawn(ids: list[str], seed: int, at_most: int | None) -> set[str]:
    """The law of a draw, in Python."""
    ranked = sorted(ids, key=lambda name: (hashlib.md5(f"{seed}/{name}".encode()).hexdigest(), name.encode()))
    return set(ranked[:at_most])


def part(
    folder: Path, splits: dict[str, list[dict[str, Any]]], take: Take | None
) -> tuple[Built, list[str], list[Any]]:
    bound = recipe(folder, CHOSEN)
    for name, rows in splits.items():
        parquet(folder / "rows" / f"{name}.parquet", rows, SCHEMA)
    built = build(bound, opened(bound, folder / "rows"), folder / "out", take=take, force=True)
    ids = [name for split in built.splits for name in column(samples(folder / "out", split.split), "sample_id")]
    return built, ids, rejects(folder / "out")


row_lists = st.lists(
    st.fixed_dictionaries(
        {
            "i": st.none() | st.integers(0, 40).map(str) | st.text(max_size=3),
            "q": st.sampled_from(["Why?", "Who?", ""]),
            "a": st.sampled_from(["so", "me"]),
        }
    ),
    max_size=15,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(row_lists, row_lists, st.integers(0, 20), st.integers(0, 3), st.randoms(use_true_random=False))
def test_a_part_is_drawn_by_seed_over_all_splits_in_the_order_of_the_source(
    train: list[dict[str, Any]], test: list[dict[str, Any]], at_most: int, seed: int, dice: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, ids, refused = part(folder, {"train": train, "test": test}, None)
        take = Take(at_most=at_most, seed=seed)
        built, kept, still_refused = part(folder, {"train": train, "test": test}, take)
        assert kept == [name for name in ids if name in drawn(ids, seed, at_most)]
        assert still_refused == refused
        for before, after in zip(whole.splits, built.splits, strict=True):
            assert after.rows == after.samples + after.filtered + sum(after.rejected.values()) + after.left
            assert (after.samples + after.left, after.rejected) == (before.samples, before.rejected)
        shuffled = {"train": dice.sample(train, k=len(train)), "test": dice.sample(test, k=len(test))}
        _, again, _ = part(folder, shuffled, take)
        assert sorted(again) == sorted(kept)


def test_a_smaller_part_lies_in_a_larger_one_and_another_seed_draws_others(tmp_path: Path) -> None:
    rows = [{"i": str(n), "q": "Why?", "a": str(n)} for n in range(200)]
    small, large, other = (
        set(part(tmp_path, {"train": rows}, take)[1]) for take in (Take(20, 1), Take(60, 1), Take(60, 2))
    )
    assert (len(small), len(large), len(other)) == (20, 60, 60)
    assert small < large
    assert large != other


def test_only_the_splits_taken_are_read(tmp_path: Path) -> None:
    rows = [{"i": str(n), "q": "Why?", "a": "so"} for n in range(5)]
    splits = {"train": rows, "test": rows[:3], "validation": rows[:2]}
    built, ids, _ = part(tmp_path, splits, Take(splits=("test", "validation", "extra")))
    assert [(counts.split, counts.rows) for counts in built.splits] == [("test", 3), ("validation", 2)]
    assert ids == ["d/test/0", "d/test/1", "d/test/2", "d/validation/0", "d/validation/1"]
    assert built.absent == ("extra",)
    assert not (tmp_path / "out" / "train").exists()
    with pytest.raises(Mistake, match="holds the splits"):
        part(tmp_path, splits, Take(splits=("extra",)))


def test_the_part_taken_belongs_to_the_fingerprint(tmp_path: Path) -> None:
    bound = recipe(tmp_path, CHOSEN)
    rows = [{"i": str(n), "q": "Why?", "a": "so"} for n in range(9)]
    source = opened(bound, parquet(tmp_path / "rows.parquet", rows, SCHEMA))
    takes = [None, Take(4), Take(4, seed=1), Take(5, seed=1), Take(0), None]
    for take in takes:
        assert not build(bound, source, tmp_path / "out", take=take).reused
        kept = build(bound, source, tmp_path / "out", take=take)
        assert kept.reused
        wanted = take.at_most if take else 9
        assert (kept.samples, kept.left) == (wanted, 9 - (wanted or 0))
    assert build(bound, source, tmp_path / "out", take=Take(seed=7)).reused  # all of them
    manifest = orjson.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["splits"][0]["left"] == 0
    del manifest["splits"][0]["left"]  # as an earlier version wrote it
    (tmp_path / "out" / "manifest.json").write_bytes(orjson.dumps(manifest))
    earlier = read_manifest(tmp_path / "out")
    assert earlier
    assert earlier.left == 0


@pytest.mark.parametrize("given_", [{"at_most": -1}, {"splits": ()}])
def test_a_part_that_cannot_be_is_refused(given_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is -1|is empty"):
        Take(**given_)


def test_of_rows_with_one_id_and_one_text_the_smallest_rationale_stays(tmp_path: Path) -> None:
    bound = recipe(tmp_path, CHOSEN | {"human_rationale": "h"})
    rows = [{"i": "1", "q": "Why?", "a": "so", "h": h} for h in ("c", "a", "b")]
    for order in (rows, rows[::-1]):
        build(bound, opened(bound, parquet(tmp_path / "rows.parquet", order)), tmp_path / "out")
        assert column(samples(tmp_path / "out"), "human_rationale") == ["a"]
        refused = rejects(tmp_path / "out")
        assert [orjson.loads(row["source"]) for row in refused] == [row for row in order if row["h"] != "a"]
        assert [row["row"] for row in refused] == [n for n, row in enumerate(order, 1) if row["h"] != "a"]


def test_a_mapping_that_changes_from_run_to_run_is_shown_at_its_place(tmp_path: Path) -> None:
    bound = recipe(tmp_path, CHOSEN | {"question": "CASE WHEN random() < 0.5 THEN q END"})
    rows = [{"i": str(n), "q": "Why?", "a": "so"} for n in range(2000)]
    with pytest.raises(Mistakes) as caught:
        build(bound, opened(bound, parquet(tmp_path / "rows.parquet", rows, SCHEMA)), tmp_path / "out")
    (problem,) = caught.value.problems
    assert problem.where == "builders/d.yaml:8:3"
    assert "other rows each time" in problem.found
