"""Augment: every sample of a dataset is put to a teacher, kind by kind; every answer is in the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from teacherlm.api.catalog import ChosenTeacher
from teacherlm.api.workspace import Workspace
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.builders.prompts import BoundPrompts
from teacherlm.core.clock import now
from teacherlm.core.errors import Mistake
from teacherlm.core.files import write_json
from teacherlm.core.keys import digest
from teacherlm.teacher.asker import Asker, Tally
from teacherlm.teacher.calls import Call, make_call
from teacherlm.teacher.client import Teacher, Timeout
from teacherlm.teacher.ledger import AnsweredCalls, Ledger
from teacherlm.teacher.profile import TeacherProfile
from teacherlm.teacher.tgi import Info

BATCH = 256
"""Samples rendered at once: enough to look their keys up together, too few to hold up answers."""

ASKED_COLUMNS = ["sample_id", "split", "task", "subject", "question", "choices", "answer"]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be asked of one dataset."""

    bound: BoundRecipe
    prompts: BoundPrompts
    kinds: tuple[str, ...]
    parameters: Mapping[str, Any]
    """As on the wire, `max_new_tokens` included."""
    seed: int | None = None
    """With sampling: from it each call gets its own."""
    repeats: int = 1
    limit: int | None = None
    """Samples of the dataset, in their order; None: all."""


@dataclass(kw_only=True)
class Augmented:
    """What a run of `augment` did; also its progress while it lasts."""

    dataset: str
    teacher: str
    model: str | None = None
    revision: str | None = None
    planned: int = 0
    """Texts that this order wants in all."""
    already: int = 0
    """Of them, those that earlier runs had settled."""
    tally: Tally = field(default_factory=Tally)
    started_at: str = field(default_factory=now)
    seconds: float = 0.0
    stopped_by: str | None = None
    """Why the run ended early: `interrupt`."""

    @property
    def done(self) -> int:
        return self.already + self.tally.settled

    def to_row(self) -> dict[str, Any]:
        row = {name: value for name, value in asdict(self).items() if name != "tally"}
        return row | {name: value for name, value in asdict(self.tally).items() if name not in ("in_flight", "waiting")}


def make_order(
    bound: BoundRecipe,
    prompts: BoundPrompts,
    profile: TeacherProfile,
    *,
    kinds: Sequence[str] | None = None,
    limit: int | None = None,
    repeats: int = 1,
) -> Order:
    """What to ask, checked before anything is asked.

    Raises:
        Mistake: a kind that the recipe or the prompts do not have; a number below 1.
    """
    recipe = bound.recipe
    wanted = tuple(kind for kind in recipe.kinds if kinds is None or kind in kinds)
    if unknown := [kind for kind in kinds or () if kind not in recipe.kinds]:
        raise Mistake(
            f"`{recipe.name}` has no kind `{unknown[0]}`", f"its kinds are {', '.join(recipe.kinds)}", "--kinds"
        )
    if missing := prompts.missing(wanted):
        raise Mistake(f"it has no prompt for `{missing[0]}`", "add it under `kinds:`", prompts.located.shown)
    for name, value in (("--limit", limit), ("--repeats", repeats)):
        if value is not None and value < 1:
            raise Mistake(f"is {value}", "give a number of 1 or more", name)
    if repeats > 1 and not profile.parameters.do_sample:
        raise Mistake(
            "several texts of a greedy teacher are the same", "set  do_sample: true  in its profile", "--repeats"
        )
    return Order(
        bound=bound,
        prompts=prompts,
        kinds=wanted,
        parameters={**profile.parameters.wire(), "max_new_tokens": recipe.max_new_tokens},
        seed=profile.parameters.seed if profile.parameters.do_sample else None,
        repeats=repeats,
        limit=limit,
    )


def augment(
    order: Order,
    workspace: Workspace,
    chosen: ChosenTeacher,
    url: str,
    *,
    concurrency: int | None = None,
    watch: Callable[[Augmented], None] | None = None,
) -> Augmented:
    """Ask the teacher at `url` all that the order wants and the ledger does not hold.

    Args:
        watch: called a few times a second with the state of the run.

    Raises:
        TeacherLost: the teacher is not there or went away for good.
        MachineFailed: another run writes this dataset; the disk is full; the ledger is damaged.
    """
    name = order.bound.name
    state = Augmented(dataset=name, teacher=chosen.name)
    files = workspace.sample_files(name)
    state.planned = _count(files, order) * len(order.kinds) * order.repeats
    with workspace.locked(name):
        started = time.monotonic()
        try:
            _run(lambda: _ask(order, workspace, chosen.profile, url, concurrency, files, state, watch))
        finally:
            state.seconds = round(time.monotonic() - started, 3)
            with contextlib.suppress(Exception):  # the run record must not hide what went wrong
                write_json(workspace.run_record(name), state.to_row())
    return state


