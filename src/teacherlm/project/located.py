"""YAML read with the place of every key and value, so that a mistake can be shown where it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from teacherlm.core.errors import Mistake, Mistakes, Problem

Loc = tuple[str | int, ...]
"""Path to a value inside a document: keys and positions."""


DEEPEST, MOST = 60, 200_000
"""Levels of a document, and values in it: far more than a declaration has."""


@dataclass(frozen=True)
class Located:
    """A YAML document and where its parts stand."""

    path: Path
    shown: str
    """The file's name for people: relative to the project."""
    data: Any
    keys: dict[Loc, tuple[int, int]] = field(default_factory=dict)
    """Line and column, from 1, of the key that leads to a value."""
    values: dict[Loc, tuple[int, int]] = field(default_factory=dict)
    """Line and column, from 1, of the value itself."""

    def where(self, loc: Loc, *, key: bool = False) -> str:
        """`file:line:column` of a value (or of its key); of the nearest part that exists, for a missing one."""
        places = [self.keys, self.values] if key else [self.values, self.keys]
        while True:
            for place in places:
                if loc in place:
                    line, column = place[loc]
                    return f"{self.shown}:{line}:{column}"
            if not loc:
                return f"{self.shown}:1:1"
            loc = loc[:-1]


def read_yaml(path: Path, shown: str | None = None) -> Located:
    """Read one YAML file.

    A key that stands twice is a mistake, as the first would vanish silently.

    Raises:
        Mistake: the file is missing or not UTF-8.
        Mistakes: what is not YAML, or stands twice; with places.
    """
    shown = shown or path.name
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise Mistake("there is no such file", "check the name", str(path)) from None
    except UnicodeDecodeError as error:
        raise Mistake(f"is not UTF-8 (byte {error.start})", "save the file as UTF-8", shown) from None
    except OSError as error:
        raise Mistake(f"cannot be read: {error.strerror}", "check the path and its permissions", str(path)) from None
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else f"{shown}:1:1"
        found = f"is not YAML: {error.problem or error.context}"
        raise Mistakes(
            [
                Problem(
                    place,
                    found,
                    "mend the line; a text with `: ` or ` #` in it, or with `,` or `?` inside {…}, needs quotes",
                )
            ]
        ) from None
    except yaml.reader.ReaderError as error:
        before = text[: int(error.position)]
        place = f"{shown}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
        found = f"is not YAML: the control character U+{ord(text[len(before)]):04X}"
        raise Mistakes([Problem(place, found, "remove it")]) from None
    located = Located(path, shown, None)
    problems: list[Problem] = []
    data = _build(node, (), located, problems) if node is not None else {}
    if problems:
        raise Mistakes(problems)
    return Located(path, shown, data, located.keys, located.values)


class _Loader(yaml.SafeLoader):
    """SafeLoader for what a data person means.

    YAML 1.1 reads `no` and `on` as truth values, `10:30` as 630, `012` as 10, `1e-3` as a text, and dates as dates.
    Here words, times and dates are texts, and numbers are those of JSON.
    """


_READ_OTHERWISE = {f"tag:yaml.org,2002:{name}" for name in ("timestamp", "bool", "int", "float")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _READ_OTHERWISE]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:(?:0|[1-9][0-9]*)?\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?=[.eE]|(?<=\.)$))(?:[eE][-+]?[0-9]+)?$"
    ),
    list("-+.0123456789"),
)


def _build(
    node: yaml.Node, loc: Loc, located: Located, problems: list[Problem], inside: tuple[yaml.Node, ...] = ()
) -> Any:
    located.values[loc] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if node in inside:
        problems.append(Problem(_place(located, node), "holds itself", "write the value out"))
        return None
    inside = (*inside, node)
    if len(inside) > DEEPEST or len(located.values) > MOST:
        # A few lines of aliases can stand for more values than a machine can hold.
        raise Mistakes(
            [Problem(_place(located, node), "holds too much in one place", "write less nested values, without aliases")]
        )
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, loc, located, problems, inside)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*loc, position), located, problems, inside) for position, item in enumerate(node.value)]
    try:
        return _Loader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError):
        problems.append(
            Problem(located.where(loc), f"cannot be read as {node.tag}", "write the value in quotes, without a tag")
        )
        return None


def _build_mapping(
    node: yaml.MappingNode, loc: Loc, located: Located, problems: list[Problem], inside: tuple[yaml.Node, ...]
) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key_node, value_node in node.value:
        place = _place(located, key_node)
        if key_node.tag == "tag:yaml.org,2002:merge":
            for part in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                # Read as a document of its own: its parts keep no places here.
                found = _build(part, (), Located(located.path, located.shown, None), problems, inside)
                if isinstance(found, dict):
                    merged = {**found, **merged}
                else:
                    problems.append(Problem(_place(located, part), "keys with values are merged", "name a mapping"))
            continue
        # As it is written: `2024`, `true` and `no` are words where they name something.
        key = key_node.value
        if not isinstance(key, str):
            problems.append(Problem(place, "a key must be a word", "write  name: value"))
            continue
        if key in mapping:
            problems.append(Problem(place, f"`{key}` stands twice in one mapping", "remove one of them"))
            continue
        located.keys[(*loc, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        mapping[key] = _build(value_node, (*loc, key), located, problems, inside)
    return {**mapping, **{key: value for key, value in merged.items() if key not in mapping}}


def _place(located: Located, node: yaml.Node) -> str:
    return f"{located.shown}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
