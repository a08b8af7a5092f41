"""Metrics: what the rules look at, as SQL files that are run in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.core.errors import Mistake
from teacherlm.core.keys import digest
from teacherlm.quality.messages import machine, position, short

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Metrics:
    """SQL files that together make the temporary table `metrics`: one row per rationale with status `ok`."""

    files: tuple[Path, ...]

    def __iter__(self) -> Iterator[tuple[Path, str]]:
        return ((path, path.read_text(encoding="utf-8")) for path in self.files)

    @property
    def fingerprint(self) -> str:
        return digest([[path.name, text] for path, text in self])

    def take(self, con: duckdb.DuckDBPyConnection) -> None:
        """Make the table `metrics` out of the views `samples` and `rationales`.

        Raises:
            Mistake: the SQL cannot be run; says where.
            MachineFailed: memory or disk did not suffice.
        """
        import duckdb

        for path, sql in self:
            try:
                con.execute(sql)
            except duckdb.OperationalError as error:
                raise machine(error) from error
            except duckdb.Error as error:
                line, column = position(error, sql)
                raise Mistake(
                    short(error),
                    "mend the metrics, or the columns of `samples` and `rationales`",
                    f"{path}:{line}:{column}",
                ) from error


def load_metrics(*folders: Path) -> Metrics:
    """The files of `folders`; of two with the same name the later folder's is taken.

    Raises:
        Mistake: there are none.
    """
    found = {path.name: path for folder in folders for path in folder.glob("*.sql")}
    if not found:
        where = ", ".join(map(str, folders))
        raise Mistake("there are no metrics", "add a .sql file that creates the table `metrics`", where)
    return Metrics(tuple(found[name] for name in sorted(found)))
