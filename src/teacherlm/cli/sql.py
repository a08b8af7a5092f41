"""The command `sql`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from teacherlm.api.sql import Asked, Sql
from teacherlm.api.sql_files import settings
from teacherlm.cli import options, rows, sql_run
from teacherlm.cli.output import err, write_bytes
from teacherlm.cli.output import table as print_table
from teacherlm.core.errors import Mistake

app = typer.Typer()


class SqlFormat(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"


@app.command(
    rich_help_panel=options.LOOK,
    epilog='Example: teacherlm sql "SELECT kind, verdict, count(*) FROM verdicts GROUP BY ALL" --format csv',
)
def sql(
    query: Annotated[
        str | None,
        typer.Argument(
            help="SQL, the name of a query (--list shows them), or a .sql file; - reads stdin; none: a shell.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A published folder, or hf://datasets/ORG/REPO[@REVISION], in place of the workspace.",
            show_default=False,
        ),
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A value for $NAME.", show_default=False)
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show views, macros and named queries.")] = False,
    format: Annotated[SqlFormat, typer.Option("--format", help="How the rows are printed.")] = SqlFormat.table,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write instead of stdout.")] = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
) -> None:
    """Query the workspace in DuckDB SQL, also while a run is writing."""
    opened = options.project(project, workspace)
    asking = Sql(opened.files, opened.workspace, source)
    parameters = settings(sets or [])
    if listed:
        show_names(asking)
        return
    if query is None and output is None and sys.stdin.isatty() and sys.stdout.isatty():
        from teacherlm.cli.sql_shell import Shell

        Shell(asking, parameters).run()
        return
    if query is None or query == "-":
        asked = Asked(typer.get_text_stream("stdin").read(), parameters=parameters)
    else:
        asked = asking.asked(query, parameters)
    form = rows.form_of(format.value, output)
    if form == "table":
        if not sql_run.show_each(asking.session, asked.text, asked.parameters, asked.where):
            raise Mistake("the statement returns no rows", "write a SELECT", asked.where)
        return
    result = sql_run.table(asking.session, asked.text, asked.parameters, asked.where)
    data = rows.encoded(result, form)
    if output is None:
        write_bytes(data)
        return
    from teacherlm.core.files import replacing

    with replacing(output) as temporary:
        temporary.write_bytes(data)
    err.print(f"{result.num_rows:,} rows in {output}", style="dim", markup=False)


def show_names(asking: Sql) -> None:
    """Views, macros and named queries, with what they are for."""
    from teacherlm.api.sql_views import ABOUT

    views = [{"view": name, "what it holds": ABOUT[name]} for name in asking.session.source.views]
    macros = [{"macro": macro.call, "what it gives": macro.about} for macro in asking.session.macros.values()]
    queries = [{"query": query.name, "what it answers": query.about} for query in asking.queries.values()]
    for found in (views, macros, queries):
        if found:
            print_table(found, list(found[0]))
            typer.echo()
