"""What the commands that make have in common: one step for one dataset, its row, its notes and its failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

from teacherlm.api.augment import Augmented
from teacherlm.api.options import PlanOptions
from teacherlm.api.plan import Plan
from teacherlm.api.problems import declaration_problems
from teacherlm.api.project import Project
from teacherlm.api.publish import PublishOptions
from teacherlm.cli import show_check
from teacherlm.cli.output import INTERRUPTED, Outcome, err
from teacherlm.cli.progress import augment_line, duration
from teacherlm.core.errors import GateFailed, Mistakes, Problem, RemoteFailed
from teacherlm.teacher.budget import Budget


def check_declared(opened: Project, names: Sequence[str], source: Path | None = None) -> None:
    """All mistakes of all recipes at once, before anything is run."""
    problems: list[Problem] = []
    if source is not None and len(names) > 1:
        found = f"{source} cannot be the source of {len(names)} datasets"
        problems.append(Problem("--source", found, f"build one at a time: {names[0]} --source {source}"))
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        problems.append(Problem("NAME", f"`{twice[0]}` is named twice", "name it once"))
    problems += declaration_problems(opened, names)
    if problems:
        raise Mistakes(problems)


def build_dataset(
    opened: Project, name: str, outcome: Outcome, source: Path | None, split: str | None, force: bool
) -> None:
    made = opened.build(name, source=source, split=split, force=force, tell=outcome.note)
    if made.skipped:
        outcome.note(f"{name}: splits that the recipe does not declare were left: {', '.join(made.skipped)}")
    if made.absent:
        outcome.note(f"{name}: declared splits that are not there: {', '.join(made.absent)}")
    outcome.rows.append(asdict(made) | {"samples": made.samples, "rejected": made.rejected})


def plan_dataset(
    opened: Project, name: str, outcome: Outcome, asked: PlanOptions, probe: int | None, concurrency: int | None
) -> Plan:
    if probe is None:
        return opened.plan(name, **asked)
    with augment_line() as line:
        asked |= PlanOptions(probe=probe, concurrency=concurrency, watch=line, tell=outcome.note)
        return opened.plan(name, **asked)


def augment_dataset(
    opened: Project,
    name: str,
    outcome: Outcome,
    teacher: str | None,
    kinds: list[str] | None,
    limit: int | None,
    repeats: int,
    concurrency: int | None,
    strategy: str | None = None,
    budget: Budget | None = None,
) -> Augmented:
    with augment_line() as line:
        state = opened.augment(
            name,
            teacher=teacher,
            kinds=kinds,
            limit=limit,
            repeats=repeats,
            strategy=strategy,
            concurrency=concurrency,
            budget=budget,
            watch=line,
            estimate=True,
            tell=outcome.note,
        )
    outcome.rows.append(state.to_row())
    if state.taken:
        outcome.note(f"{name}: {state.taken:,} human rationales taken from the source")
    tally = state.tally
    if state.taken_up_again:
        outcome.note(f"{name}: {state.taken_up_again:,} texts taken up again from the ledger")
    if tally.refused:
        outcome.note(f"{name}: the teacher refused {tally.refused:,} texts for good; the first: {tally.first_refusal}")
    if state.stopped_by:
        if state.stopped_by == "interrupt":
            outcome.codes.add(INTERRUPTED)
        left = state.planned - state.done
        err.print(
            f"{_why(state, budget)}: {state.done:,} of {state.planned:,} texts are in the ledger, {left:,} are left. "
            f"Run the same command again to go on.",
            markup=False,
        )
    elif tally.exhausted:
        outcome.fail(
            RemoteFailed(
                f"{name}: the teacher failed {tally.exhausted:,} calls at every attempt",
                "look at the server and run the same command again: these alone are asked again",
            )
        )
    else:
        outcome.note(
            f"{name}: {tally.settled:,} texts asked in {duration(state.seconds)}, {state.already:,} were there already"
        )
    return state


def _why(state: Augmented, budget: Budget | None) -> str:
    """Why a run stopped early, and what it took where a limit was reached."""
    if budget is None or state.stopped_by not in budget.limits:
        return "stopped"
    limit = budget.limits[state.stopped_by]
    spent = f"{budget.calls:,} request{'' if budget.calls == 1 else 's'}, {budget.tokens:,} tokens"
    spent += f", {budget.cost:,.2f} by the prices of the teacher" if budget.max_cost is not None else ""
    return f"stopped by --{state.stopped_by.replace('_', '-')} {limit:,} ({spent})"


def check_dataset(opened: Project, name: str, outcome: Outcome, *, only_if_stale: bool = False) -> None:
    report = opened.check(name, only_if_stale=only_if_stale)
    row = show_check.report_row(report)
    outcome.rows.append(row)
    failed = [gate for gate in report.gates if not gate.passed]
    if failed:
        found = ", ".join(dict.fromkeys(gate.name.partition("[")[0] for gate in failed))
        remedies = "; ".join(dict.fromkeys(gate.remedy for gate in failed))
        outcome.fail(GateFailed(f"{name}: {'a gate fails' if ', ' not in found else 'gates fail'}: {found}", remedies))


def publish_datasets(opened: Project, names: Sequence[str], to: str, **asked: Unpack[PublishOptions]) -> dict[str, Any]:
    return {"to": str(to), **asdict(opened.publish(*names, to=to, **asked))}


def counts_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("asked", "accepted", "rejected", "truncated", "failed", "passed")}
