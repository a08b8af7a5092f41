"""The commands that make: init, plan, build, augment, check, publish, run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teacherlm.api.collections import OpenCollection
from teacherlm.api.contract import look_at_suites
from teacherlm.api.options import PlanOptions
from teacherlm.api.plan_train import TrainPlanOptions
from teacherlm.api.setup import init as lay_out
from teacherlm.cli import (
    collect,
    options,
    plan_train,
    scale,
    show,
    show_check,
    show_collections,
    show_contract,
    show_published,
)
from teacherlm.cli.output import Format, Outcome
from teacherlm.cli.scale import Engine
from teacherlm.cli.steps import augment_dataset, build_dataset, check_dataset, counts_of, plan_dataset
from teacherlm.core.errors import Mistake

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
        outcome.note(f"next: cd {directory} && teacherlm run curriculum --teacher nano --to published")
    raise typer.Exit(outcome.finish(lambda rows: show.files(rows, directory)))


@app.command(rich_help_panel=options.MAKE, epilog="Example: teacherlm plan creak --teacher http://127.0.0.1:8080")
def plan(
    names: options.Names,
    teacher: options.TeacherOption = None,
    kinds: options.KindsOption = None,
    limit: options.LimitOption = None,
    repeats: options.RepeatsOption = 1,
    strategy: options.StrategyOption = None,
    probe: options.ProbeOption = None,
    concurrency: options.ConcurrencyOption = "auto",
    shown: Annotated[int, typer.Option(help="Samples whose prompts are shown whole.")] = 1,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Counts tokens: a tokenizer.json, its folder, or a Hub id.", show_default="the teacher's"),
    ] = None,
    context: Annotated[
        int | None, typer.Option(help="Tokens that the teacher takes in all.", show_default="what it says")
    ] = None,
    tokens_per_second: options.SpeedOption = None,
    tflops: options.TflopsOption = None,
    utilisation: options.UtilisationOption = 0.4,
    text_tokens: options.TextTokensOption = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Run a recipe's example rows; show samples, prompts, tokens, calls and cost. Nobody writes, but for --probe.

    Of a training (train/NAME) it shows what the stages read, the memory on each GPU, and hours; no weights are needed.
    """
    if probe is not None and scale.Place(project, workspace).is_scaled:
        found = "its answers would be lost: a workspace at a URL is only copied"
        raise Mistake(found, "name a folder by --workspace", "--probe")
    opened = options.project(project, workspace)
    outcome = Outcome("plan", format)
    for training in [name for name in names if plan_train.is_training(opened, name)]:
        with outcome.collecting():
            speed = TrainPlanOptions(tokens_per_second=tokens_per_second, tflops=tflops, utilisation=utilisation)
            speed["text_tokens"] = text_tokens
            outcome.rows.append(opened.plan_train(training, **speed).to_row())
    for work in collect.given(opened, [name for name in names if not plan_train.is_training(opened, name)]):
        name = work if isinstance(work, str) else work.name
        with outcome.collecting():
            if isinstance(work, OpenCollection):
                if probe is not None:
                    raise Mistake(f"`{name}` is a collection", "probe one of its datasets", "--probe")
                outcome.rows.append(work.plan())
                continue
            asked = PlanOptions(
                teacher=teacher,
                kinds=options.kinds_of(kinds),
                limit=limit,
                repeats=repeats,
                strategy=strategy,
                shown=shown,
                tokenizer=tokenizer,
                context=context,
            )
            made = plan_dataset(opened, name, outcome, asked, probe, options.concurrency_of(concurrency))
            outcome.rows.append(made.to_row())
    raise typer.Exit(outcome.finish(plan_train.plans))


