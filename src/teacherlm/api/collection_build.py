"""Build a collection: the samples of its datasets, one after the other, in sizes that are the same everywhere."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.builders import build as building
from teacherlm.builders.collection import Collection, Member
from teacherlm.builders.mapping import run_examples
from teacherlm.builders.mixing import sizes
from teacherlm.builders.readers import READERS
from teacherlm.builders.sources import open_source
from teacherlm.builders.take import Take
from teacherlm.core.errors import GateFailed, Mistake, Mistakes, TeacherlmError
from teacherlm.core.files import read_json, write_json

if TYPE_CHECKING:
    from teacherlm.api.project import Project
    from teacherlm.builders.mapping import BoundRecipe
    from teacherlm.builders.sources import OpenSource

Watch = Callable[["Part", int, int], None]
"""Called with each dataset as it is done, its number from 1 and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What became of one dataset of a collection."""

    dataset: str
    state: str
    """`built`, `unchanged` or `missing`."""
    at_most: int | None = None
    """Samples that are taken of it; it gives all where it has fewer. None: all."""
    available: int | None = None
    """Samples that its splits hold."""
    rows: int = 0
    samples: int = 0
    filtered: int = 0
    rejected: int = 0
    absent: tuple[str, ...] = ()
    """Splits that would be drawn from, and that the source does not have."""
    error: TeacherlmError | None = None
    """Why it is missing."""

    def to_row(self) -> dict[str, Any]:
        row = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "error"}
        return row | {"why": said(self.error) if self.error else None}


@dataclass(frozen=True, kw_only=True)
class CollectionBuilt:
    """What a build of a collection has done."""

    collection: str
    target: int | None
    """Samples that the declaration asks for."""
    parts: tuple[Part, ...]

    @property
    def samples(self) -> int:
        return sum(part.samples for part in self.parts)

    @property
    def missing(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.error)

    def to_row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"collection": self.collection, "target": self.target, "samples": self.samples}
        for count in ("rows", "filtered", "rejected"):
            row[count] = sum(getattr(part, count) for part in self.parts)
        row["missing"] = [part.dataset for part in self.missing]
        return row | {"datasets": [part.to_row() for part in self.parts]}


def said(error: TeacherlmError) -> str:
    """An error in one line."""
    first, *others = error.problems
    more = f" (and {len(others)} more)" if others else ""
    where = f"{first.where}: " if first.where else ""
    return " ".join(f"{where}{first.found}".split()) + more


def build_parts(
    name: str,
    declared: Collection,
    members: Sequence[Member],
    project: Project,
    *,
    source: Path | None,
    force: bool,
    watch: Watch,
    tell: Callable[[str], None],
) -> CollectionBuilt:
    """Build the datasets of a collection into the workspace of `project`; see `OpenCollection.build`."""
    run = _Build(name, declared, members, project, source, force, tell)
    if declared.samples is not None:
        run.count()
    limits = run.limits()
    for number, member in enumerate(members, start=1):
        run.build(member, limits[member.dataset])
        watch(run.parts[member.dataset], number, len(members))
    parts = tuple(run.parts[member.dataset] for member in members)
    return CollectionBuilt(collection=name, target=declared.samples, parts=parts)


@dataclass
class _Build:
    """One build of a collection, and what it has found so far."""

    name: str
    declared: Collection
    members: Sequence[Member]
    project: Project
    source: Path | None
    force: bool
    tell: Callable[[str], None]
    parts: dict[str, Part] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """Samples that each dataset holds."""
    opened: dict[str, tuple[BoundRecipe, OpenSource]] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    """Datasets that were built to count them."""

    def count(self) -> None:
        """Find out how many samples each dataset holds.

        Raises:
            GateFailed: too few, and the collection says `when_short: fail`.
        """
        for number, member in enumerate(self.members, start=1):
            with self._noting(member):
                self.tell(f"[{number}/{len(self.members)}] {member.dataset}: counting its samples")
                self.opened[member.dataset] = self._open(member)
                self.counts[member.dataset] = self._count(member)
            self.counts.setdefault(member.dataset, member.rows or 0)
        at_most, target = self.declared.at_most, self.declared.samples or 0
        there = sum(sizes(self.counts, None, at_most=at_most).values())
        if self.declared.when_short == "fail" and there < target:
            raise GateFailed(
                f"{self.name}: the sources have {there:,} samples; {target:,} are wanted",
                "lower `samples`, raise `at_most`, add datasets, or write  when_short: take_all",
                "catalog.yaml",
            )

    def limits(self) -> dict[str, int | None]:
        """Samples to take of each dataset at most."""
        declared = self.declared
        if declared.samples is None:
            return {member.dataset: declared.at_most for member in self.members}
        given = sizes(self.counts, declared.samples, at_most=declared.at_most, mixing=declared.mixing)
        # What was built to count it is not built again where it is all taken anyway.
        return {name: self._first() if self.counts[name] <= self._first() else size for name, size in given.items()}

    def build(self, member: Member, limit: int | None) -> None:
        """Make the samples of one dataset, unless it is known to be missing."""
        if member.dataset in self.parts:
            return
        with self._noting(member):
            bound, opened = self.opened.get(member.dataset) or self._open(member)
            built = self._build(bound, opened, self._take(member, limit), self.force)
            fresh = not built.reused or member.dataset in self.fresh
            self.parts[member.dataset] = Part(
                dataset=member.dataset,
                state="built" if fresh else "unchanged",
                at_most=limit,
                available=built.samples + built.left,
                rows=sum(part.rows for part in built.splits),
                samples=built.samples,
                filtered=sum(part.filtered for part in built.splits),
                rejected=built.rejected,
                absent=tuple(split for split in built.absent if split in member.splits),
            )

    @contextmanager
    def _noting(self, member: Member) -> Iterator[None]:
        try:
            yield
        except TeacherlmError as error:
            self.parts[member.dataset] = Part(dataset=member.dataset, state="missing", error=error)

    def _first(self) -> int:
        """A number of samples that no dataset gives less of, if it has as many: counting builds so many at once."""
        if self.declared.mixing == "proportional":
            return 0
        level = (self.declared.samples or 0) // len(self.members)
        return level if self.declared.at_most is None else min(level, self.declared.at_most)

    def _count(self, member: Member) -> int:
        bound, opened = self.opened[member.dataset]
        path = self.project.workspace.root / "counts" / f"{member.dataset}.json"
        fingerprint = building.build_fingerprint(bound, opened, self._take(member, None))
        known = read_json(path)
        if known and known["fingerprint"] == fingerprint and not self.force:
            return int(known["samples"])
        built = self._build(bound, opened, self._take(member, self._first()), self.force)
        if not built.reused:
            self.fresh.add(member.dataset)
        found = built.samples + built.left
        write_json(path, {"fingerprint": fingerprint, "samples": found})
        return found

    def _open(self, member: Member) -> tuple[BoundRecipe, OpenSource]:
        bound = self.project.recipe(member.dataset)
        if problems := run_examples(bound):
            raise Mistakes(problems)
        copy = _copy_of(member.dataset, self.source) if self.source else None
        return bound, open_source(bound.recipe, bound.located.path.parent, source=copy)

    def _build(self, bound: BoundRecipe, opened: OpenSource, take: Take, force: bool) -> building.Built:
        workspace = self.project.workspace
        with workspace.locked(bound.name):
            _sweep(workspace.samples(bound.name))
            return building.build(bound, opened, workspace.samples(bound.name), take=take, force=force)

    def _take(self, member: Member, limit: int | None) -> Take:
        return Take(at_most=limit, seed=self.declared.seed, splits=member.splits)


def _copy_of(dataset: str, folder: Path) -> Path:
    """The local copy of a dataset.

    Raises:
        Mistake: there is none.
    """
    names = list(dict.fromkeys((dataset, dataset.replace("-", "_"))))
    for path in (folder / f"{name}{suffix}" for name in names for suffix in ("", *READERS)):
        if path.exists():
            return path
    raise Mistake(f"there is no {' or '.join(names)}", f"put a copy of {dataset} there", str(folder))


def _sweep(out: Path) -> None:
    """Remove what killed builds of a dataset left beside its samples; its lock is held."""
    left = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.(tmp|old)")
    for path in out.parent.glob(f".{out.name}.*") if out.parent.is_dir() else ():
        if left.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
