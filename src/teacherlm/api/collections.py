"""Collections: datasets that are built, explained, checked and published together, in a workspace of their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from teacherlm.api import publish as publishing
from teacherlm.api import status as looking
from teacherlm.api.collection_build import CollectionBuilt, Watch, build_parts
from teacherlm.api.project import Project
from teacherlm.api.publication import publication
from teacherlm.api.workspace import Workspace
from teacherlm.builders import build as building
from teacherlm.builders.collection import Collection, Member, find_members
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.builders.mixing import sizes
from teacherlm.core.errors import GateFailed, Mistake, Mistakes, Problem, TeacherlmError
from teacherlm.core.files import write_json
from teacherlm.core.locks import held

if TYPE_CHECKING:
    from teacherlm.hub.published import Published

RECORD = "collection.json"


@dataclass(frozen=True)
class CollectionProject(Project):
    """The project in a collection's workspace; its recipes ask for rationales as the collection says."""

    declared: Collection

    def recipe(self, name: str) -> BoundRecipe:
        bound, declared = super().recipe(name), self.declared
        says: dict[str, Any] = {}
        if declared.strategy and "chain_of_thought" in bound.recipe.kinds:
            says["strategy"] = declared.strategy
        if kind := declared.kind_of_human(name):
            says["human"] = kind
        if declared.gates:
            says["gates"] = {**declared.gates, **(bound.recipe.gates or {})}
        return BoundRecipe(replace(bound.recipe, **says), bound.located) if says else bound


@dataclass(frozen=True)
class OpenCollection:
    """A declared collection, and the project that its datasets live in.

    >>> p3 = teacherlm.open(".").collection("p3-sense-3k")  # doctest: +SKIP
    >>> p3.build().samples, p3.project.augment("creak", teacher="nano")  # doctest: +SKIP
    """

    name: str
    declared: Collection
    members: tuple[Member, ...]
    project: Project
    """The project with the collection's workspace: `WORKSPACE/collections/NAME`."""

    @property
    def workspace(self) -> Workspace:
        return self.project.workspace

    @property
    def datasets(self) -> list[str]:
        """The collection's datasets, in their order."""
        return [member.dataset for member in self.members]

    @property
    def built(self) -> list[str]:
        """Those that have samples."""
        return [name for name in self.datasets if building.read_manifest(self.workspace.samples(name))]

    def plan(self) -> dict[str, Any]:
        """What a build and an augmentation would do, by the rows that the recipes declare; nothing is read."""
        declared, rows = self.declared, {member.dataset: member.rows or 0 for member in self.members}
        known = all(member.rows is not None for member in self.members)
        given = sizes(rows, declared.samples, at_most=declared.at_most, mixing=declared.mixing)
        recipes = {name: self.project.recipe(name).recipe for name in self.datasets}
        return {
            "collection": self.name,
            "about": declared.about,
            "target": declared.samples,
            "at_most": declared.at_most,
            "seed": declared.seed,
            "samples": sum(given.values()) if known else None,
            "calls": sum(given[name] * len(recipes[name].kinds) for name in given) if known else None,
            "workspace": str(self.workspace.root),
            "absent": dict(declared.absent or {}),
            "verify": list(declared.verify),
            "datasets": [
                {
                    "dataset": member.dataset,
                    "splits": ", ".join(member.splits),
                    "rows": member.rows,
                    "samples": given[member.dataset] if member.rows is not None else None,
                    "strategy": recipes[member.dataset].strategy,
                    "human": recipes[member.dataset].human,
                    "licence": recipes[member.dataset].license,
                    "redistribution": recipes[member.dataset].redistribution,
                }
                for member in self.members
            ],
        }

    def build(
        self,
        *,
        source: str | Path | None = None,
        force: bool = False,
        watch: Watch = lambda *_: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> CollectionBuilt:
        """Make the samples of every dataset; one that cannot be read does not stop the others.

        What an earlier build has done stays done. With a target for all datasets together the samples of each are
        counted first; a dataset that cannot be read keeps its place by the rows that its recipe declares, so that the
        others have the sizes that they have on every machine.

        Args:
            source: a folder with a copy of each dataset, as `DATASET`, `DATASET.EXT`, or with `_` for `-`.
            watch: called as each dataset is done.

        Raises:
            GateFailed: the sources run short, and the declaration says `when_short: fail`.
            MachineFailed: another process builds the collection.
        """
        if source is not None and not Path(source).is_dir():
            raise Mistake("there is no such folder", "name a folder with a copy of each dataset", str(source))
        with held(self.workspace.root / "locks" / f"{self.name}.lock", f"collection `{self.name}`"):
            made = build_parts(
                self.name,
                self.declared,
                self.members,
                self.project,
                source=Path(source) if source is not None else None,
                force=force,
                watch=watch,
                tell=tell,
            )
            record = {**made.to_row(), "declared": asdict(self.declared)}
            write_json(self.workspace.root / RECORD, record)
        return made

    def status(self) -> list[dict[str, Any]]:
        """One row for each dataset, as `Project.status` has them; also for one that is no longer a member."""
        left = [name for name in self.workspace.datasets() if name not in self.datasets]
        return looking.status(self.project, [*self.datasets, *left])

    def publish(
        self, to: str | Path, **options: Unpack[publishing.PublishOptions]
    ) -> tuple[Published | None, list[Problem]]:
        """Publish the datasets whose gates pass to one folder or repository.

        Returns:
            What was published, and what stands against each of the others.
        """
        from teacherlm.hub.gates import hold

        passing, problems = [], []
        for name in self.built:
            bound = self.project.recipe(name)
            try:
                made = publication(self.project.files, self.project.catalog, self.workspace, bound)
                alone = options.get("rationales_only")
                hold([replace(made, rationales_only=alone, formats=options.get("formats"))])
            except (GateFailed, Mistake) as error:
                problems += [Problem(problem.where or name, problem.found, problem.edit) for problem in error.problems]
            else:
                passing.append(name)
        return (self.project.publish(*passing, to=to, **options) if passing else None), problems


def open_collection(project: Project, name: str) -> OpenCollection:
    """A collection of the project's catalogue.

    Raises:
        Mistake: there is none of that name.
        Mistakes: its declaration, or the recipe of a dataset, is wrong.
    """
    if name not in project.catalog.collections:
        known = ", ".join(project.catalog.collections) or "none"
        raise Mistake(f"there is no collection `{name}`", f"known are {known}", "catalog.yaml")
    declared, located = project.catalog.collections[name], project.files.catalog()
    problems: list[Problem] = []
    recipes = {}
    for dataset in project.datasets:
        try:
            recipes[dataset] = project.recipe(dataset).recipe
        except TeacherlmError as error:
            problems += error.problems
    if name in project.datasets:
        place = located.where(("collections", name), key=True)
        problems.append(Problem(place, f"`{name}` is a dataset too (builders/{name}.yaml)", "rename one of them"))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        place = located.where(("collections", name), key=True)
        problems.append(Problem(place, f"`{name}` cannot name a folder", "use letters, digits, - and _"))
    members, found = find_members(name, declared, recipes, located)
    if problems or found:
        raise Mistakes([*problems, *found])
    own = CollectionProject(project.files, Workspace(project.workspace.root / "collections" / name), declared)
    return OpenCollection(name, declared, tuple(members), own)
