"""Files below `evaluate/` as lm-evaluation-harness reads them: `include` puts a file's fields under one's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teacherlm.core.errors import Mistakes, Problem
from teacherlm.project.located import Loc, Located, read_yaml

INCLUDE = "include"


@dataclass(frozen=True)
class Included(Located):
    """A file with what it includes, as if it were one document."""

    origins: dict[str, Located] = field(default_factory=dict)
    """The file that each field comes from."""

    def where(self, loc: Loc, *, key: bool = False) -> str:
        """`file:line:column`, in the file where the field stands."""
        origin = self.origins.get(str(loc[0])) if loc else None
        if origin is not None:
            return origin.where(loc, key=key)
        line, column = self.values.get((), (1, 1))
        return f"{self.shown}:{line}:{column}"


class Reader:
    """Reads files once each; parts are included by many."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._read: dict[Path, Located] = {}

    def read(self, path: Path) -> Included:
        """A file with all that it includes.

        Raises:
            Mistake, Mistakes: it is missing or no YAML, names Python code, is read otherwise by the harness, or
                includes what is not there or itself; with places.
        """
        return self._lay(path.resolve(), [])

    def _lay(self, path: Path, seen: list[Path]) -> Included:
        seen.append(path)
        own = self._located(path)
        data: dict[str, Any] = {}
        origins: dict[str, Located] = {}
        given = own.data.get(INCLUDE)
        named = given if isinstance(given, list) else [] if given is None else [given]
        for number, one in enumerate(named):
            place = own.where((INCLUDE, number) if isinstance(given, list) else (INCLUDE,))
            below = self._lay(self._included(path, one, place, seen), seen)
            data |= below.data
            origins |= below.origins
        for name, value in own.data.items():
            if name != INCLUDE:
                data[name] = value
                origins[name] = own
        keys = {loc: at for name, origin in origins.items() for loc, at in _below(origin.keys, name)}
        values = {loc: at for name, origin in origins.items() for loc, at in _below(origin.values, name)}
        if () in own.values:
            values[()] = own.values[()]
        return Included(path, own.shown, data, keys, values, origins)

    def _included(self, path: Path, given: Any, place: str, seen: list[Path]) -> Path:
        if not isinstance(given, str):
            raise Mistakes([Problem(place, "`include` names no file", f"write  {INCLUDE}: _part.yaml")])
        target = (path.parent / given).resolve()
        if not target.is_file():
            near = sorted(one.name for one in path.parent.glob("_*") if one.is_file())
            told = f"; parts beside it are {', '.join(near)}" if near else ""
            found = f"includes `{given}`, and there is no such file"
            raise Mistakes([Problem(place, found, f"name a file, from the folder of this one{told}")])
        if target in seen:
            # The harness takes any second reading for a circle.
            found = f"includes `{given}`, which is read already: {' → '.join(one.name for one in [*seen, target])}"
            raise Mistakes([Problem(place, found, "include every file once, and none that includes this one")])
        return target

    def _located(self, path: Path) -> Located:
        if path not in self._read:
            located = _read(path, self._shown(path))
            if not isinstance(located.data, dict):
                found, edit = "holds no keys with values", "write  task: …  and the other fields"
                raise Mistakes([Problem(located.where(()), found, edit)])
            if problems := list(_read_otherwise(located)):
                raise Mistakes(problems)
            self._read[path] = located
        return self._read[path]

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else str(path)


def _below(places: dict[Loc, tuple[int, int]], name: str) -> Iterator[tuple[Loc, tuple[int, int]]]:
    return ((loc, at) for loc, at in places.items() if loc[:1] == (name,))


def _read(path: Path, shown: str) -> Located:
    try:
        return read_yaml(path, shown)
    except Mistakes as error:
        code = "names Python code (`!function`), and declarations hold none"
        edit = "write what it does as a Jinja template, or evaluate this task with lm-eval"
        raise Mistakes(
            [
                Problem(problem.where, code, edit) if "!function" in problem.found else problem
                for problem in error.problems
            ]
        ) from None


def _read_otherwise(located: Located) -> Iterator[Problem]:
    """Values that YAML 1.1, which the harness reads, takes for something else, such as `no` and `True`."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        theirs = yaml.load(located.path.read_text(encoding="utf-8-sig"), Loader=loader)
    except yaml.YAMLError:
        return
    for loc, mine, other in _differing(located.data, theirs, ()):
        found = f"lm-eval reads {other!r} here, and teacherlm {mine!r}"
        quoted = f'write "{mine}" in quotes'
        yield Problem(located.where(loc), found, f"{quoted}, or {str(other).lower()}" if other in (0, 1) else quoted)


def _differing(mine: Any, theirs: Any, loc: Loc) -> Iterator[tuple[Loc, Any, Any]]:
    if isinstance(mine, dict) and isinstance(theirs, dict) and set(mine) == set(theirs):
        for name in mine:
            yield from _differing(mine[name], theirs[name], (*loc, name))
    elif isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        for number, (one, other) in enumerate(zip(mine, theirs, strict=True)):
            yield from _differing(one, other, (*loc, number))
    elif type(mine) is not type(theirs) or mine != theirs:
        yield loc, mine, theirs
