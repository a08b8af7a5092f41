"""The commands that make, over a workspace at a URL or on a Ray cluster: all datasets that are named at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from teacherlm.api.collections import OpenCollection
from teacherlm.api.project import Project
from teacherlm.api.project import open as open_project
from teacherlm.api.scale import Scaled, Target
from teacherlm.api.scale_open import building, copied, scaled
from teacherlm.cli import collect, show, show_check, show_collections, show_published
from teacherlm.cli.output import INTERRUPTED, Format, Outcome
from teacherlm.cli.progress import augment_line
from teacherlm.cli.steps import augment_dataset, build_dataset, check_dataset, counts_of
from teacherlm.core.errors import Mistake, TeacherlmError
from teacherlm.engine.store import is_location
from teacherlm.project.find import given_workspace


class Engine(StrEnum):
    """Where steps run."""

    local = "local"
    ray = "ray"


class Place(NamedTuple):
    """Where a command works."""

    project: Path | None
    workspace: str | None
    engine: Engine = Engine.local
    ray_address: str | None = None
    workers: int | None = None

    @property
    def is_scaled(self) -> bool:
        """Whether this is more than a folder and this process."""
        more = self.engine is Engine.ray or self.ray_address is not None or self.workers is not None
        return more or is_location(given_workspace(self.workspace))

    def declared(self) -> Project:
        """The project; its workspace is not used."""
        return open_project(self.project or ".", workspace="unused")


class Asked(NamedTuple):
    """What `augment` is to ask."""

    teacher: str | None
    kinds: list[str] | None
    limit: int | None
    repeats: int
    strategy: str | None
    concurrency: int | None


@dataclass(frozen=True)
class _Ended(Project):
    """A project whose step has ended already; it gives what came of it."""

    result: Any

    def _given(self) -> Any:
        if isinstance(self.result, TeacherlmError):
            raise self.result
        return self.result

    def build(self, name: str, **_: Any) -> Any:
        return self._given()

    def augment(self, name: str, **_: Any) -> Any:
        return self._given()

    def check(self, name: str, **_: Any) -> Any:
        return self._given()


def _ended(opened: Scaled, result: Any) -> Project:
    return _Ended(opened.project.files, opened.project.workspace, result)


@contextmanager
def _opened(place: Place, outcome: Outcome) -> Iterator[Scaled]:
    location = given_workspace(place.workspace)
    with scaled(
        place.declared(),
        location,
        engine=place.engine.value,
        ray_address=place.ray_address,
        workers=place.workers,
        tell=outcome.note,
    ) as opened:
        yield opened


def look(directory: Path | None, workspace: str | None) -> Project:
    """A project to look at; of a workspace at a URL, a copy."""
    location = given_workspace(workspace)
    if not is_location(location):
        return open_project(directory or ".", workspace=workspace)
    opened = open_project(directory or ".", workspace="unused")
    return replace(opened, workspace=copied(location))


def build(
    place: Place, outcome: Outcome, names: Sequence[str], source: Path | None, split: str | None, force: bool
) -> int:
    works = collect.given(place.declared(), names, source)
    with _opened(place, outcome) as opened:
        _build(opened, works, outcome, source, split, force)
    return outcome.finish(show_collections.built)


def augment(place: Place, outcome: Outcome, names: Sequence[str], asked: Asked) -> int:
    works = collect.given(place.declared(), names)
    with _opened(place, outcome) as opened:
        _augment(opened, _targets(opened, works, outcome), outcome, asked)
    return outcome.finish(show.augmented)


def check(place: Place, outcome: Outcome, names: Sequence[str]) -> int:
    works = collect.given(place.declared(), names)
    with _opened(place, outcome) as opened:
        targets = _targets(opened, works, outcome)
        _check(opened, opened.check(targets) if targets else {}, outcome)
    return outcome.finish(show_collections.reports)


def run(
    place: Place,
    outcome: Outcome,
    names: Sequence[str],
    source: Path | None,
    split: str | None,
    asked: Asked,
    to: str | None,
) -> int:
    declared = place.declared()
    works = collect.given(declared, names, source)
    if to is not None:
        collect.groups(declared, works)
    declared.teacher(asked.teacher)
    whole: set[str] = set()
    with _opened(place, outcome) as opened:
        built, augmented, checked = (Outcome("run", outcome.format) for _ in range(3))
        _build(opened, works, built, source, split, False)
        done = {row.get("dataset") for row in built.rows}
        targets = [target for target in _targets(opened, works, outcome) if target.collection or target.dataset in done]
        states = _augment(opened, targets, augmented, asked)
        if INTERRUPTED not in augmented.codes and targets:
            reports = opened.check(targets, only_if_stale=True)
            for target, result in reports.items():
                step = Outcome("run", outcome.format)
                _check(opened, {target: result}, step)
                if step.rows:
                    settled = getattr(getattr(states.get(target), "tally", None), "settled", 0)
                    row = {"dataset": target.dataset, "asked_now": settled, **counts_of(step.rows[-1])}
                    outcome.rows.append({"collection": target.collection, **row} if target.collection else row)
                checked.rows += [row for row in step.rows if "collection" not in row]
                _add(checked, step)
                if not step.codes & {1, 4}:
                    whole.add(target.dataset)
    for step in (built, augmented, checked):
        _add(outcome, step)
    if outcome.format is Format.table:
        for part, rows in ((show_collections.built, built.rows), (show_check.reports, checked.rows)):
            if rows:
                part(rows)
        show_collections.ran(outcome.rows)
    if to is not None and INTERRUPTED not in outcome.codes:
        _publish(place, works, to, outcome, whole)
    return outcome.finish(lambda rows: None)


def _add(outcome: Outcome, step: Outcome) -> None:
    outcome.codes |= step.codes
    outcome.errors += step.errors
    outcome.later += step.later


def _build(
    opened: Scaled,
    works: Sequence[collect.Work],
    outcome: Outcome,
    source: Path | None,
    split: str | None,
    force: bool,
) -> None:
    names = [work for work in works if isinstance(work, str)]
    if names:
        absolute = source.resolve() if source is not None else None
        for target, result in opened.build(names, source=absolute, split=split, force=force).items():
            with outcome.collecting():
                build_dataset(_ended(opened, result), target.dataset, outcome, source, split, force)
    for work in works:
        if isinstance(work, OpenCollection):
            with outcome.collecting(), building(opened, work) as here:
                outcome.rows.append(collect.build_collection(here, outcome, source, split, force))


def _augment(opened: Scaled, targets: Sequence[Target], outcome: Outcome, asked: Asked) -> Mapping[Target, Any]:
    if not targets:
        return {}
    with augment_line() as line:
        results = opened.augment(targets, watch=line, **asked._asdict())
    for target, result in results.items():
        with outcome.collecting():
            augment_dataset(_ended(opened, result), target.dataset, outcome, None, None, None, 1, None)
            _tag(target, outcome)
    return results


def _check(opened: Scaled, results: Mapping[Target, Any], outcome: Outcome) -> None:
    for target, result in results.items():
        with outcome.collecting():
            check_dataset(_ended(opened, result), target.dataset, outcome)
            _tag(target, outcome)


def _tag(target: Target, outcome: Outcome) -> None:
    if target.collection and outcome.rows:
        outcome.rows[-1] = {"collection": target.collection, **outcome.rows[-1]}


def _targets(opened: Scaled, works: Sequence[collect.Work], outcome: Outcome) -> list[Target]:
    """The datasets that are given, and those of collections that are built; the others are named."""
    found: list[Target] = []
    for work in works:
        if isinstance(work, str):
            found.append(Target(work))
            continue
        members = [Target(name, work.name) for name in work.datasets]
        built = [target for target in members if opened.built(target)]
        with outcome.collecting():
            if not built:
                missing = f"`{work.name}` has no samples in {opened.store.url}"
                raise Mistake(missing, f"build it first: teacherlm build {work.name}")
        if built and (left := len(members) - len(built)):
            outcome.note(f"{work.name}: {left} of {len(members)} datasets are not built and left")
        found += built
    return found


def _publish(place: Place, works: Sequence[collect.Work], to: str, outcome: Outcome, whole: set[str]) -> None:
    local = look(place.project, place.workspace)
    names = [work if isinstance(work, str) else work.name for work in works]
    for group in collect.groups(local, collect.given(local, names)):
        with outcome.collecting():
            published = collect.publish(group, to, outcome, only=whole)
            if outcome.format is Format.table:
                show_published.published(published)
