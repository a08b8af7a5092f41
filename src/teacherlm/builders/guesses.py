"""A guess: an expression, why it was chosen, and the columns that it uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from teacherlm.builders.survey import Column


@dataclass(frozen=True)
class Guess:
    """One part of a recipe, guessed."""

    expression: str
    why: str
    columns: tuple[str, ...] = ()
    is_open: bool = False
    """It runs, but a person has to write what the source does not say."""


def named(columns: Iterable[Column], names: Sequence[str]) -> Column | None:
    """The column whose name stands first among `names`."""
    found = [column for column in columns if column.key in names]
    return min(found, key=lambda column: names.index(column.key)) if found else None


def text_of(column: Column) -> str:
    """An expression for a column's text, also where it is a list of texts."""
    return f"joined({column.sql})" if column.is_text_list else column.sql


def literal(texts: Iterable[str]) -> str:
    """Texts as a DuckDB list."""
    return "[" + ", ".join("'" + text.replace("'", "''") + "'" for text in texts) + "]"
