"""The command `duplicates`: what datasets share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from teacherlm.api.duplicates import LIKE, LOWEST
from teacherlm.cli import collect, options
from teacherlm.cli.output import Format, Outcome, out, table
from teacherlm.core.errors import Mistake

app = typer.Typer()

SHOWN = 5
"""Lines of the table that get an example below it."""


@app.command(rich_help_panel=options.LOOK, epilog="Example: teacherlm duplicates ecqa cos-e")
def duplicates(
    names: options.Names,
    least: Annotated[
        float, typer.Option("--min-similarity", help=f"From {LOWEST}, nearly alike, to 1, the same.")
    ] = LIKE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Parquet file for all pairs.", show_default=False)
    ] = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Find questions and rationales that say nearly what those of the datasets named before say."""
    outcome = Outcome("duplicates", format)
    with outcome.collecting():
        opened = options.project(project, workspace)
        works = collect.given(opened, names)
        if len(works) > 1 and not all(isinstance(work, str) for work in works):
            found = "datasets of several workspaces cannot be compared"
            raise Mistake(found, "name datasets, or one collection", "NAME")
        targets = list(collect.targets(opened, works, outcome))
        if targets:
            across = targets[0].opened.duplicates(*(one.name for one in targets), least=least, output=output)
            outcome.rows = across.counts
            if not across.counts:
                compared = ", ".join(one.name for one in targets)
                outcome.note(f"no text of one is {100 * least:g} % like one of another: {compared}")
            if output is not None:
                outcome.note(f"{len(across.pairs):,} pairs in {output}")
    raise typer.Exit(outcome.finish(show))


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Counts, and some pairs to look at."""
    lines = [{**row, "share": f"{100 * row['share']:.1f}%", "the same": row["same"]} for row in rows]
    table(lines, ["dataset", "like", "what", "texts", "of", "share", "the same"])
    out.print()
    for row in rows[:SHOWN]:
        what = row["what"].replace("_", " ")
        for one, other in row["examples"][:1]:
            out.print(f"{one}: {what} like that of {other}", markup=False)
