"""Run records: what each run was asked for, what it did and at which prices; written while it lasts.

`reports/DATASET/runs/RUN.json` is written at the start of a run, every few seconds and at its end, whole or not at all;
`reports/DATASET/run.json` is the last one. Runs of a dataset exclude each other: an answer of the ledger belongs to the
run that was the last to start before it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from teacherlm.api.orders import Order
from teacherlm.api.progress import Meter, Watched
from teacherlm.api.workspace import Workspace
from teacherlm.core.clock import now
from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import read_json, write_json
from teacherlm.teacher.budget import Budget
from teacherlm.teacher.tally import Tally
from teacherlm.teacher.wire import Info

EVERY_S = 3.0
"""Between two writings of a record."""

FRESH_S = 60.0
"""A record that is older is not of a run that goes on."""

RUNNING, DONE, STOPPED, FAILED, KILLED = "running", "done", "stopped", "failed", "killed"


class Running(Watched, Protocol):
    """The state of a run, as `augment` has it."""

    run: str | None
    started_at: str
    tallies: list[Tally]

    def to_row(self) -> dict[str, Any]: ...


class RunLog:
    """Writes the record of one run."""

    def __init__(
        self,
        workspace: Workspace,
        state: Running,
        orders: Sequence[Order],
        urls: Mapping[str, Sequence[str]],
        budget: Budget,
        probe: int | None,
    ) -> None:
        self._workspace, self._state, self._orders, self._urls = workspace, state, orders, urls
        self._budget, self._probe = budget, probe
        self._meter = Meter()
        self._infos: Sequence[Info] = ()
        self._written_at = 0.0

    def know(self, infos: Sequence[Info]) -> None:
        """Take what the teachers say of themselves, in the order of the orders."""
        self._infos = infos

    def tick(self) -> None:
        """Tell the state what it costs; write the record where it is old."""
        self._state.cost = self._cost()
        self._meter.see(self._state)
        if time.monotonic() - self._written_at >= EVERY_S:
            self.write(RUNNING)

    def write(self, word: str) -> None:
        """Write the record; a disk that refuses must not hide what the run does."""
        self._written_at = time.monotonic()
        moment, run = now(), self._state.run
        self._state.cost = self._cost()
        record = {
            "run": run,
            "state": word,
            "ended_at": None if word == RUNNING else moment,
            "updated_at": moment,
            "probe": self._probe,
            "limits": self._budget.limits,
            **self._state.to_row(),
            "progress": self._meter.see(self._state).to_row(),
            "orders": list(self._rows()),
        }
        place = self._workspace.run_record(self._state.dataset)
        with contextlib.suppress(MachineFailed):
            write_json(runs_folder(self._workspace, self._state.dataset) / f"{run}.json", record)
            write_json(place, record)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for number, order in enumerate(self._orders):
            info = self._infos[number] if self._infos else None
            profile, tally = order.teacher.profile, self._tally(number)
            yield {
                "teacher": order.teacher.name,
                "model": info.model if info else None,
                "revision": info.revision if info else None,
                "endpoints": list(self._urls[order.teacher.name]),
                "kinds": list(order.kinds),
                "prompts": order.prompts.profile.name,
                "strategy": order.strategy,
                "parameters": dict(order.parameters),
                "seed": order.seed,
                "repeats": order.repeats,
                "limit": order.limit,
                "human": order.human,
                "price_of_prompt_token": profile.cost(1, 0),
                "price_of_generated_token": profile.cost(0, 1),
                "requests": tally.requests,
                "retries": tally.retries,
                "prompt_tokens": tally.prompt_tokens,
                "generated_tokens": tally.generated_tokens,
                "cost": profile.cost(tally.prompt_tokens, tally.generated_tokens),
            }

    def _cost(self) -> float | None:
        """What the answers so far cost; None where a teacher has no prices."""
        total = 0.0
        for number, order in enumerate(self._orders):
            tally = self._tally(number)
            cost = order.teacher.profile.cost(tally.prompt_tokens, tally.generated_tokens)
            if cost is None:
                return None
            total += cost
        return total

    def _tally(self, number: int) -> Tally:
        tallies = self._state.tallies
        return tallies[number] if len(tallies) == len(self._orders) else Tally()


@contextlib.contextmanager
def recorded(
    workspace: Workspace,
    state: Running,
    orders: Sequence[Order],
    urls: Mapping[str, Sequence[str]],
    budget: Budget,
    probe: int | None = None,
) -> Iterator[RunLog]:
    """Keep the record of a run while the block lasts; the dataset's lock is held."""
    state.started_at = now()
    state.run = f"{state.started_at[:19].replace('-', '').replace(':', '')}-{os.urandom(2).hex()}"
    log = RunLog(workspace, state, orders, urls, budget, probe)
    log.write(RUNNING)
    try:
        yield log
    except Exception:
        log.write(FAILED)
        raise
    except BaseException:  # a second interrupt
        state.stopped_by = state.stopped_by or "interrupt"
        log.write(STOPPED)
        raise
    log.write(STOPPED if state.stopped_by else DONE)


def progress_of(workspace: Workspace, dataset: str) -> dict[str, Any] | None:
    """How far the run that goes on is, as its record had it last; None where none does."""
    record = read_record(workspace.run_record(dataset))
    if record.get("state") != RUNNING or workspace.holder(dataset) is None:
        return None
    # Where it is old its run was killed, and whoever writes now does something else.
    age = datetime.now(UTC) - datetime.fromisoformat(record["updated_at"])
    return record.get("progress") if age.total_seconds() < FRESH_S else None


def read_record(path: Path) -> dict[str, Any]:
    """A run's record; empty where there is none, or a file that is none: answers do not depend on it."""
    try:
        record = read_json(path)
    except MachineFailed:
        return {}
    if not isinstance(record, dict) or not record.keys() >= {"run", "state", "started_at", "updated_at"}:
        return {}
    return record


def runs_folder(workspace: Workspace, dataset: str) -> Path:
    return workspace.run_record(dataset).parent / "runs"


def read_runs(workspace: Workspace, dataset: str) -> list[dict[str, Any]]:
    """The records of a dataset's runs, in the order of their starts; those that ended without a word are `killed`.

    What is no record is passed over: its answers are then those of the run before, or of none.
    """
    found = [read_record(path) for path in runs_folder(workspace, dataset).glob("[!.]*.json")]
    runs = sorted((run for run in found if run), key=lambda run: str(run["started_at"]))
    for run in runs:
        is_going_on = run is runs[-1] and workspace.holder(dataset) is not None
        if run["state"] == RUNNING and not is_going_on:
            run["state"] = KILLED
    return runs
