"""Declared files bound to the frozen spec class that their caller hands in; each mistake with its place and edit."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast, get_args

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from teacherlm.core.errors import Mistakes, Problem
from teacherlm.project.located import Loc, Located

Spec = TypeVar("Spec")

SPEC_CONFIG = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
"""For `pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)`: unknown keys are mistakes,
and `"12"` is no number."""


@cache
def _adapter(spec: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(spec)


def bind(
    located: Located, spec: type[Spec], *, loc: Loc = (), data: Any = None, renames: Mapping[str, str] | None = None
) -> Spec:
    """The spec that a document declares.

    Args:
        located: the document.
        spec: a pydantic dataclass with `SPEC_CONFIG`.
        loc: where in the document the spec's mapping stands.
        data: its content, where that differs from the document's (a file name that serves as a name).
        renames: keys that people write by mistake, and the right ones.

    Raises:
        Mistakes: all that is wrong in this part of the document.
    """
    value = located.data if data is None else data
    if not isinstance(value, dict):
        raise Mistakes(
            [
                Problem(
                    located.where(loc),
                    f"holds {_shape(value)} where keys with values are wanted",
                    "write  key: value  lines",
                )
            ]
        )
    try:
        # By way of JSON, where strict means strict and a list may still become a tuple.
        bound: Spec = _adapter(cast(Any, spec)).validate_json(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
        return bound
    except ValidationError as error:
        problems = dict.fromkeys(_problem(located, loc, detail, spec, renames or {}) for detail in error.errors())
        # A key that is only to be renamed is not missing too.
        renamed = {problem.edit.removeprefix("rename it to ") for problem in problems}
        wanted = [p for p in problems if p.found.removesuffix(" is missing") not in renamed]
        raise Mistakes(sorted(wanted, key=_line_and_column)) from None
    except orjson.JSONEncodeError as error:
        raise Mistakes(
            [Problem(located.where(loc), f"holds a value that no file can hold: {error}", "use text or numbers")]
        ) from None


def _line_and_column(problem: Problem) -> list[int]:
    return [int(part) for part in problem.where.split(":")[-2:]]


def _problem(located: Located, base: Loc, detail: ErrorDetails, spec: type[Any], renames: Mapping[str, str]) -> Problem:
    loc = base + tuple(part for part in detail["loc"] if _stands(located, base, detail["loc"], part))
    kind, context, found = detail["type"], detail.get("ctx", {}), detail["input"]
    name = next((part for part in reversed(detail["loc"]) if isinstance(part, str)), "")
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _known_keys(spec, detail["loc"][:-1])
        best = renames.get(name) or next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), None)
        edit = f"rename it to `{best}`" if best else f"remove it; known keys are {', '.join(known)}"
        return Problem(located.where(loc, key=True), f"unknown key `{name}`", edit)
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return Problem(
            located.where(loc[:-1] if loc and loc[-1] == name else loc), f"`{name}` is missing", f"add  {name}: …"
        )
    if kind in ("literal_error", "enum"):
        expected = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
        options = [option.strip() for option in expected.split(",")]
        near = difflib.get_close_matches(str(found), options, n=1, cutoff=0.5)
        near += [option for option in options if "".join(word[0] for word in option.split("_")) == found]  # `cot`
        best = next(iter(near), options[0])
        return Problem(
            located.where(loc), f'`{name}` has "{found}"; it can be {expected}', f"write, for example,  {best}"
        )
    wanted = {
        "string_type": "a text",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "tuple_type": "a list",
        "list_type": "a list",
        "dict_type": "keys with values",
        "dataclass_type": "keys with values",
    }.get(kind)
    if wanted:
        return Problem(
            located.where(loc), f"`{name}` holds {_shape(found)}; {wanted} is wanted", _example(name, wanted, found)
        )
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    message, _, edit = message.partition(" | ")
    if kind == "value_error":
        return Problem(located.where(loc), message, edit or "mend the value")
    return Problem(
        located.where(loc), f"`{name}` holds {_shape(found)}; it should be {message}", edit or "mend the value"
    )


def _stands(located: Located, base: Loc, whole: Sequence[str | int], part: str | int) -> bool:
    """Whether a step of pydantic's path is one in the document too (names of union members are not)."""
    loc = (*base, *whole[: list(whole).index(part) + 1])
    return loc in located.values or loc in located.keys or part == whole[-1]


def _known_keys(spec: type[Any], loc: Sequence[str | int]) -> list[str]:
    """The keys that the mapping at `loc` may have, by the spec's annotations."""
    from dataclasses import fields, is_dataclass
    from typing import get_type_hints

    current: Any = spec
    for part in loc:
        candidates = [current, *get_args(current)]
        target = next((c for c in candidates if is_dataclass(c)), None)
        if target is None:
            current = next((arg for arg in get_args(current) if is_dataclass(arg)), current)
            continue
        current = get_type_hints(target).get(str(part), current)
    for candidate in [current, *get_args(current), *(a for c in get_args(current) for a in get_args(c))]:
        if isinstance(candidate, type) and is_dataclass(candidate):
            return [field.name for field in fields(candidate)]
    return []


def _shape(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'the text "{value[:60]}"'
    if isinstance(value, int | float):
        return f"the number {value}"
    return "a list" if isinstance(value, list | tuple) else "a mapping"


def _example(name: str, wanted: str, found: Any) -> str:
    if wanted == "a list":
        return f"write  {name}: [{found}]" if isinstance(found, str | int) else f"write  {name}: [a, b]"
    if wanted == "a text" and isinstance(found, list) and found:
        return f'write  {name}: "{found if len(found) > 1 else found[0]}"'
    if wanted == "a text":
        shown = str(found).lower() if isinstance(found, bool) else found
        return f'write  {name}: "{shown}"' if isinstance(found, str | int | float) else f"write  {name}: some text"
    if wanted in ("a whole number", "a number"):
        return f"write  {name}: 12, without quotes"
    if wanted == "true or false":
        return f"write  {name}: true"
    return f"write  {name}: {{key: value}}"
