"""The states of many shards as the state of one run for each dataset, and its record in the store."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from teacherlm.api.augment import Augmented
from teacherlm.api.orders import Order
from teacherlm.api.runs import DONE, FAILED, RUNNING, STOPPED, RunLog
from teacherlm.api.workspace import Workspace
from teacherlm.core.errors import TeacherlmError
from teacherlm.engine.store import Store
from teacherlm.engine.tasks import Ended
from teacherlm.teacher.budget import Budget
from teacherlm.teacher.tally import EndpointTally, Tally

RECORD_S = 30.0
"""Between two uploads of a run's record."""


class Record:
    """The record of one dataset's run, as `augment` keeps it on a disk; here it is uploaded now and then."""

    def __init__(self, store: Store, scratch: Path, dataset: str, orders: Sequence[Order], teacher: str) -> None:
        self._store, self._dataset = store, dataset
        self._workspace = Workspace(scratch)
        self.state = Augmented(dataset=dataset, teacher=teacher)
        self.state.run = f"{self.state.started_at[:19].replace('-', '').replace(':', '')}-{os.urandom(2).hex()}"
        urls = {order.teacher.name: order.teacher.profile.endpoints for order in orders}
        self._log = RunLog(self._workspace, self.state, orders, urls, Budget(), None)
        self._written_at = 0.0
        self._write(RUNNING)

    def tick(self, state: Callable[[], Augmented]) -> None:
        """Upload the record where it is old."""
        if time.monotonic() - self._written_at >= RECORD_S:
            self._take(state())
            self._write(RUNNING)

    def end(self, state: Augmented, failed: bool) -> Augmented:
        """Upload the record of a run that has ended; returns its state."""
        self._take(state)
        self._write(FAILED if failed else STOPPED if state.stopped_by else DONE)
        return self.state

    def _take(self, state: Augmented) -> None:
        for part in fields(Augmented):
            if part.name not in ("run", "started_at", "dataset"):
                setattr(self.state, part.name, getattr(state, part.name))

    def _write(self, word: str) -> None:
        self._written_at = time.monotonic()
        self._log.write(word)
        path = self._workspace.run_record(self._dataset)
        with contextlib.suppress(TeacherlmError):  # the record must not hide what the run does
            for name in (f"runs/{self.state.run}.json", "run.json"):
                self._store.upload(path, f"reports/{self._dataset}/{name}")


class States:
    """The states of all shards, by the names of their tasks: `DATASET NUMBER/COUNT`."""

    def __init__(
        self, teacher: str, watch: Callable[[Augmented], None] | None, records: Mapping[str, Record] | None = None
    ) -> None:
        self._teacher, self._watch, self._records = teacher, watch, records or {}
        self._states: dict[str, Augmented] = {}

    def told(self, told: Mapping[str, Any]) -> None:
        """Take what shards have told last."""
        self._states |= {name: value for name, value in told.items() if isinstance(value, Augmented)}
        for dataset in {_dataset(name) for name in self._states} & set(self._records):
            self._records[dataset].tick(lambda dataset=dataset: self.of(dataset))  # type: ignore[misc]
        if self._watch is not None and self._states:
            names = {_dataset(name) for name in self._states}
            shown = names.pop() if len(names) == 1 else f"{len(names)} datasets"
            self._watch(combined(shown, self._teacher, list(self._states.values())))

    def of(self, dataset: str) -> Augmented:
        """The state of one dataset."""
        own = [state for name, state in self._states.items() if _dataset(name) == dataset]
        return combined(dataset, self._teacher, own)

    def ended(self, end: Ended) -> None:
        if end.value is not None:
            self.told({end.task: end.value})


def _dataset(task: str) -> str:
    return task.rpartition(" ")[0]


def combined(dataset: str, teacher: str, states: Sequence[Augmented]) -> Augmented:
    """The states of shards as the state of one run."""
    total = Augmented(dataset=dataset, teacher=teacher)
    if not states:
        return total
    times = [datetime.fromisoformat(state.started_at) for state in states]
    ends = [start + timedelta(seconds=state.seconds) for start, state in zip(times, states, strict=True)]
    total.seconds = round((max(ends) - min(times)).total_seconds(), 3)
    total.started_at = min(state.started_at for state in states)
    teachers = max(len(state.tallies) for state in states)
    total.tallies = [
        _summed([state.tallies[number] for state in states if number < len(state.tallies)])
        for number in range(teachers)
    ]
    for state in states:
        for name in ("planned", "already", "taken", "taken_up_again"):
            setattr(total, name, getattr(total, name) + getattr(state, name))
        for name in ("wanted", "there"):
            counts = Counter(getattr(total, name))
            counts.update(getattr(state, name))
            setattr(total, name, dict(counts))
        total.model, total.revision = total.model or state.model, total.revision or state.revision
        total.stopped_by = total.stopped_by or state.stopped_by
    costs = [state.cost for state in states if state.cost is not None]
    total.cost = sum(costs) if len(costs) == len(states) else None
    return total


def _summed(tallies: Sequence[Tally]) -> Tally:
    """The sums over shards; of an endpoint too, which all of them ask."""
    total = Tally.of_all(tallies)
    endpoints: dict[str, EndpointTally] = {}
    for one in total.endpoints:
        known = endpoints.setdefault(one.url, EndpointTally(one.url))
        for part in fields(EndpointTally):
            value = getattr(one, part.name)
            if isinstance(value, int):
                setattr(known, part.name, getattr(known, part.name) + value)
        known.away = one.away
    total.endpoints = list(endpoints.values())
    return total
