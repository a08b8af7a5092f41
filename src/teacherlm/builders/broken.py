"""Where a text file of rows is broken: the line, said before a reader's own words for it."""

from __future__ import annotations

import csv
from pathlib import Path


def first_fault(path: Path) -> tuple[int, int, str] | None:
    """Line, column (from 1) and fault of the first line that cannot be read; None where none is found."""
    find = {".jsonl": _json_lines, ".ndjson": _json_lines, ".csv": _comma_lines}.get(path.suffix.lower())
    return find(path) if find else None


def _json_lines(path: Path) -> tuple[int, int, str] | None:
    import orjson

    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = orjson.loads(line) if line.strip() else {}
            except orjson.JSONDecodeError as error:
                fault = str(error).partition(": line ")[0]
                return number, error.colno, f"the line is no JSON ({fault})"
            if not isinstance(row, dict):
                return number, 1, "the line is no JSON object"
    return None


def _comma_lines(path: Path) -> tuple[int, int, str] | None:
    width: int | None = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            before = 0
            try:
                for row in reader:
                    width = len(row) if width is None else width
                    if width < 2:
                        return None  # another mark divides the fields
                    if row and len(row) != width:
                        return before + 1, 1, f"the row has {len(row)} fields; the heading has {width}"
                    before = reader.line_num
            except csv.Error as error:
                return before + 1, 1, f"the row cannot be read ({error})"
    except UnicodeDecodeError:
        return _not_utf8(path)
    return None


def _not_utf8(path: Path) -> tuple[int, int, str] | None:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return number, len(line[: error.start].decode()) + 1, "the line is not UTF-8"
    return None
