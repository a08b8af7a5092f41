"""The commands `view` and `diff`: a build, or what has changed between two, as a page and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from teacherlm.cli import collect, options
from teacherlm.cli.output import Format, Outcome, out, table
from teacherlm.core.errors import Mistake

app = typer.Typer()

RowsOption = Annotated[int, typer.Option("--rows", help="Samples on the page at most.")]
OpenOption = Annotated[bool, typer.Option("--open", help="Show the page in the browser.")]


@app.command(rich_help_panel=options.LOOK, epilog="Example: teacherlm view examples -o examples.html --open")
def view(
    names: options.Names,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The page.", show_default="NAME.html")] = None,
    rows: RowsOption = 10_000,
    show: OpenOption = False,
    workspace: options.WorkspaceOption = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Write a build as one HTML page: texts beside verdicts, filters, charts; it needs nothing but a browser."""
    opened = options.project(project, workspace)
    outcome = Outcome("view", format)
    groups = collect.groups(opened, collect.given(opened, names))
    if output is not None and len(groups) > 1:
        raise Mistake("names one page, and a collection has a page of its own", "view one at a time", "--output")
    for group in groups:
        with outcome.collecting():
            name = group.collection or (group.names[0] if len(group.names) == 1 else "view")
            datasets = group.whole.built if group.whole else group.names
            if not datasets:
                found = f"`{name}` has no samples in {group.opened.workspace.root}"
                raise Mistake(found, f"build it first: teacherlm build {name}")
            target = output or Path(f"{name}.html")
            made = group.opened.view(*datasets, to=target, rows=rows, title=group.collection)
            for note in made.notes:
                outcome.note(note)
            outcome.rows.append(asdict(made) | {"path": str(made.path)})
            if show:
                _open(made.path)
    raise typer.Exit(outcome.finish(viewed))


@app.command(
    rich_help_panel=options.LOOK, epilog="Example: teacherlm diff published hf://datasets/me/data -o diff.html"
)
def diff(
    a: Annotated[
        str, typer.Argument(metavar="A", help="A workspace, a published folder, or hf://datasets/ORG/REPO@REVISION.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The same, to compare it with.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]", help="Datasets; none: all of either.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a page with all that differs.", show_default="no page")
    ] = None,
    rows: RowsOption = 10_000,
    show: OpenOption = False,
    format: options.FormatOption = Format.table,
) -> None:
    """Compare two builds: samples, texts, verdicts, counts, scores, gates. Exits 0 whether they differ or not."""
    from teacherlm.api.diff import diff as compare

    if show and output is None:
        raise Mistake("shows a page, and none is written", "add  -o diff.html", "--open")
    outcome = Outcome("diff", format)
    with outcome.collecting():
        found = compare(a, b, names or [], to=output, rows=rows)
        for note in found.notes:
            outcome.note(note)
        outcome.rows = [line.to_row() for line in found.datasets]
        if found.path:
            part = "" if found.shown == found.differing else f", the first {found.shown:,}"
            outcome.note(f"{found.path}: {found.differing:,} samples in which anything differs{part}")
            if show:
                _open(found.path)
    raise typer.Exit(outcome.finish(compared))


def _open(path: Path) -> None:
    import webbrowser

    webbrowser.open(path.resolve().as_uri())


def viewed(rows: Sequence[dict[str, Any]]) -> None:
    """Where each page is and what it shows."""
    for row in rows:
        part = f"{row['shown']:,} of {row['samples']:,} samples" if row["shown"] < row["samples"] else _samples(row)
        out.print(
            f"{row['path']}: {part}, {row['rationales']:,} rationales, {row['bytes'] / 1e6:,.1f} MB", markup=False
        )


def _samples(row: dict[str, Any]) -> str:
    return "1 sample" if row["samples"] == 1 else f"{row['samples']:,} samples"


SAMPLES = {"samples": "samples", "added": "added", "removed": "removed", "changed": "changed"}
RATIONALES = {
    "rationales": "rationales",
    "new_rationales": "new",
    "gone_rationales": "gone",
    "texts_changed": "reworded",
    "verdicts_changed": "verdicts",
    "scores_changed": "scores",
}
"""What a terminal calls the counts of changes."""


def compared(rows: Sequence[dict[str, Any]]) -> None:
    """What differs: a line for each dataset, then counts, verdicts that moved, and gates that decide otherwise."""
    if all(row["same"] for row in rows):
        out.print("the same: no sample, text, verdict or score differs")
    for parts in (SAMPLES, RATIONALES):
        lines = [
            {"dataset": row["dataset"]}
            | {said: row[name] if isinstance(row[name], int) else _pair(row[name]) for name, said in parts.items()}
            for row in rows
        ]
        _show(lines, list(lines[0]))
    counts = [
        {"dataset": row["dataset"], "kind": kind}
        | {verdict: _pair(pair) for verdict, pair in verdicts.items()}
        | {"mean score": _pair(row["scores"][kind], "{:.3f}")}
        for row in rows
        if not row["same"]
        for kind, verdicts in row["counts"].items()
    ]
    names = ["dataset", "kind", "accepted", "rejected", "truncated", "failed", "unchecked", "mean score"]
    _show(counts, [name for name in names if any(line.get(name) for line in counts)])
    moves = [
        {"dataset": row["dataset"], **move, "for example": move["examples"][0]} for row in rows for move in row["moves"]
    ]
    _show(moves, ["dataset", "kind", "was", "verdict", "count", "for example"])
    gates = [
        {"dataset": row["dataset"], "gate": name, "found": _pair((before["value"], after["value"]), "{:.3f}")}
        | {"": f"{_said(before)} → {_said(after)}"}
        for row in rows
        for name, (before, after) in row["gates"].items()
        if before and after and before["passed"] != after["passed"]
    ]
    _show(gates, ["dataset", "gate", "found", ""])


def _show(lines: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    if lines:
        table(lines, columns)
        out.print()


def _said(gate: dict[str, Any]) -> str:
    return "passes" if gate["passed"] else "FAILS"


def _pair(pair: Sequence[Any], form: str = "{:,}") -> str | None:
    before, after = ("–" if value is None else form.format(value) for value in pair)
    return (None if before == "–" else after) if before == after else f"{before} → {after}"
