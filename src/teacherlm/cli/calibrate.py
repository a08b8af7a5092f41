"""The command `calibrate`: how rules, score and a judge agree with labelled rationales."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from teacherlm.api.calibrate import NO_GOLD, NOT_HELD_OUT, OTHER_SOURCES, SEEN_NONE
from teacherlm.cli import options
from teacherlm.cli.output import Format, Outcome, error_rows, out, table
from teacherlm.quality.calibration import ALL_REJECT

app = typer.Typer()

PLACE = "TABLES/*.parquet"
"""What a document says in the place of the paths that were given."""


@app.command(rich_help_panel=options.LOOK, epilog="Example: teacherlm calibrate labelled/*.parquet")
def calibrate(
    tables: Annotated[
        list[Path], typer.Argument(metavar="TABLE.parquet", help="Labelled rationales (docs/quality.md).")
    ],
    fit: Annotated[
        bool, typer.Option("--fit", help="Fit a scorer on them and write it: needs scikit-learn, teacherlm\\[fit].")
    ] = False,
    scorer: Annotated[
        Path | None,
        typer.Option(help="Where --fit writes it.", show_default="quality/scorer.json of the project"),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(help="Ask a teacher for its opinion on each rationale too; as --teacher.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Rows of each table, by the hash of their id.", show_default="all")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Markdown file to put the tables into too.", show_default=False),
    ] = None,
    project: options.ProjectOption = None,
    format: options.FormatOption = Format.table,
) -> None:
    """Tell how rules and score agree with people, on any table of labelled rationales; --fit fits the score anew."""
    from teacherlm.api.calibrate_docs import write_docs

    opened = options.project(project, None)
    outcome = Outcome("calibrate", format)
    with outcome.collecting():
        found = opened.calibrate(tables, fit=fit, scorer=scorer, judge=judge, limit=limit, tell=outcome.note)
        for error in found.errors:
            outcome.fail(error)
        if found.lost:
            outcome.codes.add(found.lost.exit_code)
            outcome.errors += error_rows(found.lost)
            outcome.later += [found.lost] if format is Format.table else []  # read after the tables
        outcome.rows = [
            *({"what": "table", **read.to_row()} for read in found.tables),
            *({"what": "rule", **rule.to_row()} for rule in found.rules),
            *({"what": "score", **score.to_row()} for score in found.scores),
            *({"what": "judge", **one.to_row()} for one in found.judged),
        ]
        if found.written:
            outcome.note(
                f"a scorer fitted on {sum(found.scorer.fitted_on.values() if found.scorer else ()):,} labels "
                f"in {found.written}"
            )
        elif found.rules and found.scorer is None:
            outcome.note("no score: the project has no quality/scorer.json; --fit makes one")
        if output is not None and found.lost:
            outcome.note(f"{output} stays as it was: the judge's table is missing")
        elif output is not None and found.rules:
            asked = [*(["--fit"] if fit else []), *(["--judge", "TEACHER"] if judge else [])]
            asked += [*(["--limit", str(limit)] if limit else []), "--output", output.name]
            write_docs(found, output, " ".join(["teacherlm", "calibrate", PLACE, *asked]))
            outcome.note(f"tables in {output}")
    raise typer.Exit(outcome.finish(show))


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Tables of rules, scores and opinions; rules that find nothing in a source are left out."""
    rules = [{**row, **_percents(row)} for row in rows if row["what"] == "rule" and row["hits"]]
    rules.sort(key=lambda row: (row["label"], row["source"], row["rule"] == ALL_REJECT, row["severity"], row["rule"]))
    for (source, label, count), found in groupby(rules, lambda row: (row["source"], row["label"], row["rationales"])):
        # A table for each source: beside its name no terminal has room for the figures.
        out.print(f"[bold]{escape(source)}[/bold]  {count:,} rationales, label: {label}")
        columns = ["rule", "severity", "found", "precision", "recall", "good found"]
        table([{**row, "found": row["hits"], "good found": row["good_rejected"]} for row in found], columns)
        out.print()
    scores = [row for row in rows if row["what"] == "score"]
    if scores:
        areas = {(row["by"], *_which(row)): row["auroc"] for row in scores}
        lines = [
            _rounded({**row, **{name: areas.get((name, *_which(row))) for name in (NO_GOLD, OTHER_SOURCES)}})
            for row in scores
            if row["by"] in (SEEN_NONE, NOT_HELD_OUT)
        ]
        columns = ["source", "label", "people", "rationales", "auroc", "low", "high", "same_question"]
        columns += [name for name in (NO_GOLD, OTHER_SOURCES) if any(line[name] is not None for line in lines)]
        if any(line["by"] == NOT_HELD_OUT for line in lines):
            out.print("scores not held out: the scorer has no models without a part of the questions, so it may have")
            out.print("been fitted on these very labels; fit it again: teacherlm calibrate TABLES --fit")
        table(lines, [*columns, "brier", "ece"])
        out.print()
    judged = [_rounded(row) for row in rows if row["what"] == "judge"]
    if judged:
        table(judged, ["source", "label", "asked", "unreadable", "accuracy", "kappa", "auroc", "low", "high"])


def _which(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["source"], row["label"], row["people"]


def _percents(row: dict[str, Any]) -> dict[str, str | None]:
    names = ("precision", "recall", "good_rejected")
    return {name: None if row[name] is None else f"{100 * row[name]:.1f}%" for name in names}


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}
