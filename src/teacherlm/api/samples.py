"""The samples of a dataset, read a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

BATCH = 256
"""Samples rendered at once: enough to look their keys up together, too few to hold up answers."""

ASKED_COLUMNS = ("sample_id", "split", "task", "subject", "question", "choices", "answer")


def sample_batches(
    files: Mapping[str, Sequence[Path]], limit: int | None, columns: Sequence[str] = ASKED_COLUMNS
) -> Iterator[list[dict[str, Any]]]:
    """The samples of a dataset in their order, in batches; at most `limit` of them."""
    import pyarrow.parquet

    left = limit
    for path in (path for paths in files.values() for path in paths):
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH, columns=list(columns)):
                rows = batch.to_pylist()[: left if left is not None else None]
                if left is not None:
                    left -= len(rows)
                yield rows
                if left == 0:
                    return


def count_samples(files: Mapping[str, Sequence[Path]], limit: int | None) -> int:
    rows = sum(count for _, count in first_rows(files, None))
    return min(rows, limit) if limit is not None else rows


def first_rows(files: Mapping[str, Sequence[Path]], limit: int | None) -> Iterator[tuple[Path, int]]:
    """The files that hold the first `limit` samples, and how many of each file's rows are among them."""
    import pyarrow.parquet

    left = limit
    for path in (path for paths in files.values() for path in paths):
        rows: int = pyarrow.parquet.read_metadata(path).num_rows
        if left is not None:
            rows = min(rows, left)
            left -= rows
        if rows:
            yield path, rows
