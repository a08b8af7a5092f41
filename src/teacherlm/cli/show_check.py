"""How a check looks in a terminal: counts, rules by severity, scores, evaluation sets, gates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from teacherlm.cli.output import cell, out, table

if TYPE_CHECKING:
    from teacherlm.quality.report import Report

Rows = Sequence[dict[str, Any]]

COUNTS = ("asked", "accepted", "rejected", "truncated", "failed")
SEVERITIES = ("reject", "warn")
"""In the order in which they are shown."""


def report_row(report: Report) -> dict[str, Any]:
    """A report as one row of results."""
    import orjson

    from teacherlm.core.stored import to_json

    totals = {name: getattr(report.books, name) for name in COUNTS}
    return {"dataset": report.dataset, "passed": report.passed, **totals, "report": orjson.loads(to_json(report))}


def reports(rows: Rows) -> None:
    for row in rows:
        report = row["report"]
        table([*report["books"]["counts"]], ["dataset", "kind", *COUNTS])
        rules(report["rules"])
        _duplicates(report["duplicates"])
        _scores(report["scores"])
        _contamination(report["contamination"])
        out.print()
        table([_gate(gate) for gate in report["gates"] if _telling(gate)], ["gate", "found", "limit", ""])
        out.print()


def rules(lines: Iterable[Mapping[str, Any]]) -> None:
    """Rules that found something, those that reject first, with the first samples of each."""
    lines = list(lines)
    if not lines:
        return
    hit = sorted(
        (line for line in lines if line["hits"]),
        key=lambda line: (SEVERITIES.index(line["severity"]), -line["hits"], line["rule"]),
    )
    out.print()
    if hit:
        table(
            [
                {
                    "severity": line["severity"] if line["severity"] != before else "",
                    "rule": line["rule"],
                    "hits": line["hits"],
                    "of answered": _percent(line["share"]),
                    "for example": "\n".join(line["examples"]),
                }
                for line, before in zip(hit, ["", *(line["severity"] for line in hit)], strict=False)
            ],
            ["severity", "rule", "hits", "of answered", "for example"],
        )
    silent = len({line["rule"] for line in lines}) - len({line["rule"] for line in hit})
    if silent:
        others = "other rule" if hit else "rule"
        out.print(f"{silent} {others}{'' if silent == 1 else 's'} found nothing", style="dim", markup=False)


def summed(reports: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The lines of the rules of several reports, added up; `share` is of all rationales that a rule was asked of."""
    found: dict[str, dict[str, Any]] = {}
    for report in reports:
        for line in report["rules"]:
            # A rule that found nothing does not say of how many; the books do.
            of = sum(
                count["accepted"] + count["rejected"]
                for count in report["books"]["counts"]
                if count["kind"] in line["kinds"]
            )
            whole = found.setdefault(line["rule"], {**line, "hits": 0, "of": 0, "examples": []})
            whole["hits"] += line["hits"]
            whole["of"] += of
            whole["examples"] = [*whole["examples"], *line["examples"]][:3]
    return [{**line, "share": line["hits"] / line["of"] if line["of"] else 0.0} for line in found.values()]


def _duplicates(counts: Mapping[str, int]) -> None:
    if counts:
        out.print()
        table([{"near-duplicates": of, "texts": count} for of, count in counts.items()], ["near-duplicates", "texts"])


def _scores(scores: Sequence[Mapping[str, Any]]) -> None:
    if scores:
        out.print()
        named = [{**score, "accepted, with a score": score["scored"], "mean": score["mean"]} for score in scores]
        table(named, ["kind", "accepted, with a score", "mean", "median"])


def _contamination(lines: Sequence[Mapping[str, Any]]) -> None:
    if not lines:
        return
    out.print()
    if not any(line["state"] == "run" for line in lines):
        names = ", ".join(line["task"] for line in lines)
        out.print(
            f"not compared with evaluation sets ({names}): --against TASK=PATH reads one", style="dim", markup=False
        )
        return
    shown = [
        {
            "evaluation set": line["task"],
            "state": line["state"],
            "items": line["items"] if line["state"] == "run" else None,
            "samples that share text": line["samples"] if line["state"] == "run" else None,
            "why": line["why"] or None,
        }
        for line in lines
    ]
    columns = ["evaluation set", "state", "items", "samples that share text", "why"]
    table(shown, [column for column in columns if any(line[column] is not None for line in shown)])


def _telling(gate: Mapping[str, Any]) -> bool:
    """Whether a gate is worth a line: all that fail; of those that pass what holds for the whole dataset."""
    return not gate["passed"] or (gate["name"].startswith(("max_", "min_score")) and "[" not in gate["name"])


def _gate(gate: Mapping[str, Any]) -> dict[str, Any]:
    share = gate["name"].startswith("max_")
    found, limit = (_percent(gate[name]) if share else cell(gate[name]) for name in ("value", "limit"))
    found = "not run" if gate["remedy"].startswith("not run") else found  # with a share it was run, at least in part
    return {"gate": gate["name"], "found": found, "limit": limit, "": "passes" if gate["passed"] else "FAILS"}


def _percent(share: float) -> str:
    """Never 0.0% of something, nor 100.0% of not all."""
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{100 * share:.1f}%"