async def _ask(
    order: Order,
    workspace: Workspace,
    profile: TeacherProfile,
    url: str,
    concurrency: int | None,
    files: Mapping[str, Sequence[Path]],
    state: Augmented,
    watch: Callable[[Augmented], None] | None,
) -> None:
    timeout = Timeout(connect_s=profile.connect_s, read_s=profile.read_s, patience_s=profile.patience_s)
    async with Teacher(url, timeout=timeout) as teacher:
        info = await teacher.info()
        state.model, state.revision = info.model, info.revision
        with Ledger(workspace.rationales(order.bound.name)) as ledger:
            answered = AnsweredCalls.read(ledger.folder)
            asker = Asker(teacher, ledger.append, concurrency or profile.concurrency, state.tally)
            with _interruptible(asker, state):
                watcher = asyncio.create_task(_watching(state, watch))
                try:
                    await asker.run(calls(order, files, info, answered, state))
                finally:
                    watcher.cancel()
                    if watch is not None:
                        watch(state)


def calls(
    order: Order, files: Mapping[str, Sequence[Path]], info: Info, answered: AnsweredCalls, state: Augmented
) -> Iterator[Call]:
    """The calls that have to be made, in the order of the samples, the kinds of a sample next to each other."""
    for samples in sample_batches(files, order.limit):
        batch = [call for sample in samples for call in _calls_of(order, sample, info)]
        for call, known in zip(batch, answered.look_up([call.key for call in batch]), strict=True):
            if known == "truncated":
                longer = call.with_twice_the_budget(info)
                if answered.look_up([longer.key])[0] is None:
                    yield replace(longer, first_text=answered.text_of(call.key))
                    continue
            if known is None:
                yield call
            else:
                state.already += 1


def _calls_of(order: Order, sample: Mapping[str, Any], info: Info) -> Iterator[Call]:
    for kind in order.kinds:
        prompt = order.prompts.render(kind, sample)
        for repeat in range(order.repeats):
            parameters = dict(order.parameters)
            if order.seed is not None:
                # 53 bits: some servers read the seed as a signed integer or a double.
                parameters["seed"] = int(digest([order.seed, sample["sample_id"], kind, repeat])[:13], 16)
            yield make_call(
                sample_id=sample["sample_id"],
                dataset=order.bound.name,
                split=sample["split"],
                kind=kind,
                repeat=repeat,
                prompt=prompt,
                parameters=parameters,
                stops=order.prompts.profile.stop,
                info=info,
            )


def sample_batches(files: Mapping[str, Sequence[Path]], limit: int | None) -> Iterator[list[dict[str, Any]]]:
    """The samples of a dataset in their order, in batches; at most `limit` of them."""
    import pyarrow.parquet

    left = limit
    for path in (path for paths in files.values() for path in paths):
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH, columns=ASKED_COLUMNS):
                rows = batch.to_pylist()[: left if left is not None else None]
                if left is not None:
                    left -= len(rows)
                yield rows
                if left == 0:
                    return


def _count(files: Mapping[str, Sequence[Path]], order: Order) -> int:
    import pyarrow.parquet

    rows: int = sum(pyarrow.parquet.read_metadata(path).num_rows for paths in files.values() for path in paths)
    return min(rows, order.limit) if order.limit is not None else rows


async def _watching(state: Augmented, watch: Callable[[Augmented], None] | None) -> None:
    started = time.monotonic()
    while watch is not None:
        state.seconds = time.monotonic() - started
        watch(state)
        await asyncio.sleep(0.2)


@contextlib.contextmanager
def _interruptible(asker: Asker, state: Augmented) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM finish what is in flight; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def interrupt() -> None:
        if state.stopped_by is None:
            state.stopped_by = "interrupt"
            asker.stop()
        elif task is not None:
            task.cancel()

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _run(main: Callable[[], Any]) -> None:
    """Run a coroutine to its end, also where a loop already runs (notebooks)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(main())
        return
    failure: list[BaseException] = []

    def elsewhere() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
