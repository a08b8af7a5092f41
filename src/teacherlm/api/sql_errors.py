"""What DuckDB says of a statement, for people: with the views that there are, the nearest first."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from teacherlm.api.sql_views import RECORD_OF
from teacherlm.core.errors import MachineFailed, Mistake, TeacherlmError
from teacherlm.quality.messages import position
from teacherlm.schemas.records import record

if TYPE_CHECKING:
    import duckdb

    from teacherlm.api.sql_views import Source

_COLUMN = re.compile(r'Referenced column "([^"]+)" not found|does not have a column named "([^"]+)"')
_ABSENT = re.compile(r'(Table|Table Function|Scalar Function|Table Macro) with name "?([^"\s!]+)"? does not exist')


def not_there(error: Exception) -> str | None:
    """The view or macro that a statement names and that does not exist."""
    found = _ABSENT.search(str(error))
    return found[2] if found else None


def explained(
    error: duckdb.Error, sql: str, where: str, source: Source, macros: Iterable[str], views: Iterable[str] = ()
) -> TeacherlmError:
    """An error of DuckDB as one of ours.

    Args:
        sql: the statement.
        where: `sql`, or the file and line where the statement begins.
        views: those that the statement reads.
    """
    import duckdb

    said = str(error)
    # Of damaged pages DuckDB tells neither the kind of error nor the file.
    is_nameless = type(error) is duckdb.Error
    is_ours = isinstance(error, duckdb.IOException | duckdb.InvalidInputException) and source.place in said
    if is_nameless or is_ours:
        return MachineFailed(
            f"a file{f' of {named}' if (named := _listed(views)) else ''} cannot be read: {said.splitlines()[0]}",
            "run it again if a check or a build is going on; else remove the file and run the step that writes it",
            source.place,
        )
    if isinstance(error, duckdb.OperationalError) and "No files found" not in said:
        return MachineFailed(said.splitlines()[0], "free memory or disk, or look at the file that it names", where)
    if missing := re.search(r"Values were not provided for the following parameters: (.*)", said):
        names = [name.strip() for name in missing[1].split(",")]
        given = " ".join(f"--set {name}=VALUE" for name in names)
        return Mistake(f"it needs {', '.join('$' + name for name in names)}", f"add  {given}", where)
    known = f"the views are {', '.join(source.views)}"
    if where != "sql":
        path, line, _ = where.rsplit(":", 2)
        below, column = position(error, sql)
        where = f"{path}:{int(line) + below - 1}:{column}"
    if unknown := _COLUMN.search(said):
        return Mistake(said, _columns(unknown[1] or unknown[2], sql, source) or known, where)
    name = not_there(error)
    if name is None:
        is_about_names = isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException)
        return Mistake(said, known if is_about_names else "mend the statement, or what it is given", where)
    if because := source.absent(name.lower()):
        return because
    near = difflib.get_close_matches(name.lower(), [*source.views, *macros], n=1, cutoff=0.5)
    # DuckDB's own guess is among its system tables.
    said = re.sub(r'\nDid you mean "[^\n]*', "", said)
    return Mistake(said, f"did you mean {near[0]}? {known}" if near else known, where)


def _columns(column: str, sql: str, source: Source) -> str:
    """The nearest columns, and all, of the views that a statement names."""
    words = {word.lower() for word in re.findall(r"\w+", sql)}
    named = {view: record(RECORD_OF[view]).names for view in source.views if view in words and view in RECORD_OF}
    near = difflib.get_close_matches(column, [name for names in named.values() for name in names], n=1, cutoff=0.6)
    hint = [f"did you mean {near[0]}?"] if near else []
    return "\n    ".join([*hint, *(f"{view} has {', '.join(names)}" for view, names in named.items())])


def _listed(views: Iterable[str]) -> str:
    return " or ".join(f"`{view}`" for view in views)
