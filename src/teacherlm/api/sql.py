"""Asking in SQL: the workspace of a project, or a published place; statements, named queries and files of SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api.sql_files import Query, named_query, read_macros, read_queries
from teacherlm.api.sql_published import PublishedSource
from teacherlm.api.sql_session import SqlSession
from teacherlm.api.sql_views import Source, WorkspaceSource, own_files

if TYPE_CHECKING:
    import duckdb

    from teacherlm.api.workspace import Workspace
    from teacherlm.project.find import ProjectFiles


@dataclass(frozen=True)
class Asked:
    """What is to be run: text, where it comes from, and the values of its parameters."""

    text: str
    where: str = "sql"
    parameters: Mapping[str, Any] | None = None


class Sql:
    """SQL for a project."""

    def __init__(self, files: ProjectFiles, workspace: Workspace, source: str | Path | None = None) -> None:
        """
        Args:
            source: a published folder, or `hf://datasets/ORG/REPO[@REVISION]`; None: the workspace.

        Raises:
            Mistake: macros that are none; a source that is none.
            RemoteFailed: the Hub failed.
        """
        self.files = files
        rows: Source = PublishedSource(str(source)) if source is not None else WorkspaceSource(workspace, files)
        self.session = SqlSession(rows, read_macros(own_files(files, "macros.sql")))

    @property
    def queries(self) -> dict[str, Query]:
        """The queries that have a name: those that ship with teacherlm, and the project's own."""
        return read_queries(own_files(self.files, "queries"))

    def asked(self, given: str, parameters: Mapping[str, Any] | None = None) -> Asked:
        """What a query, the name of one or the path of a file stands for.

        Raises:
            Mistake: a name that is none; names the nearest.
        """
        query = named_query(self.files, self.queries, given)
        if query is None:
            return Asked(given, parameters=parameters)
        return Asked(query.sql, query.where, {**query.settings, **(parameters or {})})

    def relation(self, given: str, parameters: Mapping[str, Any] | None = None) -> duckdb.DuckDBPyRelation:
        """The rows of a query; see `asked`, and `SqlSession.relation` for errors."""
        asked = self.asked(given, parameters)
        return self.session.relation(asked.text, asked.parameters, asked.where)
