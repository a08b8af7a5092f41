"""What DuckDB says of a suite before it is run, and of one that crashed: columns, types, SQL, and who is to blame."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from teacherlm.core.errors import MachineFailed, Mistake, Problem, TeacherlmError
from teacherlm.quality.contract import EXAMPLES
from teacherlm.quality.messages import short
from teacherlm.quality.suites import ROWS, TYPE, Expectation, Table

if TYPE_CHECKING:
    import duckdb


def columns_of(con: duckdb.DuckDBPyConnection, table: Table) -> dict[str, str]:
    """The table's columns with their types.

    Raises:
        MachineFailed: a file is damaged.
    """
    import duckdb

    try:
        return {row[0]: str(row[1]) for row in con.execute(f"DESCRIBE {table}").fetchall()}
    except duckdb.Error as error:
        raise unreadable(table, error) from error


def is_misshapen(columns: dict[str, str], suite: Iterable[Expectation]) -> bool:
    """Whether a column of the schema is missing or has another type: what looks into its values could only crash."""
    import duckdb

    wanted = {
        one.declared.kwargs["column"]: one.declared.kwargs["type_"]
        for one in suite
        if one.declared.type == TYPE and one.located is None
    }
    return any(name not in columns or columns[name] != str(duckdb.sqltype(kind)) for name, kind in wanted.items())


def problem_of(con: duckdb.DuckDBPyConnection, columns: dict[str, str], one: Expectation) -> Problem | None:
    """What is wrong with the columns that an expectation names, or with its SQL; None where it can be run."""
    import duckdb

    kwargs = one.declared.kwargs
    for key in ("column", "column_A", "column_B", "column_list"):
        for name in kwargs[key] if isinstance(kwargs.get(key), list) else [kwargs.get(key)]:
            if isinstance(name, str) and name not in columns:
                near = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
                edit = f"did you mean `{near[0]}`?" if near else f"its columns are {', '.join(columns)}"
                return Problem(one.where("kwargs", key), f"`{one.table}` has no column `{name}`", edit)
    if one.sql is None:
        return None
    where = one.where("kwargs", one.sql[0])
    try:
        con.execute(f"EXPLAIN {count_query(one)}")
    except (KeyError, IndexError, ValueError) as error:
        return Problem(where, f"has a brace that is none of {{batch}}: {error}", "double a brace that is meant: {{ }}")
    except (duckdb.OperationalError, duckdb.InvalidInputException) as error:
        raise unreadable(one.table, error) from error
    except duckdb.Error as error:
        views = "tables are samples, rationales, augmented, verdicts, manifest, rules"
        return Problem(where, f"the SQL cannot be run: {short(error)}", f"mend it; {views}")
    return None


def count_query(one: Expectation) -> str:
    """A query that counts the rows which an expectation with SQL does not expect."""
    text = one.sql[1] if one.sql else "false"
    if one.declared.type == ROWS:
        return f"SELECT count(*) FROM ({_bound(one, text)}) unexpected"
    column = one.declared.kwargs.get("column")
    return f'SELECT count(*) FROM {one.table} WHERE "{column}" IS NOT NULL AND NOT coalesce(({text}), false)'


def _bound(one: Expectation, query: str) -> str:
    # As Great Expectations puts it.
    return query.format(batch=f"(SELECT * FROM {one.table} WHERE true) AS subselect").rstrip("; \t\r\n")


def count(con: duckdb.DuckDBPyConnection, one: Expectation) -> int:
    """How many rows an expectation with SQL does not expect."""
    return int(con.execute(count_query(one)).fetchall()[0][0])


def examples(con: duckdb.DuckDBPyConnection, one: Expectation) -> tuple[str, ...]:
    """The first rows that a query returns: their sample ids, else all that they hold."""
    query = _bound(one, one.sql[1] if one.sql else "")
    relation = con.sql(f"SELECT * FROM ({query}) unexpected ORDER BY ALL LIMIT {EXAMPLES}")
    if "sample_id" in relation.columns:
        place = relation.columns.index("sample_id")
        return tuple(dict.fromkeys(str(row[place]) for row in relation.fetchall()))
    named = (zip(relation.columns, row, strict=True) for row in relation.fetchall())
    return tuple(", ".join(f"{name} {value}" for name, value in row) for row in named)


def blame(
    con: duckdb.DuckDBPyConnection, suite: Iterable[Expectation], culprit: Expectation | None, said: str
) -> TeacherlmError:
    """Why a run crashed: a file that cannot be read, an expectation, or anything else in its own words.

    Args:
        culprit: the expectation that crashes also where it is run alone.
        said: the message of the crash.
    """
    import duckdb

    for table in dict.fromkeys(one.table for one in suite):
        try:
            con.execute(f"SELECT bit_xor(hash(t)) FROM {table} t").fetchall()
        except duckdb.Error as error:
            return unreadable(table, error)
    said = short(Exception(re.sub(r"^\(_?duckdb\.\w+\) ", "", said)))
    if culprit is not None and culprit.located is not None:
        where = culprit.where("kwargs", culprit.sql[0]) if culprit.sql else culprit.where()
        return Mistake(f"the expectation cannot be run: {said}", "mend it, or the values that it meets", where)
    return MachineFailed(
        f"the contract could not be run to its end: {said}", "free memory or disk, or mend what it names; check again"
    )


def unreadable(table: str, error: Exception) -> MachineFailed:
    """For a table whose files cannot be read."""
    return MachineFailed(
        f"the table `{table}` cannot be read: {short(error)}",
        "restore the file, or run the step that writes it again",
        next(_paths(str(error)), ""),
    )


def _paths(message: str) -> Iterator[str]:
    """Files that a message of DuckDB's names, between its quotes."""
    return (part for part in message.replace('"', "'").split("'")[1::2] if part.endswith(".parquet"))
