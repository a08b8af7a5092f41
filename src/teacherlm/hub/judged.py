"""What was found of a dataset beside counts and rules: scores, near-duplicates, evaluation sets, the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm.hub.manifest import Against, Contract, Judged, Score
from teacherlm.hub.publication import rows_of
from teacherlm.schemas.records import KINDS


def judged(report: Mapping[str, Any], contract: Contract | None) -> Judged:
    """What was found of a dataset; parts that the report lacks stay empty.

    Why an evaluation set was not looked at stays in the workspace: it may name files of this machine.
    """
    scores = [
        Score(kind=str(row["kind"]), scored=int(row["scored"]), mean=float(row["mean"]), median=float(row["median"]))
        for row in rows_of(report, "scores")
    ]
    duplicates = report.get("duplicates")
    return Judged(
        scores=tuple(sorted(scores, key=lambda score: (*KINDS, score.kind).index(score.kind))),
        duplicates={str(of): int(number) for of, number in duplicates.items()}
        if isinstance(duplicates, Mapping)
        else {},
        contamination=tuple(
            Against(
                task=str(row.get("task")),
                is_run=row.get("state") == "run",
                items=int(row.get("items") or 0),
                samples=int(row.get("samples") or 0),
            )
            for row in rows_of(report, "contamination")
        ),
        contract=contract,
    )
