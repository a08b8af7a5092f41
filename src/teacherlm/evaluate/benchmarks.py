"""Benchmarks of a project: tasks and groups that somebody asked for, read and checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from teacherlm.core.errors import Mistake, Mistakes, Problem
from teacherlm.evaluate.benchmarks_files import Included, Reader
from teacherlm.evaluate.benchmarks_index import FOLDER, Entry, Index, entry_of, index
from teacherlm.evaluate.task import Group, Task
from teacherlm.evaluate.templates import fault
from teacherlm.project.bind import bind
from teacherlm.project.find import ProjectFiles
from teacherlm.project.located import Loc, Located

_CODE = "runs Python code, and declarations hold none"
_TEMPLATE = "write what it does as a template in doc_to_text, doc_to_choice and doc_to_target, or evaluate with lm-eval"
REFUSED = {
    "class": (_CODE, _TEMPLATE),
    "process_docs": (_CODE, _TEMPLATE),
    "process_results": (_CODE, "use the metrics of metric_list, or evaluate with lm-eval"),
    "custom_dataset": (_CODE, "write the rows to a file and name it in dataset_kwargs, or by --data"),
    "unsafe_code": ("runs what a model wrote, and teacherlm does not", "evaluate this task with lm-eval"),
    "use_prompt": ("names a prompt of promptsource, which is not read here", "write it as a template in doc_to_text"),
    "doc_to_image": ("shows images, and models here read text", "evaluate this task with lm-eval"),
    "doc_to_audio": ("plays sound, and models here read text", "evaluate this task with lm-eval"),
}
"""Fields of the harness that are not supported, why, and what to do."""

_TEMPLATES = ("description", "doc_to_text", "doc_to_target", "doc_to_choice", "gen_prefix")


@dataclass(frozen=True)
class BoundTask:
    """A task, and where each of its fields stands."""

    task: Task
    located: Located

    @property
    def name(self) -> str:
        return self.task.task

    def where(self, loc: Loc, *, key: bool = False) -> str:
        """`file:line:column` of a field, such as `("metric_list", 0)`."""
        return self.located.where(loc, key=key)


@dataclass(frozen=True)
class BoundGroup:
    """A group with its members, in their order."""

    group: Group
    located: Located
    members: tuple[BoundTask | BoundGroup, ...]

    @property
    def name(self) -> str:
        return self.group.group

    @property
    def tasks(self) -> tuple[BoundTask, ...]:
        """All tasks below it, each once."""
        return _tasks(self.members)

    def where(self, loc: Loc, *, key: bool = False) -> str:
        """`file:line:column` of a field."""
        return self.located.where(loc, key=key)


@dataclass(frozen=True)
class Chosen:
    """What somebody asked for, in that order."""

    members: tuple[BoundTask | BoundGroup, ...]

    @property
    def tasks(self) -> tuple[BoundTask, ...]:
        """All tasks, each once."""
        return _tasks(self.members)

    @property
    def groups(self) -> tuple[BoundGroup, ...]:
        """All groups, each once and after the groups that it holds."""
        found: dict[str, BoundGroup] = {}
        for member in self.members:
            _collect_groups(member, found)
        return tuple(found.values())


def known(files: ProjectFiles) -> list[str]:
    """Names that can be asked for: groups, tags, tasks."""
    return index(files).names()


def heads(files: ProjectFiles) -> list[str]:
    """Names of the groups and tasks that are part of no group's figures: the short list for people."""
    return index(files).heads()


def read_benchmarks(files: ProjectFiles, names: Sequence[str]) -> Chosen:
    """The benchmarks that somebody asked for.

    Args:
        names: of tasks, groups or tags; patterns such as `mmlu_*` for tasks; or files, such as `evaluate/creak.yaml`
            or one of any other folder.

    Raises:
        Mistakes: all that is wrong, of all of them.
    """
    reading = _Reading(index(files), files.root)
    members = [member for name in names for member in reading.asked(name)]
    if reading.problems:
        raise Mistakes(list(dict.fromkeys(reading.problems)))
    return Chosen(tuple({id(member): member for member in members}.values()))


def _tasks(members: Sequence[BoundTask | BoundGroup]) -> tuple[BoundTask, ...]:
    found: dict[str, BoundTask] = {}
    for member in members:
        for task in member.tasks if isinstance(member, BoundGroup) else [member]:
            found.setdefault(task.name, task)
    return tuple(found.values())


def _collect_groups(member: BoundTask | BoundGroup, found: dict[str, BoundGroup]) -> None:
    if isinstance(member, BoundGroup) and member.name not in found:
        for below in member.members:
            _collect_groups(below, found)
        found[member.name] = member


