"""How results look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from teacherlm.cli import progress_view
from teacherlm.cli.output import cell, out, table
from teacherlm.cli.show_plan import plan

if TYPE_CHECKING:
    from teacherlm.quality.report import Report

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


def report_row(report: Report) -> dict[str, Any]:
    """A report as one row of results."""
    import orjson

    from teacherlm.quality.report import to_json

    books = report.books
    totals = {name: getattr(books, name) for name in ("asked", "accepted", "rejected", "truncated", "failed")}
    return {"dataset": report.dataset, "passed": report.passed, **totals, "report": orjson.loads(to_json(report))}


def reports(rows: Rows) -> None:
    for row in rows:
        report = row["report"]
        counts = [*report["books"]["counts"]]
        columns = ["dataset", "kind", "asked", "accepted", "rejected", "truncated", "failed"]
        table(counts, columns)
        hits = [
            {
                "rule": rule["rule"],
                "severity": rule["severity"],
                "hits": rule["hits"],
                "share": f"{100 * rule['share']:.1f}%",
            }
            | {"for example": next(iter(rule["examples"]), None)}
            for rule in report["rules"]
            if rule["hits"]
        ]
        if hits:
            out.print()
            table(hits, ["rule", "severity", "hits", "share", "for example"])
        out.print()
        table([_gate(gate) for gate in report["gates"] if _telling(gate)], ["gate", "found", "limit", ""])
        out.print()


def _telling(gate: dict[str, Any]) -> bool:
    """Whether a gate is worth a line: all that fail; of those that pass the shares of the whole dataset."""
    return not gate["passed"] or (gate["name"].startswith("max_") and "[" not in gate["name"])


def _gate(gate: dict[str, Any]) -> dict[str, Any]:
    share = gate["name"].startswith("max_")
    found, limit = (f"{100 * gate[name]:.1f}%" if share else cell(gate[name]) for name in ("value", "limit"))
    return {"gate": gate["name"], "found": found, "limit": limit, "": "passes" if gate["passed"] else "FAILS"}


def published(rows: Rows) -> None:
    for row in rows:
        names, same = row["datasets"], row["unchanged"]
        if set(names) == set(same) and not row["files"]:
            out.print(f"{escape(row['folder'])}: nothing has changed since it was published")
        else:
            out.print(
                f"{escape(row['folder'])}: published {', '.join(names)}: "
                f"{row['rows']:,} rows, {row['bytes'] / 1e6:,.2f} MB"
            )
        out.print(f'  load it with  datasets.load_dataset("{row["folder"]}", "{names[0]}")', markup=False)


def status(rows: Rows) -> None:
    columns = ["dataset", "state", "samples", "asked", "accepted", "rejected", "truncated", "failed"]
    table(rows, columns)
    for row in rows:
        if row["writer"]:
            going = f": {progress_view.briefly(row['progress'])}" if row["progress"] else ""
            out.print(f"{row['dataset']} is being written by {row['writer']}{going}", markup=False)
