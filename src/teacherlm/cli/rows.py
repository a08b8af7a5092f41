"""The rows of a query: in a terminal, or as JSON, CSV and Parquet."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from teacherlm.cli.output import cell, out
from teacherlm.core.errors import Mistake

if TYPE_CHECKING:
    import pyarrow as pa

FORMS = {".json": "json", ".csv": "csv", ".parquet": "parquet"}


def form_of(wanted: str, output: Path | None) -> str:
    """The form that rows are written in: as wanted, else by the name of the file.

    Raises:
        Mistake: neither says it.
    """
    if output is None or wanted != "table":
        return wanted
    form = FORMS.get(output.suffix.lower())
    if form is None:
        raise Mistake(
            "the file's name does not say how it is to be written", "add --format csv, json or parquet", str(output)
        )
    return form


def named_once(rows: pa.Table) -> pa.Table:
    """The rows with columns of one name told apart; otherwise all but one would vanish."""
    names: list[str] = []
    for name in rows.schema.names:
        twin, number = name, 1
        while twin in names:
            number += 1
            twin = f"{name}_{number}"
        names.append(twin)
    return rows.rename_columns(names)


def show(rows: pa.Table, most: int) -> None:
    """The first of many rows, as an aligned table."""
    import pyarrow as pa

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for field in rows.schema:
        right = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        shown.add_column(escape(field.name), justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows.slice(0, most).to_pylist():
        shown.add_row(*[cell(value) if value is not None else "[dim]null[/dim]" for value in row.values()])
    out.print(shown)
    if rows.num_rows > most:
        out.print(f"… {rows.num_rows - most:,} more rows; --format csv, json or parquet prints all", style="dim")


def encoded(rows: pa.Table, form: str) -> bytes:
    """The rows as a JSON array, CSV or Parquet."""
    if form == "json":
        import orjson

        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(rows.to_pylist(), option=options, default=_as_text)
    buffer = io.BytesIO()
    if form == "csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(_flat(rows), buffer)
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(rows, buffer, compression="zstd")
    return buffer.getvalue()


def _flat(rows: pa.Table) -> pa.Table:
    """CSV knows no lists, structs, intervals and bytes: they are written as JSON text, the last two as their text."""
    import orjson
    import pyarrow as pa

    columns = {}
    for field in rows.schema:
        column = rows[field.name]
        if pa.types.is_nested(field.type):
            column = [None if v is None else orjson.dumps(v, default=_as_text).decode() for v in column.to_pylist()]
        elif pa.types.is_interval(field.type) or pa.types.is_duration(field.type) or pa.types.is_binary(field.type):
            column = [None if v is None else _as_text(v) for v in column.to_pylist()]
        columns[field.name] = pa.array(column, pa.string()) if isinstance(column, list) else column
    return pa.table(columns)


def _as_text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
