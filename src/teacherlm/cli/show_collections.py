"""How collections look in a terminal: one table with a row for each dataset and the sums below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from teacherlm.cli import show, show_check
from teacherlm.cli.output import cell, out, table

Rows = Sequence[dict[str, Any]]

COUNTS = ("asked", "accepted", "rejected", "truncated", "failed")


def plans(rows: Rows) -> None:
    show.plans([row for row in rows if "collection" not in row])
    for row in rows:
        if "collection" in row:
            _plan(row)


def _plan(row: dict[str, Any]) -> None:
    out.print(f"[bold]{escape(row['collection'])}[/bold]  {escape(row['about'])}")
    table(row["datasets"], ["dataset", "splits", "rows", "samples", "licence", "redistribution"])
    facts = {
        "datasets": len(row["datasets"]),
        "samples, about": row["samples"],
        "texts, about": row["calls"],
        "asked for": row["target"],
        "seed": str(row["seed"]),
        "lands in": row["workspace"],
    }
    out.print()
    for name, value in facts.items():
        if value is not None:
            out.print(f"  {name:<16}  {cell(value)}")
    for why in dict.fromkeys(row["absent"].values()):
        names = ", ".join(name for name, said in row["absent"].items() if said == why)
        out.print(f"  {'absent':<16}  {names} ({why})", markup=False)
    for note in row["verify"]:
        out.print(f"  {'to verify':<16}  {escape(note)}")


def built(rows: Rows) -> None:
    alone = [row for row in rows if "collection" not in row]
    if alone:
        show.built(alone)
    for row in rows:
        if "collection" in row:
            _built(row)


def _built(row: dict[str, Any]) -> None:
    names = [name for name in ("rows", "samples", "filtered", "rejected") if name != "filtered" or row["filtered"]]
    lines = [
        {"dataset": part["dataset"], "": part["state"]}
        | {name: part[name] if part["state"] != "missing" else None for name in names}
        for part in row["datasets"]
    ]
    total = {"dataset": row["collection"], "": "in all"} | {name: row[name] for name in names}
    table([*lines, total], ["dataset", *names, ""])
    if row["target"]:
        short = row["target"] - row["samples"]
        out.print(f"{row['target']:,} samples were asked for" + (f"; {short:,} are missing" if short > 0 else ""))


def reports(rows: Rows) -> None:
    alone = [row for row in rows if "collection" not in row]
    if alone:
        show_check.reports(alone)
    of_collections = [row for row in rows if "collection" in row]
    _sums(of_collections, ["dataset", *COUNTS, "passed"])
    if of_collections:
        show_check.rules(show_check.summed(row["report"] for row in of_collections))


def ran(rows: Rows) -> None:
    """What a run has done with the datasets of collections."""
    _sums([row for row in rows if "collection" in row], ["dataset", "asked_now", *COUNTS, "passed"])


def status(rows: Rows) -> None:
    alone = [row for row in rows if "collection" not in row]
    if alone:
        show.status(alone)
    _sums([row for row in rows if "collection" in row], ["dataset", "state", "samples", *COUNTS])


def _sums(rows: Rows, columns: Sequence[str]) -> None:
    for collection in dict.fromkeys(row["collection"] for row in rows):
        own = [row for row in rows if row["collection"] == collection]
        numbers = [name for name in columns if name not in ("dataset", "state", "passed")]
        total = {"dataset": collection} | {name: sum(row[name] or 0 for row in own) for name in numbers}
        table([*own, total], columns)
