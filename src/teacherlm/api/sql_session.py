"""A session of SQL: views and macros are made when a statement names them; errors say what is there instead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from teacherlm.api.session import connect
from teacherlm.api.sql_errors import explained, not_there
from teacherlm.api.sql_files import Macro
from teacherlm.api.sql_text import Statement, statements
from teacherlm.api.sql_views import NEEDS, Source
from teacherlm.core.errors import Mistake, TeacherlmError

if TYPE_CHECKING:
    import duckdb

_WORD = re.compile(r"[A-Za-z_]\w*")

# What lists the views, so that all have to be there.
_CATALOG = re.compile(
    r"^\s*(?:show\s+(?:all\s+)?tables|pragma|describe\s*$|show\s*$)"
    r"|\b(?:information_schema|sqlite_master|duckdb_(?:views|columns|tables|functions)|pg_catalog)\b",
    re.IGNORECASE,
)


class SqlSession:
    """DuckDB in memory over a source. Every statement sees the source as it is then, also while a run writes it."""

    def __init__(self, source: Source, macros: Mapping[str, Macro]) -> None:
        self.source = source
        self.macros = macros
        self.connection = connect()
        # No variable of this program is a table.
        self.connection.execute("SET python_enable_replacements = false")
        self._broken: dict[str, TeacherlmError] = {}
        self._read: tuple[str, ...] = ()

    def relation(
        self, text: str, parameters: Mapping[str, Any] | None = None, where: str = "sql"
    ) -> duckdb.DuckDBPyRelation:
        """The rows of the last statement of a text; those before it are run.

        Args:
            parameters: values for $name.
            where: the file that the text comes from.

        Raises:
            Mistake: no SQL, or the last statement returns no rows; an unknown view or column; a parameter is missing.
            MachineFailed: a file of a view that is named cannot be read.
        """
        *before, last = self._parsed(text, parameters or {}, where)
        if not last.returns_rows:
            raise Mistake("the statement returns no rows", "write a SELECT", where)
        for statement in before:
            self._run(statement, parameters or {}, where)
        relation = self._run(last, parameters or {}, where)
        assert relation is not None
        return relation

    def each(
        self, text: str, parameters: Mapping[str, Any] | None = None, where: str = "sql"
    ) -> Iterator[duckdb.DuckDBPyRelation | None]:
        """Run the statements of a text one after the other; None for those that return no rows.

        Raises: as `relation`.
        """
        for statement in self._parsed(text, parameters or {}, where):
            relation = self._run(statement, parameters or {}, where)
            yield relation if statement.returns_rows else None

    def columns(self, view: str) -> list[tuple[str, str]]:
        """Names and types of the columns of a view or table.

        Raises: as `relation`.
        """
        quoted = view.replace('"', '""')
        rows = self.relation(f'DESCRIBE "{quoted}"').fetchall()
        return [(row[0], row[1]) for row in rows]

    def explained(self, error: duckdb.Error, where: str = "sql") -> TeacherlmError:
        """An error of DuckDB while rows were read, for people."""
        return explained(error, "", where, self.source, self.macros, self._read)

    def _parsed(self, text: str, parameters: Mapping[str, Any], where: str) -> list[Statement]:
        found = statements(text, where)
        if not found:
            raise Mistake("there is no statement", "write a SELECT", where)
        asked = {name for statement in found for name in statement.parameters}
        if unused := sorted(set(parameters) - asked):
            there = f"it has {', '.join('$' + name for name in sorted(asked))}" if asked else "it has no parameters"
            raise Mistake(f"no statement has ${unused[0]}", there, "--set")
        return found

    def _run(self, statement: Statement, parameters: Mapping[str, Any], where: str) -> duckdb.DuckDBPyRelation | None:
        import duckdb

        self._make(statement.sql)
        given = {name: value for name, value in parameters.items() if name in statement.parameters}
        try:
            if given:
                return self.connection.sql(statement.sql, params=given)
            return self.connection.sql(statement.sql)
        except duckdb.Error as error:
            if (name := not_there(error)) and name.lower() in self._broken:
                raise self._broken[name.lower()] from None
            place = where if where == "sql" else f"{where}:{statement.line}:1"
            raise explained(error, statement.sql, place, self.source, self.macros, self._read) from None

    def _make(self, sql: str) -> None:
        """Make the views and macros that a statement names; one that cannot be made is an error where it is used."""
        words = {word.lower() for word in _WORD.findall(sql)}
        if _CATALOG.search(sql):
            words |= {*self.source.views, *self.macros}
        pending = words & self.macros.keys()
        wanted: set[str] = set()
        while pending:
            name = pending.pop()
            wanted.add(name)
            inside = {word.lower() for word in _WORD.findall(self.macros[name].sql)}
            words |= inside
            pending |= (inside & self.macros.keys()) - wanted
        for view in tuple(words):
            words.update(NEEDS.get(view, ()))
        # Views that others stand on come first.
        order = sorted(self.source.views, key=lambda view: view in NEEDS)
        self._read = tuple(view for view in order if view in words)
        for view in self._read:
            self._make_view(view)
        for name, macro in self.macros.items():
            if name in wanted:
                self._make_macro(macro)

    def _make_view(self, view: str) -> None:
        import duckdb

        self._broken.pop(view, None)
        try:
            if broken := next((self._broken[need] for need in NEEDS.get(view, ()) if need in self._broken), None):
                raise broken
            self.source.create(self.connection, view)
        except TeacherlmError as error:
            self._broken[view] = error
            self.connection.execute(f"DROP VIEW IF EXISTS {view}")
        except duckdb.CatalogException:
            pass  # a table of the same name that somebody made here

    def _make_macro(self, macro: Macro) -> None:
        import duckdb

        self._broken.pop(macro.name, None)
        try:
            self.connection.execute(macro.sql)
        except duckdb.Error as error:
            missing = (not_there(error) or "").lower()
            self._broken[macro.name] = self._broken.get(missing) or explained(
                error, macro.sql, f"{macro.where}:1", self.source, self.macros
            )
            self.connection.execute(f'DROP MACRO TABLE IF EXISTS "{macro.name}"')
