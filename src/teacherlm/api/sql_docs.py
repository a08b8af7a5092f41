"""The parts of docs/sql.md that are derived: `python -m teacherlm.api.sql_docs docs/sql.md`.

Views and their columns come from schemas/*.yaml, macros and queries from quality/.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from teacherlm.api.sql_files import read_macros, read_queries
from teacherlm.api.sql_views import ABOUT, RECORD_OF, WorkspaceSource
from teacherlm.core.bundle import bundled
from teacherlm.core.files import write_text
from teacherlm.schemas.records import record

_PART = re.compile(r"(<!-- (views|columns|macros|query (\w+)) -->\n).*?(<!-- end -->)", re.DOTALL)

SAME = {"ledger": "rationales"}
"""Views whose columns are told with another one's."""


def page(text: str) -> str:
    """The page with its derived parts as they are now.

    Raises:
        KeyError: it shows a query that there is not.
    """
    parts: Mapping[str, Callable[[], str]] = {"views": _views, "columns": _columns, "macros": _macros}
    queries = read_queries([bundled() / "quality" / "queries"])

    def renewed(found: re.Match[str]) -> str:
        if found[3]:
            sql = re.sub(r"\A(?:--.*\n)+", "", queries[found[3]].sql)
            body = f"```sql\n{sql.strip()}\n```\n"
        else:
            body = parts[found[2]]()
        return f"{found[1]}{body}{found[4]}"

    return _PART.sub(renewed, text)


def _views() -> str:
    lines = ["| view | what it holds |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `{view}` | {ABOUT[view]} |" for view in WorkspaceSource.views)]) + "\n"


def _columns() -> str:
    told = [view for view in WorkspaceSource.views if view in RECORD_OF and view not in SAME]
    return "\n\n".join(f"### {view}\n\n{record(RECORD_OF[view]).markdown()}" for view in told) + "\n"


def _macros() -> str:
    lines = ["| macro | what it gives |", "| --- | --- |"]
    macros = read_macros([bundled() / "quality" / "macros.sql"])
    return "\n".join([*lines, *(f"| `{macro.call}` | {macro.about} |" for macro in macros.values())]) + "\n"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    write_text(path, page(path.read_text(encoding="utf-8")))
