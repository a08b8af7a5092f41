"""The command `status`."""

from __future__ import annotations

import typer

from teacherlm.cli import collect, options, show_collections
from teacherlm.cli.output import Format, Outcome

app = typer.Typer()


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
