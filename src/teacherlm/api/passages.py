"""The order in which samples are asked: those whose prompts begin with the same passage stand next to each other.

A server's prefix cache then serves them all. Questions that begin alike are taken to share a passage. Where the source
has them together, as most have, its files are read as they are; else the rows go once through a temporary file.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from teacherlm.api.samples import BATCH
from teacherlm.core.files import disk_errors
from teacherlm.teacher.known import text_digests

if TYPE_CHECKING:
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

ALIKE = 200
"""Bytes of a question's beginning that are compared. Shorter questions share nothing worth a cache."""

READ_AT_ONCE = 8192
"""Rows."""


class SampleFile:
    """A file of samples.

    Args:
        rows: those to ask about, from the first on.
        columns: what is read of them.
    """

    def __init__(self, path: Path, rows: int, columns: Sequence[str]) -> None:
        self.path, self.rows, self._columns = path, rows, list(columns)
        self._passages: Array | None = None
        self._moved: _Moved | None = None
        self._is_arranged = False

    def __enter__(self) -> SampleFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._moved is not None:
            self._moved.close()

    @property
    def is_as_written(self) -> bool:
        """Whether its rows are asked about in the order in which they were written."""
        self._arrange()
        return self._moved is None

    def id_digests(self) -> Array:
        """Digests of the sample ids, in the file's order."""
        return np.concatenate([text_digests(batch["sample_id"]) for _, batch in self._read(["sample_id"])])

    def batches(self, wanted: Array) -> Iterator[list[tuple[int, str, dict[str, Any]]]]:
        """Samples in asking order, in batches: the row of each in the file, its passage or "", and itself.

        Args:
            wanted: which rows, as a mask in the file's order. What holds none of them is not read.
        """
        if not wanted.any():
            return
        self._arrange()
        pieces = self._moved.read if self._moved is not None else self._read_wanted
        for places, batch in pieces(wanted):
            kept = np.flatnonzero(wanted[places])
            for start in range(0, len(kept), BATCH):
                chosen = kept[start : start + BATCH]
                rows = places[chosen].tolist()
                yield list(zip(rows, self._names(rows), batch.take(chosen).to_pylist(), strict=True))

    def _names(self, rows: list[int]) -> list[str]:
        if self._passages is None:
            return [""] * len(rows)
        return [f"{passage:016x}" if passage else "" for passage in self._passages[rows].tolist()]

    def _arrange(self) -> None:
        """Find which rows share a passage, and bring them together where they are apart."""
        if self._is_arranged:
            return
        self._is_arranged = True
        digests = np.concatenate([_beginnings(batch["question"]) for _, batch in self._read(["question"])])
        order = np.argsort(digests, kind="stable")
        ordered = digests[order]
        begins = np.append(True, ordered[1:] != ordered[:-1]) | (ordered == 0)
        group = np.cumsum(begins) - 1
        if group[-1] + 1 == len(digests):
            return
        first = order[begins]  # of each passage the row where it comes first
        is_shared = np.bincount(group)[group] > 1
        self._passages = np.zeros(len(digests), dtype=np.uint64)
        self._passages[order[is_shared]] = ordered[is_shared]
        stands_behind = np.empty(len(digests), dtype=np.int64)
        stands_behind[order] = first[group]
        if (stands_behind[1:] < stands_behind[:-1]).any():
            places = np.empty(len(digests), dtype=np.int64)
            places[np.argsort(stands_behind, kind="stable")] = np.arange(len(digests))
            self._moved = _Moved(places)
            with self._moved.filling() as add:
                for start, batch in self._read(self._columns, self._moved.size):
                    add(start, batch)

    def _read(self, columns: list[str], at_once: int = READ_AT_ONCE) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of all rows, each with the number of its first row."""
        import pyarrow.parquet

        start = 0
        with pyarrow.parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(at_once, columns=columns, use_threads=False):
                yield start, batch.slice(0, self.rows - start)
                start += len(batch)
                if start >= self.rows:
                    break
        del batch
        pyarrow.default_memory_pool().release_unused()

    def _read_wanted(self, wanted: Array) -> Iterator[tuple[Array, pa.RecordBatch]]:
        """Batches in the file's order with the numbers of their rows; row groups with nothing wanted are left out."""
        import pyarrow.parquet

        start = 0
        with pyarrow.parquet.ParquetFile(self.path) as file:
            for number in range(file.num_row_groups):
                end = start + file.metadata.row_group(number).num_rows
                if wanted[start:end].any():
                    options = {"row_groups": [number], "columns": self._columns, "use_threads": False}
                    for batch in file.iter_batches(READ_AT_ONCE, **options):
                        rows = np.arange(start, min(start + len(batch), self.rows))
                        yield rows, batch
                        start += len(batch)
                start = end
                if start >= self.rows:
                    return


