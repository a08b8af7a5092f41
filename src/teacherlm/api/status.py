"""Status: where each dataset stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import duckdb

from teacherlm.api import check as checking
from teacherlm.api.runs import progress_of
from teacherlm.api.workspace import open_session
from teacherlm.builders.build import read_manifest
from teacherlm.core.errors import TeacherlmError

if TYPE_CHECKING:
    from teacherlm.api.project import Project


def status(project: Project, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """One row for each of the datasets `names`; None: for all that are declared or in the workspace.

    Columns: `dataset`, `samples`, `asked`, `accepted`, `rejected`, `truncated`, `failed`, `state`, `writer`,
    `progress` (of an augmentation that goes on; see `Progress`).
    """
    if names is None:
        names = sorted(set(project.datasets) | set(project.workspace.datasets()))
    return [_row_or_trouble(project, name) for name in names]


def _row_or_trouble(project: Project, name: str) -> dict[str, Any]:
    """A dataset that cannot be read hides no other."""
    try:
        return _row(project, name)
    except (TeacherlmError, duckdb.Error) as error:
        found = error.found if isinstance(error, TeacherlmError) else str(error).splitlines()[0]
        where = f"{error.where} " if isinstance(error, TeacherlmError) and error.where else ""
        columns = ("samples", "asked", "accepted", "rejected", "truncated", "failed")
        row: dict[str, Any] = {"dataset": name, **dict.fromkeys(columns)}
        return row | {"state": f"{where}{found}", "writer": project.workspace.holder(name), "progress": None}


def _row(project: Project, name: str) -> dict[str, Any]:
    workspace = project.workspace
    manifest = read_manifest(workspace.samples(name))
    report = checking.read_report(workspace, name)
    row: dict[str, Any] = {"dataset": name, "samples": manifest.samples if manifest else None, "asked": None}
    counts = ("accepted", "rejected", "truncated", "failed")
    if manifest:
        session = open_session(workspace, [name], judged=False)
        row["asked"] = session.execute("SELECT count(*) FROM rationales").fetchall()[0][0]
    row |= {column: getattr(report.books, column) if report else None for column in counts}
    row["state"] = _state(project, name, bool(manifest), row["asked"] or 0, report)
    row["writer"] = workspace.holder(name)
    row["progress"] = progress_of(workspace, name)
    return row


def _state(project: Project, name: str, built: bool, asked: int, report: Any) -> str:
    if not built:
        return "declared"
    if not asked:
        return "built"
    if report is None:
        return "augmented"
    if name not in project.datasets:
        return "recipe is gone"
    try:
        bound = project.recipe(name)
        changed = checking.changed_since(project.files, project.catalog, project.workspace, bound, report)
    except TeacherlmError as error:
        return error.found
    if changed:
        return "check is stale"
    return "checked" if report.passed else "gate failed"
