"""The steps of a project over a workspace at any fsspec location, run by an engine: here, or on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson

import teacherlm
from teacherlm.api.augment import Augmented
from teacherlm.api.catalog import TEACHER
from teacherlm.api.orders import make_orders
from teacherlm.api.project import Project
from teacherlm.api.scale_shards import count_samples, divide
from teacherlm.api.scale_states import Record, States, combined
from teacherlm.api.scale_tasks import (
    Asking,
    Job,
    augment_task,
    build_task,
    check_task,
    in_collection,
    put_declared,
)
from teacherlm.api.workspace import Workspace
from teacherlm.builders.build import MANIFEST, Built
from teacherlm.core.errors import MachineFailed, Mistake, TeacherlmError
from teacherlm.engine.store import Store
from teacherlm.engine.store_locks import Held, holding
from teacherlm.engine.tasks import Ended, Engine, Inline, Task
from teacherlm.quality.report import Report


class Target(NamedTuple):
    """A dataset, in the workspace or in a collection's."""

    dataset: str
    collection: str | None = None

    def __str__(self) -> str:
        return f"{self.collection}/{self.dataset}" if self.collection else self.dataset


Results = dict[Target, Any]
"""What became of each target: what the step gives, or the TeacherlmError that it ended with."""


@dataclass(frozen=True)
class Scaled:
    """A project whose workspace is a location, and the engine that runs its steps.

    >>> with ray_engine() as engine:  # doctest: +SKIP
    ...     scaled = Scaled(teacherlm.open("."), Store("s3://bucket/workspace"), engine)
    ...     scaled.build(["creak"]), scaled.augment(["creak"], teacher=url), scaled.check(["creak"])
    """

    project: Project
    """Its own workspace is not used."""
    store: Store
    engine: Engine = field(default_factory=Inline)
    workers: int | None = None
    """Tasks at once; None: as many as the engine has places."""
    shard_rows: int | None = None
    """Samples of a shard; None: as many as suit a dataset."""

    def build(
        self,
        targets: Sequence[Target | str],
        *,
        source: str | os.PathLike[str] | None = None,
        split: str | None = None,
        force: bool = False,
    ) -> dict[Target, Built | TeacherlmError]:
        """Build datasets, one task each. A local source has to lie where every machine sees it."""
        found = _targets(targets)
        place = os.fspath(source) if source is not None else None
        with self.locked(found) as held:
            tasks = {
                target: [Task(str(target), build_task, (job, place, split, force))]
                for target, job in self._jobs(found).items()
            }
            return {target: _one(ends) for target, ends in self._run(tasks, held)}

    def augment(
        self,
        targets: Sequence[Target | str],
        *,
        teacher: str | None = None,
        kinds: Sequence[str] | None = None,
        limit: int | None = None,
        repeats: int = 1,
        strategy: str | None = None,
        concurrency: int | None = None,
        watch: Callable[[Augmented], None] | None = None,
    ) -> dict[Target, Augmented | TeacherlmError]:
        """Augment datasets, one task for each shard of their samples; see `Project.augment`.

        Args:
            concurrency: requests in flight at each endpoint, over all workers; None: the teacher's, else each worker
                learns it.
            watch: called with the state of all datasets together.
        """
        found = _targets(targets)
        given = teacher or os.environ.get(TEACHER)
        chosen = self.project.teacher(given)
        orders = {}
        for target in found:
            project = self._project(target)
            bound = project.recipe(target.dataset)

            def prompts(teacher: Any, project: Project = project, bound: Any = bound) -> Any:
                return project.prompts(bound, teacher)

            orders[target] = make_orders(
                bound, chosen, prompts, kinds=kinds, limit=limit, repeats=repeats, strategy=strategy
            )
        fixed = {order.teacher.profile.concurrency for parts in orders.values() for order in parts}
        if concurrency is None and len(fixed) == 1:  # a worker that took it from the profile would take all of it
            concurrency = fixed.pop()
        with self.locked(found) as held, tempfile.TemporaryDirectory(prefix="teacherlm-") as scratch:
            asking = Asking(
                teacher=given or "",
                kinds=tuple(kinds) if kinds is not None else None,
                repeats=repeats,
                strategy=strategy,
                concurrency=concurrency,
            )
            tasks, failed = self._shards(found, asking, limit)
            records = {
                str(target): Record(
                    in_collection(self.store, target.collection),
                    Path(scratch) / str(target),
                    target.dataset,
                    orders[target],
                    chosen.name,
                )
                for target in tasks
            }
            states = States(chosen.name, watch, records)
            results: Results = dict(failed)
            for target, ends in self._run(tasks, held, states):
                results[target] = _augmented(records[str(target)], ends, len(tasks[target]))
            return {target: results[target] for target in found}

    def check(
        self, targets: Sequence[Target | str], *, only_if_stale: bool = False
    ) -> dict[Target, Report | TeacherlmError]:
        """Check datasets, one task each."""
        found = _targets(targets)
        with self.locked(found) as held:
            tasks = {
                target: [Task(str(target), check_task, (job, only_if_stale))]
                for target, job in self._jobs(found).items()
            }
            return {target: _one(ends) for target, ends in self._run(tasks, held)}

    def built(self, target: Target) -> bool:
        """Whether a dataset has samples."""
        store = in_collection(self.store, target.collection)
        return store.read(f"samples/{target.dataset}/{MANIFEST}") is not None

    def _project(self, target: Target) -> Project:
        return self.project if target.collection is None else self.project.collection(target.collection).project

    def _jobs(self, targets: Iterable[Target]) -> dict[Target, Job]:
        declared, version = put_declared(self.project.files, self.store), teacherlm.__version__
        return {target: Job(self.store.url, target.dataset, target.collection, declared, version) for target in targets}

    def _places(self, tasks: int) -> int:
        return max(1, min(self.workers or self.engine.places, tasks))

    def _shards(
        self, targets: Sequence[Target], asking: Asking, limit: int | None
    ) -> tuple[dict[Target, list[Task]], dict[Target, TeacherlmError]]:
        """The tasks of each dataset that has samples, and what stands against the others."""
        failed: dict[Target, TeacherlmError] = {}
        divided = {}
        for target in targets:
            store = in_collection(self.store, target.collection)
            try:
                total = count_samples(store, target.dataset)
                manifest = orjson.loads(store.read(f"samples/{target.dataset}/{MANIFEST}") or b"{}")
                places = self.workers or self.engine.places
                shards = divide(store, target.dataset, manifest["fingerprint"], total, places, self.shard_rows)
                divided[target] = (shards, shards.of(min(total, limit) if limit is not None else total))
            except TeacherlmError as error:
                failed[target] = error
        if asking.concurrency is not None:
            places = self._places(sum(len(parts) for _, parts in divided.values()))
            asking = replace(asking, concurrency=max(1, asking.concurrency // places))
        tasks, jobs = {}, self._jobs(divided)
        for target, (shards, parts) in divided.items():
            job = jobs[target]
            tasks[target] = [
                Task(f"{target} {part.number + 1}/{len(parts)}", augment_task, (job, shards, part, asking))
                for part in parts
            ]
        return tasks, failed

    def _run(
        self,
        tasks: Mapping[Target, Sequence[Task]],
        held: Held,
        states: States | None = None,
    ) -> Iterator[tuple[Target, list[Ended]]]:
        """Run the tasks of all targets; each target is yielded when its last task has ended."""
        of = {task.name: target for target, parts in tasks.items() for task in parts}
        ended: dict[Target, list[Ended]] = {target: [] for target in tasks}

        def watch(told: Mapping[str, Any]) -> None:
            if held.lost is not None:
                self.engine.stop()
            if states is not None:
                states.told(told)

        every = [task for parts in tasks.values() for task in parts]
        for end in self.engine.run(every, at_once=self._places(len(every)), watch=watch):
            target = of[end.task]
            ended[target].append(end)
            if isinstance(end.value, Augmented) and end.value.stopped_by:
                self.engine.stop()
            if states is not None:
                states.ended(end)
            if len(ended[target]) == len(tasks[target]):
                yield target, ended.pop(target)
        held.check()
        yield from ended.items()  # interrupted before all of their tasks were begun

    @contextlib.contextmanager
    def locked(self, targets: Sequence[Target]) -> Iterator[Held]:
        """Be the one writer of datasets, also for those who use the folder as a local workspace."""
        if not targets:
            raise Mistake("no dataset is named", "name one", "NAME")
        with contextlib.ExitStack() as stack:
            locks = {}
            for target in targets:
                store = in_collection(self.store, target.collection)
                if store.folder is not None:
                    stack.enter_context(Workspace(store.folder).locked(target.dataset))
                inside = f"collections/{target.collection}/" if target.collection else ""
                locks[f"{inside}locks/{target.dataset}"] = f"dataset `{target}`"
            yield stack.enter_context(holding(self.store, locks))


def _augmented(record: Record, ends: Sequence[Ended], tasks: int) -> Augmented | TeacherlmError:
    """What became of a dataset: its state, or the worst of its shards' errors."""
    errors = [end.failure.error() for end in ends if end.failure is not None]
    state = combined(record.state.dataset, record.state.teacher, [end.value for end in ends if end.value is not None])
    if len(ends) < tasks and not errors:
        state.stopped_by = state.stopped_by or "interrupt"
    state = record.end(state, bool(errors))
    return max(errors, key=lambda error: error.exit_code) if errors else state


def _targets(targets: Sequence[Target | str]) -> list[Target]:
    return [target if isinstance(target, Target) else Target(target) for target in targets]


def _one(ends: Sequence[Ended]) -> Any:
    if not ends:
        return MachineFailed("interrupted before it was begun", "run the same command again")
    return ends[0].failure.error() if ends[0].failure is not None else ends[0].value
