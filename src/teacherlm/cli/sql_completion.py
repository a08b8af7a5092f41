"""Completion in the shell of `teacherlm sql`: views and macros after FROM, columns of the views that are named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from teacherlm.api.sql import Sql
from teacherlm.api.sql_views import NEEDS, RECORD_OF
from teacherlm.core.errors import TeacherlmError
from teacherlm.schemas.records import record

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer

KEYWORDS = (
    *("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING", "QUALIFY", "LIMIT", "JOIN", "LEFT JOIN", "USING"),
    *("WITH", "AS", "ON", "AND", "OR", "NOT", "IS NULL", "IN", "LIKE", "CASE", "WHEN", "THEN", "ELSE", "END"),
    *("DISTINCT", "UNION ALL", "FILTER", "DESC", "DESCRIBE", "SUMMARIZE", "count(*)", "avg", "sum", "min", "max"),
)

_RELATION = re.compile(r"(?:\bfrom|\bjoin|\bdescribe|\bsummarize|,\s*)\s+$|^\.schema\s+$", re.IGNORECASE)
_LAST = re.compile(r"[\w.]*$")


def candidates(asking: Sql, dots: Sequence[str], before: str) -> tuple[str, list[str]]:
    """What may stand at the end of a text, and the part of it that is written already.

    >>> import teacherlm
    >>> project = teacherlm.open(".")
    >>> asking = Sql(project.files, project.workspace)
    >>> candidates(asking, (".tables",), "SELECT sample_id FROM verd")
    ('verd', ['verdicts'])
    >>> candidates(asking, (".tables",), ".t")
    ('.t', ['.tables'])
    """
    found = _LAST.search(before)
    word = found[0] if found else ""
    earlier = before[: len(before) - len(word)]
    if before.startswith(".") and not earlier:
        return word, _beginning(dots, word)
    relations = [*asking.session.source.views, *(f"{name}(" for name in asking.session.macros)]
    if earlier.startswith(".read"):
        return word, _beginning(asking.queries, word)
    if _RELATION.search(earlier) and "." not in word:
        return word, _beginning(relations, word)
    named = {name for name in re.findall(r"\w+", before.lower()) if name in asking.session.source.views}
    if "." in word:
        alias, _, word = word.rpartition(".")
        of = re.search(rf"(\w+)\s+(?:as\s+)?{re.escape(alias)}\b", before, re.IGNORECASE)
        view = of[1].lower() if of and of[1].lower() in asking.session.source.views else alias.lower()
        named = {view} if view in asking.session.source.views else named
        return word, _beginning(_columns(asking, named), word)
    columns = _columns(asking, named or set(RECORD_OF) & set(asking.session.source.views))
    keywords = [key.lower() if word.islower() else key for key in KEYWORDS]
    return word, _beginning([*columns, *relations, *keywords], word)


def completer(asking: Sql, dots: Sequence[str]) -> Completer:
    """For the prompt."""
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document

    class Completes(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
            word, found = candidates(asking, dots, document.text_before_cursor)
            yield from (Completion(text, start_position=-len(word)) for text in found)

    return Completes()


def _beginning(names: Iterable[str], word: str) -> list[str]:
    return list(dict.fromkeys(name for name in names if name.lower().startswith(word.lower())))


def _columns(asking: Sql, views: Iterable[str]) -> list[str]:
    found: list[str] = []
    for view in sorted(views):
        if view in RECORD_OF:
            found += record(RECORD_OF[view]).names
            found += ["segment", "line"] if view in NEEDS.get("rationales", ()) else []
            continue
        try:
            found += [name for name, _ in asking.session.columns(view)]
        except TeacherlmError:
            continue  # the query itself will say what is wrong
    return list(dict.fromkeys(found))