def _beginnings(questions: pa.Array) -> Array:
    """Digests of the questions' beginnings; 0 for those that are too short to be compared."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_long = pc.greater_equal(pc.binary_length(questions), ALIKE).to_numpy(zero_copy_only=False)
    digests = np.zeros(len(questions), dtype=np.uint64)
    if is_long.any():
        long = questions.filter(pa.array(is_long)).cast(pa.binary())
        digests[is_long] = np.maximum(text_digests(pc.binary_slice(long, 0, ALIKE)), 1)
    return digests


class _Moved:
    """Rows in another order, in a nameless temporary file: it goes with the process, however that ends.

    The rows of so many places that follow each other make a bucket. Rows are appended to the buckets as they come, and
    a bucket is put in order when it is read; so neither step needs many rows in memory.
    """

    def __init__(self, places: Array) -> None:
        self._places = places
        """Of each row of the file, where it stands in the new order."""
        self._rows = np.argsort(places)
        self.size = max(READ_AT_ONCE, int(len(places) ** 0.5) * 8)
        self._slices: list[list[tuple[int, int]]] = [[] for _ in range(-(-len(places) // self.size))]
        """Of each bucket, where its parts lie and how long they are."""

    @contextlib.contextmanager
    def filling(self) -> Iterator[Callable[[int, pa.RecordBatch], None]]:
        """Gives what takes the rows, with the number of the first of them.

        Raises:
            MachineFailed: the disk is full or refuses.
        """
        folder = Path(tempfile.gettempdir())
        with disk_errors(folder):
            self._file: IO[bytes] = tempfile.TemporaryFile(prefix="teacherlm-")  # noqa: SIM115
            yield self._add
            self._file.flush()

    def _add(self, start: int, batch: pa.RecordBatch) -> None:
        import pyarrow as pa

        places = self._places[start : start + len(batch)]
        order = np.argsort(places)
        places = places[order]
        batch = batch.take(order).append_column("place", pa.array(places))
        self._schema = batch.schema
        buckets = places // self.size
        cuts = [0, *(np.flatnonzero(np.diff(buckets)) + 1).tolist(), len(places)]
        for begin, end in itertools.pairwise(cuts):
            if begin < end:
                data = batch.slice(begin, end - begin).serialize()
                self._slices[buckets[begin]].append((self._file.tell(), data.size))
                self._file.write(data)

    def read(self, wanted: Array) -> Iterator[tuple[Array, pa.RecordBatch]]:
        """Batches in the new order, with the numbers that their rows have in the file."""
        import pyarrow as pa
        import pyarrow.ipc

        for number, slices in enumerate(self._slices):
            rows = self._rows[number * self.size : (number + 1) * self.size]
            if not wanted[rows].any():
                continue
            parts = []
            for offset, size in slices:
                self._file.seek(offset)
                parts.append(pyarrow.ipc.read_record_batch(pa.py_buffer(self._file.read(size)), self._schema))
            whole = pa.Table.from_batches(parts)
            whole = whole.take(np.argsort(whole["place"].to_numpy())).drop_columns(["place"])
            yield rows, whole.combine_chunks()

    def close(self) -> None:
        self._file.close()
