"""What a collection declares: which datasets, how many samples of each, and what they are drawn by."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from teacherlm.builders.mixing import Mixing
from teacherlm.builders.recipe import Kind, Recipe, Source
from teacherlm.core.errors import Problem
from teacherlm.project.bind import SPEC_CONFIG
from teacherlm.project.located import Loc, Located

WILD = frozenset("*?[")


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Collection:
    """Datasets that are built and explained together, as written in `catalog.yaml` under `collections`."""

    about: str = ""
    datasets: tuple[str, ...] | None = None
    """Names, or patterns such as `race-*`; `["*"]` is every dataset with one of the `splits`."""
    marked: Literal["muffin"] | None = None
    """In place of `datasets`: all recipes with this mark."""
    leave_out: tuple[str, ...] = ()
    """Datasets that patterns or the mark would take in."""
    splits: tuple[str, ...] = ("train*",)
    """Names of splits, or patterns. A dataset's samples are drawn from all of them together."""
    at_most: int | None = None
    """Samples of any one dataset, drawn at random by the seed; a dataset with fewer gives all."""
    samples: int | None = None
    """Samples of all together."""
    mixing: Mixing = "capped"
    """How `samples` are shared out: `capped`, the same number of each dataset, or all it has; or `proportional`."""
    when_short: Literal["take_all", "fail"] = "take_all"
    """What to do where all sources together have fewer than `samples`."""
    seed: int = 0
    strategy: Literal["explain", "star"] | None = None
    """How chains of thought are asked for, in place of the recipes' own `strategy`."""
    human: dict[Kind, tuple[str, ...]] | None = None
    """Kind -> datasets whose human rationales are taken for it, in place of the recipes' own `human`."""
    gates: dict[str, float] | None = None
    """Gates of its datasets, over those of `catalog.yaml` and below the recipes' own."""
    absent: dict[str, str] | None = None
    """Members of the original that are not taken -> why."""
    verify: tuple[str, ...] = ()
    """What is uncertain about it, such as a reconstruction; `plan` and docs/catalogue.md print it."""

    def kind_of_human(self, dataset: str) -> Kind | None:
        """The kind that a dataset's human rationales are taken for."""
        return next((kind for kind, names in (self.human or {}).items() if dataset in names), None)

    @model_validator(mode="after")
    def _sensible(self) -> Collection:
        if (self.datasets is None) == (self.marked is None):
            raise ValueError('a collection has either `datasets` or `marked` | write  datasets: [creak, "race-*"]')
        if self.datasets is not None and not self.datasets:
            raise ValueError("`datasets` is empty | name at least one dataset")
        if not self.splits:
            raise ValueError('`splits` is empty | write  splits: ["train*"]')
        for key in ("at_most", "samples"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"`{key}` is {value} | write a number of 1 or more")
        if self.samples is None and self.when_short == "fail":
            raise ValueError("`when_short: fail` without `samples`, which could run short | add  samples: NUMBER")
        return self


@plain_dataclass(frozen=True)
class Member:
    """A dataset of a collection."""

    dataset: str
    splits: tuple[str, ...]
    """Our names of the splits to draw from."""
    rows: int | None
    """Rows of those splits, as the recipe declares them; about."""


def declared_splits(source: Source) -> tuple[str, ...]:
    """Our names of a source's splits; `train` where it is one file or pattern."""
    if source.procedural:
        return tuple(source.procedural.splits)
    if source.splits:
        return tuple(source.splits)
    return tuple(source.files) if isinstance(source.files, dict) else ("train",)


def find_members(
    name: str, collection: Collection, recipes: Mapping[str, Recipe], located: Located
) -> tuple[list[Member], list[Problem]]:
    """The datasets of a collection in their order, and what is wrong with its declaration.

    Args:
        recipes: those of the whole project.
        located: the document that declares the collection.
    """
    place: Loc = ("collections", name)
    problems = []
    chosen: dict[str, bool] = {}
    if collection.datasets is None:
        chosen = {key: False for key, recipe in recipes.items() if getattr(recipe, str(collection.marked))}
    for position, entry in enumerate(collection.datasets or ()):
        if found := [key for key in recipes if fnmatchcase(key, entry)] if WILD & set(entry) else [entry]:
            chosen |= {key: chosen.get(key, False) or key == entry for key in found}
        if not found or (found == [entry] and entry not in recipes):
            chosen.pop(entry, None)
            problems.append(_unknown(entry, recipes, located.where((*place, "datasets", position))))
    for position, entry in enumerate(collection.leave_out):
        if entry not in recipes:
            problems.append(_unknown(entry, recipes, located.where((*place, "leave_out", position))))
        chosen.pop(entry, None)
    members = []
    for key, by_name in chosen.items():
        source = recipes[key].source
        splits = tuple(
            split for split in declared_splits(source) if any(fnmatchcase(split, form) for form in collection.splits)
        )
        if splits:
            rows = [(source.rows or {}).get(split) for split in splits]
            members.append(Member(key, splits, None if None in rows else sum(filter(None, rows))))
        elif by_name:
            found_splits = f"`{key}` has the splits {', '.join(declared_splits(source))}"
            edit = f"take it out, or mend `splits` ({', '.join(collection.splits)})"
            problems.append(Problem(located.where((*place, "datasets")), found_splits, edit))
    problems += _wrong_humans(place, collection, recipes, {member.dataset for member in members}, located)
    if not members and not problems:
        wanted = f"recipe has the mark `{collection.marked}`" if collection.marked else "dataset matches"
        edit = f"write  {collection.marked}: true  in recipes" if collection.marked else "mend `datasets`"
        problems.append(Problem(located.where(place, key=True), f"`{name}` is empty: no {wanted}", edit))
    return members, problems


def _wrong_humans(
    place: Loc, collection: Collection, recipes: Mapping[str, Recipe], members: set[str], located: Located
) -> Iterator[Problem]:
    for kind, names in (collection.human or {}).items():
        for position, entry in enumerate(names):
            where = located.where((*place, "human", kind, position))
            if entry not in members:
                yield Problem(where, f"`{entry}` is no dataset of this collection", "take it out, or add it")
            elif recipes[entry].sample.human_rationale is None:
                yield Problem(where, f"`{entry}` has no human rationales", "take it out; its recipe maps none")
            elif kind not in recipes[entry].kinds:
                yield Problem(where, f"`{entry}` has no {kind} among its kinds", "take it out, or mend the recipe")


def _unknown(entry: str, recipes: Mapping[str, Recipe], place: str) -> Problem:
    if WILD & set(entry):
        return Problem(place, f"no dataset matches `{entry}`", "mend the pattern, or take it out")
    near = difflib.get_close_matches(entry, recipes, n=1)
    hint = f"did you mean {near[0]}?" if near else "take it out"
    return Problem(place, f"there is no dataset `{entry}`", f"{hint} (or write builders/{entry}.yaml)")
