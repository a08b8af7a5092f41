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

    Timestamps stay text. A key that stands twice is a mistake, as the first would vanish silently.

    Raises:
        Mistake: the file is missing or not UTF-8.
        Mistakes: what is not YAML, or stands twice; with places.
    """
    shown = shown or path.name
    try:
        text = path.read_text(encoding="utf-8")
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
        raise Mistakes([Problem(place, found, "mend the line; a text with `: ` or `#` in it needs quotes")]) from None
    except yaml.YAMLError as error:
        raise Mistakes([Problem(f"{shown}:1:1", f"is not YAML: {error}", "mend the file")]) from None
    located = Located(path, shown, None)
    problems: list[Problem] = []
    data = _build(node, (), located, problems) if node is not None else {}
    if problems:
        raise Mistakes(problems)
    return Located(path, shown, data, located.keys, located.values)


class _Loader(yaml.SafeLoader):
    """SafeLoader that leaves dates alone and knows only true and false as truth values.

    YAML 1.1 reads `no` and `on` as truth values; a data person means the words.
    """


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def _build(node: yaml.Node, loc: Loc, located: Located, problems: list[Problem]) -> Any:
    located.values[loc] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, loc, located, problems)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*loc, position), located, problems) for position, item in enumerate(node.value)]
    loader = _Loader("")
    try:
        return loader.construct_object(node, deep=True)
    except yaml.YAMLError:
        problems.append(Problem(located.where(loc), f"unknown tag {node.tag}", "write the value without a tag"))
        return None


def _build_mapping(node: yaml.MappingNode, loc: Loc, located: Located, problems: list[Problem]) -> dict[Any, Any]:
    mapping: dict[Any, Any] = {}
    merged: list[dict[Any, Any]] = []
    for key_node, value_node in node.value:
        line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
        if key_node.tag == "tag:yaml.org,2002:merge":
            parts = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            merged += [_build(part, loc, located, problems) for part in parts]
            continue
        key = _build(key_node, (*loc, "<key>"), located, problems)
        located.values.pop((*loc, "<key>"), None)
        if not isinstance(key, str | int):
            problems.append(Problem(f"{located.shown}:{line}:{column}", "a key must be a word", "write  name: value"))
            continue
        if key in mapping:
            problems.append(
                Problem(
                    f"{located.shown}:{line}:{column}", f"`{key}` stands twice in one mapping", "remove one of them"
                )
            )
            continue
        located.keys[(*loc, key)] = (line, column)
        mapping[key] = _build(value_node, (*loc, key), located, problems)
    for part in merged:
        for key, value in part.items():
            mapping.setdefault(key, value)
    return mapping
