"""DuckDB's messages about SQL that people wrote, in few words and with their place."""

from __future__ import annotations

import re

from teacherlm.core.errors import MachineFailed


def short(error: Exception) -> str:
    """DuckDB's message, without its kind, its hints and the piece of SQL below."""
    first = str(error).strip().split("\n", 1)[0]
    return re.sub(r"^[A-Z]\w+ (?:Input )?Error: ", "", first)[:300]


def position(error: Exception, sql: str) -> tuple[int, int]:
    """Line and column of a message's `LINE 3: …` with its caret below; 1, 1 where it names none."""
    match = re.search(r"^LINE (\d+): (.*)\n( *)\^", str(error), flags=re.MULTILINE)
    if match is None:
        return 1, 1
    number, shown = int(match[1]), match[2]
    lines = sql.splitlines()
    column = len(match[3]) - len(f"LINE {match[1]}: ") + 1
    same = number <= len(lines) and shown.rstrip(") ") == lines[number - 1].rstrip(";) ")
    return number, column if same else 1


def out_of_memory(error: BaseException) -> bool:
    """Whether what failed would have needed more memory than DuckDB may use."""
    import duckdb

    return isinstance(error, duckdb.OutOfMemoryException) or isinstance(error.__cause__, duckdb.OutOfMemoryException)


def machine(error: Exception) -> MachineFailed:
    """For a query that memory or disk did not suffice for."""
    return MachineFailed(
        f"the rules could not be run to their end: {short(error)}", "free memory or disk and check again"
    )
