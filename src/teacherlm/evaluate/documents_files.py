"""Files of rows as Python values, the same that `datasets` gives for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from teacherlm.core.errors import Mistake


@dataclass(frozen=True)
class Table:
    """Rows that have the same columns."""

    rows: Sequence[Mapping[str, Any]]
    columns: tuple[str, ...]


def read_files(files: Sequence[Path]) -> Table:
    """The rows of files of one format, one after the other.

    Raises:
        Mistake: a file that is unreadable or holds no rows.
    """
    marks = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return _read(marks)


@lru_cache(maxsize=8)
def _read(marks: tuple[tuple[str, int, int], ...]) -> Table:
    """Once for all tasks that read the same files, such as the 57 of MMLU."""
    rows: list[dict[str, Any]] = []
    for name, _, _ in marks:
        path = Path(name)
        try:
            rows += FORMATS[path.suffix.lower()](path)
        except Mistake:
            raise
        except Exception as error:  # Arrow, DuckDB and the system each have errors of their own
            said = " ".join(str(error).split())[:300] or type(error).__name__
            raise Mistake(f"cannot be read: {said}", "correct the file, or give another one by --data", name) from error
    return _table(rows, marks[0][0])


def _table(rows: Iterable[dict[str, Any]], place: str) -> Table:
    found = list(rows)
    if not found:
        raise Mistake("holds no rows", "write rows to it, or give another one by --data", place)
    columns = tuple(dict.fromkeys(name for row in found for name in row))
    # As in a table: what a row lacks is nothing.
    return Table([row if len(row) == len(columns) else dict.fromkeys(columns) | row for row in found], columns)


def read_saved(folder: Path) -> Table:
    """The rows of a `datasets.Dataset` that was written by `save_to_disk`."""
    import datasets

    try:
        dataset = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever is wrong with its files
        raise Mistake(f"cannot be read: {error}", "write it again by save_to_disk", str(folder)) from error
    return _table((dict(row) for row in dataset), str(folder))


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


def _arrow(path: Path) -> list[dict[str, Any]]:
    import datasets

    return [dict(row) for row in datasets.Dataset.from_file(str(path))]


def _csv(path: Path) -> list[dict[str, Any]]:
    """Columns of whole numbers are numbers, and all others stay as they are written."""
    import duckdb

    # The dialect is found by all rows, so that a late odd one does not make the file unreadable.
    query = "SELECT * FROM read_csv(?, sample_size = -1, all_varchar = true, header = true)"
    with duckdb.connect() as connection:
        found = connection.execute(query, [str(path)])
        names = [column[0] for column in found.description or ()]
        columns = [_numbers(column) for column in zip(*found.fetchall(), strict=True)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _numbers(values: Sequence[str | None]) -> list[Any]:
    # Zeros before a number, such as those of a code, would be lost.
    whole = all(value is None or re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", value) for value in values)
    return [None if value is None else int(value) for value in values] if whole else list(values)


def _json(path: Path) -> list[dict[str, Any]]:
    """A list of objects, or an object in each line."""
    content = path.read_bytes()
    if content.lstrip()[:1] != b"[":
        return _lines(path)
    try:
        rows = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Mistake(f"is no JSON: {error.msg}", "correct it", f"{path}:{error.lineno}:{error.colno}") from None
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise Mistake(f"element {number} of the list is no object", "write a list of objects", str(path))
    return list(rows)


def _lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                place = f"{path}:{number}:{error.colno}"
                raise Mistake(f"the line is no JSON: {error.msg}", "correct the line", place) from None
            if not isinstance(row, dict):
                raise Mistake("the line is no object", 'write  {"question": …}', f"{path}:{number}:1")
            rows.append(row)
    return rows


FORMATS: Mapping[str, Callable[[Path], list[dict[str, Any]]]] = {
    ".parquet": _parquet,
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".arrow": _arrow,
}
"""Readers by the end of a file's name."""
