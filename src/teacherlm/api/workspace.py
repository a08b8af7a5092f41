"""Where everything lands: the folders of a workspace, and one DuckDB session over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.core.locks import held, holder
from teacherlm.schemas.records import RecordName, record
from teacherlm.teacher.segments import kind_folders, list_segments, read_lines

if TYPE_CHECKING:
    import duckdb

VIEWS: dict[str, RecordName] = {
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


@dataclass(frozen=True)
class Workspace:
    """The folders of a workspace."""

    root: Path

    def samples(self, dataset: str) -> Path:
        return self.root / "samples" / dataset

    def rationales(self, dataset: str) -> Path:
        return self.root / "rationales" / dataset

    def verdicts(self, dataset: str) -> Path:
        return self.root / "verdicts" / dataset

    def augmented(self, dataset: str) -> Path:
        return self.root / "augmented" / dataset

    def report(self, dataset: str) -> Path:
        return self.root / "reports" / dataset / "report.json"

    def run_record(self, dataset: str) -> Path:
        return self.root / "reports" / dataset / "run.json"

    def datasets(self) -> list[str]:
        """Datasets with anything in the workspace."""
        folders = [
            path for part in ("samples", "rationales") for path in (self.root / part).glob("[!.]*") if path.is_dir()
        ]
        return sorted({path.name for path in folders})

    @contextmanager
    def locked(self, dataset: str) -> Iterator[None]:
        """Be the one writer of a dataset.

        Raises:
            MachineFailed: another process is; names its pid and host.
        """
        with held(self._lock(dataset), f"dataset `{dataset}`"):
            yield

    def holder(self, dataset: str) -> str | None:
        """Who writes a dataset now, such as `pid 12 on host`."""
        return holder(self._lock(dataset))

    def _lock(self, dataset: str) -> Path:
        return self.root / "locks" / f"{dataset}.lock"

    def sample_files(self, dataset: str) -> dict[str, list[Path]]:
        """The sample files of a dataset by split.

        Raises:
            Mistake: it was not built.
            MachineFailed: a file is damaged.
        """
        folder = self.samples(dataset)
        found = {path.name: sorted(path.glob("*.parquet")) for path in sorted(folder.glob("[!.]*")) if path.is_dir()}
        if not found:
            raise Mistake(f"`{dataset}` has no samples in {self.root}", f"build it first: teacherlm build {dataset}")
        for path in (path for paths in found.values() for path in paths):
            _check_parquet(path, dataset)
        return found


def _check_parquet(path: Path, dataset: str) -> None:
    import pyarrow.parquet

    try:
        pyarrow.parquet.read_metadata(path)
    except (OSError, ValueError) as error:  # Arrow's errors are ValueErrors
        raise MachineFailed(
            f"cannot be read: {error}", f"build it again: teacherlm build {dataset} --force", str(path)
        ) from None


def open_session(
    workspace: Workspace, datasets: Sequence[str] | None = None, *, judged: bool = True
) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory with the workspace's views: `samples`, `rationales`, `verdicts`, `findings`, `augmented`.

    It shows the workspace at this moment, also while a run is writing; in an empty one every view has its types.

    Args:
        datasets: those to show; None: all.
        judged: also show what `check` has written; without it the names are free for a new judgement.

    Raises:
        MachineFailed: a damaged ledger.
    """
    import duckdb

    names = list(datasets) if datasets is not None else workspace.datasets()
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'")
    _view(
        connection,
        "samples",
        [path for name in names for path in sorted(workspace.samples(name).glob("[!.]*/*.parquet"))],
    )
    _rationales(connection, workspace, names)
    if not judged:
        return connection
    for view in JUDGED:
        _view(
            connection,
            view,
            [path for name in names for path in sorted(workspace.verdicts(name).glob(f"{view}.parquet"))],
        )
    _view(
        connection,
        "augmented",
        [path for name in names for path in sorted(workspace.augmented(name).glob("[!.]*/*.parquet"))],
    )
    return connection


def query_session(session: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyRelation:
    """A query over the views of a session.

    Raises:
        Mistake: it returns no rows.
    """
    import duckdb

    statements = session.extract_statements(query)
    kinds = duckdb.StatementType
    if not statements or statements[-1].type not in (kinds.SELECT, kinds.EXPLAIN, kinds.PRAGMA, kinds.CALL):
        raise Mistake("the statement returns no rows", "write a SELECT", "sql")
    return session.sql(query)


def _view(connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[Path]) -> None:
    contract = record(VIEWS[name])
    query = f"SELECT {contract.cast_list()} FROM {_parquet(files)}" if files else contract.empty_select()
    _create(connection, name, query, files)


def _rationales(connection: duckdb.DuckDBPyConnection, workspace: Workspace, names: Sequence[str]) -> None:
    """The view `ledger`, one row per answer, and `rationales`, the last one of each (sample_id, kind, repeat)."""
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
        rows = _parquet(sealed, "filename = true, file_row_number = true, union_by_name = true")
        parts.append(f"SELECT {columns} FROM (FROM {rows} UNION ALL BY NAME ({contract.empty_select()}))")
    if lines:
        connection.register("open_lines", pa.concat_tables(lines))
        parts.append(f"SELECT {contract.cast_list()}, segment, line FROM open_lines")
    if not parts:
        parts = [f"SELECT *, 0::BIGINT AS segment, 0::BIGINT AS line FROM ({contract.empty_select()})"]
    _create(connection, "ledger", " UNION ALL ".join(parts), sealed)
    last = "row_number() OVER (PARTITION BY sample_id, kind, repeat ORDER BY segment DESC, line DESC) = 1"
    connection.execute(f"CREATE VIEW rationales AS SELECT * EXCLUDE (segment, line) FROM ledger QUALIFY {last}")


def _parquet(files: Sequence[Path], options: str = "") -> str:
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
    return f"read_parquet([{listed}]{', ' + options if options else ''})"


def _create(connection: duckdb.DuckDBPyConnection, name: str, query: str, files: Sequence[Path]) -> None:
    import duckdb

    try:
        connection.execute(f"CREATE VIEW {name} AS {query}")
    except duckdb.Error as error:
        message = str(error).splitlines()[0]
        broken = next((path for path in files if str(path) in message), files[0] if files else Path(name))
        raise MachineFailed(
            f"cannot be read: {message}",
            "restore the file, or remove it and run the step that writes it again",
            str(broken),
        ) from None
