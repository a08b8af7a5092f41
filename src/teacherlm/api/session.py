"""One DuckDB in memory over a workspace, with a view for each record that it stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.core.errors import MachineFailed
from teacherlm.schemas.records import RecordName, record
from teacherlm.teacher.segments import kind_folders, list_segments, read_lines

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from teacherlm.api.workspace import Workspace

VIEWS: Mapping[str, RecordName] = {
    "samples": "sample",
    "rationales": "rationale",
    "verdicts": "verdict",
    "findings": "finding",
    "duplicates": "duplicate",
    "contamination": "contamination",
    "augmented": "augmented",
}

JUDGED = ("verdicts", "findings", "duplicates", "contamination")
"""Views over what `check` writes beside the augmented table."""

# The last answer of each sample, kind and repeat; segments and lines are numbered in writing order.
LAST = """
SELECT * EXCLUDE (segment, line) FROM ledger
QUALIFY row_number() OVER (PARTITION BY sample_id, kind, repeat ORDER BY segment DESC, line DESC) = 1
"""


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory, as every session starts."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'")
    return connection


def open_session(
    workspace: Workspace, datasets: Sequence[str] | None = None, *, judged: bool = True
) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory with the views that a workspace stores, and `ledger`, one row per answer.

    It shows the workspace at this moment, also while a run is writing; in an empty one every view has its types.

    Args:
        datasets: those to show; None: all.
        judged: also show what `check` has written; without it the names are free for a new judgement.

    Raises:
        MachineFailed: a damaged file; names it.
    """
    names = list(datasets) if datasets is not None else workspace.datasets()
    connection = connect()
    for view in ("samples", "ledger", "rationales", *((*JUDGED, "augmented") if judged else ())):
        create_view(connection, workspace, names, view)
    return connection


def create_view(connection: duckdb.DuckDBPyConnection, workspace: Workspace, names: Iterable[str], view: str) -> None:
    """Make one of the views, or make it again: its files are those that are there now.

    `rationales` stands on `ledger`, which is to be made first.

    Raises:
        MachineFailed: a damaged file; names it.
    """
    if view == "ledger":
        _ledger(connection, workspace, names)
    elif view == "rationales":
        create(connection, view, LAST)
    else:
        contract = record(VIEWS[view])
        files = [path for name in names for path in _files(workspace, name, view)]
        query = f"SELECT {contract.cast_list()} FROM {parquet(files)}" if files else contract.empty_select()
        create(connection, view, query, files)


def _files(workspace: Workspace, name: str, view: str) -> list[Path]:
    if view in JUDGED:
        return sorted(workspace.verdicts(name).glob(f"{view}.parquet"))
    folder = workspace.samples(name) if view == "samples" else workspace.augmented(name)
    return sorted(folder.glob("[!.]*/*.parquet"))


def _ledger(connection: duckdb.DuckDBPyConnection, workspace: Workspace, names: Iterable[str]) -> None:
    import pyarrow as pa

    sealed: list[Path] = []
    lines: list[pa.Table] = []
    for name in names:
        for folder in kind_folders(workspace.rationales(name)):
            for segment in list_segments(folder):
                if segment.is_sealed:
                    sealed.append(segment.path)
                    continue
                table = read_lines(segment.path)
                numbers = pa.array([segment.number] * len(table), pa.int64())
                table = table.append_column("segment", numbers)
                lines.append(table.append_column("line", pa.array(range(len(table)), pa.int64())))
    contract = record("rationale")
    parts = []
    if sealed:
        number = r"CAST(regexp_extract(filename, '(\d+)\.parquet$', 1) AS BIGINT)"
        columns = f"{contract.cast_list()}, {number} AS segment, file_row_number AS line"
        # By name, and beside the contract's own columns: ledgers of old times lack some, which are null there.
        rows = parquet(sealed, "filename = true, file_row_number = true, union_by_name = true")
        parts.append(f"SELECT {columns} FROM (FROM {rows} UNION ALL BY NAME ({contract.empty_select()}))")
    if lines:
        connection.register("open_lines", pa.concat_tables(lines))
        parts.append(f"SELECT {contract.cast_list()}, segment, line FROM open_lines")
    if not parts:
        parts = [f"SELECT *, 0::BIGINT AS segment, 0::BIGINT AS line FROM ({contract.empty_select()})"]
    create(connection, "ledger", " UNION ALL ".join(parts), sealed)


def parquet(files: Iterable[Path], options: str = "") -> str:
    """Parquet files as a relation of SQL."""
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
    return f"read_parquet([{listed}]{', ' + options if options else ''})"


def create(connection: duckdb.DuckDBPyConnection, name: str, query: str, files: Sequence[Path] = ()) -> None:
    """Make a view, or make it again.

    Raises:
        MachineFailed: one of `files`, which it reads, is damaged.
    """
    import duckdb

    try:
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
    except duckdb.Error as error:
        if not files:
            raise
        message = str(error).splitlines()[0]
        broken = next((path for path in files if str(path) in message), files[0])
        raise MachineFailed(
            f"cannot be read: {message}",
            "restore the file, or remove it and run the step that writes it again",
            str(broken),
        ) from None
