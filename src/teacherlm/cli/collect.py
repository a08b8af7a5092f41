"""What the commands do with collections: a name stands for datasets in a workspace of their own."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from teacherlm.api.collection_build import Part, said
from teacherlm.api.collections import OpenCollection
from teacherlm.api.project import Project
from teacherlm.api.publish import PublishOptions
from teacherlm.cli.output import Outcome, error_rows
from teacherlm.cli.steps import check_declared, publish_datasets
from teacherlm.core.errors import GateFailed, Mistake, Mistakes, Problem, RemoteFailed, TeacherlmError

Work = str | OpenCollection
"""What a name stands for: a dataset, or a collection."""

NAMED = 8
"""Names that a sentence lists; more are counted."""


class Target(NamedTuple):
    """A dataset that a command works on, in the project, and so in the workspace, where it does."""

    opened: Project
    name: str
    collection: str | None = None

    def tag(self, outcome: Outcome) -> None:
        """Say in the last row which collection it belongs to."""
        if self.collection and outcome.rows:
            outcome.rows[-1] = {"collection": self.collection, **outcome.rows[-1]}


def given(opened: Project, names: Sequence[str], source: Path | None = None) -> list[Work]:
    """What the names of a command stand for; all mistakes of all declarations at once, before anything is run."""
    problems: list[Problem] = []
    works: list[Work] = []
    try:
        declared = set(opened.catalog.collections)
    except Mistakes:
        check_declared(opened, [name for name in names if name in opened.datasets], source)  # says what is wrong
        raise
    datasets = [name for name in names if name not in declared]
    known = [*opened.datasets, *declared]
    for name in datasets:
        near = difflib.get_close_matches(name, known, n=1)
        if name not in known and near and near[0] in declared:
            found = f"there is no dataset or collection `{name}`"
            raise Mistake(found, f"did you mean {near[0]}?", str(opened.files.root))
    try:
        check_declared(opened, datasets, source if len(names) == len(datasets) else None)
    except Mistakes as error:
        problems += error.problems
    for name in names:
        if name not in declared:
            works.append(name)
            continue
        try:
            works.append(opened.collection(name))
        except TeacherlmError as error:
            problems += error.problems
    if source is not None and declared & set(names) and len(names) > 1:
        found = f"{source} cannot be the source of {' and '.join(names)}"
        problems.append(Problem("--source", found, f"build one at a time: {names[0]} --source {source}"))
    if problems:
        raise Mistakes(problems)
    return works


def targets(opened: Project, works: Sequence[Work], outcome: Outcome) -> Iterator[Target]:
    """The datasets that are given, and those of collections that are built; the others are named."""
    for work in works:
        if isinstance(work, str):
            yield Target(opened, work)
            continue
        built = work.built
        if not built:
            with outcome.collecting():
                found = f"`{work.name}` has no samples in {work.workspace.root}"
                raise Mistake(found, f"build it first: teacherlm build {work.name}")
        elif left := [name for name in work.datasets if name not in built]:
            outcome.note(f"{work.name}: not built and left: {_some(left)}")
        for name in built:
            yield Target(work.project, name, work.name)


def read_evaluation_sets(
    opened: Project, works: Sequence[Work], sets: Mapping[str, Path | None], outcome: Outcome
) -> None:
    """Read evaluation sets into every workspace that will be checked; one that cannot be read is said, and left."""
    projects = [opened] if any(isinstance(work, str) for work in works) else []
    projects += [work.project for work in works if isinstance(work, OpenCollection)]
    for task, path in sets.items():
        for project in projects:
            with outcome.collecting():
                read = project.read_evaluation_set(task, path)
                outcome.note(f"{task}: {read.items:,} items read into {read.path}")


class Group(NamedTuple):
    """What is published at once: the datasets given by name, or a collection."""

    opened: Project
    names: list[str]
    whole: OpenCollection | None = None

    @property
    def collection(self) -> str | None:
        return self.whole.name if self.whole else None


def groups(opened: Project, works: Sequence[Work]) -> list[Group]:
    """What goes to one folder.

    Raises:
        Mistake: a dataset would go there twice.
    """
    alone = [work for work in works if isinstance(work, str)]
    found = [Group(opened, alone)] if alone else []
    found += [Group(work.project, work.datasets, work) for work in works if isinstance(work, OpenCollection)]
    count = Counter(name for group in found for name in group.names)
    if twice := [name for name in count if count[name] > 1]:
        raise Mistake(f"{_some(twice)} would be published twice", "publish to different folders", "--to")
    return found


def publish(
    group: Group,
    to: str,
    outcome: Outcome,
    only: Collection[str] | None = None,
    **asked: Unpack[PublishOptions],
) -> list[dict[str, Any]]:
    """Publish datasets; of a collection those whose gates pass, and what stands against the others is said.

    Args:
        only: those that may be published; None: all.
    """
    names = [name for name in group.names if only is None or name in only]
    if group.whole is None:
        return [publish_datasets(group.opened, names, to, **asked)] if names else []
    published, problems = group.whole.publish(to, **asked)
    for problem in problems:
        outcome.fail(GateFailed(problem.found, problem.edit, problem.where))
    return [{"collection": group.collection, "to": to, **asdict(published)}] if published else []


def build_collection(
    work: OpenCollection, outcome: Outcome, source: Path | None, split: str | None, force: bool
) -> Any:
    """Build a collection; one line for each dataset.

    Returns:
        Its row of results.
    """
    if split is not None:
        raise Mistake(f"is {split}, and `{work.name}` is a collection", "leave it out", "--split")

    def watch(part: Part, number: int, count: int) -> None:
        outcome.note(f"[{number}/{count}] {_line(part)}")

    built = work.build(source=source, force=force, watch=watch, tell=outcome.note)
    if built.missing:
        for part in built.missing:
            if part.error:
                outcome.errors += [
                    {**row, "where": row["where"] or part.dataset, "exit_code": _code(part.error)}
                    for row in error_rows(part.error)
                ]
                outcome.codes.add(_code(part.error))
        names = [part.dataset for part in built.missing]
        found = f"{work.name}: {len(names)} of {len(built.parts)} datasets are missing: {_some(names)}"
        remedy = "see above what each lacks, and run the same command again: the others stay as they are"
        outcome.later.append(RemoteFailed(found, remedy))
    return built.to_row()


def status(opened: Project, names: Sequence[str], outcome: Outcome) -> list[dict[str, Any]]:
    """Where datasets stand; with no names all of them, and the collections that have a workspace are named."""
    if not names:
        begun = [name for name in opened.collections if (opened.workspace.root / "collections" / name).is_dir()]
        if begun:
            outcome.note(f"collections: {', '.join(begun)} (teacherlm status {begun[0]})")
        return opened.status()
    rows: list[dict[str, Any]] = []
    for work in given(opened, names):
        if isinstance(work, str):
            rows += opened.status([work])
        else:
            rows += [{"collection": work.name, **row} for row in work.status()]
    return rows


def cost(opened: Project, names: Sequence[str], by: Sequence[str]) -> list[dict[str, Any]]:
    """What answers took; with no names in the whole workspace, without those of collections."""
    if not names:
        return opened.cost(by=by)
    rows = opened.cost(alone, by=by) if (alone := [name for name in names if name not in opened.collections]) else []
    for name in names:
        if name in opened.collections:
            rows += [{"collection": name, **row} for row in opened.collection(name).project.cost(by=by)]
    return rows


def _code(error: TeacherlmError) -> int:
    """A dataset that cannot be had is 3, whatever the reason; a machine that fails is 4."""
    return error.exit_code if error.exit_code == 4 else 3


def _line(part: Part) -> str:
    if part.error:
        return f"{part.dataset}: missing: {said(part.error).removeprefix(f'{part.dataset}: ')}"
    of = f" of {part.available:,}" if part.available is not None and part.available > part.samples else ""
    refused = f", {part.rejected:,} rows refused" if part.rejected else ""
    absent = f", without {', '.join(part.absent)}, which the source does not have" if part.absent else ""
    return f"{part.dataset}: {part.samples:,}{of} samples{refused}{absent}, {part.state}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