@app.command(
    rich_help_panel=options.MAKE, epilog="Example: teacherlm build creak --source rows/creak.parquet --split validation"
)
def build(
    names: options.Names,
    source: options.SourceOption = None,
    split: options.SplitOption = None,
    force: Annotated[bool, typer.Option("--force", help="Build again where nothing has changed.")] = False,
    engine: options.EngineOption = Engine.local,
    ray_address: options.RayAddressOption = None,
    workers: options.WorkersOption = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Make samples of source rows; bad rows are counted and kept aside."""
    outcome, place = Outcome("build", format), scale.Place(project, workspace, engine, ray_address, workers)
    if place.is_scaled:
        raise typer.Exit(scale.build(place, outcome, names, source, split, force))
    opened = options.project(project, workspace)
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
    max_calls: options.MaxCallsOption = None,
    max_tokens: options.MaxTokensOption = None,
    budget: options.BudgetOption = None,
    engine: options.EngineOption = Engine.local,
    ray_address: options.RayAddressOption = None,
    workers: options.WorkersOption = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Ask a teacher for every rationale that the ledger does not hold yet."""
    outcome, place = Outcome("augment", format), scale.Place(project, workspace, engine, ray_address, workers)
    number, wanted = options.concurrency_of(concurrency), options.kinds_of(kinds)
    spending = options.budget_of(max_calls, max_tokens, budget, place.is_scaled)
    if place.is_scaled:
        asked = scale.Asked(teacher, wanted, limit, repeats, strategy, number)
        raise typer.Exit(scale.augment(place, outcome, names, asked))
    opened = options.project(project, workspace)
    works = collect.given(opened, names)
    for target in collect.targets(opened, works, outcome):
        with outcome.collecting():
            state = augment_dataset(
                target.opened, target.name, outcome, teacher, wanted, limit, repeats, number, strategy, spending
            )
            target.tag(outcome)
            if state.stopped_by:
                break
    raise typer.Exit(outcome.finish(show.augmented))


@app.command(rich_help_panel=options.MAKE, epilog="Example: teacherlm check creak --against mmlu=rows/test.parquet")
def check(
    names: options.Names,
    against: options.AgainstOption = None,
    contract: options.ContractOption = True,
    docs: options.DocsOption = False,
    engine: options.EngineOption = Engine.local,
    ray_address: options.RayAddressOption = None,
    workers: options.WorkersOption = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Let the rules judge every rationale, close the books, decide the gates, hold the contract."""
    outcome, place = Outcome("check", format), scale.Place(project, workspace, engine, ray_address, workers)
    sets = options.against_of(against)
    if sets and place.is_scaled:
        raise Mistake("sets are read into a folder of this machine", "name a folder by --workspace", "--against")
    if docs and (place.is_scaled or not contract):
        raise Mistake("pages are written with the contract, in a folder", "leave it out", "--docs")
    if place.is_scaled:  # `publish` holds the contract
        raise typer.Exit(scale.check(place, outcome, names))
    opened = options.project(project, workspace)
    works = collect.given(opened, names)
    if contract:
        look_at_suites(opened.files, opened.catalog, opened.workspace)
    collect.read_evaluation_sets(opened, works, sets, outcome)
    for target in collect.targets(opened, works, outcome):
        with outcome.collecting():
            check_dataset(target.opened, target.name, outcome)
            target.tag(outcome)
            if contract:
                show_contract.hold(target.opened, target.name, outcome, docs)
    raise typer.Exit(outcome.finish(show_contract.reports))


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
    max_calls: options.MaxCallsOption = None,
    max_tokens: options.MaxTokensOption = None,
    budget: options.BudgetOption = None,
    to: options.ToOption = None,
    engine: options.EngineOption = Engine.local,
    ray_address: options.RayAddressOption = None,
    workers: options.WorkersOption = None,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Build, augment, check and, with --to, publish: only what is stale or missing."""
    outcome, place = Outcome("run", format), scale.Place(project, workspace, engine, ray_address, workers)
    number, wanted = options.concurrency_of(concurrency), options.kinds_of(kinds)
    spending = options.budget_of(max_calls, max_tokens, budget, place.is_scaled)
    if place.is_scaled:
        asked = scale.Asked(teacher, wanted, limit, repeats, strategy, number)
        raise typer.Exit(scale.run(place, outcome, names, source, split, asked, to))
    opened = options.project(project, workspace)
    works = collect.given(opened, names, source)
    groups = collect.groups(opened, works) if to else []
    opened.teacher(teacher)
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
                target.opened, target.name, steps, teacher, wanted, limit, repeats, number, strategy, spending
            )
            if state.stopped_by:
                row = {"dataset": target.name, "asked_now": state.tally.settled, "stopped_by": state.stopped_by}
                outcome.rows.append({**row, **dict.fromkeys(show_collections.COUNTS), "passed": None})
                target.tag(outcome)
                outcome.codes |= steps.codes
                break
            check_dataset(target.opened, target.name, steps, only_if_stale=True)
            row = {"dataset": target.name, "asked_now": state.tally.settled}
            outcome.rows.append({**row, **counts_of(steps.rows[-1])})
            target.tag(outcome)
            if not steps.codes & {1, 4}:
                whole.add(target.name)
        outcome.codes |= steps.codes
        outcome.errors += steps.errors
        if format is Format.table and target.collection is None:
            for part, rows in ((show.built, steps.rows[:1]), (show_check.reports, steps.rows[2:])):
                if rows:
                    part(rows)
            steps.show_later()
        outcome.later += steps.later
    if format is Format.table:
        show_collections.ran(outcome.rows)
    is_whole = not any(row.get("stopped_by") for row in outcome.rows)
    for group in groups if is_whole else []:
        with outcome.collecting():
            published = collect.publish(group, to or "", outcome, only=whole)
            done = {name for row in published for name in row["datasets"]}
            for row in outcome.rows:
                if row.get("collection") == group.collection:
                    row["published"] = str(to) if row["dataset"] in done else None
            if format is Format.table:
                show_published.published(published)
    raise typer.Exit(outcome.finish(lambda rows: None))
