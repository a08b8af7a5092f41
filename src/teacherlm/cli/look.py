"""The commands that look: status, sql."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from teacherlm.cli import collect, options, rows, show_collections
from teacherlm.cli.output import Format, Outcome, err, write_bytes
from teacherlm.core.errors import MachineFailed, Mistake

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
    names: options.SomeNames = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Show where each dataset stands, or those of a collection."""
    opened = options.project(project, workspace)
    outcome = Outcome("status", format)
    with outcome.collecting():
        outcome.rows = collect.status(opened, names or [], outcome)
    bundled = " (bundled)" if opened.files.is_bundled else ""
    outcome.note(f"project {opened.files.root}{bundled}, workspace {opened.workspace.root}")
    raise typer.Exit(outcome.finish(show_collections.status))


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
        result = rows.named_once(opened.sql(query).to_arrow_table())
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise MachineFailed(
            f"a file of the workspace cannot be read: {str(error).splitlines()[0]}",
            "run it again if a check or a build is going on; else remove the file and run the step that writes it",
            str(opened.workspace.root),
        ) from None
    except duckdb.Error as error:
        raise Mistake(str(error), "the views are samples, rationales, verdicts, findings, augmented", "sql") from None
    form = rows.form_of(format.value, output)
    if form == "table":
        rows.show(result, SHOWN)
        return
    data = rows.encoded(result, form)
    if output is None:
        write_bytes(data)
        return
    from teacherlm.core.files import replacing

    with replacing(output) as temporary:
        temporary.write_bytes(data)
    err.print(f"{result.num_rows:,} rows in {output}", style="dim", markup=False)
