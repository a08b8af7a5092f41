"""Speaking to people and to programs: tables or the JSON envelope on stdout, notes and errors on stderr, exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import orjson
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from teacherlm.core.errors import GateFailed, TeacherlmError
from teacherlm.schemas.records import SCHEMA_VERSION

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

INTERRUPTED = 130
SEVEREST_FIRST = (INTERRUPTED, 4, 3, 1, 2, 0)


class Format(StrEnum):
    table = "table"
    json = "json"


@dataclass
class Outcome:
    """What a command found, for one dataset after the other; one that fails does not stop the others."""

    command: str
    format: Format = Format.table
    rows: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    codes: set[int] = field(default_factory=set)
    later: list[TeacherlmError] = field(default_factory=list)
    """Gates that failed: read after the tables that show why."""

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep the error of one dataset, so that the others are still done."""
        try:
            yield
        except TeacherlmError as error:
            self.fail(error)

    def fail(self, error: TeacherlmError) -> None:
        self.codes.add(error.exit_code)
        self.errors += error_rows(error)
        if self.format is not Format.table:
            return
        if isinstance(error, GateFailed):
            self.later.append(error)
        else:
            show_error(error)

    def show_later(self) -> None:
        """Say what was kept until its tables are shown."""
        later, self.later = self.later, []
        for error in later:
            show_error(error)

    def note(self, text: str) -> None:
        """Something worth knowing while or after a step ran."""
        if text:
            err.print(text, style="dim", markup=False)

    def finish(self, show: Callable[[Sequence[dict[str, Any]]], None]) -> int:
        """Print the rows and give the exit code: the severest of what happened."""
        code = next((code for code in SEVEREST_FIRST if code in self.codes), 0)
        if code == INTERRUPTED and not any(error["exit_code"] == INTERRUPTED for error in self.errors):
            self.errors.append(stopped_row("stopped: everything that was answered is kept"))
        if self.format is Format.json:
            print_json(self.command, code == 0, self.rows, self.errors)
        elif self.rows:
            show(self.rows)
        self.show_later()
        return code


def print_json(command: str, ok: bool, rows: Sequence[dict[str, Any]], errors: Sequence[dict[str, Any]]) -> None:
    envelope = {"schema_version": SCHEMA_VERSION, "command": command, "ok": ok, "rows": rows, "errors": errors}
    write_bytes(orjson.dumps(envelope, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str))


def write_bytes(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def error_rows(error: TeacherlmError) -> list[dict[str, Any]]:
    return [
        {
            "what": error.what,
            "where": problem.where,
            "found": problem.found,
            "remedy": problem.edit,
            "exit_code": error.exit_code,
        }
        for problem in error.problems
    ]


def stopped_row(words: str) -> dict[str, Any]:
    """An interruption as an error of the envelope."""
    return {"what": "interrupted", "where": "", "found": words, "remedy": "", "exit_code": INTERRUPTED}


def show_error(error: TeacherlmError) -> None:
    """An error as a person reads it: what, where, and what to do."""
    err.print(f"{error}", style="red" if err.is_terminal else "", markup=False)


WIDEST = 10_000
"""Letters of a line, at most, where a terminal's own width does not count."""

LEAST_WORDS = 12
"""Letters of a column of words, at least, however narrow the terminal is."""

NAME = 28
"""Letters of a name that is not folded: a rule in two lines is none. Ids of samples are longer."""


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str], *, title: str | None = None) -> None:
    """Rows as an aligned table; numbers to the right, nothing for None."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float | None) for row in rows)
        name = column.replace("_", " ")
        # Only words are folded where the terminal is narrow: a number in two lines is none.
        longest = max((len(cell(row.get(column))) for row in rows), default=0)
        names = (len(word) for row in rows for word in cell(row.get(column)).split())
        name_length = max((length for length in names if length <= NAME), default=0)
        heading = max(map(len, name.split()), default=0)
        least = max(heading, longest if numeric else min(longest, max(LEAST_WORDS, name_length)))
        justify: Literal["right", "left"] = "right" if numeric else "left"
        shown.add_column(name, justify=justify, overflow="fold", no_wrap=numeric, min_width=least)
    for row in rows:
        shown.add_row(*[cell(row.get(column)) for column in columns])
    # Where even folded words do not fit, a table that is too wide is better than one with cut numbers.
    least = Measurement.get(out, out.options.update(max_width=WIDEST), shown).minimum
    # A pipe or a file has no width: whoever searches there wants ids in one piece.
    if not out.is_terminal and "COLUMNS" not in os.environ:
        least = Measurement.get(out, out.options.update(max_width=WIDEST), shown).maximum
    out.print(shown, width=max(out.width, least), crop=False)


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    return str(value).replace("[", r"\[")
