"""Fields of a task rendered over a row, as lm-evaluation-harness does it.

A column's name stands for its value; anything else is a Jinja template, in which an undefined name is an error and the
last line end stays.

Source of the rules: `lm_eval/api/task.py` and `lm_eval/utils.py` of 0.4.13.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import Mistake

if TYPE_CHECKING:
    import jinja2

Row = Mapping[str, Any]
Where = Callable[[tuple[str | int, ...]], str]


class Unrenderable(Exception):
    """A row that a field cannot be made from; says which field and why. Others may do."""


@cache
def _environment() -> jinja2.Environment:
    import jinja2.sandbox

    environment = jinja2.sandbox.SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = _regex_replace
    return environment


def _regex_replace(text: str, pattern: str, replacement: str, count: int = 0) -> str:
    return re.sub(pattern, replacement, text, count=count)


@cache
def _compiled(text: str) -> jinja2.Template:
    return _environment().from_string(text)


def fault(text: str) -> str | None:
    """What is wrong with a template; None: nothing.

    >>> fault("{{ question }"), fault("Q: {{ question }}")
    ("unexpected '}'", None)
    """
    import jinja2

    try:
        _compiled(text)
    except jinja2.TemplateError as error:
        return error.message or type(error).__name__
    return None


def names(text: str) -> set[str]:
    """The columns that a template speaks of."""
    from jinja2 import meta

    return set(meta.find_undeclared_variables(_environment().parse(text)))


def truths(text: str) -> set[str]:
    """The columns that a template takes for true or false.

    >>> sorted(truths("{{ 1 if label else 0 }}") | truths("{{ {true: 0, false: 1}[answer] }}") | truths("{{ said }}"))
    ['answer', 'label']
    """
    from jinja2 import nodes

    parsed = _environment().parse(text)
    if any(isinstance(one.value, bool) for one in parsed.find_all(nodes.Const)):
        return names(text)
    found: list[nodes.Node | None] = [one.test for one in parsed.find_all(nodes.If)]
    found += [one.test for one in parsed.find_all(nodes.CondExpr)]
    found += [one.node for one in parsed.find_all(nodes.Not)]
    found += [one.node for one in parsed.find_all(nodes.Filter) if one.name == "int"]
    return {one.name for one in found if isinstance(one, nodes.Name)}


class Fields:
    """The fields of a task over the rows of a split."""

    def __init__(self, columns: Sequence[str], where: Where) -> None:
        """
        Args:
            columns: of the split that is evaluated.
            where: place of a field, from its path in the task.
        """
        self._columns = tuple(columns)
        self._where = where

    def value(self, text: str, row: Row, loc: tuple[str | int, ...], columns: Sequence[str] | None = None) -> Any:
        """The value of the column that is named so, else the template's text.

        Raises:
            Mistake: it speaks of a column that the rows do not have; names those that they have.
            Unrenderable: this row lacks what it needs.
        """
        if text in (self._columns if columns is None else columns):
            if text not in row:
                raise self._missing(text, loc)
            return row[text]
        return self._render(text, row, loc)

    def text(self, text: str, row: Row, *, options: bool, loc: tuple[str | int, ...]) -> str:
        """`doc_to_text`: the question.

        Args:
            options: whether the task has any; a bare number is then an option's position, which we do not support.
        """
        found = self.value(text, row, loc)
        if not isinstance(found, str):
            raise Unrenderable(f"{_named(loc)} gives {_shown(found)}, which is no text")
        if options and text not in self._columns and found.isdigit():
            raise Unrenderable(f"{_named(loc)} gives the bare number {found}, which lm-eval takes for a position")
        return found

    def target(self, given: str | int, row: Row, *, options: bool, loc: tuple[str | int, ...]) -> Any:
        """`doc_to_target`: the gold answer as a text, a position or a list."""
        if isinstance(given, int):
            return given
        found = self.value(given, row, loc)
        if found is None:
            raise Unrenderable(f"{_named(loc)} gives nothing")
        if given in self._columns or not isinstance(found, str):
            return found
        if options and found.isdigit():
            return self._literal(found, loc)
        if len(found) > 1 and found[0] == "[" and found[-1] == "]":
            try:
                return ast.literal_eval(found)
            except (SyntaxError, ValueError):
                return found
        return found

    def choices(self, given: Any, row: Row, loc: tuple[str | int, ...]) -> list[str]:
        """`doc_to_choice`: the options."""
        if isinstance(given, Mapping):
            return list(given.values())
        if not isinstance(given, str):
            return list(given)
        found = row[given] if given in self._columns and given in row else None
        if given not in self._columns:
            found = self._literal(self._render(given, row, loc), loc)
        if not isinstance(found, list | tuple) or not found:
            raise Unrenderable(f"{_named(loc)} gives {_shown(found)}, which is no list of options")
        if not all(isinstance(one, str) for one in found):
            odd = next(one for one in found if not isinstance(one, str))
            raise Unrenderable(f"{_named(loc)} gives an option that is {_shown(odd)}, which is no text")
        return list(found)

    def _render(self, text: str, row: Row, loc: tuple[str | int, ...]) -> str:
        import jinja2

        try:
            return _compiled(text).render(**row)
        except jinja2.UndefinedError as error:
            # A test such as `is defined` may speak of an absent column too; what failed is then something else.
            if absent := sorted(name for name in names(text) - set(row) if f"'{name}' is undefined" in str(error)):
                raise self._missing(absent[0], loc) from None
            raise Unrenderable(f"{_named(loc)}: {error.message}") from None
        except Exception as error:  # a template computes, and can fail in any way
            raise Unrenderable(f"{_named(loc)}: {type(error).__name__}: {' '.join(str(error).split())[:200]}") from None

    def _literal(self, text: str, loc: tuple[str | int, ...]) -> Any:
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError):
            raise Unrenderable(f"{_named(loc)} gives {_shown(text)}, which is no list or number") from None

    def _missing(self, absent: str, loc: tuple[str | int, ...]) -> Mistake:
        near = difflib.get_close_matches(absent, self._columns, n=1, cutoff=0.6)
        edit = f"did you mean `{near[0]}`? " if near else ""
        return Mistake(
            f"{_named(loc)} reads the column `{absent}`, which the rows do not have",
            f"{edit}the columns are {', '.join(self._columns)}",
            self._where(loc),
        )


def _named(loc: tuple[str | int, ...]) -> str:
    return f"`{'.'.join(str(part) for part in loc)}`"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
