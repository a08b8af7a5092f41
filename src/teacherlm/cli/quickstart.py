"""The whole way in one command: from questions to a published, explained dataset, read back and shown."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from teacherlm.api.project import Project
from teacherlm.api.project import open as open_project
from teacherlm.cli import options, show, show_check, show_published
from teacherlm.cli.output import Format, Outcome, out, table
from teacherlm.cli.steps import augment_dataset, build_dataset, check_dataset, counts_of, publish_datasets
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import MachineFailed
from teacherlm.schemas.records import KINDS

app = typer.Typer()

DATASET, TEACHER = "examples", "nano"

READ_BACK = """
import json, sys
import datasets
datasets.disable_progress_bars()
rows = datasets.load_dataset(sys.argv[1], sys.argv[2], split="train")
explained = [row for row in rows if any(row[kind] for kind in sys.argv[3:])] or list(rows)
print(json.dumps({"rows": len(rows), "columns": rows.column_names, "row": explained[0]}, default=str))
"""
"""Run in a process of its own with a fresh cache: what a stranger's `load_dataset` sees, not what we remember."""


@app.command(rich_help_panel=options.MAKE, epilog="Example: teacherlm quickstart --to published")
def quickstart(
    to: Annotated[Path, typer.Option("--to", help="Folder to publish to.")] = Path("published"),
    workspace: options.WorkspaceOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Go the whole way with the bundled examples and the embedded teacher."""
    project = open_project(bundled(), workspace=workspace)
    outcome = Outcome("quickstart", format)
    steps = Outcome("quickstart", format)
    talking = format is Format.table
    if talking:
        out.print("[bold]teacherlm[/bold]: 64 questions of our own, explained by the embedded teacher")
        out.print(
            "[yellow]Its weights are random: every text it writes is nonsense. "
            "This shows the way, not the goal.[/yellow]\n"
        )
    _step(talking, 1, "build: source rows become samples")
    build_dataset(project, DATASET, steps, None, None, False)
    if talking:
        show.built(steps.rows[-1:])
    _step(talking, 2, "augment: the teacher is asked for three kinds of rationale")
    state = augment_dataset(project, DATASET, steps, TEACHER, None, None, 1, None)
    if state.stopped_by:
        raise typer.Exit(steps.finish(lambda rows: None))
    _step(talking, 3, "check: rules in SQL judge every text, the books are closed")
    check_dataset(project, DATASET, steps)
    if talking:
        show_check.reports(steps.rows[-1:])
        steps.show_later()
        _rejected(project)
    _step(talking, 4, "publish: to a folder that load_dataset reads")
    published = publish_datasets(project, [DATASET], str(to))
    if talking:
        show_published.published([published])
    _step(talking, 5, "read it back, in a fresh process")
    found = _read_back(to)
    row = {"dataset": DATASET, "asked_now": state.tally.settled, **counts_of(steps.rows[2])}
    outcome.rows.append(row | {"published": str(to), "loaded_rows": found["rows"], "example": found["row"]})
    if talking:
        _explained(found)
        out.print("\n[bold]summary[/bold]")
        table([row], [*row])
    outcome.codes, outcome.errors = steps.codes, steps.errors
    raise typer.Exit(outcome.finish(lambda rows: None))


def _step(talking: bool, number: int, text: str) -> None:
    if talking:
        out.print(f"\n[bold]{number}. {text}[/bold]")


def _rejected(project: Project) -> None:
    """One text that the rules refused, with the reason."""
    query = """
        SELECT f.sample_id, f.kind, f.rule, f.reason, r.text
        FROM findings f JOIN rationales r USING (sample_id, kind, repeat)
        WHERE f.severity = 'reject' AND r.status = 'ok' ORDER BY ALL LIMIT 1"""
    for sample, kind, rule, reason, text in project.sql(query).fetchall():
        out.print(f"a rejected text: {kind} of {sample}", markup=False)
        out.print(f"  text    {' '.join(text.split())[:200]}", markup=False)
        out.print(f"  reason  {rule}: {reason}", markup=False)


def _read_back(folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HF_HOME": home, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", READ_BACK, str(folder.resolve()), DATASET, *KINDS],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise MachineFailed(
            f"the published folder cannot be loaded: {done.stderr.strip()[-500:]}", "look at the folder", str(folder)
        )
    found: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])
    return found


def _explained(found: dict[str, Any]) -> None:
    """One row as its readers get it."""
    row = found["row"]
    out.print(f"{found['rows']} rows, {len(found['columns'])} columns; one of them:")
    for name in ("sample_id", "question", "choices", "answer", "human_rationale", *KINDS):
        value = row[name]
        shown = "null (no text was accepted)" if value is None and name in KINDS else value
        out.print(f"  {name:<16}  {shown}", markup=False)
