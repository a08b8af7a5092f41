"""What declarations of training name: datasets, collections and the members of those, of the project or shipped."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from teacherlm.api.project import Project
from teacherlm.builders import build as building
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Problem
from teacherlm.project.find import ProjectFiles
from teacherlm.project.located import Loc
from teacherlm.train.checks import unknown_data
from teacherlm.train.layers import Layered
from teacherlm.train.read import BoundTraining

if TYPE_CHECKING:
    from teacherlm.api.collections import OpenCollection
    from teacherlm.train.declaration import Data

SHOWN = 3
"""Names that a message lists."""


def shipped(project: Project) -> Project:
    """The project that ships with teacherlm, over the same workspace."""
    return Project(ProjectFiles(bundled()), project.workspace)


def unknown(project: Project, bound: BoundTraining, *, or_shipped: bool) -> list[Problem]:
    """Datasets and collections that stages name and the project does not have.

    Args:
        or_shipped: take those of teacherlm's own declarations from the project that ships with it, which is enough to
            plan. To train, they must be the project's, since nothing else is built in it.
    """
    datasets = list(dict.fromkeys([*project.datasets, *project.workspace.datasets()]))
    collections = list(project.collections)
    there = list(_shipped_names(project, bound, datasets, collections))
    names = [name for _, _, name in there]
    problems = unknown_data(bound.training, bound.located, [*datasets, *names], [*collections, *names])
    if or_shipped:
        return problems
    return problems + [
        Problem(
            bound.where(loc),
            f"{key} `{name}` ships with teacherlm, and this project does not have it",
            f"declare it here ({'catalog.yaml' if key == 'collection' else f'builders/{name}.yaml'}), or build and "
            "train in a folder outside this project, where the declarations that ship are the project",
        )
        for loc, key, name in there
    ]


def _shipped_names(
    project: Project, bound: BoundTraining, datasets: list[str], collections: list[str]
) -> Iterator[tuple[Loc, str, str]]:
    """Place, key and name of what files of the bundle name, and only the bundle declares."""
    if project.files.is_bundled:
        return
    own = shipped(project)
    for number, stage in enumerate(bound.training.stages):
        for position, data in enumerate(stage.data):
            for key, name, known, all_shipped in (
                ("dataset", data.dataset, datasets, own.datasets),
                ("collection", data.collection, collections, own.collections),
            ):
                loc: Loc = ("stages", number, "data", position, key)
                if name is not None and name not in known and name in all_shipped and _of_the_bundle(bound, loc):
                    yield loc, key, name


def _of_the_bundle(bound: BoundTraining, loc: Loc) -> bool:
    located = bound.located
    if isinstance(located, Layered) and loc in located.origins:
        located = located.origins[loc][0]
    return located.path.is_relative_to(bundled())


def members(opened: OpenCollection, data: Data) -> dict[str, list[str]]:
    """The datasets of a collection that have a split to read, by what they declare, and their splits of that name."""
    found = {
        member.dataset: [split for split in member.splits if fnmatchcase(split, f"{data.split}*")]
        for member in opened.members
    }
    return {name: splits for name, splits in found.items() if splits}


def unbuilt(opened: OpenCollection, data: Data) -> list[str]:
    """Datasets of a collection whose splits were not built; not those that gave no sample or whose source has none."""
    return [name for name, splits in members(opened, data).items() if not _built(opened, name, splits)]


def _built(opened: OpenCollection, name: str, splits: list[str]) -> bool:
    folders = (opened.workspace.augmented(name), opened.workspace.samples(name))
    manifest = building.read_manifest(folders[1])
    none = {*manifest.absent, *(part.split for part in manifest.splits if not part.samples)} if manifest else set()
    return all(split in none or any(any((f / split).glob("*.parquet")) for f in folders) for split in splits)


def some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(f"`{name}`" for name in names[:SHOWN]) + more
