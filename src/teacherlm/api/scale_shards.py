"""Shards of a dataset: contiguous rows of its samples, the same ones in every run, and the ledger's part of each.

A segment's number tells when it was written and for which shard: `MILLISECONDS * 10,000 + SHARD`. So numbers grow with
time, no two workers choose the same, and a worker finds the segments of its shard by their names alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.engine.folders import Entry
from teacherlm.engine.store import Store

MOST = 10_000
"""Shards that numbers have room for."""

ROWS, LEAST_ROWS = 5_000, 250
"""Samples of a shard: some minutes of work, so that machines end together; enough to be worth a start."""

SHARES = 4
"""Shards for each place, where a dataset is small."""


@dataclass(frozen=True)
class Shard:
    """Rows `start` to `end` of a dataset's samples, in their order."""

    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Shards:
    """How a dataset is divided."""

    samples: str
    """Fingerprint of the samples that are divided."""
    rows: int
    """Of each shard."""
    since: int
    """Segments with higher numbers were written for shards of this division."""

    def of(self, total: int) -> list[Shard]:
        """The shards of the first `total` samples."""
        starts = range(0, total, self.rows)
        return [Shard(number, start, min(start + self.rows, total)) for number, start in enumerate(starts)]


def divide(store: Store, dataset: str, fingerprint: str, total: int, places: int, rows: int | None = None) -> Shards:
    """The division of a dataset: the last one as long as its samples are the same, so that shards find their answers.

    Args:
        total: samples of the dataset.
        places: tasks that run at once.
        rows: of each shard; None: as many as suit the dataset.
    """
    name = f"reports/{dataset}/shards.json"
    if (known := _read(store, name)) and known.samples == fingerprint and rows in (None, known.rows):
        return known
    if rows is None:
        rows = min(ROWS, max(LEAST_ROWS, -(-total // (SHARES * places))))
    rows = max(rows, -(-total // MOST))
    shards = Shards(fingerprint, rows, max([_now(), *map(segment_number, ledger_entries(store, dataset))]))
    store.write(name, orjson.dumps(asdict(shards)))
    return shards


def _read(store: Store, name: str) -> Shards | None:
    try:
        return Shards(**orjson.loads(store.read(name) or b"null"))
    except (TypeError, orjson.JSONDecodeError):  # none, or damaged: then it is made anew
        return None


def _now() -> int:
    return time.time_ns() // 1_000_000 * MOST


class Numbers:
    """Numbers for a shard's segments, each higher than all before."""

    def __init__(self, shard: int, above: int) -> None:
        self._shard = shard
        self._last = above // MOST

    def next(self) -> int:
        # Clocks of machines differ: time alone would not do.
        self._last = max(self._last + 1, _now() // MOST)
        return self._last * MOST + self._shard


def ledger_entries(store: Store, dataset: str) -> list[Entry]:
    """The segments of a dataset's ledger."""
    entries = store.entries(f"rationales/{dataset}")
    return [entry for entry in entries if Path(entry.name).stem.isdigit()]


def segment_number(entry: Entry) -> int:
    return int(Path(entry.name).stem)


def earlier_segments(entries: Sequence[Entry], shards: Shards, shard: int) -> list[Entry]:
    """The segments that may hold answers of a shard."""
    numbers = ((entry, segment_number(entry)) for entry in entries)
    return [entry for entry, number in numbers if number <= shards.since or number % MOST == shard]


def _sample_files(store: Store, dataset: str) -> list[str]:
    """The sample files in the order in which a workspace reads them: by split, then by name."""
    prefix = f"samples/{dataset}/"
    names = [entry.name.removeprefix(prefix) for entry in store.entries(f"samples/{dataset}")]
    parts = sorted(tuple(name.split("/")) for name in names if name.endswith(".parquet"))
    return [prefix + "/".join(part) for part in parts if len(part) == 2 and not part[0].startswith(".")]


def count_samples(store: Store, dataset: str) -> int:
    """Samples of a dataset, by the footers of its files.

    Raises:
        Mistake: it was not built.
    """
    files = _sample_files(store, dataset)
    if not files or store.read(f"samples/{dataset}/manifest.json") is None:
        raise Mistake(f"`{dataset}` has no samples in {store.url}", f"build it first: teacherlm build {dataset}")
    return sum(rows for _, rows in _counted(store, files))


def _counted(store: Store, files: Sequence[str]) -> Iterator[tuple[Any, int]]:
    """Each file, open, with its rows."""
    import pyarrow.parquet

    for name in files:
        with store.open(name) as file:
            try:
                parquet = pyarrow.parquet.ParquetFile(file)
            except ValueError as error:  # Arrow's errors are ValueErrors
                raise MachineFailed(
                    f"cannot be read: {error}", "build it again with --force", store.place(name)
                ) from None
            yield parquet, parquet.metadata.num_rows


def fetch_rows(store: Store, dataset: str, shard: Shard, folder: Path) -> None:
    """Write the samples of a shard below a local folder, under the names that they have in the store.

    Only the row groups that hold them are read.
    """
    import pyarrow.parquet

    files, before = _sample_files(store, dataset), 0
    for name, (parquet, rows) in zip(files, _counted(store, files), strict=True):
        first, last = max(shard.start - before, 0), min(shard.end - before, rows)
        before += rows
        if first >= last:
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with pyarrow.parquet.ParquetWriter(path, parquet.schema_arrow, compression="zstd") as writer:
            for number, start, count in _groups(parquet):
                begin, end = max(first - start, 0), min(last - start, count)
                if begin < end:
                    writer.write_table(parquet.read_row_group(number).slice(begin, end - begin))


def _groups(parquet: Any) -> Iterator[tuple[int, int, int]]:
    """Each row group's number, first row and number of rows."""
    start = 0
    for number in range(parquet.metadata.num_row_groups):
        count = parquet.metadata.row_group(number).num_rows
        yield number, start, count
        start += count
