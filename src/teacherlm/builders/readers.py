"""How DuckDB reads files of rows: one table function for each extension."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_LINES = (
    "read_json({files}, format = 'newline_delimited', union_by_name = true, sample_size = -1,"
    " maximum_object_size = 134217728)"
)

READERS = {
    ".parquet": "read_parquet({files}, union_by_name = true)",
    ".json": _LINES.replace("'newline_delimited'", "'auto'"),
    ".jsonl": _LINES,
    ".ndjson": _LINES,
    ".csv": "read_csv({files}, union_by_name = true, sample_size = -1)",
    ".tsv": "read_csv({files}, union_by_name = true, sample_size = -1, delim = '\t')",
}
"""Columns are typed by all rows of a text file, not by its first ones: a late odd row must not fail the build."""


def table_function(files: Sequence[Path]) -> str:
    """The call that reads files of one kind."""
    suffix = files[0].suffix.lower()
    reader = READERS[suffix]
    if suffix == ".csv":
        # Where rows differ in length DuckDB finds no delimiter and takes whole lines: told it, it names the odd line.
        with files[0].open(encoding="utf-8", errors="replace") as file:
            heading = file.readline()
        if "," in heading and not any(mark in heading for mark in ";|\t"):
            reader = reader.replace("sample_size = -1", "sample_size = -1, header = true, delim = ',', quote = '\"'")
    return reader.format(files=_listed(files))


def _listed(files: Sequence[Path]) -> str:
    return "[" + ", ".join("'" + str(path).replace("'", "''") + "'" for path in files) + "]"
