"""The DuckDB session that a check runs in: bounded memory, a place to spill, the last answers told once."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.api.workspace import Workspace, open_session
from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import disk_errors
from teacherlm.quality.messages import machine, short

if TYPE_CHECKING:
    import duckdb

MEMORY = 1400
"""MB that DuckDB may keep before it spills, with one thread or two."""

MEMORY_OF_THREAD = 150
"""MB more for each further thread: what one works on at a time cannot be spilled."""

_SUPERSEDED = """
    create temp table superseded as
    select dataset, split, kind, segment, line from (
        select
            dataset, split, kind, segment, line,
            row_number() over (partition by sample_id, kind, repeat order by segment desc, line desc) as place
        from ledger
    ) where place > 1
"""


_REMEDIES = {
    "samples": "build it again: teacherlm build {dataset} --force",
    "ledger": "restore the file, or remove it: its questions are then asked again. Other files are whole",
}


_NEEDED = ("sample_id", "dataset", "split", "kind", "repeat", "text", "status")
"""Columns of the ledger that no answer is without; old ledgers may lack others."""


@contextmanager
def check_session(
    workspace: Workspace, dataset: str, memory: int | None = MEMORY
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session for a check of a dataset, whose lock is held; it spills beside the verdicts and leaves nothing there.

    Args:
        memory: MB that DuckDB may keep; None: its own limit, most of the machine's.

    Raises:
        MachineFailed: a damaged ledger or sample; memory or disk did not suffice.
    """
    spilled = workspace.verdicts(dataset).with_name(f".{dataset}.spilled")
    shutil.rmtree(spilled, ignore_errors=True)  # of a check that was killed
    with spilling_session(workspace, [dataset], spilled, memory) as connection:
        yield connection


@contextmanager
def spilling_session(
    workspace: Workspace, datasets: Sequence[str], spilled: Path, memory: int | None = MEMORY
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session for texts of several datasets that may be more than memory holds.

    Args:
        spilled: the folder for what memory does not hold; it is made, and gone afterwards.
        memory: as in `check_session`.

    Raises:
        MachineFailed: as in `check_session`.
    """
    import duckdb

    connection = open_session(workspace, datasets, judged=False)
    try:
        with disk_errors(spilled):
            spilled.mkdir(parents=True)
        connection.execute(f"SET temp_directory = {_text(spilled)}")
        if memory is not None:
            ((threads,),) = connection.execute("SELECT current_setting('threads')").fetchall()
            limit = memory + MEMORY_OF_THREAD * max(0, threads - 2)
            connection.execute(f"SET memory_limit = '{limit}MB'")
        read_through(connection, workspace, datasets)
        last_answers(connection)
        yield connection
    except duckdb.OperationalError as error:
        raise machine(error) from error
    finally:
        connection.close()
        shutil.rmtree(spilled, ignore_errors=True)


def read_through(connection: duckdb.DuckDBPyConnection, workspace: Workspace, datasets: Sequence[str]) -> None:
    """Read every page of samples and ledger once, so that damage is told as such and not as a mistake of some SQL.

    Raises:
        MachineFailed: a file is damaged; names it.
    """
    import duckdb

    files = {
        "samples": {name: sorted(workspace.samples(name).glob("[!.]*/*.parquet")) for name in datasets},
        "ledger": {name: sorted(workspace.rationales(name).glob("*/*/*.parquet")) for name in datasets},
    }
    for view, remedy in _REMEDIES.items():
        try:
            connection.execute(f"select bit_xor(hash(whole)) from {view} as whole")
        except duckdb.OperationalError as error:
            raise machine(error) from error
        except duckdb.Error as error:
            dataset, where = _damaged(files[view]) or (datasets[0], view)
            raise MachineFailed(f"cannot be read: {short(error)}", remedy.format(dataset=dataset), where) from error
    needed = " or ".join(f"{name} is null" for name in _NEEDED)
    ((lost,),) = connection.execute(f"select count(*) from ledger where {needed}").fetchall()
    if lost:
        where = _lacking(path for paths in files["ledger"].values() for path in paths) or "ledger"
        raise MachineFailed(f"{lost} answers lack one of {', '.join(_NEEDED)}", _REMEDIES["ledger"], where)


def _lacking(paths: Iterable[Path]) -> str | None:
    """The first file of a ledger in which a column is not there, or not whole."""
    import pyarrow.parquet

    for path in paths:
        table = pyarrow.parquet.ParquetFile(path).read()
        if any(name not in table.column_names or table[name].null_count for name in _NEEDED):
            return str(path)
    return None


def _damaged(files: Mapping[str, Iterable[Path]]) -> tuple[str, str] | None:
    """The first file that cannot be read to its end, and its dataset."""
    import pyarrow.parquet

    for dataset, paths in files.items():
        for path in paths:
            try:
                for _ in pyarrow.parquet.ParquetFile(path).iter_batches(use_threads=False):
                    pass
            except (OSError, ValueError):  # Arrow's errors are ValueErrors
                return dataset, str(path)
    return None


def last_answers(connection: duckdb.DuckDBPyConnection) -> None:
    """Let the view `rationales` be read without a window over all answers, in the ledger's order.

    A session's own view finds the last answer of each question anew in every query, and carries the texts through it.
    Most ledgers hold one answer for each question, which a count of hashes shows; of others the places of those that
    were superseded are kept.

    Raises:
        MachineFailed: memory or disk did not suffice.
    """
    import duckdb

    try:
        # Hashes that are all different are of questions that are all different; a collision costs time, no answer.
        ((answers, questions),) = connection.execute(
            "select count(*), count(distinct hash(sample_id, kind, repeat)) from ledger"
        ).fetchall()
        rows = "ledger"
        if answers != questions:
            connection.execute(_SUPERSEDED)
            rows = "ledger anti join superseded using (dataset, split, kind, segment, line)"
        connection.execute(f"create or replace view rationales as select * exclude (segment, line) from {rows}")
    except duckdb.OperationalError as error:
        raise machine(error) from error


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
