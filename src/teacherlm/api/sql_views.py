"""What can be asked in SQL: the views over a workspace, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from teacherlm.api.check import read_report
from teacherlm.api.cost import GROUPS, cost
from teacherlm.api.evaluate_rows import prediction_rows, score_rows
from teacherlm.api.experiment_project import EXPERIMENTS
from teacherlm.api.runs import read_runs
from teacherlm.api.session import VIEWS as STORED
from teacherlm.api.session import connect, create, create_view, parquet
from teacherlm.api.train_rows import stage_rows, step_rows
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.experiments.results import CELLS, ITEMS
from teacherlm.quality.metrics import Metrics, load_metrics
from teacherlm.schemas.records import RecordName, record

if TYPE_CHECKING:
    import duckdb

    from teacherlm.api.workspace import Workspace
    from teacherlm.project.find import ProjectFiles

REPORTED: Mapping[str, RecordName] = {
    **{"costs": "cost", "runs": "run", "gates": "gate"},
    **{"training": "training", "training_stages": "training_stage"},
    **{"scores": "score", "predictions": "prediction"},
}
"""Views over what runs and checks report; they are rows of ours, not files."""

FOUND: Mapping[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    **{"training": step_rows, "training_stages": stage_rows},
    **{"scores": score_rows, "predictions": prediction_rows},
}
"""Those of them that are looked for in the whole workspace."""

TABLES: Mapping[str, tuple[RecordName, str]] = {
    "experiment_cells": ("experiment_cell", f"{EXPERIMENTS}/*/{CELLS}"),
    "experiment_items": ("experiment_item", f"{EXPERIMENTS}/*/{ITEMS}"),
}
"""Views over files of our own: record and pattern, below the workspace."""

ABOUT: Mapping[str, str] = {
    **{view: record(name).about for view, name in {**STORED, **REPORTED}.items()},
    **{view: record(name).about for view, (name, _) in TABLES.items()},
    "rationales": "The last answer for each sample, kind and repeat, with everything that produced it.",
    "ledger": "Every answer that was recorded: as `rationales`, and the `segment` and `line` where it stands.",
    "metrics": "What the rules look at: numbers of each rationale with status `ok`, from quality/metrics/*.sql.",
}

RECORD_OF: Mapping[str, RecordName] = {
    **STORED,
    "ledger": "rationale",
    **REPORTED,
    **{view: name for view, (name, _) in TABLES.items()},
}
"""The contract of each view but `metrics`, whose columns are those that its SQL makes."""

NEEDS: Mapping[str, tuple[str, ...]] = {"rationales": ("ledger",)}
"""Views that stand on others."""


class Source(Protocol):
    """Where the rows come from."""

    @property
    def place(self) -> str:
        """As a person gives it."""

    @property
    def views(self) -> Sequence[str]:
        """The views that it has."""

    def create(self, connection: duckdb.DuckDBPyConnection, view: str) -> None:
        """Make a view, or make it again; those that it needs are there.

        Raises:
            TeacherlmError: it cannot be read; names the file.
        """

    def absent(self, view: str) -> Mistake | None:
        """Why there is no such view, where there is something to say."""


class WorkspaceSource:
    """The views over a workspace."""

    views = (
        *("samples", "rationales", "verdicts", "findings", "augmented", "ledger"),
        *("metrics", "duplicates", "contamination", "costs", "runs", "gates"),
        *("training", "training_stages"),
        *("scores", "predictions"),
        *TABLES,
    )

    def __init__(self, workspace: Workspace, files: ProjectFiles) -> None:
        self._workspace, self._files = workspace, files

    @property
    def place(self) -> str:
        return str(self._workspace.root)

    def absent(self, view: str) -> Mistake | None:
        return None

    def create(self, connection: duckdb.DuckDBPyConnection, view: str) -> None:
        names = self._workspace.datasets()
        if view == "metrics":
            paths = [self._workspace.verdicts(name) / "metrics.parquet" for name in names]
            written = [path for path in paths if path.is_file()]
            query = f"FROM {parquet(written, 'union_by_name = true')}" if written else self._no_metrics()
            create(connection, view, query, written)
        elif view in TABLES:
            name, pattern = TABLES[view]
            found = sorted(self._workspace.root.glob(pattern))
            contract = record(name)
            columns = contract.cast_list()
            query = f"SELECT {columns} FROM {parquet(found)}" if found else contract.empty_select()
            create(connection, view, query, found)
        elif view in REPORTED:
            _rows_as_view(connection, view, self._reported(view, names))
        else:
            create_view(connection, self._workspace, names, view)

    def _reported(self, view: str, names: Sequence[str]) -> list[dict[str, Any]]:
        if view == "costs":
            return cost(self._workspace, by=list(GROUPS))
        if (rows_of := FOUND.get(view)) is not None:
            return list(rows_of(self._workspace.root))
        rows = _runs if view == "runs" else _gates
        return [row for name in names for row in rows(self._workspace, name)]

    def _no_metrics(self) -> str:
        """A query with the columns that a check would write, and no rows."""
        from teacherlm.api.check import WRITTEN

        empty = connect()
        for view in ("samples", "rationales"):
            empty.execute(f"CREATE TABLE {view} AS {record(STORED[view]).empty_select()}")
        project_metrics(self._files).take(empty)
        described = empty.execute(f"DESCRIBE {WRITTEN['metrics']}").fetchall()
        # Parquet has no integers of 128 bits, as sums are: DuckDB writes them as DOUBLE.
        kinds = {name: "DOUBLE" if kind in ("HUGEINT", "UHUGEINT") else kind for name, kind, *_ in described}
        columns = ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in kinds.items())
        return f"SELECT {columns} LIMIT 0"


def project_metrics(files: ProjectFiles) -> Metrics:
    """The metrics that ship with teacherlm, with a project's own over and beside them."""
    folders = [root / "quality" / "metrics" for root in dict.fromkeys((bundled(), files.root))]
    return load_metrics(*folders)


