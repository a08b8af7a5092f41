"""The text of SQL: its statements with their places and parameters, and whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from teacherlm.core.errors import Mistake
from teacherlm.quality.messages import position, short


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of a text."""

    sql: str
    line: int
    """Where it begins in the text, from 1."""
    comment: str
    """What stands between it and the one before."""
    parameters: frozenset[str]
    """Names of its $parameters."""
    returns_rows: bool


def statements(text: str, where: str = "sql") -> list[Statement]:
    """The statements of a text.

    Args:
        where: the file that it comes from.

    Raises:
        Mistake: it is no SQL; says where.

    >>> [(s.sql, s.line, s.parameters) for s in statements("SELECT 1; -- one\\nFROM samples LIMIT $n")]
    [('SELECT 1', 1, frozenset()), ('FROM samples LIMIT $n', 2, frozenset({'n'}))]
    """
    import duckdb

    text = quoted_show(text)
    kinds = duckdb.StatementType
    try:
        parsed = duckdb.extract_statements(text)
    except duckdb.Error as error:
        line, column = position(error, text)
        place = where if where == "sql" else f"{where}:{line}:{column}"
        raise Mistake(str(error) if where == "sql" else short(error), "mend the SQL", place) from None
    found: list[Statement] = []
    end = 0
    for statement in parsed:
        # DuckDB gives all up to the next statement, comments included.
        said = statement.query
        start = text.find(said, end)
        stop = next((place for place, token in _tokens(said) if token == ";"), len(said))
        sql = said[:stop].rstrip()
        found.append(
            Statement(
                sql=sql,
                line=text.count("\n", 0, start) + 1,
                comment=text[end:start].lstrip("; \n"),
                parameters=frozenset(map(str, statement.named_parameters)),
                # PIVOT is several statements in one.
                returns_rows=statement.type in (kinds.SELECT, kinds.EXPLAIN, kinds.PRAGMA, kinds.CALL, kinds.MULTI),
            )
        )
        end = start + len(sql)
    return found


def quoted_show(text: str) -> str:
    """The text with each `show(` as `"show"(`: SHOW is a word of SQL, which calls no macro without quotes.

    >>> quoted_show("FROM show('d/train/1'); SHOW TABLES -- show(")
    'FROM "show"(\\'d/train/1\\'); SHOW TABLES -- show('
    """
    tokens = _tokens(text)
    for (place, token), (_, after) in reversed(list(pairwise(tokens))):
        if token.lower() == "show" and after == "(":
            text = f'{text[:place]}"{token}"{text[place + len(token) :]}'
    return text


def is_whole(text: str) -> bool:
    """Whether a text ends with the `;` of its last statement.

    >>> is_whole("SELECT ';'"), is_whole("SELECT 1; -- done")
    (False, True)
    """
    tokens = [token for _, token in _tokens(text) if not token.startswith(("--", "/*"))]
    return bool(tokens) and tokens[-1] == ";"


def _tokens(text: str) -> list[tuple[int, str]]:
    """Words and signs with their places, in characters; strings and comments are one each."""
    import duckdb

    data = text.encode()
    # DuckDB counts bytes.
    places = [place for place, _ in duckdb.tokenize(text)]
    return [
        (len(data[:place].decode()), data[place:end].decode().strip())
        for place, end in zip(places, [*places[1:], len(data)], strict=True)
    ]
