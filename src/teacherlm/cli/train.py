"""The command `train`: stages of a declaration, one after the other, continued where they were stopped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from teacherlm.cli import options, show_train
from teacherlm.cli.output import INTERRUPTED, Format, Outcome, err
from teacherlm.core.errors import Mistake

app = typer.Typer()


@app.command(rich_help_panel=options.TEACH, epilog="Example: teacherlm train nano/teacher")
def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A declaration: train/NAME.yaml.")],
    stages: Annotated[
        str | None, typer.Option(help="Stages to run, with commas between.", show_default="all that are not finished")
    ] = None,
    from_stage: Annotated[
        str | None, typer.Option(help="Run this stage and those after it.", show_default=False)
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away checkpoints and outputs of the stages to run.")
    ] = False,
    max_steps: Annotated[
        int | None,
        typer.Option(help="A trial: end each stage there. It lands in models/NAME.trial.", show_default="to the end"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the stages.", show_default="models/NAME in the workspace")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes of this machine that share each step; torchrun works as well.")
    ] = 1,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Train the stages of a declaration; the same command goes on where it was stopped or killed."""
    from teacherlm.train.processes import count, is_first, launch

    if processes > 1 and count() == 1:
        raise typer.Exit(launch(_without_processes(sys.argv[1:]), processes))
    from teacherlm.train.failures import Interrupted

    opened = options.project(project, workspace)
    outcome = Outcome("train", format)
    with outcome.collecting():
        wanted = [one.strip() for one in stages.split(",") if one.strip()] if stages is not None else None
        if wanted is not None and not wanted:
            raise Mistake("names no stage", "name some, with commas between", "--stages")
        try:
            with show_train.watching(is_first()) as watch:
                done = opened.train(
                    name,
                    stages=wanted,
                    from_stage=from_stage,
                    restart=restart,
                    max_steps=max_steps,
                    output=output,
                    watch=watch,
                    tell=outcome.note,
                )
        except Interrupted as error:
            outcome.codes.add(INTERRUPTED)
            if is_first():
                err.print(f"{error}. Run the same command again to go on.", markup=False)
        else:
            outcome.rows.append(done.to_row())
    if not is_first():
        raise typer.Exit(max(outcome.codes, default=0))
    raise typer.Exit(outcome.finish(show_train.trained))


def _without_processes(arguments: list[str]) -> list[str]:
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == "--processes":
            skip = True
        elif not argument.startswith("--processes="):
            kept.append(argument)
    return kept
