"""What earlier runs leave to be asked."""

from __future__ import annotations

from dataclasses import replace

from teacherlm.teacher.answered import AnsweredCalls
from teacherlm.teacher.calls import Call
from teacherlm.teacher.wire import Info


def unsettled(
    call: Call, info: Info, answered: AnsweredCalls, known: dict[tuple[str, int], str] | None = None
) -> Call | None:
    """What has to be asked for a call: itself, itself with twice the budget, what follows it, or nothing.

    A call whose answer gives several texts is asked whole again where one of them is missing.

    Args:
        known: takes for each row, as (kind, repeat), the key of its last known answer; rows that are asked again are
            left out.
    """
    states = answered.look_up(call.keys)
    rows = [(kind, call.repeat) for kind in call.parts or (call.kind,)]
    if None in states:
        if known is not None:
            for row in rows:
                known.pop(row, None)
        return call
    if known is not None:
        known.update(zip(rows, call.keys, strict=True))
        if call.sequel is not None and any(map(answered.is_last, call.sequel.in_place_of(call))):
            known.pop(rows[0])
    if "truncated" in states and call.can_be_extended:
        longer = call.with_twice_the_budget(info)
        left = unsettled(longer, info, answered, known)
        return replace(longer, first_text=answered.text_of(call.key)) if left is longer else left
    if call.sequel is None or (reached := answered.reached(call.key, call.sequel.answer)) is None:
        return None
    return call.sequel.after(call, reached, known)
