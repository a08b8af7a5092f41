"""The passes of a build over the rows of one split: good rows are written, refused ones set aside, a part is drawn.

Files are written by one thread. DuckDB's parallel writer keeps the order of the rows too, but cuts them into other row
groups than a single thread does once rows are left out, so that the bytes would depend on the machine. Whatever has no
order (counting, finding ids that stand twice, drawing) uses all threads.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.builders.mapping import BoundRecipe, check_expressions, failing_expression, mapped_query
from teacherlm.builders.sources import SourceSplit, unreadable
from teacherlm.builders.take import Take
from teacherlm.core.errors import Mistakes, Problem
from teacherlm.core.files import disk_failure
from teacherlm.schemas.records import record

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

REJECTS = "rejects.parquet"
SAMPLES = "00000.parquet"
PARQUET = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480"
COLUMNS = ", ".join(f'"{name}"' for name in record("sample").names)


def write_rows(bound: BoundRecipe, part: SourceSplit, connection: DuckDBPyConnection, folder: Path) -> int:
    """Write the good rows of a split, also those whose id stands twice; returns their number."""
    import duckdb

    (folder / part.split).mkdir()
    part.register(connection)
    if problems := check_expressions(bound, connection):
        raise Mistakes(problems)
    query = f"SELECT {COLUMNS} FROM ({mapped_query(bound.recipe, part.split)}) WHERE reason IS NULL"
    try:
        return _copy(connection, query, folder / part.split / SAMPLES)
    except duckdb.IOException as error:
        raise disk_failure(folder, OSError(_errno(error), str(error))) from error
    except duckdb.Error as error:
        raise _unreadable(bound, part, connection, error) from error


def set_aside(
    bound: BoundRecipe, part: SourceSplit, connection: DuckDBPyConnection, folder: Path, good: int
) -> tuple[int, int, dict[str, int]]:
    """Count the rows of a split and write those that are refused.

    The mapping runs a second time only where a row is refused: most sources have no such rows.

    Args:
        good: rows that were written.

    Returns:
        Rows of the source, those that `where` leaves out, and refused ones by reason.

    Raises:
        Mistakes: the recipe gives other rows each time.
    """
    import duckdb

    where = bound.recipe.sample.where
    kept = f"count(*) FILTER (WHERE ({where}))" if where else "count(*)"
    try:
        ((rows, taken),) = connection.execute(f"SELECT count(*), {kept} FROM source").fetchall()
        twice = _find_twice(connection, folder / part.split / SAMPLES, good)
        if taken == good and not twice:
            return rows, rows - taken, {}
        staged = folder / f".{part.split}.rejects"
        refused = _copy(connection, _refused(bound, part, twice), staged)
        if refused != taken - good + twice:
            place = bound.located.where(("sample",))
            edit = "leave random() and other functions that change out of it"
            raise Mistakes([Problem(place, "the mapping gives other rows each time it runs", edit)])
        if twice:
            _rewrite(
                connection, folder / part.split / SAMPLES, "get_bit(getvariable('twice'), file_row_number::INT) = 0"
            )
        reasons = connection.execute(
            f"SELECT reason, count(*) FROM read_parquet('{sql_path(staged)}') GROUP BY 1 ORDER BY 2 DESC, 1"
        )
    except duckdb.Error as error:
        raise disk_failure(folder, OSError(_errno(error), str(error))) from error
    return rows, rows - taken, dict(reasons.fetchall())


def _find_twice(connection: DuckDBPyConnection, samples: Path, good: int) -> int:
    """Mark in the variable `twice` the rows of a file that give way to another with their id; returns their number.

    Of rows with one id the smallest content stays, whatever order the source has.
    """
    # A hash of few bytes stands for the id until some are found twice: it decides nothing.
    scan = f"read_parquet('{sql_path(samples)}', file_row_number = true)"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE suspects AS
        SELECT hash(sample_id) AS hashed FROM {scan} GROUP BY hashed HAVING count(*) > 1""")
    if not _one(connection, "SELECT count(*) FROM suspects"):
        return 0
    connection.execute(f"""
        SET VARIABLE twice = (
            SELECT bitstring_agg(place, 0, {good}) FROM (
                SELECT file_row_number AS place, row_number() OVER (
                    PARTITION BY sample_id
                    ORDER BY question, choices, answer, subject, human_rationale, file_row_number) AS nth
                FROM {scan} WHERE hash(sample_id) IN (FROM suspects))
            WHERE nth > 1)""")
    return _one(connection, "SELECT coalesce(bit_count(getvariable('twice')), 0)")


