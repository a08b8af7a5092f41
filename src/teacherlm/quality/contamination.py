"""Contamination: questions and rationales that share text with the items of an evaluation set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.schemas.records import record

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An evaluation set that was read."""

    task: str
    path: Path
    """Parquet with its items."""
    items: int
    fingerprint: str


def find_contamination(con: duckdb.DuckDBPyConnection, references: Sequence[Reference]) -> None:
    """Create the table `contamination` (schemas/contamination.yaml) out of the views `samples` and `rationales`."""
    con.execute(f"create or replace temp table contamination as {record('contamination').empty_select()}")
