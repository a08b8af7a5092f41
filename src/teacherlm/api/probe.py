"""Probe: a teacher is really asked about some samples, drawn over the whole dataset, to forecast the rest.

The answers go into the ledger as those of any run: nothing is paid twice, and the same probe asks nothing anew.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from teacherlm.api.augment import Augmented, augment
from teacherlm.api.forecast import Estimate, Forecast, Measured, Pace, estimate, pace, prices, time_left
from teacherlm.api.human import COLUMN
from teacherlm.api.orders import Order
from teacherlm.api.pending import pending_calls
from teacherlm.api.probe_lines import Key, Line, key_of, length_of, lines_of, texts_of
from teacherlm.api.runs import read_runs
from teacherlm.api.samples import ASKED_COLUMNS, count_samples, sample_batches
from teacherlm.api.workspace import Workspace
from teacherlm.teacher.answered import AnsweredCalls
from teacherlm.teacher.wire import Info

SEED = 20231019

LOOKED_AT = 20_000
"""Samples that are looked at to see what is left; of larger datasets so many are drawn."""

Files = Mapping[str, Sequence[Path]]


@dataclass
class _Known:
    taken_up_again: int = 0

    def know(self, kind: str, texts: int) -> None:
        pass


def forecast(
    workspace: Workspace,
    orders: Sequence[Order],
    teacher: str,
    urls: Mapping[str, Sequence[str]],
    samples: int,
    *,
    concurrency: int | None = None,
    watch: Callable[[Augmented], None] | None = None,
) -> Forecast:
    """Ask about `samples` samples of a dataset, and forecast what `augment` then has left to do.

    Raises:
        KeyboardInterrupt: it was interrupted; what was answered is kept.
        TeacherLost, MachineFailed: as `augment`.
    """
    name, limit = orders[0].bound.name, orders[0].limit
    files = workspace.sample_files(name)
    total = count_samples(files, limit)
    whole = [replace(order, limit=None) for order in orders]
    with tempfile.TemporaryDirectory(prefix="teacherlm-") as scratch:
        drawn = _draw(files, total, min(samples, total), Path(scratch) / "probe")
        state = augment(
            whole, workspace, teacher, urls, concurrency=concurrency, watch=watch, files=drawn, probe=samples
        )
        if state.stopped_by:
            raise KeyboardInterrupt
        looked_at = _draw(files, total, LOOKED_AT, Path(scratch) / "left") if total > LOOKED_AT else files
        infos = _infos(workspace, name, state)
        answered = AnsweredCalls.read(workspace.rationales(name))
        left = _left(orders if looked_at is files else whole, looked_at, infos, answered)
        rows = [row for batch in sample_batches(drawn, None, (*ASKED_COLUMNS, COLUMN)) for row in batch]
    scale = max(1.0, total / LOOKED_AT)
    left = {key: (texts * scale, characters * scale) for key, (texts, characters) in left.items()}
    chains = {key: found for number, order in enumerate(whole) for key, found in texts_of(number, order, rows, infos)}
    lines = lines_of(workspace, name, whole, rows, infos)
    measured = {key: _measured(key, found, lines, left.get(key, (0.0, 0.0))) for key, found in chains.items()}
    return _forecast(workspace, name, whole, state, measured, lines, len(rows), max(0, total - len(rows)))


def _draw(files: Files, total: int, count: int, folder: Path) -> dict[str, list[Path]]:
    """Write `count` samples, one from each of as many equal parts of the first `total`."""
    import pyarrow as pa
    import pyarrow.parquet

    chance = random.Random(SEED)
    wanted = iter([chance.randrange(n * total // count, (n + 1) * total // count) for n in range(count)])
    following = next(wanted, total)
    drawn: dict[str, list[Path]] = {}
    first = 0
    for split, paths in files.items():
        for path in paths:
            with pyarrow.parquet.ParquetFile(path) as file:
                parts = []
                for batch in file.iter_batches(4096):
                    places = []
                    while following < min(first + batch.num_rows, total):
                        places.append(following - first)
                        following = next(wanted, total)
                    first += batch.num_rows
                    if places:
                        parts.append(batch.take(pa.array(places)))
            if parts:
                (folder / split).mkdir(parents=True, exist_ok=True)
                drawn.setdefault(split, []).append(folder / split / path.name)
                pyarrow.parquet.write_table(pa.Table.from_batches(parts), drawn[split][-1])
    return drawn


def _infos(workspace: Workspace, name: str, state: Augmented) -> list[Info]:
    """Who the teachers were, as the run's record has it."""
    record = next(run for run in read_runs(workspace, name) if run["run"] == state.run)
    return [Info(order["model"], order["revision"]) for order in record["orders"]]