def _refused(bound: BoundRecipe, part: SourceSplit, twice: int) -> str:
    mapped = mapped_query(bound.recipe, part.split)
    bad = "reason IS NOT NULL"
    if twice:  # the place of a good row is its number among the good ones; a scan keeps their order, a join would not
        place = "count(*) FILTER (WHERE reason IS NULL) OVER (ROWS UNBOUNDED PRECEDING) - 1"
        mapped = f"SELECT *, {place} AS place FROM ({mapped})"
        bad = f"{bad} OR get_bit(getvariable('twice'), place::INT) = 1"
    columns = "split, row, coalesce(reason, 'duplicate id') AS reason, sample_id, question, choices, answer, source"
    return f"SELECT {columns} FROM ({mapped}) WHERE {bad}"


def gather_rejects(connection: DuckDBPyConnection, folder: Path) -> None:
    """Bring the refused rows of all splits into one file; there is one even where none was refused."""
    import duckdb

    parts = sorted(folder.glob(".*.rejects"))
    if len(parts) == 1:
        parts[0].rename(folder / REJECTS)
        return
    listed = ", ".join(f"'{sql_path(part)}'" for part in parts)
    try:
        _copy(connection, f"FROM read_parquet([{listed}])" if parts else NONE_REFUSED, folder / REJECTS)
    except duckdb.Error as error:
        raise disk_failure(folder, OSError(_errno(error), str(error))) from error
    for part in parts:
        part.unlink()


NONE_REFUSED = """
    SELECT ''::VARCHAR AS split, 0::BIGINT AS row, ''::VARCHAR AS reason, ''::VARCHAR AS sample_id,
           ''::VARCHAR AS question, CAST([] AS VARCHAR[]) AS choices, ''::VARCHAR AS answer, ''::VARCHAR AS source
    LIMIT 0"""


def draw(take: Take, splits: Sequence[str], connection: DuckDBPyConnection, folder: Path) -> list[int]:
    """Leave in the files of a dataset the samples that are drawn, in the order of the source.

    Returns:
        Samples that stay, of each split.
    """
    import duckdb

    files = [folder / split / SAMPLES for split in splits]
    listed = ", ".join(f"'{sql_path(file)}'" for file in files)
    key, drawn = f"row({take.order()}, sample_id)", "false"
    try:
        if take.at_most:
            connection.execute(f"""
                SET VARIABLE last_drawn = (
                    SELECT key FROM (SELECT {key} AS key FROM read_parquet([{listed}]))
                    ORDER BY key LIMIT 1 OFFSET {take.at_most - 1})""")
            drawn = f"{key} <= getvariable('last_drawn')"
        return [_rewrite(connection, file, drawn) for file in files]
    except duckdb.Error as error:
        raise disk_failure(folder, OSError(_errno(error), str(error))) from error


def _rewrite(connection: DuckDBPyConnection, file: Path, condition: str) -> int:
    """Leave in a file the rows that fit; returns their number."""
    whole = file.with_name(f".{file.name}")
    file.rename(whole)
    scan = f"read_parquet('{sql_path(whole)}', file_row_number = true)"
    kept = _copy(connection, f"SELECT {COLUMNS} FROM {scan} WHERE {condition}", file)
    whole.unlink()
    return kept


def _unreadable(bound: BoundRecipe, part: SourceSplit, connection: DuckDBPyConnection, error: Exception) -> Exception:
    """Whether the rows cannot be read at all, or an expression fails on one of them."""
    import duckdb

    try:
        connection.execute("SELECT bit_xor(hash(whole)) FROM source AS whole")
    except duckdb.Error as cause:
        return unreadable(part, cause)
    return Mistakes([failing_expression(bound, connection, "source", error)])


def _copy(connection: DuckDBPyConnection, query: str, target: Path) -> int:
    """Write the rows of a query in their order; returns their number."""
    import duckdb

    statement = f"COPY ({query}) TO '{sql_path(target)}' ({PARQUET})"
    with _one_thread(connection):
        try:
            return _one(connection, statement)
        except duckdb.OutOfMemoryException:  # rows of many megabytes; a row group must fit
            connection.execute("RESET memory_limit")
            return _one(connection, statement)


@contextmanager
def _one_thread(connection: DuckDBPyConnection) -> Iterator[None]:
    threads = _one(connection, "SELECT current_setting('threads')")
    connection.execute("SET threads = 1")
    try:
        yield
    finally:
        connection.execute(f"SET threads = {threads}")


def _one(connection: DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])


def sql_path(path: Path) -> str:
    """A path inside a SQL text."""
    return str(path).replace("'", "''")


def _errno(error: Exception) -> int:
    return errno.ENOSPC if "No space left" in str(error) else errno.EIO