def _rows_as_view(connection: duckdb.DuckDBPyConnection, view: str, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa

    contract = record(RECORD_OF[view])
    shaped = [{name: row.get(name) for name in contract.names} for row in rows]
    connection.register("reported", pa.Table.from_pylist(shaped, schema=contract.arrow()))
    # In a schema of their own, where nobody sees them beside the views.
    connection.execute(
        f"CREATE SCHEMA IF NOT EXISTS held; CREATE OR REPLACE TABLE held.{view} AS FROM reported; DROP VIEW reported"
    )
    create(connection, view, f"SELECT {contract.cast_list()} FROM held.{view}")


def _runs(workspace: Workspace, dataset: str) -> list[dict[str, Any]]:
    rows = []
    for run in read_runs(workspace, dataset):
        orders = run.get("orders") or []
        rows.append(
            {
                **run,
                "dataset": dataset,
                "started_at": _moment(run["started_at"]),
                "ended_at": _moment(run.get("ended_at")),
                "teachers": _each(order.get("teacher") for order in orders),
                "models": _each(order.get("model") for order in orders),
                "kinds": _each(kind for order in orders for kind in order.get("kinds") or ()),
                "prompts": _each(order.get("prompts") for order in orders),
                "strategies": _each(order.get("strategy") for order in orders),
            }
        )
    return rows


def _gates(workspace: Workspace, dataset: str) -> list[dict[str, Any]]:
    try:
        report = read_report(workspace, dataset)
    except MachineFailed as error:
        raise MachineFailed(error.found, error.remedy, str(workspace.report(dataset))) from None
    if report is None:
        return []
    return [
        {
            "dataset": dataset,
            "gate": gate.name,
            "state": "passed" if gate.passed else "failed",
            "value": gate.value,
            "limit": gate.limit,
            "remedy": gate.remedy,
            "checked_at": _moment(report.created_at),
        }
        for gate in report.gates
    ]


def _each(values: Any) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value is not None))


def _moment(text: str | None) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(text) if text else None


def own_files(files: ProjectFiles, relative: str) -> list[Path]:
    """A folder or file of `quality/`: the shipped one, then the project's own where that is another."""
    places = [root / "quality" / relative for root in dict.fromkeys((bundled(), files.root))]
    return [place for place in places if place.exists()]
