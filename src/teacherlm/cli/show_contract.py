"""The contract in `check`: held after the report, one line for each expectation that fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from teacherlm.api.contract import docs_path
from teacherlm.api.project import Project
from teacherlm.cli import show_collections
from teacherlm.cli.output import Outcome, out
from teacherlm.core.errors import GateFailed


def hold(opened: Project, name: str, outcome: Outcome, docs: bool) -> None:
    """Hold the contract of a dataset whose row stands last, and add it to that row."""
    held = opened.contract(name, docs=docs)
    broken = list(held.broken)
    row: dict[str, Any] = {
        "passed": held.passed,
        "expectations": len(held.expectations),
        "suites": held.suites,
        "broken": [
            {
                "table": one.table,
                "type": one.type,
                "about": one.about,
                "severity": one.severity,
                "state": one.state,
                "where": one.where,
                "unexpected": one.unexpected,
                "observed": one.observed,
                "examples": list(one.examples),
                "line": str(one),
            }
            for one in broken
        ],
    }
    if docs:
        row["docs"] = str(docs_path(opened.workspace, name) / "index.html")
    outcome.rows[-1]["contract"] = row
    if not held.passed:
        count = sum(one.severity == "critical" for one in broken)
        hold = "does not hold" if count == 1 else "do not hold"
        outcome.fail(
            GateFailed(
                f"{name}: the contract is broken: {count:,} of {len(held.expectations):,} expectations {hold}",
                f"look at the rows that it names; --docs writes pages about them. Then mend what made them and check "
                f"again: teacherlm check {name}",
            )
        )


def reports(rows: Sequence[dict[str, Any]]) -> None:
    """Reports, and a line for each contract that holds or for each expectation that does not."""
    show_collections.reports(rows)
    for row in rows:
        if (contract := row.get("contract")) is None:
            continue
        named = f"{row['dataset']}: " if len(rows) > 1 else ""
        if not contract["broken"]:
            count, suites = contract["expectations"], contract["suites"]
            out.print(f"{named}contract: {count:,} expectations of {suites} suites hold", markup=False)
        for broken in contract["broken"]:
            if broken["state"] == "fails":
                out.print(f"{named}contract: {broken['severity']}: {broken['line']} ({broken['where']})", markup=False)
        if unseen := sum(broken["state"] == "not run" for broken in contract["broken"]):
            tables = ", ".join(dict.fromkeys(one["table"] for one in contract["broken"] if one["state"] == "not run"))
            counted = "1 expectation" if unseen == 1 else f"{unseen:,} expectations"
            were = "was" if unseen == 1 else "were"
            said = f"{counted} of {tables} {were} not looked at: columns are not those of the schema"
            out.print(f"{named}contract: {said}", markup=False)
        if "docs" in contract:
            out.print(f"{named}contract: pages in {contract['docs']}", markup=False)