@dataclass
class _Reading:
    """Reads each benchmark once, and gathers what is wrong."""

    index: Index
    root: Path
    """Of the project."""
    problems: list[Problem] = field(default_factory=list)
    made: dict[str, BoundTask | BoundGroup | None] = field(default_factory=dict)
    readers: dict[Any, Reader] = field(default_factory=dict)
    inside: list[str] = field(default_factory=list)
    """Groups that are being read, from the outermost."""

    def asked(self, name: str) -> Iterator[BoundTask | BoundGroup]:
        shown = name.removeprefix("./")
        by_file = [entry.name for entry in self.index.entries.values() if entry.shown == shown]
        found = by_file or self._named(name)
        if not found and (path := Path(name)).suffix in (".yaml", ".yml") and path.is_file():
            found = self._file(path.resolve())
        elif not found:
            self.problems += self._unknown(name, "--tasks")
        for one in found:
            if (made := self.one(one)) is not None:
                yield made

    def _file(self, path: Path) -> list[str]:
        """The benchmark of a file, wherever it is; it stands in place of one of its name."""
        entry = entry_of(path, self.root)
        if entry is None:
            self.problems += self._nameless(path, self.root)
            return []
        other = self.index.entries.get(entry.name)
        if other is not None and other.path.resolve() == path:
            return [entry.name]
        if other is not None and entry.name in self.made:
            found = f"`{entry.name}` is declared in {other.shown} as well"
            self.problems.append(Problem(f"{entry.shown}:1:1", found, "rename one of them, or ask for one"))
            return []
        self.index.entries[entry.name] = entry
        return [entry.name]

    def _nameless(self, path: Path, root: Path) -> list[Problem]:
        try:
            located = self._reader(root).read(path)
        except Mistake as error:
            return error.problems
        return [Problem(located.where(()), "`task` is missing", f"add  task: {path.stem}")]

    def _named(self, name: str) -> list[str]:
        if name in self.index.entries:
            return [name]
        if name in self.index.tags:
            return self.index.tags[name]
        tasks = [other for other, entry in self.index.entries.items() if entry.members is None]
        return [task for task in tasks if fnmatchcase(task, name)] if set(name) & set("*?[") else []

    def _unknown(self, name: str, place: str) -> list[Problem]:
        stem = name.removeprefix("./").removeprefix(f"{FOLDER}/").removesuffix(".yaml").rpartition("/")[2]
        if (path := self.index.nameless.get(stem)) is not None and not stem.startswith("_"):
            return self._nameless(path, self.index.roots[path])
        near = difflib.get_close_matches(name, self.index.names(), n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(self.index.heads())}"
        own = f" (or write {FOLDER}/{stem}.yaml)" if stem.replace("-", "").replace("_", "").isalnum() else ""
        return [Problem(place, f"there is no benchmark `{name}`", hint + own)]

    def one(self, name: str) -> BoundTask | BoundGroup | None:
        """A task or group; None where something is wrong with it."""
        if name not in self.made:
            entry = self.index.entries[name]
            if (twice := self.index.twice.get(name)) is not None:
                self.problems.append(twice)
            try:
                located = self._reader(entry.root).read(entry.path)
                _check(located)
                self.made[name] = _task(located) if entry.members is None else self._group(located, entry)
            except Mistake as error:
                self.problems += error.problems
                self.made[name] = None
        return self.made[name]

    def _reader(self, root: Any) -> Reader:
        return self.readers.setdefault(root, Reader(root))

    def _group(self, located: Included, entry: Entry) -> BoundGroup:
        given = located.data.get("task")
        for number, member in enumerate(given if isinstance(given, list) else []):
            if isinstance(member, dict):
                place, found = located.where(("task", number)), "declares a task inside a group"
                raise Mistakes([Problem(place, found, "give it a file of its own, and name it here")])
        group = bind(located, Group)
        if not group.task:
            raise Mistakes([Problem(located.where(("task",)), "the group names no task", "write  task: [creak, ecqa]")])
        self.inside.append(entry.name)
        members: list[BoundTask | BoundGroup] = []
        for number, name in enumerate(group.task):
            members += self._members(name, located.where(("task", number)))
        self.inside.pop()
        return BoundGroup(group, located, tuple(members))

    def _members(self, name: str, place: str) -> Iterator[BoundTask | BoundGroup]:
        if name in self.inside:
            circle = " → ".join([*self.inside[self.inside.index(name) :], name])
            self.problems.append(Problem(place, f"the group holds itself: {circle}", "name another member"))
            return
        found = [name] if name in self.index.entries else self.index.tags.get(name, [])
        if not found:
            self.problems += self._unknown(name, place)
        for one in found:
            if (made := self.one(one)) is not None:
                yield made


def _check(located: Included) -> None:
    problems = [
        Problem(located.where((name,), key=True), f"`{name}` {found}", edit)
        for name, (found, edit) in REFUSED.items()
        if name in located.data
    ]
    if problems:
        raise Mistakes(problems)


def _task(located: Included) -> BoundTask:
    task = bind(located, Task)
    problems = []
    own = task.fewshot_config
    parts = [(task, ())] if own is None else [(task, ()), (own, ("fewshot_config",))]
    for part, above in parts:
        for name in _TEMPLATES:
            text = getattr(part, name, None)
            if isinstance(text, str) and (found := fault(text)) is not None:
                place = located.where((*above, name))
                problems.append(Problem(place, f"`{name}` is no template: {found}", "mend the braces"))
    if problems:
        raise Mistakes(problems)
    return BoundTask(task, located)
