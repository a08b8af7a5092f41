"""What an evaluation asks: benchmarks with their documents, from the Hub or from local files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.core.errors import Mistake, Mistakes, Problem, TeacherlmError
from teacherlm.evaluate.benchmarks import BoundTask, Chosen, read_benchmarks
from teacherlm.evaluate.documents import items, open_rows
from teacherlm.evaluate.requests import Work
from teacherlm.evaluate.results import Grouped
from teacherlm.evaluate.works import check, make_group, make_work

if TYPE_CHECKING:
    from teacherlm.api.project import Project


@dataclass(frozen=True)
class Ready:
    """Tasks that can be asked, and those that cannot."""

    works: list[Work]
    groups: list[Grouped]
    failures: list[tuple[str, TeacherlmError]]


def prepare(
    project: Project,
    tasks: Sequence[str],
    data: Mapping[str, str | Path],
    *,
    num_fewshot: int | None,
    limit: int | None,
    seed: int,
    tell: Callable[[str], None],
) -> Ready:
    """Read benchmarks and their documents.

    Args:
        data: local rows by task, tag or group; of a task's own, its tag's and its groups' the first counts.

    Raises:
        Mistake, Mistakes: a task that is not there, or something wrong in its declaration; a name in `data` that is
            none of the tasks'; no task's documents can be read.
    """
    if not tasks:
        raise Mistake("names no task", "name some, with commas between", "--tasks")
    chosen = read_benchmarks(project.files, tasks)
    places = _places(chosen, data)
    problems: list[Problem] = []
    for bound in chosen.tasks:
        try:
            check(bound)
        except Mistake as error:
            problems += error.problems
    if problems:
        raise Mistakes(problems)
    works: list[Work] = []
    failures: list[tuple[str, TeacherlmError]] = []
    for bound in chosen.tasks:
        given, place = places.get(bound.name, (bound.name, None))
        try:
            rows = open_rows(bound, place, num_fewshot=num_fewshot)
            documents = items(bound, rows, num_fewshot=num_fewshot, limit=limit, seed=seed)
            works.append(make_work(bound, documents))
        except TeacherlmError as error:
            failures.append((bound.name, _as_given(error, bound.name, given)))
            continue
        if documents.refused:
            first = documents.refused[0]
            tell(
                f"{bound.name}: {len(documents.refused):,} of {documents.total:,} documents cannot be asked; "
                f"the first, {first.doc_id}: {first.found}"
            )
    if not works:
        _raise(failures)
    return Ready(works, [make_group(one) for one in chosen.groups], failures)


def _as_given(error: TeacherlmError, task: str, given: str) -> TeacherlmError:
    """The remedy with the name that `--data` was given for."""
    if len(error.problems) > 1 or task == given:
        return error
    return type(error)(error.found, error.remedy.replace(f"--data {task}=", f"--data {given}="), error.where)


def _places(chosen: Chosen, data: Mapping[str, str | Path]) -> dict[str, tuple[str, Path]]:
    """Where each task's rows are, of those that have local ones, and the name that they were given for."""
    known: dict[str, list[str]] = {}
    # From the outermost group inwards, so that what is nearer to a task comes later and counts.
    for group in reversed(chosen.groups):
        known[group.name] = [one.name for one in group.tasks]
    for bound in chosen.tasks:
        for tag in _tags(bound):
            known.setdefault(tag, []).append(bound.name)
    known |= {bound.name: [bound.name] for bound in chosen.tasks}
    if strange := [name for name in data if name not in known]:
        raise Mistake(
            f"`{strange[0]}` is none of the tasks that are evaluated", f"name one of {', '.join(known)}", "--data"
        )
    return {task: (name, Path(data[name])) for name in known if name in data for task in known[name]}


def _tags(bound: BoundTask) -> tuple[str, ...]:
    tag = bound.task.tag
    return () if tag is None else (tag,) if isinstance(tag, str) else tag


def _raise(failures: Sequence[tuple[str, TeacherlmError]]) -> None:
    """All failures as one error: of the Hub or this machine the first, else all mistakes."""
    told = together(failures)
    for error in told:
        if not isinstance(error, Mistake):
            raise error
    raise told[0] if len(told) == 1 else Mistakes([problem for error in told for problem in error.problems])


def together(failures: Sequence[tuple[str, TeacherlmError]]) -> list[TeacherlmError]:
    """Failures of tasks as errors that name them; what is wrong with many tasks alike is told once."""
    alike: dict[tuple[str, ...], list[tuple[str, TeacherlmError]]] = {}
    for name, error in failures:
        parts = (type(error).__name__, error.where, error.found.replace(name, ""), error.remedy.replace(name, ""))
        alike.setdefault(parts, []).append((name, error))
    found: list[TeacherlmError] = []
    for group in alike.values():
        name, error = group[0]
        if len(error.problems) > 1:
            found.append(error)
            continue
        more = f"{name} and {len(group) - 1:,} more" if len(group) > 1 else name
        named = error.found.replace(name, more, 1) if name in error.found else f"{more}: {error.found}"
        found.append(type(error)(named, error.remedy, error.where))
    return found
