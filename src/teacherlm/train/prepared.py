"""A stage's texts as tokens on disk: written once, then mapped into memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import read_json, replacing_folder, write_json
from teacherlm.train.windows import Row

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


TEXTS, ABOUT = "texts.arrow", "prepared.json"
Chunk = tuple[int, list[Row]]
"""A source's place among the stage's data, and some of its texts."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A stage's texts."""

    folder: Path
    fingerprint: str
    """Of data, layouts, tokenizer and window; equal exactly where the tokens are."""
    counts: Mapping[str, Any]
    """What was read, dropped and kept, in all and, under `sources`, by source; see `texts.Tally`."""

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def dataset(self) -> Any:
        """A memory-mapped `datasets.Dataset`: `input_ids`, `parts` (places in `PARTS`), `source`."""
        import datasets

        return datasets.Dataset.from_file(str(self.folder / TEXTS))

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Shape (texts,); tokens of each."""
        return np.concatenate([np.diff(offsets) for _, _, offsets, _ in self._chunks]).astype(np.int32)

    @cached_property
    def sources(self) -> NDArray[np.uint16]:
        """Shape (texts,); the source of each, a place in the stage's data."""
        return np.concatenate([sources for _, _, _, sources in self._chunks])

    def row(self, text: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Tokens of one text and the parts that they belong to."""
        place = int(np.searchsorted(self._begins, text, side="right")) - 1
        ids, parts, offsets, _ = self._chunks[place]
        inside = text - int(self._begins[place])
        return ids[offsets[inside] : offsets[inside + 1]], parts[offsets[inside] : offsets[inside + 1]]

    @cached_property
    def _chunks(self) -> list[tuple[Any, Any, Any, Any]]:
        import pyarrow as pa

        with pa.memory_map(str(self.folder / TEXTS)) as file, pa.ipc.open_stream(file) as reader:
            return [_views(batch) for batch in reader]

    @cached_property
    def _begins(self) -> NDArray[np.int64]:
        counts = [len(sources) for _, _, _, sources in self._chunks]
        return np.concatenate([[0], np.cumsum(counts[:-1], dtype=np.int64)])


def opened(folder: Path, fingerprint: str) -> Prepared | None:
    """What was prepared before; None where it is not there, torn, or of something else."""
    try:
        about = read_json(folder / ABOUT)
        if about is None or about["fingerprint"] != fingerprint:
            return None
        found = Prepared(folder=folder, fingerprint=fingerprint, counts=about["counts"])
        if (folder / TEXTS).stat().st_size != about["bytes"] or len(found) != about["counts"]["texts"]:
            return None
    except (MachineFailed, KeyError, TypeError, OSError, ValueError):
        return None  # torn: it is made anew
    return found


def written(folder: Path, fingerprint: str, chunks: Iterable[Chunk], counts: Any) -> Prepared:
    """Write texts as they come, whole or not at all.

    Args:
        counts: gives what was counted, when all is written.

    Raises:
        MachineFailed: the disk is full or refuses.
    """
    import pyarrow as pa

    with replacing_folder(folder) as temporary:
        with pa.OSFile(str(temporary / TEXTS), "wb") as file, pa.ipc.new_stream(file, _schema()) as writer:
            for source, rows in chunks:
                writer.write_batch(_batch(source, rows))
        tally = counts()
        size = (temporary / TEXTS).stat().st_size
        write_json(temporary / ABOUT, {"fingerprint": fingerprint, "bytes": size, "counts": tally})
    return Prepared(folder=folder, fingerprint=fingerprint, counts=tally)


def _schema() -> pa.Schema:
    import pyarrow as pa

    types = {"input_ids": pa.list_(pa.int32()), "parts": pa.list_(pa.uint8()), "source": pa.uint16()}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in types.items()])


def _batch(source: int, rows: list[Row]) -> pa.RecordBatch:
    import pyarrow as pa

    lengths = [len(row.ids) for row in rows]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    ids = np.fromiter(chain.from_iterable(row.ids for row in rows), dtype=np.int32, count=sum(lengths))
    parts = np.frombuffer(b"".join(row.parts for row in rows), dtype=np.uint8)
    columns = [
        pa.ListArray.from_arrays(offsets, pa.array(ids)),
        pa.ListArray.from_arrays(offsets, pa.array(parts)),
        pa.array(np.full(len(rows), source, dtype=np.uint16)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_schema())


def _views(batch: pa.RecordBatch) -> tuple[Any, Any, Any, Any]:
    """Tokens, parts, where each text begins among them, and sources; nothing is copied."""
    ids, parts, sources = batch.columns
    views = (ids.values, parts.values, ids.offsets, sources)
    return tuple(view.to_numpy(zero_copy_only=True) for view in views)
