"""The commands that make: init, plan, build, augment, check, publish, run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teacherlm.api.collections import OpenCollection
from teacherlm.api.setup import init as lay_out
from teacherlm.cli import collect, options, show, show_collections
from teacherlm.cli.output import INTERRUPTED, Format, Outcome
from teacherlm.cli.steps import (
    augment_dataset,
    build_dataset,
    check_dataset,
    counts_of,
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
    shown: Annotated[int, typer.Option(help="Samples whose prompts are shown whole.")] = 1,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Counts tokens: a tokenizer.json, its folder, or a Hub id.", show_default="the teacher's"),
    ] = None,
    context: Annotated[
        int | None, typer.Option(help="Tokens that the teacher takes in all.", show_default="what it says")
    ] = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Run a recipe's example rows; show samples, prompts, tokens, calls and cost; nobody is asked to write."""
    opened = options.project(project, workspace)
    outcome = Outcome("plan", format)
    for work in collect.given(opened, names):
        name = work if isinstance(work, str) else work.name
        with outcome.collecting():
            if isinstance(work, OpenCollection):
                outcome.rows.append(work.plan())
                continue
            made = opened.plan(
                name,
                teacher=teacher,
                kinds=options.kinds_of(kinds),
                shown=shown,
                tokenizer=tokenizer,
                context=context,
            )
            outcome.rows.append(made.to_row())
    raise typer.Exit(outcome.finish(show_collections.plans))


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
    for work in collect.given(opened, names, source):
        with outcome.collecting():
            if isinstance(work, OpenCollection):
                outcome.rows.append(collect.build_collection(work, outcome, source, split, force))
            else:
                build_dataset(opened, work, outcome, source, split, force)
    raise typer.Exit(outcome.finish(show_collections.built))


@app.command(
    rich_help_panel=options.MAKE, epilog="Example: teacherlm augment creak --teacher http://127.0.0.1:8080 --limit 100"
)
def augment(
    names: options.Names,
    teacher: options.TeacherOption = None,
    kinds: options.KindsOption = None,
    limit: options.LimitOption = None,
    repeats: options.RepeatsOption = 1,
    strategy: options.StrategyOption = None,
    concurrency: options.ConcurrencyOption = "auto",
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Ask a teacher for every rationale that the ledger does not hold yet."""
    opened = options.project(project, workspace)
    outcome = Outcome("augment", format)
    works = collect.given(opened, names)
    number = options.concurrency_of(concurrency)
    for target in collect.targets(opened, works, outcome):
        with outcome.collecting():
            state = augment_dataset(
                target.opened, target.name, outcome, teacher, options.kinds_of(kinds), limit, repeats, number, strategy
            )
            target.tag(outcome)
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
    works = collect.given(opened, names)
    for target in collect.targets(opened, works, outcome):
        with outcome.collecting():
            check_dataset(target.opened, target.name, outcome)
            target.tag(outcome)
    raise typer.Exit(outcome.finish(show_collections.reports))


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
    for group in collect.groups(opened, collect.given(opened, names)):
        with outcome.collecting():
            outcome.rows += collect.publish(group, to, outcome)
    raise typer.Exit(outcome.finish(show.published))


@app.command(rich_help_panel=options.MAKE, epilog="Example: teacherlm run examples --teacher nano --to published")
def run(
    names: options.Names,
    teacher: options.TeacherOption = None,
    source: options.SourceOption = None,
    split: options.SplitOption = None,
    kinds: options.KindsOption = None,
    limit: options.LimitOption = None,
    repeats: options.RepeatsOption = 1,
    strategy: options.StrategyOption = None,
    concurrency: options.ConcurrencyOption = "auto",
    to: options.ToOption = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Build, augment, check and, with --to, publish: only what is stale or missing."""
    opened = options.project(project, workspace)
    outcome = Outcome("run", format)
    works = collect.given(opened, names, source)
    groups = collect.groups(opened, works) if to else []
    opened.teacher(teacher)
    number, wanted = options.concurrency_of(concurrency), options.kinds_of(kinds)
    whole: set[str] = set()
    for work in works:
        with outcome.collecting():
            if isinstance(work, OpenCollection):
                row = collect.build_collection(work, outcome, source, split, False)
                if format is Format.table:
                    show_collections.built([row])
    for target in collect.targets(opened, works, outcome):
        steps = Outcome("run", format)
        with outcome.collecting():
            if target.collection is None:
                build_dataset(opened, target.name, steps, source, split, False)
            state = augment_dataset(
                target.opened, target.name, steps, teacher, wanted, limit, repeats, number, strategy
            )
            if INTERRUPTED in steps.codes:
                outcome.codes.add(INTERRUPTED)
                break
            check_dataset(target.opened, target.name, steps, only_if_stale=True)
            asked = {"dataset": target.name, "asked_now": state.tally.settled}
            outcome.rows.append({**asked, **counts_of(steps.rows[-1])})
            target.tag(outcome)
            if not steps.codes & {1, 4}:
                whole.add(target.name)
        outcome.codes |= steps.codes
        outcome.errors += steps.errors
        if format is Format.table and target.collection is None:
            for part, rows in ((show.built, steps.rows[:1]), (show.reports, steps.rows[2:])):
                if rows:
                    part(rows)
            steps.show_later()
        outcome.later += steps.later
    if format is Format.table:
        show_collections.ran(outcome.rows)
    for group in groups if INTERRUPTED not in outcome.codes else []:
        with outcome.collecting():
            published = collect.publish(group, to or "", outcome, only=whole)
            done = {name for row in published for name in row["datasets"]}
            for row in outcome.rows:
                if row.get("collection") == group.collection:
                    row["published"] = str(to) if row["dataset"] in done else None
            if format is Format.table:
                show.published(published)
    raise typer.Exit(outcome.finish(lambda rows: None))
