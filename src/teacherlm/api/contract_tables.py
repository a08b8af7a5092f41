"""A database file of views over a dataset's files as they are, for the contract: no row is copied, nothing is cast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.builders.build import Built
from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import disk_errors
from teacherlm.schemas.records import record
from teacherlm.teacher.segments import kind_folders, list_segments, read_lines
from teacherlm.text.normalise import SQL_MACROS

if TYPE_CHECKING:
    import duckdb

    from teacherlm.api.workspace import Workspace


def lay_out(database: Path, workspace: Workspace, name: str, manifest: Built, rules: Sequence[str]) -> None:
    """Write a database file with views over a dataset's files as they are, and the small tables that suites may use.

    `samples`, `rationales`, `augmented` and `verdicts` are views: no row is copied but the ledger's open lines, and
    nothing is cast, so that a wrong type shows. `manifest` has the build's counts by split, `rules` the rules' ids.

    Raises:
        MachineFailed: a file is damaged, or the disk is full.
    """
    import duckdb

    with duckdb.connect(database) as con:
        con.execute("SET enable_progress_bar = false")
        con.execute(SQL_MACROS.replace(" TEMP MACRO ", " MACRO "))  # suites see whether blanks are collapsed
        con.execute("CREATE TABLE manifest (split VARCHAR, samples BIGINT); CREATE TABLE rules (rule VARCHAR)")
        con.executemany("INSERT INTO manifest VALUES (?, ?)", [[part.split, part.samples] for part in manifest.splits])
        if rules:
            con.executemany("INSERT INTO rules VALUES (?)", [[rule] for rule in rules])
        for view, files in (
            ("samples", sorted(workspace.samples(name).glob("[!.]*/*.parquet"))),
            ("augmented", sorted(workspace.augmented(name).glob("[!.]*/*.parquet"))),
            ("verdicts", [workspace.verdicts(name) / "verdicts.parquet"]),
        ):
            _view(con, view, f"SELECT * FROM {_parquet(files)}", files)
        _rationales(con, workspace, name, database.parent)


def _rationales(con: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, folder: Path) -> None:
    """The view `rationales`: the last answer of each (sample_id, kind, repeat).

    Answers that were given again are few: their places are kept in a table, as a window over the whole ledger would be
    computed for every query.
    """
    import pyarrow as pa
    import pyarrow.parquet

    contract = record("rationale")
    sealed: list[Path] = []
    lines: list[pa.Table] = []
    for part in kind_folders(workspace.rationales(name)):
        for segment in list_segments(part):
            if segment.is_sealed:
                sealed.append(segment.path)
                continue
            table = read_lines(segment.path)
            table = table.append_column("segment", pa.array([segment.number] * len(table), pa.int64()))
            lines.append(table.append_column("line", pa.array(range(len(table)), pa.int64())))
    parts = []
    if sealed:
        rows = _parquet(sealed, ", filename = true, file_row_number = true")
        number = r"CAST(regexp_extract(filename, '(\d+)\.parquet$', 1) AS BIGINT) AS segment"
        there = _columns(con, f"SELECT * FROM {_parquet(sealed)}", "rationales", sealed)
        # Ledgers of old times lack columns, which are null there.
        lacking = [
            f'CAST(NULL AS {c.sql_type()}) AS "{c.name}"' for c in contract if c.nullable and c.name not in there
        ]
        columns = ", ".join([f'"{column}"' for column in there] + lacking)
        parts.append(f"SELECT {columns}, {number}, file_row_number AS line FROM {rows}")
    if lines:
        path = folder / "open_lines.parquet"
        with disk_errors(path):
            pyarrow.parquet.write_table(pa.concat_tables(lines), path)
        parts.append(f"SELECT * FROM {_parquet([path])}")
    if not parts:
        parts = [f"SELECT *, 0::BIGINT AS segment, 0::BIGINT AS line FROM ({contract.empty_select()})"]
    _view(con, "ledger", " UNION ALL BY NAME ".join(parts), sealed)
    keys = "sample_id, kind, repeat"
    again = f"SELECT {keys} FROM ledger GROUP BY {keys} HAVING count(*) > 1"
    if not {"sample_id", "kind", "repeat"} <= set(_columns(con, "FROM ledger", "rationales", sealed)):
        again = "SELECT NULL AS sample_id, NULL AS kind, NULL AS repeat LIMIT 0"  # the contract says what is missing
    last = f"row_number() OVER (PARTITION BY {keys} ORDER BY segment DESC, line DESC)"
    superseded = f"SELECT {keys}, segment, line FROM ledger SEMI JOIN again USING ({keys}) QUALIFY {last} > 1"
    con.execute(f"CREATE TEMP TABLE again AS {again}")
    count = con.execute("SELECT count(*) FROM again").fetchall()[0][0]
    rows = "ledger"
    if count:
        con.execute(f"CREATE TABLE superseded AS {superseded}")
        rows = f"ledger ANTI JOIN superseded USING ({keys}, segment, line)"
    _view(con, "rationales", f"SELECT * EXCLUDE (segment, line) FROM {rows}", sealed)


def _columns(con: duckdb.DuckDBPyConnection, query: str, table: str, files: Sequence[Path]) -> list[str]:
    import duckdb

    try:
        return [row[0] for row in con.execute(f"DESCRIBE {query}").fetchall()]
    except duckdb.Error as error:
        raise _unreadable(table, error, files) from None


def _view(con: duckdb.DuckDBPyConnection, name: str, query: str, files: Sequence[Path]) -> None:
    import duckdb

    try:
        con.execute(f"CREATE VIEW {name} AS {query}")
    except duckdb.Error as error:
        raise _unreadable(name, error, files) from None


def _unreadable(table: str, error: Exception, files: Sequence[Path]) -> MachineFailed:
    message = str(error).splitlines()[0]
    broken = next((path for path in files if str(path) in message), files[0] if files else Path(table))
    remedy = "restore the file, or remove it and run the step that writes it again"
    return MachineFailed(f"cannot be read: {message}", remedy, str(broken))


def _parquet(files: Sequence[Path], options: str = "") -> str:
    listed = ", ".join("'" + str(path.resolve()).replace("'", "''") + "'" for path in files)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false{options})"
