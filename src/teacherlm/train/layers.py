"""Declarations that extend another: keys over keys, every mistake shown in the file where it stands.

A mapping is laid over the mapping of the same name, key by key; everything else replaces what was there. Four places
differ, since their parts belong together: `base` and `tokenizer` are replaced whole; of `epochs` and `tokens` the upper
file's replaces either; `stages` are laid over the stages of the same `name`, and others are added at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from teacherlm.project.located import Loc, Located

EXTENDS = "extends"

_WHOLE = frozenset({("base",), ("tokenizer",)})
_INSTEAD = {"epochs": "tokens", "tokens": "epochs"}


@dataclass(frozen=True)
class Layered(Located):
    """A declaration laid over the one that it extends, as if it were one document."""

    origins: dict[Loc, tuple[Located, Loc]] = field(default_factory=dict)
    """Where each value of the whole comes from: a file, and the place in it."""

    def where(self, loc: Loc, *, key: bool = False) -> str:
        """`file:line:column`; of what is missing, the nearest mapping that lacks it."""
        while loc and loc not in self.origins:
            loc = loc[:-1]
        located, place = self.origins.get(loc, (None, ()))
        return located.where(place, key=key) if located is not None else f"{self.shown}:1:1"


def lay(documents: Sequence[Located]) -> Layered:
    """Documents as one, each over the one before it.

    Args:
        documents: the lowest first, one at least; the last is the file that was named.
    """
    top = documents[-1]
    whole = Layered(top.path, top.shown, {})
    for located in documents:
        _over(whole, whole.data, located.data, located, (), ())
        whole.origins[()] = (located, ())
    for loc, (located, place) in whole.origins.items():
        for mine, theirs in ((whole.keys, located.keys), (whole.values, located.values)):
            if place in theirs:
                mine[loc] = theirs[place]
    return whole


def _over(whole: Layered, below: dict[str, Any], above: dict[str, Any], located: Located, loc: Loc, place: Loc) -> None:
    """Lay a mapping of a file over one of the whole, which is at `loc`; it stands at `place` in its file."""
    for key, value in above.items():
        here, there = (*loc, key), (*place, key)
        if here == (EXTENDS,):
            continue
        if (other := _INSTEAD.get(key)) is not None and loc[:1] == ("stages",) and other not in above:
            below.pop(other, None)
            _forget(whole, (*loc, other))
        old = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and here not in _WHOLE:
            whole.origins[here] = (located, there)
            _over(whole, old, value, located, here, there)
        elif here == ("stages",) and isinstance(old, list) and isinstance(value, list):
            whole.origins[here] = (located, there)
            _over_stages(whole, old, value, located)
        else:
            _forget(whole, here)
            below[key] = _place(whole, value, located, here, there)


def _over_stages(whole: Layered, below: list[Any], above: list[Any], located: Located) -> None:
    positions = {stage.get("name"): number for number, stage in enumerate(below) if isinstance(stage, dict)}
    for number, stage in enumerate(above):
        position = positions.get(stage.get("name")) if isinstance(stage, dict) else None
        if position is None:
            below.append(_place(whole, stage, located, ("stages", len(below)), ("stages", number)))
        else:
            whole.origins["stages", position] = (located, ("stages", number))
            _over(whole, below[position], stage, located, ("stages", position), ("stages", number))


def _place(whole: Layered, value: Any, located: Located, here: Loc, there: Loc) -> Any:
    """A copy of a file's value, with the places of all its parts."""
    whole.origins[here] = (located, there)
    if isinstance(value, dict):
        return {k: _place(whole, part, located, (*here, k), (*there, k)) for k, part in value.items()}
    if isinstance(value, list):
        return [_place(whole, part, located, (*here, n), (*there, n)) for n, part in enumerate(value)]
    return value


def _forget(whole: Layered, loc: Loc) -> None:
    for known in [known for known in whole.origins if known[: len(loc)] == loc]:
        del whole.origins[known]
