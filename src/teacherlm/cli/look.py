"""The commands that look: status, sql."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from teacherlm.cli import options, show
from teacherlm.cli.output import Format, Outcome, err, write_bytes
from teacherlm.core.errors import Mistake

app = typer.Typer()

SHOWN = 200
"""Rows of a table that a terminal shows."""


class SqlFormat(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"


@app.command(rich_help_panel=options.LOOK, epilog="Example: teacherlm status")
def status(
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Show where each dataset stands."""
    opened = options.project(project, workspace)
    outcome = Outcome("status", format)
    with outcome.collecting():
        outcome.rows = opened.status()
    bundled = " (bundled)" if opened.files.is_bundled else ""
    outcome.note(f"project {opened.files.root}{bundled}, workspace {opened.workspace.root}")
    raise typer.Exit(outcome.finish(show.status))


@app.command(
    rich_help_panel=options.LOOK,
    epilog='Example: teacherlm sql "SELECT kind, verdict, count(*) FROM verdicts GROUP BY ALL" --format csv',
)
def sql(
    query: Annotated[
        str, typer.Argument(help="Over the views samples, rationales, verdicts, findings, augmented; - reads stdin.")
    ],
    format: Annotated[SqlFormat, typer.Option("--format", help="How the rows are printed.")] = SqlFormat.table,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write instead of stdout.")] = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
) -> None:
    """Query the workspace in DuckDB SQL, also while a run is writing."""
    import duckdb

    if query == "-":
        query = typer.get_text_stream("stdin").read()
    opened = options.project(project, workspace)
    try:
        result = opened.sql(query).to_arrow_table()
    except duckdb.Error as error:
        raise Mistake(str(error), "the views are samples, rationales, verdicts, findings, augmented", "sql") from None
    if format is SqlFormat.table and output is None:
        show.arrow(result, SHOWN)
        return
    data = show.encoded(result, format.value)
    if output is None:
        write_bytes(data)
        return
    from teacherlm.core.files import replacing

    with replacing(output) as temporary:
        temporary.write_bytes(data)
    err.print(f"{result.num_rows:,} rows in {output}", style="dim", markup=False)
