"""The commands that make: init, plan, build, augment, check, publish, run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teacherlm.api.setup import init as lay_out
from teacherlm.cli import options, show
from teacherlm.cli.output import INTERRUPTED, Format, Outcome
from teacherlm.cli.steps import (
    augment_dataset,
    build_dataset,
    check_dataset,
    check_declared,
    counts_of,
    publish_datasets,
)

app = typer.Typer()


@app.command(rich_help_panel=options.MAKE, epilog="Example: teacherlm init my-project")
def init(
    directory: Annotated[Path, typer.Argument(help="Directory of the new project.")],
    format: options.FormatOption = Format.table,
) -> None:
    """Lay out a new project: catalogue, example dataset, prompts."""
    outcome = Outcome("init", format)
    with outcome.collecting():
        outcome.rows = [{"file": name} for name in lay_out(directory)]
        outcome.note(f"next: cd {directory} && teacherlm run examples --teacher nano --to published")
    raise typer.Exit(outcome.finish(lambda rows: show.files(rows, directory)))


@app.command(rich_help_panel=options.MAKE, epilog="Example: teacherlm plan creak --teacher http://127.0.0.1:8080")
def plan(
    names: options.Names,
    teacher: options.TeacherOption = None,
    kinds: options.KindsOption = None,
    shown: Annotated[int, typer.Option(help="Samples whose prompts are shown.")] = 1,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Run a recipe's example rows and show what the teacher would be asked; nobody is asked."""
    opened = options.project(project, workspace)
    outcome = Outcome("plan", format)
    for name in names:
        with outcome.collecting():
            made = opened.plan(name, teacher=teacher, kinds=options.kinds_of(kinds), shown=shown)
            outcome.rows.append(made.to_row())
    raise typer.Exit(outcome.finish(show.plans))


@app.command(
    rich_help_panel=options.MAKE, epilog="Example: teacherlm build creak --source rows/creak.parquet --split validation"
)
def build(
    names: options.Names,
    source: options.SourceOption = None,
    split: options.SplitOption = None,
    force: Annotated[bool, typer.Option("--force", help="Build again where nothing has changed.")] = False,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Make samples of source rows; bad rows are counted and kept aside."""
    opened = options.project(project, workspace)
    outcome = Outcome("build", format)
    check_declared(opened, names, source)
    for name in names:
        with outcome.collecting():
            build_dataset(opened, name, outcome, source, split, force)
    raise typer.Exit(outcome.finish(show.built))


@app.command(
    rich_help_panel=options.MAKE, epilog="Example: teacherlm augment creak --teacher http://127.0.0.1:8080 --limit 100"
)
def augment(
    names: options.Names,
    teacher: options.TeacherOption = None,
    kinds: options.KindsOption = None,
    limit: options.LimitOption = None,
    repeats: Annotated[int, typer.Option(help="Texts of each kind for each sample.")] = 1,
    concurrency: options.ConcurrencyOption = "auto",
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Ask a teacher for every rationale that the ledger does not hold yet."""
    opened = options.project(project, workspace)
    outcome = Outcome("augment", format)
    check_declared(opened, names)
    number = options.concurrency_of(concurrency)
    for name in names:
        with outcome.collecting():
            state = augment_dataset(opened, name, outcome, teacher, options.kinds_of(kinds), limit, repeats, number)
            if state.stopped_by:
                break
    raise typer.Exit(outcome.finish(show.augmented))


@app.command(rich_help_panel=options.MAKE, epilog="Example: teacherlm check creak")
def check(
    names: options.Names,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Let the rules judge every rationale, close the books, decide the gates."""
    opened = options.project(project, workspace)
    outcome = Outcome("check", format)
    check_declared(opened, names)
    for name in names:
        with outcome.collecting():
            check_dataset(opened, name, outcome)
    raise typer.Exit(outcome.finish(show.reports))


@app.command(rich_help_panel=options.MAKE, epilog="Example: teacherlm publish creak ecqa --to published")
def publish(
    names: options.Names,
    to: Annotated[str, typer.Option("--to", help="Folder to publish to.")],
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Publish checked datasets to a folder that load_dataset reads; only when the gates pass."""
    opened = options.project(project, workspace)
    outcome = Outcome("publish", format)
    check_declared(opened, names)
    with outcome.collecting():
        outcome.rows.append(publish_datasets(opened, names, to, outcome))
    raise typer.Exit(outcome.finish(show.published))


@app.command(rich_help_panel=options.MAKE, epilog="Example: teacherlm run examples --teacher nano --to published")
def run(
    names: options.Names,
    teacher: options.TeacherOption = None,
    source: options.SourceOption = None,
    split: options.SplitOption = None,
    kinds: options.KindsOption = None,
    limit: options.LimitOption = None,
    concurrency: options.ConcurrencyOption = "auto",
    to: options.ToOption = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Build, augment, check and, with --to, publish: only what is stale or missing."""
    opened = options.project(project, workspace)
    outcome = Outcome("run", format)
    check_declared(opened, names, source)
    opened.teacher(teacher)
    number, wanted = options.concurrency_of(concurrency), options.kinds_of(kinds)
    whole: list[str] = []
    for name in names:
        steps = Outcome("run", format)
        with outcome.collecting():
            build_dataset(opened, name, steps, source, split, False)
            state = augment_dataset(opened, name, steps, teacher, wanted, limit, 1, number)
            if INTERRUPTED in steps.codes:
                outcome.codes.add(INTERRUPTED)
                break
            check_dataset(opened, name, steps, only_if_stale=True)
            outcome.rows.append({"dataset": name, "asked_now": state.tally.settled, **counts_of(steps.rows[-1])})
            if not steps.codes & {1, 4}:
                whole.append(name)
        outcome.codes |= steps.codes
        outcome.errors += steps.errors
        if format is Format.table:
            for part, rows in ((show.built, steps.rows[:1]), (show.reports, steps.rows[2:])):
                if rows:
                    part(rows)
            steps.show_later()
    if to and whole and INTERRUPTED not in outcome.codes:
        with outcome.collecting():
            published = publish_datasets(opened, whole, to, outcome)
            for row in outcome.rows:
                row["published"] = published["folder"] if row["dataset"] in whole else None
            if format is Format.table:
                show.published([published])
    raise typer.Exit(outcome.finish(lambda rows: None))
