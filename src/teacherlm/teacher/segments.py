"""The ledger's files: numbered segments, open as lines (`N.jsonl`) or sealed as Parquet (`N.parquet`).

Readers list a folder once and take `N.parquet` before `N.jsonl`. A writer always starts a new number, so that a torn
last line, which a killed process leaves, stays the last one and is ignored.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import disk_errors, disk_failure, replacing
from teacherlm.schemas.records import record

if TYPE_CHECKING:
    import pyarrow as pa

LINES, SEALED = ".jsonl", ".parquet"

BLOCK = 1 << 20
"""Bytes of lines that are parsed at once."""


@dataclass(frozen=True, order=True)
class Segment:
    """One file of the ledger."""

    number: int
    path: Path

    @property
    def is_sealed(self) -> bool:
        return self.path.suffix == SEALED


def list_segments(folder: Path) -> list[Segment]:
    """The segments of one folder (`rationales/DATASET/SPLIT/KIND`) in writing order, each number once."""
    found: dict[int, Path] = {}
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            path = Path(entry.path)
            if path.suffix in (LINES, SEALED) and path.stem.isdigit():
                number = int(path.stem)
                if number not in found or path.suffix == SEALED:
                    found[number] = path
    return [Segment(number, found[number]) for number in sorted(found)]


def kind_folders(dataset_folder: Path) -> Iterator[Path]:
    """The folders of a dataset's ledger that hold segments: one for each split and kind."""
    yield from sorted(path for path in dataset_folder.glob("*/*") if path.is_dir())


def read_lines(path: Path) -> pa.Table:
    """The whole lines of an open segment as a table of the rationale record.

    A last line without its line feed is what a killed process was writing: it never counted, and is left out.

    Raises:
        MachineFailed: a line in the middle is damaged; names it.
    """
    schema = record("rationale").arrow()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        sealed = path.with_suffix(SEALED)  # sealed since the folder was listed
        if sealed.exists():
            import pyarrow.parquet

            return pyarrow.parquet.read_table(sealed, schema=schema)
        raise
    except OSError as error:
        raise disk_failure(path, error) from error
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        return schema.empty_table()
    try:
        return _parse(whole, schema)
    except ValueError as error:
        raise _damaged(path, whole, schema, error) from None


def _parse(whole: bytes, schema: pa.Schema) -> pa.Table:
    """Whole lines as a table.

    Raises:
        ValueError: a line is no JSON, lacks a value or has one of another type.
    """
    import pyarrow as pa
    import pyarrow.json

    options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    # A block must hold a whole line, and what is parsed at once takes several times its size.
    reading = pyarrow.json.ReadOptions(use_threads=False, block_size=max(2 * _longest_line(whole), BLOCK))
    try:
        table = pyarrow.json.read_json(pa.BufferReader(whole), parse_options=options, read_options=reading)
        table = table.select(schema.names).cast(schema)
        table.validate(full=True)  # the parser lets bytes pass that are no UTF-8
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(str(error).partition(" in row ")[0]) from None
    for column in record("rationale"):
        if not column.nullable and table[column.name].null_count:
            raise ValueError(f"`{column.name}` is missing")
    return table


def _longest_line(whole: bytes) -> int:
    longest = start = 0
    while end := whole.find(b"\n", start) + 1:
        longest, start = max(longest, end - start), end
    return longest


def seal(segment: Path) -> Path:
    """Turn an open segment into Parquet beside it. The lines stay until `sweep` removes them.

    Raises:
        MachineFailed: a damaged line, or the disk is full; the lines are untouched.
    """
    import pyarrow.parquet

    sealed = segment.with_suffix(SEALED)
    table = read_lines(segment)
    with replacing(sealed) as temporary, disk_errors(sealed):
        pyarrow.parquet.write_table(table, temporary, compression="zstd")
        _sync(temporary)
    del table
    pyarrow.default_memory_pool().release_unused()
    return sealed


def sweep(folder: Path, older_than_s: float, now: float) -> None:
    """Remove the lines that sealed segments have replaced, once readers that listed them have had their grace."""
    for path in folder.glob(f"*{LINES}"):
        with contextlib.suppress(OSError):
            if path.with_suffix(SEALED).exists() and now - path.with_suffix(SEALED).stat().st_mtime >= older_than_s:
                path.unlink()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _damaged(path: Path, whole: bytes, schema: pa.Schema, error: ValueError) -> MachineFailed:
    """Find the line that cannot be read."""
    for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
        try:
            _parse(line + b"\n", schema)
        except ValueError as fault:
            return MachineFailed(
                f"the ledger line is damaged ({fault})",
                "mend the line if you can, or delete it: its question is then asked again. Nothing else is lost",
                f"{path}:{number}:1",
            )
    return MachineFailed(
        f"the ledger segment cannot be read: {error}", "look at the file; other segments are whole", str(path)
    )
