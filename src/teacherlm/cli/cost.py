"""The command `cost`: what the answers took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from teacherlm.api.cost import BY, GROUPS, total
from teacherlm.cli import collect, options
from teacherlm.cli.output import Format, Outcome, out, table
from teacherlm.cli.progress import duration
from teacherlm.core.errors import Mistake

app = typer.Typer()

COLUMNS = {
    "calls": "answers",
    "requests": "requests",
    "failed": "failed",
    "prompt_tokens": "tokens in",
    "generated_tokens": "tokens out",
    "tokens_per_answer": "per answer",
    "cost": "cost",
    "hours": "time",
}
"""What a terminal calls the sums."""


@app.command(rich_help_panel=options.LOOK, epilog="Example: teacherlm cost creak --by kind,run")
def cost(
    names: options.SomeNames = None,
    by: Annotated[
        str, typer.Option(help=f"A row for each of these, with commas between: {', '.join(GROUPS)}.")
    ] = ",".join(BY),
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Sum what was asked so far: answers, tokens, hours and money, over all runs, killed ones too."""
    opened = options.project(project, workspace)
    outcome = Outcome("cost", format)
    groups = [name.strip() for name in by.split(",") if name.strip()]
    with outcome.collecting():
        if not groups:
            raise Mistake("names no group", f"name some of {', '.join(GROUPS)}", "--by")
        outcome.rows = collect.cost(opened, names or [], groups)
        if not outcome.rows:
            outcome.note(f"nobody was asked yet: the ledger in {opened.workspace.root} holds no answer of a teacher")
    raise typer.Exit(outcome.finish(show))


def show(rows: Sequence[dict[str, Any]]) -> None:
    """A table with the totals below, and what the numbers mean where that is not plain."""
    sums = total(rows)
    keys = [name for name in ("collection", "dataset", "kind", "teacher", "model", "run", "state") if name in rows[0]]
    if len(keys) > 1 and "collection" not in keys and len({row.get("dataset") for row in rows}) == 1:
        keys = [name for name in keys if name != "dataset"]
    hidden = {"failed"} if not sums["failed"] else set()
    if sums["requests"] == sums["calls"] + sums["failed"]:
        hidden.add("requests")
    if sums["unpriced"] == sums["calls"] + sums["failed"]:
        hidden.add("cost")
    lines = [_line(row) for row in rows]
    if len(rows) > 1:
        lines.append({keys[0]: "in all", **_line(sums)})
    table(lines, [*keys, *[word for name, word in COLUMNS.items() if name not in hidden]])
    if sums["unpriced"]:
        out.print(f"no cost of {sums['unpriced']:,} answers: no prices when they were asked for (docs/teachers.md)")
    if sums["hours"] is None:
        out.print("no time where answers belong to no run on record")


def _line(row: dict[str, Any]) -> dict[str, Any]:
    line = {COLUMNS.get(name, name): value for name, value in row.items()}
    line["time"] = duration(3600 * row["hours"]) if row["hours"] is not None else None
    line["cost"] = round(row["cost"], 2) if row["cost"] is not None else None
    if row.get("stopped_by"):
        line["state"] = f"{row['state']}: {row['stopped_by'].replace('_', '-')}"
    if row.get("probe"):
        line["state"] = f"{line['state']}, probe"
    return line
