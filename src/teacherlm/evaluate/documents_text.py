"""Tables of text (CSV, TSV): which of their columns are true or false, and which only say so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from teacherlm.evaluate.documents_files import Table
from teacherlm.evaluate.templates import Row, truths

if TYPE_CHECKING:
    from teacherlm.evaluate.benchmarks import BoundTask

ENDS = (".csv", ".tsv")
"""Of the names of such files."""

_WORDS = {"true": True, "false": False}
_TEMPLATES = ("description", "doc_to_text", "doc_to_choice", "doc_to_target", "gen_prefix")


def with_truths(bound: BoundTask, table: Table) -> Table:
    """A table of text with True and False in the columns that a task's templates take for such.

    The words `true` and `false` are texts to one task (`['true', 'false'].index(label)`) and truths to another
    (`{true: 0, false: 1}[answer]`), and the file does not say which.
    """
    taken = [name for name in sorted(_truths(bound) & set(table.columns)) if _all_words(table, name)]
    if not taken:
        return table
    rows: list[Row] = [{**row, **{name: _truth(row[name]) for name in taken}} for row in table.rows]
    return Table(rows, table.columns)


def _truths(bound: BoundTask) -> set[str]:
    """Columns that a task's templates take for true or false."""
    found: set[str] = set()
    for text in _texts(bound):
        found |= truths(text)
    choices = bound.task.doc_to_choice
    stated = list(choices.values()) if isinstance(choices, Mapping) else choices
    # A column that is the position of the right one of two options, and not its text.
    if (
        isinstance(stated, list | tuple)
        and isinstance(bound.task.doc_to_target, str)
        and not {str(one).casefold() for one in stated} & set(_WORDS)
    ):
        found.add(bound.task.doc_to_target)
    return found


def _texts(bound: BoundTask) -> Iterator[str]:
    for part in (bound.task, bound.task.fewshot_config):
        for name in _TEMPLATES:
            if isinstance(text := getattr(part, name, None), str):
                yield text


def _all_words(table: Table, name: str) -> bool:
    return all(
        value is None or (isinstance(value, str) and value.casefold() in _WORDS)
        for value in (row[name] for row in table.rows)
    )


def _truth(value: str | None) -> bool | None:
    return None if value is None else _WORDS[value.casefold()]
