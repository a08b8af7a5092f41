"""SQL by name: macros of `quality/macros.sql` and queries of `quality/queries/`, shipped and a project's own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api.sql_text import statements
from teacherlm.core.errors import MachineFailed, Mistake

if TYPE_CHECKING:
    from teacherlm.project.find import ProjectFiles

_MACRO = re.compile(
    r'\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP(?:ORARY)?\s+)?(?:MACRO|FUNCTION)\s+"?(\w+)"?\s*(\([^)]*\))', re.IGNORECASE
)
_SETTINGS = re.compile(r"^--\s*set:\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Macro:
    """One table macro of a file."""

    name: str
    call: str
    """As it is called: `worst(of_kind, n := 10)`."""
    about: str
    sql: str
    where: str
    """`file:line` of its statement."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """One file of SQL."""

    name: str
    about: str
    sql: str
    where: str
    settings: Mapping[str, Any]
    """What its parameters are where nothing else is given: `-- set: score=0.5`."""


def read_macros(paths: Iterable[Path]) -> dict[str, Macro]:
    """The macros of files by name, in the order in which to create them; of two with one name the later is taken.

    Raises:
        Mistake: a file is no SQL, or holds something else; says where.
        MachineFailed: it cannot be read.
    """
    found: dict[str, Macro] = {}
    for path in paths:
        text = _text(path)
        for statement in statements(text, str(path)):
            declared = _MACRO.search(statement.sql)
            if declared is None:
                raise Mistake(
                    "the statement creates no macro",
                    "write  create or replace macro NAME(PARAMETERS) as table SELECT …",
                    f"{path}:{statement.line}:1",
                )
            name = declared[1].lower()
            found.pop(name, None)
            found[name] = Macro(
                name=name,
                call=f"{name}{' '.join(declared[2].split())}",
                about=_about(statement.comment.strip().rpartition("\n\n")[2]),
                sql=statement.sql,
                where=f"{path}:{statement.line}",
            )
    return found


def read_queries(folders: Iterable[Path]) -> dict[str, Query]:
    """The queries of folders by name; of two with one name the later is taken."""
    return {path.stem: read_query(path) for folder in folders for path in sorted(folder.glob("*.sql"))}


def read_query(path: Path) -> Query:
    """A file of SQL.

    Raises:
        MachineFailed: it cannot be read.
    """
    text = _text(path)
    pairs = [pair.strip() for found in _SETTINGS.findall(text) for pair in found.split(",") if pair.strip()]
    return Query(name=path.stem, about=_about(text), sql=text, where=str(path), settings=settings(pairs, str(path)))


def settings(pairs: Iterable[str], where: str = "--set") -> dict[str, Any]:
    """Parameters from `name=value`: numbers, true, false and null are such, the rest is text.

    Raises:
        Mistake: a pair without a name.

    >>> settings(["score=0.5", "kind=chain_of_thought", "n=3", "of='3'"])
    {'score': 0.5, 'kind': 'chain_of_thought', 'n': 3, 'of': '3'}
    """
    found = {}
    for pair in pairs:
        name, is_pair, value = (part.strip() for part in pair.partition("="))
        if not is_pair or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise Mistake(f'is "{pair}"', "write  name=value  for the parameter $name", where)
        found[name] = _value(value)
    return found


def named_query(files: ProjectFiles, queries: Mapping[str, Query], given: str) -> Query | None:
    """The query that a word or a path stands for; None where `given` is SQL itself.

    Raises:
        Mistake: a name that is none; names the nearest.
    """
    word = given.strip()
    if "\n" not in word and word.lower().endswith(".sql"):
        for path in (Path(word), files.root / word):
            if path.is_file():
                return read_query(path)
        if " " not in word:
            raise Mistake("there is no such file", nearest(Path(word).stem, queries), word)
    if not re.fullmatch(r"[\w-]+", word):
        return None
    if word in queries:
        return queries[word]
    raise Mistake(f"there is no query `{word}`", nearest(word, queries), "sql")


def nearest(word: str, queries: Mapping[str, Query]) -> str:
    near = difflib.get_close_matches(word, queries, n=3, cutoff=0.5)
    known = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(queries))}"
    return f'{known} (or write quality/queries/{word}.sql, or SQL such as "SELECT * FROM samples")'


def _value(text: str) -> Any:
    if text.lower() in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def _about(text: str) -> str:
    """The first comment of a text, its lines joined, without settings."""
    lines: list[str] = []
    for line in text.strip().splitlines():
        said = line.strip()
        if not said.startswith("--"):
            break
        if not said.startswith("-- set:"):
            lines.append(said.lstrip("- "))
    return " ".join(lines)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MachineFailed(f"cannot be read: {error}", "look at the file", str(path)) from None
