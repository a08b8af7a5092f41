"""What earlier runs leave to be asked."""

from __future__ import annotations

from dataclasses import replace

from teacherlm.teacher.calls import Call
from teacherlm.teacher.ledger import AnsweredCalls
from teacherlm.teacher.tgi import Info


def unsettled(call: Call, info: Info, answered: AnsweredCalls) -> Call | None:
    """What has to be asked for a call: itself, itself with twice the budget, what follows it, or nothing.

    A call whose answer gives several texts is asked whole again where one of them is missing.
    """
    states = answered.look_up(call.keys)
    if None in states:
        return call
    if "truncated" in states and call.can_be_extended:
        longer = call.with_twice_the_budget(info)
        left = unsettled(longer, info, answered)
        return replace(longer, first_text=answered.text_of(call.key)) if left is longer else left
    if call.sequel is None or (reached := answered.reached(call.key, call.sequel.answer)) is None:
        return None
    return call.sequel.after(call, reached)
