"""The calls that a run has to make: what the orders want and the ledger does not hold.

Whether the ledger holds an answer is known for sure only from its key, and that takes the prompt. But where it has no
answer of this teacher to a row at all, the row has to be asked, whatever its prompt: such rows come first, so that a
run that goes on begins at once. All others are looked up while those are asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from teacherlm.api.human import COLUMN, has_human
from teacherlm.api.orders import Order
from teacherlm.api.passages import SampleFile
from teacherlm.api.samples import ASKED_COLUMNS, first_rows
from teacherlm.api.star import Star
from teacherlm.core.clock import now
from teacherlm.teacher.answered import AnsweredCalls
from teacherlm.teacher.calls import Call
from teacherlm.teacher.resume import unsettled
from teacherlm.teacher.wire import Info

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

AT_ONCE = 4096
"""Calls before the first look-up: more than a run begins with."""

LOOKED_UP_AT_ONCE = 32
"""Samples: answers wait meanwhile, for some milliseconds."""


class Known(Protocol):
    """Counts what needs no asking."""

    taken_up_again: int

    def know(self, kind: str, texts: int) -> None:
        """Count texts of a kind; fewer where there are less than it seemed."""


def pending_calls(
    order: Order,
    files: Mapping[str, Sequence[Path]],
    info: Info,
    answered: AnsweredCalls,
    state: Known,
    record: Callable[[Mapping[str, Any]], None],
) -> Iterator[Call | None]:
    """The calls that have to be made; those of a sample, and of samples with one passage, next to each other.

    None where the next one has to be looked for yet, and answers may be let in.

    Answers that are known but were replaced since (by those of another teacher or prompt) are recorded once more.
    """
    columns = [*ASKED_COLUMNS, COLUMN] if order.human else [*ASKED_COLUMNS]
    with contextlib.ExitStack() as stack:
        parts = []
        for path, rows in first_rows(files, order.limit):
            file = stack.enter_context(SampleFile(path, rows, columns))
            parts.append(_Part(file, _may_be_known(order, file, info, answered)))
        plan = _Plan(order, info, answered, state, record, parts)
        yield from plan.calls()


def _may_be_known(order: Order, file: SampleFile, info: Info, answered: AnsweredCalls) -> Array:
    """Of each sample, whether the ledger may hold the text of each kind and repeat."""
    texts = [(kind, repeat) for kind in order.kinds for repeat in range(order.repeats)]
    if not len(answered):
        return np.zeros((file.rows, len(texts)), dtype=np.bool_)
    digests = file.id_digests()
    columns = [answered.may_hold(digests, kind, repeat, info) for kind, repeat in texts]
    for column, (kind, repeat) in enumerate(texts):
        if order.draws(kind) and repeat:  # the first draw decides what follows it
            columns[column] = columns[column - 1]
    return np.column_stack(columns)


@dataclass(frozen=True)
class _Part:
    """A file of samples."""

    file: SampleFile
    known: Array
    """Of each row, the texts that may be known."""

    @property
    def may_be_unknown(self) -> Array:
        """Rows of which a text has to be asked."""
        mask: Array = np.logical_not(self.known.all(axis=1))
        return mask

    @property
    def may_be_known(self) -> Array:
        """Rows of which a text has to be looked up."""
        mask: Array = np.any(self.known, axis=1)
        return mask


_NOT_YET: tuple[Call | None, ...] = (None,)


@dataclass
class _Plan:
    """What is to be asked, of one run."""

    order: Order
    info: Info
    answered: AnsweredCalls
    state: Known
    record: Callable[[Mapping[str, Any]], None]
    parts: Sequence[_Part]

    def calls(self) -> Iterator[Call | None]:
        to_ask = sum(int(part.may_be_unknown.sum()) for part in self.parts)
        to_look_up = sum(int(part.may_be_known.sum()) for part in self.parts)
        for part in self.parts:
            self._count(part.known)  # corrected as they are looked up
        asked = looked_up = calls = 0
        found = self._look_up()
        for part in self.parts:
            for batch in part.file.batches(part.may_be_unknown):
                for row, passage, sample in batch:
                    asked += 1
                    for call in self._calls_of(sample, passage, part.known[row], known=False):
                        calls += 1
                        yield call
                    # Bit by bit, since answers wait meanwhile.
                    while calls > AT_ONCE and looked_up * to_ask < asked * to_look_up:
                        samples, left = next(found)
                        looked_up += samples
                        yield from left or _NOT_YET
        for _, left in found:
            yield from left or _NOT_YET

    def _count(self, known: Array, sign: int = 1) -> None:
        """Count those of the texts that may be known which are wanted: of a kind that is drawn one is."""
        repeats = self.order.repeats
        for number, kind in enumerate(self.order.kinds):
            first = number * repeats
            wanted = known[..., first : first + (1 if self.order.draws(kind) else repeats)]
            self.state.know(kind, sign * int(wanted.sum()))

    def _look_up(self) -> Iterator[tuple[int, list[Call]]]:
        """Look up what may be known, some samples at a time; gives their number and what has to be asked after all."""
        for part in self.parts:
            for batch in part.file.batches(part.may_be_known):
                for start in range(0, len(batch), LOOKED_UP_AT_ONCE):
                    some = batch[start : start + LOOKED_UP_AT_ONCE]
                    rows = [row for row, _, _ in some]
                    self._count(part.known[rows], -1)
                    calls = [
                        call
                        for row, passage, sample in some
                        for call in self._calls_of(sample, passage, part.known[row], known=True)
                    ]
                    yield len(some), self._left_of(calls)

    def _left_of(self, calls: Sequence[Call]) -> list[Call]:
        """Which calls have to be made."""
        left: list[Call] = []
        replaced: list[str] = []
        final = iter(self.answered.are_final([key for call in calls for key in call.keys]))
        for call in calls:
            are_final = [next(final) for _ in call.keys]
            if call.sequel is None and all(are_final):
                self._know(call)
                continue
            known: dict[tuple[str, int], str] = {}
            if (open_call := unsettled(call, self.info, self.answered, known)) is not None:
                left.append(open_call)
            else:
                self._know(call)
            replaced += [key for key in known.values() if not self.answered.is_last(key)]
        for line in self.answered.lines_of(replaced):
            self.record({**line, "created_at": now()})
            self.state.taken_up_again += 1
        return left

    def _know(self, call: Call) -> None:
        for kind in call.parts or (call.kind,):
            self.state.know(kind, 1)

    def _calls_of(self, sample: Mapping[str, Any], passage: str, texts: Array, *, known: bool) -> Iterator[Call]:
        """The calls about a sample: those of which all texts may be known, or the others."""
        order = self.order
        may_be = texts.reshape(len(order.kinds), order.repeats).tolist()
        wanted = [number for number, kind in enumerate(order.kinds) if kind != order.human or not has_human(sample)]
        kinds = tuple(order.kinds[number] for number in wanted)
        if order.prompts.profile.one_call is not None:
            for repeat in range(order.repeats if kinds else 0):
                if all(may_be[number][repeat] for number in wanted) == known:
                    yield order.call(
                        sample, self.info, kinds[0], repeat, template="one_call", parts=kinds, beginning=passage
                    )
            return
        for number, kind in zip(wanted, kinds, strict=True):
            if order.draws(kind):
                if may_be[number][0] == known:
                    yield Star(order, sample, self.info, self.answered, passage).draw()
                continue
            for repeat in range(order.repeats):
                if may_be[number][repeat] == known:
                    yield order.call(sample, self.info, kind, repeat, beginning=passage)
