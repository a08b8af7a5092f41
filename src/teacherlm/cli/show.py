"""How results look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from teacherlm.cli import progress_view
from teacherlm.cli.output import out, table
from teacherlm.cli.show_plan import plan

Rows = Sequence[dict[str, Any]]


def files(rows: Rows, directory: Path) -> None:
    out.print(f"A project in {escape(str(directory))}:")
    for row in rows:
        out.print(f"  {row['file']}", markup=False)


def plans(rows: Rows) -> None:
    for row in rows:
        plan(row)


def built(rows: Rows) -> None:
    lines = []
    for row in rows:
        for part in row["splits"]:
            reasons = ", ".join(f"{count} {reason}" for reason, count in part["rejected"].items())
            lines.append(
                {"dataset": row["dataset"]}
                | {name: part[name] for name in ("split", "rows", "samples", "filtered")}
                | {
                    "rejected": sum(part["rejected"].values()),
                    "why": reasons or None,
                    "": "unchanged" if row["reused"] else "built",
                }
            )
    columns = ["dataset", "split", "rows", "samples", "filtered", "rejected", "why", ""]
    table(lines, [column for column in columns if any(line[column] is not None for line in lines)])


def augmented(rows: Rows) -> None:
    lines = [
        {
            **row,
            "failed": row["refused"] + row["exhausted"],
            "new tok/s": round(row["generated_tokens"] / row["seconds"]) if row["seconds"] else None,
        }
        for row in rows
    ]
    columns = ["dataset", "planned", "already", "answered", "truncated", "failed", "retries", "new tok/s"]
    table(lines, [column for column in columns if column != "retries" or any(row["retries"] for row in rows)])


def status(rows: Rows) -> None:
    columns = ["dataset", "state", "samples", "asked", "accepted", "rejected", "truncated", "failed"]
    table(rows, columns)
    for row in rows:
        if row["writer"]:
            going = f": {progress_view.briefly(row['progress'])}" if row["progress"] else ""
            out.print(f"{row['dataset']} is being written by {row['writer']}{going}", markup=False)
