"""The command group `experiment`: list what is declared, run a grid, write its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teacherlm.cli import options
from teacherlm.cli.output import Format, Outcome

app = typer.Typer(
    help="Questions answered by grids of trainings: evaluate/experiments/NAME.yaml.",
    epilog="Example: teacherlm experiment run augment-nano",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A declaration: evaluate/experiments/NAME.yaml.")]
To = Annotated[
    Path | None, typer.Option("--to", help="Folder of the report.", show_default="experiments/NAME in the workspace")
]


@app.command("list", epilog="Example: teacherlm experiment list")
def list_all(
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """What is declared, how many trainings it takes, and how many are done."""
    from teacherlm.api.experiment_list import listed
    from teacherlm.cli.show_experiment import declared

    outcome = Outcome("experiment list", format)
    for row, error in listed(options.project(project, workspace)):
        if row is not None:
            outcome.rows.append(row)
        if error is not None:
            outcome.fail(error)
    raise typer.Exit(outcome.finish(declared))


@app.command(epilog="Example: teacherlm experiment run augment-nano")
def run(
    name: Name,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Cells at the same time.", show_default="one for each GPU, else for each core"),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Train and test all cells again.")] = False,
    to: To = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Train and test the cells that are not done yet, compare them, and write the report.

    A run that was stopped or killed goes on where it was; a cell that fails is named, and the others go on.
    """
    from teacherlm.api.experiment_report import write_report
    from teacherlm.api.experiments import run as run_cells
    from teacherlm.cli.show_experiment import found, watching
    from teacherlm.core.errors import MachineFailed

    opened = options.project(project, workspace)
    outcome = Outcome("experiment run", format)
    with outcome.collecting():
        with watching() as (watch, tell):
            ran = run_cells(opened, name, workers=workers, restart=restart, watch=watch, tell=tell)
        written = write_report(opened, name, to)
        row = {**written.to_row(), "seconds": round(ran.seconds, 1), "already": ran.already}
        outcome.rows.append(row)
        for cell, why in {one.cell: one.failure for one in ran.failed}.items():
            outcome.fail(MachineFailed(f"cell {cell} failed: {why}", "mend it and run the same command again"))
    raise typer.Exit(outcome.finish(found))


@app.command(epilog="Example: teacherlm experiment report augment-nano --to reports")
def report(
    name: Name,
    to: To = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Compare the cells that are done, and write the page and the Markdown."""
    from teacherlm.api.experiment_report import write_report
    from teacherlm.cli.show_experiment import found

    outcome = Outcome("experiment report", format)
    with outcome.collecting():
        outcome.rows.append(write_report(options.project(project, workspace), name, to).to_row())
    raise typer.Exit(outcome.finish(found))
