"""DuckDB for SQLAlchemy as Great Expectations needs it: read-only, without transactions, with DuckDB's own types.

This module loads duckdb-engine; it is imported where a contract is run, and nowhere else.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import duckdb_engine
from sqlalchemy import text
from sqlalchemy.dialects import registry
from sqlalchemy.types import NullType

NAME = "duckdb+ro"


class ReadOnly(duckdb_engine.Dialect):
    """Reads and nothing else, and says of columns what DESCRIBE says.

    Great Expectations closes its connection before it fetches, and the engine's rollback would discard the result:
    there is nothing to begin, commit or roll back here. The engine's way to look at columns asks PostgreSQL's
    catalogue for what DuckDB's does not have.
    """

    supports_statement_cache = False

    def connect(self, database: str = "", **_: Any) -> Any:
        import duckdb

        return duckdb_engine.ConnectionWrapper(duckdb.connect(database, read_only=True))

    def do_begin(self, dbapi_connection: Any) -> None:
        pass

    def do_commit(self, dbapi_connection: Any) -> None:
        pass

    def do_rollback(self, dbapi_connection: Any) -> None:
        pass

    def get_columns(self, connection: Any, table_name: str, schema: str | None = None, **_: Any) -> list[Any]:
        rows = connection.execute(text(f"DESCRIBE {self.identifier_preparer.quote(str(table_name))}")).fetchall()
        return [{"name": row[0], "type": type_of(row[1])(), "nullable": True, "default": None} for row in rows]

    def get_pk_constraint(self, connection: Any, table_name: str, schema: str | None = None, **_: Any) -> Any:
        return {"constrained_columns": [], "name": None}

    def get_indexes(self, connection: Any, table_name: str, schema: str | None = None, **_: Any) -> list[Any]:
        return []


class Types:
    """DuckDB's types by their names, as the module of types that Great Expectations looks into.

    >>> Types.__name__
    'Types'
    """

    __name__ = "duckdb types"

    def __getattr__(self, name: str) -> type[Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return type_of(name)


@cache
def _named(name: str) -> type[Any]:
    return type(name, (NullType,), {})


def type_of(name: str) -> type[Any]:
    """The class of a DuckDB type; one for all spellings of its name.

    >>> type_of("TIMESTAMPTZ") is type_of("timestamp with time zone")
    True
    """
    return _named(_spelt(name))


@cache
def _spelt(name: str) -> str:
    import duckdb

    try:
        return str(duckdb.sqltype(name))
    except duckdb.Error:
        return name.upper()  # no type of DuckDB: no column has it


def register() -> None:
    """Let SQLAlchemy know the dialect by its name."""
    registry.register(NAME.replace("+", "."), __name__, ReadOnly.__name__)