def _left(
    orders: Sequence[Order], files: Files, infos: Sequence[Info], answered: AnsweredCalls
) -> dict[Key, tuple[float, float]]:
    """Texts, and characters of their prompts, that are still to be asked for."""
    left: dict[Key, tuple[float, float]] = {}
    for number, (order, info) in enumerate(zip(orders, infos, strict=True)):
        for call in filter(None, pending_calls(order, files, info, answered, _Known(), lambda line: None)):
            key = key_of(number, call)
            texts, characters = left.get(key, (0.0, 0.0))
            left[key] = texts + 1, characters + length_of(call)
    return left


def _measured(key: Key, texts: tuple[Any, Any], lines: Sequence[Line], left: tuple[float, float]) -> Measured:
    count = len(texts[0])
    calls, tokens_in, tokens_out = np.zeros(count), np.zeros(count), np.zeros(count)
    for line in lines:
        if line.key == key:
            calls[line.sample] += line.asked
            tokens_in[line.sample] += line.tokens_in
            tokens_out[line.sample] += line.tokens_out
    return Measured(texts[0], texts[1], calls, tokens_in, tokens_out, *left)


def _forecast(
    workspace: Workspace,
    name: str,
    orders: Sequence[Order],
    state: Augmented,
    measured: Mapping[Key, Measured],
    lines: Sequence[Line],
    samples: int,
    left: int,
) -> Forecast:
    parts = list(measured.values())
    price_of = {
        key: (profile.cost(1, 0) or 0.0, profile.cost(0, 1) or 0.0)
        for key in measured
        if (profile := orders[key[0]].teacher.profile).cost(1, 1) is not None
    }
    costs = [
        order.teacher.profile.cost(tally.prompt_tokens, tally.generated_tokens)
        for order, tally in zip(orders, state.tallies, strict=True)
    ]
    # Without the counts of the server, answers are the work that time goes by.
    by_tokens = all(line.tokens_out for line in lines if line.asked)
    run = _timed(workspace, name, lines)
    paces: list[tuple[Pace | None, Estimate, float]] = []
    for number in range(len(orders)):
        own = [part for key, part in measured.items() if key[0] == number]
        work = [(part.tokens_out if by_tokens else part.calls, part.texts, part.texts_left) for part in own]
        timed = [line for line in run[0] if line.key[0] == number and line.asked]
        weights = np.array([line.tokens_out if by_tokens else 1.0 for line in timed])
        found = pace(np.array([line.sent for line in timed]), np.array([line.done for line in timed]), weights)
        paces.append((found, estimate(work, left), float(weights.sum())))
    known = [found for found, _, _ in paces if found is not None]
    rate = sum(found.rate for found in known)
    return Forecast(
        samples=samples,
        calls=state.tally.requests - state.tally.retries,
        tokens_in=state.tally.prompt_tokens,
        tokens_out=state.tally.generated_tokens,
        seconds=round(state.seconds, 3),
        cost=None if None in costs else sum(cost for cost in costs if cost is not None),
        texts_left=round(sum(part.texts_left for part in parts)),
        calls_left=estimate([(part.calls, part.texts, part.texts_left) for part in parts], left),
        tokens_in_left=estimate([(part.tokens_in, part.characters, part.characters_left) for part in parts], left),
        tokens_out_left=estimate([(part.tokens_out, part.texts, part.texts_left) for part in parts], left),
        cost_left=prices(measured, price_of, left),
        seconds_left=time_left(paces, run[1], max(1, samples - 1)),
        concurrency=round(sum(found.in_flight for found in known), 1) if known else None,
        tokens_per_second=round(rate, 1) if known and by_tokens else None,
        is_steady=all(found is not None and found.is_steady for found, work, _ in paces if work.expected),
    )


def _timed(workspace: Workspace, name: str, lines: Sequence[Line]) -> tuple[list[Line], float]:
    """The answers of the probe that asked most of these samples, the last one if several did, and its seconds."""
    best: tuple[list[Line], float] = ([], 0.0)
    for run in read_runs(workspace, name):
        if run["probe"] and run["ended_at"]:
            begin, end = _epoch(run["started_at"]), _epoch(run["ended_at"])
            own = [line for line in lines if begin <= line.done <= end]
            if len(own) >= max(1, len(best[0])):
                best = own, run["seconds"]
    return best


def _epoch(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp()
