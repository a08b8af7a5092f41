"""Running statements and showing their rows; Ctrl-C ends the query, not what runs it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from teacherlm.api.sql_session import SqlSession
from teacherlm.cli import rows

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 200
"""Rows of a table that a terminal shows."""

Made = TypeVar("Made")


def interruptible(session: SqlSession, work: Callable[[], Made]) -> Made:
    """What `work` makes; Ctrl-C while it runs stops what DuckDB does.

    Raises:
        KeyboardInterrupt: it was stopped; the session can be asked again.
    """
    future: Future[Made] = Future()
    begun = threading.Event()

    def run() -> None:
        begun.set()
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    # DuckDB looks for signals only now and then; the main thread, which waits, gets them at once.
    thread = threading.Thread(target=run, name="sql", daemon=True)
    try:
        thread.start()  # a Ctrl-C in here leaves it running, or not begun at all
        return future.result()
    except KeyboardInterrupt:
        begun.wait(1.0)
        while thread.is_alive():
            with contextlib.suppress(KeyboardInterrupt):  # an impatient second one: the query has still to end
                session.connection.interrupt()
                thread.join(0.05)
        raise


def table(session: SqlSession, text: str, parameters: Mapping[str, Any] | None = None, where: str = "sql") -> pa.Table:
    """The rows of the last statement of a text.

    Raises: as `SqlSession.relation`; what is damaged may show only here, where the rows are read.
    """
    return interruptible(session, lambda: _read(session, session.relation(text, parameters, where), where))


def show_each(session: SqlSession, text: str, parameters: Mapping[str, Any] | None = None, where: str = "sql") -> int:
    """Run the statements of a text and show the rows of each that returns some.

    Returns:
        How many did.

    Raises: as `table`.
    """
    shown = 0
    steps = session.each(text, parameters, where)
    done = object()

    def step() -> Any:
        relation = next(steps, done)
        return relation if relation is None or relation is done else _read(session, relation, where)

    while (found := interruptible(session, step)) is not done:
        if found is not None:
            rows.show(found, SHOWN)
            shown += 1
    return shown


def _read(session: SqlSession, relation: Any, where: str) -> pa.Table:
    import duckdb

    try:
        return rows.named_once(relation.to_arrow_table())
    except duckdb.Error as error:
        raise session.explained(error, "sql" if where == "sql" else f"{where}:1:1") from None
