"""Data files: the same bytes for the same rows, the types of the record, and a new file when the last is large."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub_samples import part, publication, row
from teacherlm.core.errors import MachineFailed
from teacherlm.hub.manifest import Split
from teacherlm.hub.shards import Sizes, write_split
from teacherlm.schemas.records import record

SMALL = Sizes(group_rows=1_000, shard_bytes=1)


def write(parts: Sequence[Path], root: Path, **options: Any) -> Split:
    return write_split(parts, root, "creak", "train", columns=record("augmented"), **options)


Whole = tuple[pa.Table, Split]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, 2_399), max_size=4), group=st.integers(100, 2_400))
def test_bytes_do_not_depend_on_how_rows_are_spread_over_parts(
    cuts: set[int], group: int, tmp_path: Path, whole: Whole
) -> None:
    table, expected = whole
    parts = []
    for start, end in itertools.pairwise([0, *sorted(cuts), table.num_rows]):
        parts.append(tmp_path / f"{start}.parquet")
        pq.write_table(table.slice(start, end - start), parts[-1], row_group_size=group)
    assert write(parts, tmp_path / "again", sizes=Sizes(group_rows=1_000)) == expected


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    path = part(folder / "in.parquet", [row(number) for number in range(2_400)])
    return pq.read_table(path), write([path], folder / "out", sizes=Sizes(group_rows=1_000))


def test_files_rotate_and_carry_types_statistics_and_page_index(tmp_path: Path) -> None:
    rows = [row(number) for number in range(2_400)]
    split = write([part(tmp_path / "in.parquet", rows)], tmp_path, sizes=SMALL)
    names = [f"data/creak/train-{number:05d}-of-00003.parquet" for number in range(3)]
    assert [file.path for file in split.files] == names
    assert [file.rows for file in split.files] == [1_000, 1_000, 400]
    assert split.rows == 2_400
    assert split.explained == 2_400
    assert sorted(path.name for path in (tmp_path / "data/creak").iterdir()) == [name[11:] for name in names]

    schema = pq.read_schema(tmp_path / names[0])
    assert datasets.Features.from_arrow_schema(schema) == record("augmented").features()
    assert b"huggingface" in schema.metadata
    metadata = pq.read_metadata(tmp_path / names[0])
    column = metadata.row_group(0).column(0)
    assert (column.compression, column.has_offset_index, column.has_column_index) == ("ZSTD", True, True)
    assert column.statistics.min == "creak/train/0"
    assert b"content_defined_chunking" in metadata.metadata
    back = pa.concat_tables(pq.read_table(tmp_path / name) for name in names).to_pylist()
    assert back == rows


def test_a_long_text_makes_a_smaller_group(tmp_path: Path) -> None:
    rows = [row(number, question="why " * 2_000) for number in range(2_000)]
    sizes = Sizes(group_bytes=1_000_000)
    split = write([part(tmp_path / "in.parquet", rows)], tmp_path, sizes=sizes)
    assert pq.read_metadata(tmp_path / split.files[0].path).num_row_groups == 2


def test_parts_as_other_writers_type_them_are_cast(tmp_path: Path) -> None:
    import duckdb
    import polars as pl

    source = part(tmp_path / "arrow.parquet", [row(0), row(1)])
    pl.read_parquet(source).write_parquet(tmp_path / "polars.parquet")
    duckdb.sql(f"COPY (FROM '{source}') TO '{tmp_path / 'duckdb.parquet'}'")
    first, *others = (write([tmp_path / f"{name}.parquet"], tmp_path / name) for name in ("arrow", "polars", "duckdb"))
    assert others == [first, first]


def test_no_rows_leave_one_file_with_the_types(tmp_path: Path) -> None:
    split = write([part(tmp_path / "in.parquet", [])], tmp_path)
    assert (split.rows, len(split.files)) == (0, 1)
    assert pq.read_table(tmp_path / split.files[0].path).schema.names == record("augmented").names
    assert write([], tmp_path / "none").files == split.files


def test_rationales_alone_leave_out_texts_of_the_source(tmp_path: Path) -> None:
    rows = [row(0), row(2, strategy="human"), row(3)]
    columns = publication(tmp_path, redistribution="restricted").columns
    split = write_split([part(tmp_path / "in.parquet", rows)], tmp_path, "x", "y", columns=columns, alone=True)
    table = pq.read_table(tmp_path / split.files[0].path)
    assert table.column_names == [
        "sample_id",
        "fundamentals",
        "chain_of_thought",
        "common_mistakes",
        "quality",
        "provenance",
    ]
    kept, human, other = table.to_pylist()
    assert kept == {name: rows[0][name] for name in table.column_names}
    assert other == {name: rows[2][name] for name in table.column_names}
    nothing = dict.fromkeys(("fundamentals", "chain_of_thought", "common_mistakes"))
    assert human == {"sample_id": rows[1]["sample_id"], **nothing, "quality": nothing, "provenance": nothing}
    assert split.explained == 2


def test_parts_that_are_damaged_or_lack_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(MachineFailed, match="is damaged") as torn:
        write([tmp_path / "torn.parquet"], tmp_path)
    assert "torn.parquet" in str(torn.value)
    pq.write_table(pa.table({"sample_id": ["a"]}), tmp_path / "thin.parquet")
    with pytest.raises(MachineFailed, match="lacks the columns dataset, split"):
        write([tmp_path / "thin.parquet"], tmp_path)
    with pytest.raises(MachineFailed, match="No such file"):
        write([tmp_path / "absent.parquet"], tmp_path)
