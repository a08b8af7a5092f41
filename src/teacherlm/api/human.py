"""Human rationales: texts that the source has already. Nobody is asked for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from teacherlm.api.orders import Order
from teacherlm.api.samples import sample_batches
from teacherlm.teacher.answered import AnsweredCalls
from teacherlm.teacher.calls import human_line
from teacherlm.teacher.ledger import Ledger

COLUMN = "human_rationale"


class Taken(NamedTuple):
    """How many samples have a human rationale."""

    now: int
    already: int
    """Those whose text the ledger held before."""
    again: int
    """Of them, those that a teacher's answer had replaced since."""


def has_human(sample: Mapping[str, Any]) -> bool:
    return bool((sample.get(COLUMN) or "").strip())


def take_human(order: Order, files: Mapping[str, Sequence[Path]], answered: AnsweredCalls, ledger: Ledger) -> Taken:
    """Write the human rationales of a dataset that the ledger does not hold.

    Raises:
        MachineFailed: the disk is full or refuses.
    """
    if order.human is None:
        return Taken(0, 0, 0)
    taken = already = again = 0
    for samples in sample_batches(files, order.limit, ("sample_id", "split", COLUMN)):
        lines = [
            human_line(
                sample_id=sample["sample_id"],
                dataset=order.bound.name,
                split=sample["split"],
                kind=order.human,
                text=sample[COLUMN].strip(),
            )
            for sample in samples
            if has_human(sample)
        ]
        for line, known in zip(lines, answered.look_up([line["call_key"] for line in lines]), strict=True):
            already += known is not None
            if known is None:
                ledger.append(line)
                taken += 1
            elif not answered.is_last(line["call_key"]):
                ledger.append(line)
                again += 1
    return Taken(taken, already, again)
