"""View: a build as one page to read, its texts beside their verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api.check import read_report
from teacherlm.api.session import open_session
from teacherlm.api.view_figures import figures, tell
from teacherlm.api.view_page import page
from teacherlm.api.view_rows import TOLD, Rows, choose, read_rows
from teacherlm.api.workspace import Workspace
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.core.files import replacing
from teacherlm.schemas.records import KINDS

if TYPE_CHECKING:
    import duckdb

ROWS = 10_000
"""Samples that a page shows at most."""

LARGEST = 15_000_000
"""Bytes of a page; where texts are long, fewer samples are shown."""

SPARE = 0.9
"""Of the rows that would just fit: so much, since rows are not of one size."""


@dataclass(frozen=True, kw_only=True)
class Viewed:
    """A page that was written."""

    path: Path
    datasets: tuple[str, ...]
    samples: int
    """Samples of the build."""
    shown: int
    """Samples on the page."""
    rationales: int
    """Rationales of the samples on the page."""
    bytes: int
    notes: tuple[str, ...]
    """What a reader of the page should know, such as that a dataset was not checked."""


def view(workspace: Workspace, names: Sequence[str], to: Path, *, title: str, rows: int = ROWS) -> Viewed:
    """Write one page with samples, rationales and verdicts of datasets; it asks for nothing from anywhere.

    The same workspace gives the same page to the last byte.

    Args:
        to: the file.
        title: of the page.
        rows: samples to show at most: of a larger build those with rejected, truncated or failed rationales first, up
            to half of the page, then others, drawn by their ids.

    Raises:
        Mistake: a dataset has no samples.
        MachineFailed: a damaged file, a full disk.
    """
    if rows < 1:
        raise Mistake(f"is {rows}", "give a number of 1 or more", "--rows")
    for name in names:
        workspace.sample_files(name)
    if to.is_dir():
        raise Mistake("is a folder", f"name a file, such as {to / 'page.html'}", str(to))
    con = open_session(workspace, names)
    try:
        tell(con, TOLD)
        notes = list(_notes(con, workspace, names))
        drawn = {"kinds": KINDS, "datasets": _datasets(workspace, names), "figures": figures(con)}
        read, data = _fitting(con, rows, {"form": "view", "title": title, "notes": notes, **drawn})
    finally:
        con.close()
    if not read.samples:
        raise Mistake(f"{' and '.join(names)} has no samples", "look at the recipe: every source row was refused")
    with replacing(to) as temporary:
        temporary.write_bytes(data)
    return Viewed(
        path=to,
        datasets=tuple(names),
        samples=read.total,
        shown=len(read.samples),
        rationales=sum(len(sample["r"]) for sample in read.samples),
        bytes=len(data),
        notes=tuple(notes),
    )


def _fitting(con: duckdb.DuckDBPyConnection, rows: int, summary: dict[str, Any]) -> tuple[Rows, bytes]:
    """The page with as many of the wanted rows as fit."""
    while True:
        read = _read(con, rows)
        counts = {
            "total": read.total,
            "shown": len(read.samples),
            "origins": read.seen.origins,
            "rules": read.seen.rules,
        }
        data = page({**summary, **counts}, read.samples)
        if len(data) <= LARGEST or rows == 1:
            return read, data
        rows = max(1, int(min(rows, len(read.samples)) * SPARE * LARGEST / len(data)))


def _read(con: duckdb.DuckDBPyConnection, rows: int) -> Rows:
    import duckdb

    try:
        return read_rows(con, choose(con, rows))
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise MachineFailed(
            f"a file of the workspace cannot be read: {str(error).splitlines()[0]}",
            "run it again if a check or a build is going on; else remove the file and run the step that writes it",
        ) from None


def _notes(con: duckdb.DuckDBPyConnection, workspace: Workspace, names: Sequence[str]) -> Iterator[str]:
    """What of the datasets is not there yet."""
    answers = dict(con.execute("select dataset, count(*) from rationales group by dataset").fetchall())
    behind = dict(
        con.execute(
            "select r.dataset, count(*) from rationales r left join verdicts v on v.sample_id = r.sample_id and "
            "v.kind = r.kind and v.repeat = r.repeat and v.call_key is not distinct from r.call_key "
            "where v.sample_id is null group by r.dataset"
        ).fetchall()
    )
    for name in names:
        if not answers.get(name):
            yield f"{name} has no rationales yet: run  teacherlm augment {name}"
        elif read_report(workspace, name) is None:
            yield f"{name} was not checked yet, so its texts have no verdicts: run  teacherlm check {name}"
        elif count := behind.get(name):
            said = "1 rationale was" if count == 1 else f"{count:,} rationales were"
            yield f"{name}: {said} written after the last check: run  teacherlm check {name}"


def _datasets(workspace: Workspace, names: Sequence[str]) -> list[dict[str, Any]]:
    """When each dataset was checked, and its gates, those that failed first."""
    found = []
    for name in names:
        report = read_report(workspace, name)
        gates = sorted(report.gates, key=lambda gate: gate.passed) if report else []
        found.append(
            {
                "dataset": name,
                "checked": report.created_at if report else None,
                "passed": report.passed if report else None,
                "gates": [
                    {
                        "name": gate.name,
                        "value": gate.value,
                        "limit": gate.limit,
                        "passed": gate.passed,
                        "remedy": gate.remedy,
                    }
                    for gate in gates
                ],
            }
        )
    return found
