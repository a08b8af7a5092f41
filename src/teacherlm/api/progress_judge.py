"""How many answers will be accepted, about: some of the fresh ones are judged while a run goes on, beside it.

The project's own rules judge them, those that reject. Each sees nothing but the answers at hand, so that a rule which
compares rationales with each other finds less here than in `check`, whose word counts.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from teacherlm.api.progress import Judged
from teacherlm.api.standards import Standards, read_standards
from teacherlm.core.errors import TeacherlmError
from teacherlm.project.find import ProjectFiles
from teacherlm.quality.judge import judge
from teacherlm.schemas.records import record
from teacherlm.teacher.budget import Record

if TYPE_CHECKING:
    import duckdb

    from teacherlm.api.catalog import Catalog

AT_ONCE = 300
"""Answers of one look at most: the latest ones."""

FIRST_S, EVERY_S = 2.0, 10.0
"""Until the first look, while there is nothing to look at; and from one look to the next at least."""

SHARE = 0.05
"""Of the time that looks may take."""


class Counted(Protocol):
    """Takes what was found."""

    judged: Mapping[str, Judged]
    not_judged: str | None


class Looks:
    """Judges some of the answers of one run, in a thread of its own.

    Args:
        samples: the files of the dataset's samples.
        rules: gives the rules and the metrics.
        state: takes what was found.
    """

    def __init__(
        self,
        samples: Sequence[Path],
        rules: Callable[[], Standards],
        state: Counted,
    ) -> None:
        self._samples, self._rules, self._state = samples, rules, state
        self._fresh: deque[Mapping[str, Any]] = deque(maxlen=AT_ONCE)
        self._over = threading.Event()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def noting(self, append: Record) -> Record:
        """An `append` of the ledger that also shows the answers to this one."""
        note = self._fresh.append

        def noted(line: Mapping[str, Any]) -> None:
            append(line)
            if line["status"] == "ok":
                note(line)

        return noted

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Look now and then while the block lasts."""
        thread = threading.Thread(target=self._look_on, name="looks", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            while thread.is_alive():
                if self._connection is not None:
                    self._connection.interrupt()  # what it has just begun, if anything
                thread.join(0.05)

    def _look_on(self) -> None:
        wait = FIRST_S
        while not self._over.wait(wait):
            started = time.monotonic()
            if not self._fresh:
                continue
            try:
                self.look()
            except Exception as error:  # whatever it is, the run goes on, and `check` says it in full
                if not self._over.is_set():  # else it was interrupted
                    self._state.not_judged = _said(error)
                return
            wait = max(EVERY_S, (time.monotonic() - started) * (1 / SHARE - 1))

    def look(self) -> None:
        """Judge the answers that came since the last look, or the latest of them.

        Raises:
            TeacherlmError: the rules cannot be run.
        """
        import pyarrow as pa

        # One after the other, since answers come meanwhile.
        lines = [self._fresh.popleft() for _ in range(len(self._fresh))]
        if not lines:
            return
        con = self._connection = self._connection or self._opened()
        # As in the ledger, the last answer of each text counts.
        last = {(line["sample_id"], line["kind"], line["repeat"]): _typed(line) for line in lines}
        con.register("fresh", pa.Table.from_pylist(list(last.values()), schema=record("rationale").arrow()))
        con.execute("CREATE OR REPLACE TEMP TABLE rationales AS FROM fresh")
        con.unregister("fresh")
        con.execute(
            "CREATE OR REPLACE TEMP TABLE samples AS "
            "SELECT * FROM every_sample WHERE sample_id IN (SELECT sample_id FROM rationales)"
        )
        judge(con, *self._bound)
        found = con.execute("SELECT kind, count(*), count_if(verdict = 'accepted') FROM verdicts GROUP BY kind")
        judged = dict(self._state.judged)
        for kind, looked_at, accepted in found.fetchall():
            before = judged.get(kind, Judged())
            judged[kind] = Judged(before.looked_at + looked_at, before.accepted + accepted)
        self._state.judged = judged  # at once: others read it

    def _opened(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        standards = self._rules()
        self._bound = [rule for rule in standards.rules if rule.severity == "reject"], standards.metrics
        con = duckdb.connect()
        con.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'; SET threads = 1")
        con.read_parquet([str(path) for path in self._samples]).create_view("stored_samples")
        con.execute(f"CREATE TEMP VIEW every_sample AS SELECT {record('sample').cast_list()} FROM stored_samples")
        return con


def _said(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, TeacherlmError):
        first = error.problems[0]
        return f"{Path(first.where.partition(':')[0]).name}: {first.found}" if first.where else first.found
    return str(error).partition("\n")[0]


def _typed(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line as the record has it."""
    return {**line, "created_at": datetime.fromisoformat(line["created_at"])}


def project_rules(files: ProjectFiles, catalog: Catalog) -> Callable[[], Standards]:
    """What judges the answers of a project; read when it is needed."""
    return lambda: read_standards(files, catalog)
