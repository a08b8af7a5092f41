"""Which file declares which benchmark: a quick look at all files, before those that are asked for are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Problem
from teacherlm.evaluate.benchmarks_files import INCLUDE
from teacherlm.project.find import ProjectFiles

FOLDER = "evaluate"
OTHERS = ("experiments", "quickstart.yaml")
"""What lies below `evaluate/` and is no benchmark."""

_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""All values as texts, whatever their tags."""


@dataclass(frozen=True)
class Entry:
    """A task or a group, and its file."""

    name: str
    path: Path
    root: Path
    """Of the project that the file belongs to."""
    members: tuple[str, ...] | None = None
    """Of a group."""
    tags: tuple[str, ...] = ()
    pooled: bool = False
    """Whether a group has figures of its own; else it is only a list of names."""

    @property
    def shown(self) -> str:
        inside = self.path.is_relative_to(self.root)
        return self.path.relative_to(self.root).as_posix() if inside else str(self.path)


@dataclass
class Index:
    """All benchmarks of a project, with those that ship with teacherlm."""

    entries: dict[str, Entry] = field(default_factory=dict)
    """By name; the project's own in place of those that ship."""
    tags: dict[str, list[str]] = field(default_factory=dict)
    """Names of the tasks that have a tag, in order."""
    twice: dict[str, Problem] = field(default_factory=dict)
    """Names that two files declare."""
    nameless: dict[str, Path] = field(default_factory=dict)
    """Files that declare nothing, by the name that somebody might ask for: without folder and `.yaml`."""
    roots: dict[Path, Path] = field(default_factory=dict)
    """The project of each of these files."""

    def names(self) -> list[str]:
        """Names of all groups, tags and tasks."""
        groups = [name for name, entry in self.entries.items() if entry.members is not None]
        tasks = [name for name, entry in self.entries.items() if entry.members is None]
        return [*groups, *self.tags, *tasks]

    def heads(self) -> list[str]:
        """Names of the groups and tasks that are part of no group's figures: the short list."""
        inside = {member for entry in self.entries.values() if entry.pooled for member in entry.members or ()}
        inside |= {task for tag in inside & set(self.tags) for task in self.tags[tag]}
        return [name for name in self.entries if name not in inside]


def index(files: ProjectFiles) -> Index:
    """All benchmarks of a project, with those that ship with teacherlm."""
    found = Index()
    for root in dict.fromkeys([files.root, bundled()]):
        mine: dict[str, Entry] = {}
        for path in _files(root / FOLDER):
            entry = entry_of(path, root)
            if entry is None:
                found.nameless.setdefault(path.stem, path)
                found.roots.setdefault(path, root)
            elif entry.name in mine:
                first = mine[entry.name]
                found.twice[entry.name] = Problem(
                    f"{entry.shown}:1:1", f"`{entry.name}` is declared in {first.shown} as well", "rename one of them"
                )
            else:
                mine[entry.name] = entry
        found.entries |= {name: entry for name, entry in mine.items() if name not in found.entries}
    found.entries = dict(sorted(found.entries.items()))
    for name, entry in found.entries.items():
        for tag in entry.tags:
            # The harness would take a tag that is named like a task or group for that.
            if tag not in found.entries:
                found.tags.setdefault(tag, []).append(name)
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("**/*.yaml")):
        if path.relative_to(folder).parts[0] not in OTHERS:
            yield path


def entry_of(path: Path, root: Path) -> Entry | None:
    """What a file declares; None: nothing, or it cannot be read."""
    fields = _fields(path, ())
    tags = _texts(fields.get("tag"))
    if isinstance(name := fields.get("group"), str):
        return Entry(name, path, root, _texts(fields.get("task")), tags, "aggregate_metric_list" in fields)
    if isinstance(name := fields.get("task"), str):
        return Entry(name, path, root, None, tags)
    return None


def _fields(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """A file's fields with those that it includes; whatever is wrong is told when the file is read to be used."""
    try:
        own = yaml.load(path.read_bytes(), Loader=_Loader)
    except (OSError, yaml.YAMLError):
        return {}
    if not isinstance(own, dict):
        return {}
    merged: dict[str, Any] = {}
    for name in _texts(own.get(INCLUDE)):
        below = path.parent / name
        if below not in above:
            merged |= _fields(below, (*above, path))
    return merged | own


def _texts(value: Any) -> tuple[str, ...]:
    given = value if isinstance(value, list) else [value]
    return tuple(one for one in given if isinstance(one, str))
