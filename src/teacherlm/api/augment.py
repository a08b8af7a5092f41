"""Augment: every sample of a dataset is put to its teachers, kind by kind; every answer is in the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from teacherlm.api.human import take_human
from teacherlm.api.interrupts import Interrupts
from teacherlm.api.orders import Order
from teacherlm.api.pending import pending_calls
from teacherlm.api.progress import Judged
from teacherlm.api.progress_judge import Looks
from teacherlm.api.runs import RunLog, recorded
from teacherlm.api.samples import count_samples
from teacherlm.api.standards import Standards
from teacherlm.api.workspace import Workspace
from teacherlm.core.clock import now
from teacherlm.core.errors import TeacherlmError
from teacherlm.teacher.answered import AnsweredCalls
from teacherlm.teacher.asker import Asker
from teacherlm.teacher.budget import Budget, Share
from teacherlm.teacher.calls import Call
from teacherlm.teacher.client import Teacher, Timeout
from teacherlm.teacher.errors import TeacherLost
from teacherlm.teacher.ledger import Ledger
from teacherlm.teacher.tally import Tally


@dataclass(kw_only=True)
class Augmented:
    """What a run of `augment` did; also its progress while it lasts."""

    dataset: str
    teacher: str
    run: str | None = None
    """The name of its record (docs/workspace.md)."""
    model: str | None = None
    """As the server reports it; of several teachers, all of them."""
    revision: str | None = None
    planned: int = 0
    """Texts that are wanted in all."""
    already: int = 0
    """Of them, those that earlier runs had settled."""
    taken: int = 0
    """Of them, those that this run took from the source."""
    taken_up_again: int = 0
    """Of those that were settled, the ones that another teacher's or prompt's answers had replaced since."""
    wanted: dict[str, int] = field(default_factory=dict)
    """As `planned`, by kind."""
    there: dict[str, int] = field(default_factory=dict)
    """As `already` and `taken` together, by kind."""
    tallies: list[Tally] = field(default_factory=lambda: [Tally()])
    """One for each teacher."""
    judged: Mapping[str, Judged] = field(default_factory=dict)
    """By kind, what became of the answers that were judged while the run went on."""
    not_judged: str | None = None
    """Why they are not, where they should be."""
    cost: float | None = None
    """Of the answers so far, in the currency of the teachers' prices; None where one has none."""
    started_at: str = field(default_factory=now)
    seconds: float = 0.0
    stopped_by: str | None = None
    """Why the run ended early: `interrupt`, or the limit that was reached: `max_calls`, `max_tokens`, `budget`."""

    @property
    def tally(self) -> Tally:
        """What happened so far, over all teachers."""
        return self.tallies[0] if len(self.tallies) == 1 else Tally.of_all(self.tallies)

    @property
    def done(self) -> int:
        return self.already + self.taken + self.tally.settled

    def want(self, kind: str, texts: int) -> None:
        """Count texts that are wanted."""
        self.planned += texts
        self.wanted[kind] = self.wanted.get(kind, 0) + texts

    def know(self, kind: str, texts: int) -> None:
        """Count texts that earlier runs had settled."""
        self.already += texts
        self.there[kind] = self.there.get(kind, 0) + texts

    def take(self, kind: str, texts: int) -> None:
        """Count texts that come from the source."""
        self.taken += texts
        self.there[kind] = self.there.get(kind, 0) + texts

    def to_row(self) -> dict[str, Any]:
        """Without what is only of interest while it lasts; see `Progress` for that."""
        fleeting = ("tallies", "wanted", "there", "judged", "not_judged")
        row = {name: value for name, value in asdict(self).items() if name not in fleeting}
        return row | self.tally.to_row()


def augment(
    orders: Sequence[Order],
    workspace: Workspace,
    teacher: str,
    urls: Mapping[str, Sequence[str]],
    *,
    concurrency: int | None = None,
    watch: Callable[[Augmented], None] | None = None,
    budget: Budget | None = None,
    files: Mapping[str, Sequence[Path]] | None = None,
    probe: int | None = None,
    rules: Callable[[], Standards] | None = None,
) -> Augmented:
    """Ask the teachers all that the orders, which are of one dataset, want and the ledger does not hold.

    Args:
        teacher: what was chosen, for the run's record.
        urls: where each order's teacher listens, by its name.
        concurrency: requests in flight at each endpoint.
        watch: called a few times a second with the state of the run.
        budget: what the run may spend; what is in flight when a limit is reached is finished and kept.
        files: sample files by split; None: those of the dataset.
        probe: samples that a plan draws to make a forecast; for the run's record.
        rules: gives rules and metrics, by which some answers are judged while they come; None: none are.

    Raises:
        Mistake: money is limited, and a teacher has no prices.
        TeacherLost: a teacher is not there or went away for good; the others were asked to the end.
        MachineFailed: another run writes this dataset; the disk is full; the ledger is damaged.
    """
    name = orders[0].bound.name
    state = Augmented(dataset=name, teacher=teacher)
    budget = budget if budget is not None else Budget()
    shares = [budget.share(order.teacher.name, order.teacher.profile) for order in orders]
    interrupts = Interrupts()
    with workspace.locked(name):
        started = time.monotonic()
        files = workspace.sample_files(name) if files is None else files
        for order in orders:
            for kind in order.kinds:
                state.want(kind, count_samples(files, order.limit) * order.texts_of(kind))
        looks = None if rules is None else Looks([path for paths in files.values() for path in paths], rules, state)
        with recorded(workspace, state, orders, urls, budget, probe) as log:
            try:
                interrupts.run(
                    lambda: _ask(
                        orders, shares, workspace, urls, concurrency, files, state, watch, looks, interrupts, log
                    )
                )
            finally:
                state.seconds = round(time.monotonic() - started, 3)
    return state


