"""Near-duplicates: questions and rationales that say nearly what another one says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from teacherlm.schemas.records import record

if TYPE_CHECKING:
    import duckdb


def find_duplicates(con: duckdb.DuckDBPyConnection) -> None:
    """Create the table `duplicates` (schemas/duplicate.yaml) out of the views `samples` and `rationales`."""
    con.execute(f"create or replace temp table duplicates as {record('duplicate').empty_select()}")
