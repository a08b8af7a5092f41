"""Status: where each dataset stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from teacherlm.api import check as checking
from teacherlm.api.workspace import open_session
from teacherlm.builders.build import read_manifest
from teacherlm.core.errors import TeacherlmError

if TYPE_CHECKING:
    from teacherlm.api.project import Project


def status(project: Project) -> list[dict[str, Any]]:
    """One row for each dataset that is declared or in the workspace.

    Columns: `dataset`, `samples`, `asked`, `accepted`, `rejected`, `truncated`, `failed`, `state`, `writer`.
    """
    names = sorted(set(project.datasets) | set(project.workspace.datasets()))
    return [_row(project, name) for name in names]


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