async def _ask(
    orders: Sequence[Order],
    shares: Sequence[Share],
    workspace: Workspace,
    urls: Mapping[str, Sequence[str]],
    concurrency: int | None,
    files: Mapping[str, Sequence[Path]],
    state: Augmented,
    watch: Callable[[Augmented], None] | None,
    looks: Looks | None,
    interrupts: Interrupts,
    log: RunLog,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        teachers = [await stack.enter_async_context(_teacher(order, urls)) for order in orders]
        infos = [await teacher.info() for teacher in teachers]
        log.know(infos)
        for order, info in zip(orders, infos, strict=True):
            order.check_limits(info)
        state.model = ", ".join(dict.fromkeys(info.model for info in infos))
        state.revision = ", ".join(dict.fromkeys(info.revision for info in infos if info.revision)) or None
        ledger = stack.enter_context(Ledger(workspace.rationales(orders[0].bound.name)))
        answered = AnsweredCalls.read(ledger.folder)
        for order in orders:
            taken, there, again = take_human(order, files, answered, ledger)
            state.taken_up_again += again
            if order.human is not None:  # one text, however many are wanted of a teacher
                state.take(order.human, taken)
                state.know(order.human, there)
                state.want(order.human, -(taken + there) * (order.texts_of(order.human) - 1))
        append = ledger.append if looks is None else looks.noting(ledger.append)
        askers = [
            Asker(
                teacher,
                share.recording(append),
                concurrency or order.teacher.profile.concurrency,
                allowance=share,
            )
            for order, teacher, share in zip(orders, teachers, shares, strict=True)
        ]
        state.tallies = [asker.tally for asker in askers]
        plans = [
            pending_calls(order, files, info, answered, state, ledger.append)
            for order, info in zip(orders, infos, strict=True)
        ]
        if looks is not None:
            stack.enter_context(looks.looking())
        with interrupts.listening(_interrupt(askers, state)):
            watcher = asyncio.create_task(_watching(state, watch, shares[0].budget, log))
            try:
                await _ask_all(askers, plans)
            finally:
                watcher.cancel()
                state.stopped_by = state.stopped_by or shares[0].budget.stopped_by
                log.tick()
                if watch is not None:
                    watch(state)


def _teacher(order: Order, urls: Mapping[str, Sequence[str]]) -> Teacher:
    profile = order.teacher.profile
    timeout = Timeout(connect_s=profile.connect_s, read_s=profile.read_s, patience_s=profile.patience_s)
    return Teacher(urls[order.teacher.name], timeout=timeout, model=profile.model)


async def _ask_all(askers: Sequence[Asker], plans: Sequence[Iterator[Call | None]]) -> None:
    """Ask all teachers at once. One that is lost does not stop the others; whatever else goes wrong does."""

    async def ask(asker: Asker, plan: Iterator[Call | None]) -> None:
        try:
            await asker.run(plan)
        except BaseException as error:
            if not isinstance(error, TeacherLost):
                for other in askers:
                    other.stop()
            raise

    ends = await asyncio.gather(*map(ask, askers, plans), return_exceptions=True)
    if errors := [end for end in ends if end is not None]:
        raise max(errors, key=lambda error: error.exit_code if isinstance(error, TeacherlmError) else 5)


async def _watching(state: Augmented, watch: Callable[[Augmented], None] | None, budget: Budget, log: RunLog) -> None:
    started = time.monotonic()
    while True:
        state.seconds = time.monotonic() - started
        state.stopped_by = state.stopped_by or budget.stopped_by
        log.tick()
        if watch is not None:
            watch(state)
        await asyncio.sleep(0.2)


def _interrupt(askers: Sequence[Asker], state: Augmented) -> Callable[[], None]:
    """What an interrupt does: what is in flight is finished; a second one stops at once."""
    task = asyncio.current_task()

    def interrupt() -> None:
        if state.stopped_by != "interrupt":
            state.stopped_by = "interrupt"
            for asker in askers:
                asker.stop(soon=True)
        elif task is not None:
            task.cancel()

    return interrupt
