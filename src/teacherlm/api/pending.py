"""The calls that a run has to make: what the orders want and the ledger does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from teacherlm.api.human import COLUMN, has_human
from teacherlm.api.orders import Order
from teacherlm.api.samples import ASKED_COLUMNS, sample_batches
from teacherlm.api.star import Star
from teacherlm.core.clock import now
from teacherlm.teacher.answered import AnsweredCalls
from teacherlm.teacher.calls import Call
from teacherlm.teacher.resume import unsettled
from teacherlm.teacher.tgi import Info


class Known(Protocol):
    """Counts what needs no asking."""

    already: int
    taken_up_again: int


def pending_calls(
    order: Order,
    files: Mapping[str, Sequence[Path]],
    info: Info,
    answered: AnsweredCalls,
    state: Known,
    record: Callable[[Mapping[str, Any]], None],
) -> Iterator[Call]:
    """The calls that have to be made, in the order of the samples, the kinds of a sample next to each other.

    Answers that are known but were replaced since (by those of another teacher or prompt) are recorded once more.
    """
    columns = [*ASKED_COLUMNS, COLUMN] if order.human else ASKED_COLUMNS
    for samples in sample_batches(files, order.limit, columns):
        batch = [call for sample in samples for call in _calls_of(order, sample, info, answered)]
        states = iter(answered.look_up([key for call in batch for key in call.keys]))
        left: list[Call] = []
        replaced: list[str] = []
        for call in batch:
            if None in [next(states) for _ in call.keys]:
                left.append(call)
                continue
            known: dict[tuple[str, int], str] = {}
            if (open_call := unsettled(call, info, answered, known)) is not None:
                left.append(open_call)
            else:
                state.already += len(call.keys)
            replaced += [key for key in known.values() if not answered.is_last(key)]
        for line in answered.lines_of(replaced):
            record({**line, "created_at": now()})
            state.taken_up_again += 1
        yield from left


def _calls_of(order: Order, sample: Mapping[str, Any], info: Info, answered: AnsweredCalls) -> Iterator[Call]:
    kinds = tuple(kind for kind in order.kinds if kind != order.human or not has_human(sample))
    if order.prompts.profile.one_call is not None:
        for repeat in range(order.repeats if kinds else 0):
            yield order.call(sample, info, kinds[0], repeat, template="one_call", parts=kinds)
        return
    for kind in kinds:
        if order.draws(kind):
            yield Star(order, sample, info, answered).draw()
        else:
            yield from (order.call(sample, info, kind, repeat) for repeat in range(order.repeats))
