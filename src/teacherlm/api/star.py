"""STaR (Zelikman et al. 2022, arXiv 2203.14465, section 3): a chain of thought that has to find the answer.

A draw is asked for without the answer. Where the chain reaches the gold answer it is taken; else the next draw follows,
and after the last one the question with the answer as a hint. All draws stay in the ledger: the first that is right is
the lowest repeat that the rules accept, and a hinted chain stands in the place of the last draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from teacherlm.api.orders import DRAWN, Order
from teacherlm.teacher.answered import AnsweredCalls
from teacherlm.teacher.calls import Call
from teacherlm.teacher.resume import unsettled
from teacherlm.teacher.wire import Info
from teacherlm.text.extract import extract, is_gold

DRAW, HINTED = "star", "star_hinted"
"""Strategies of the ledger, and the names of the templates."""


@dataclass(frozen=True)
class Star:
    """The draws for one sample; each answer decides what follows it."""

    order: Order
    sample: Mapping[str, Any]
    info: Info
    answered: AnsweredCalls
    beginning: str = ""
    """Of its calls; see `Call.beginning`."""

    @property
    def answer(self) -> str:
        answer: str = self.sample["answer"]
        return answer

    def draw(self, repeat: int = 0) -> Call:
        return self._call(repeat, DRAW)

    def hinted(self, repeat: int | None = None) -> Call:
        last = self.order.repeats - 1 if repeat is None else repeat
        return self._call(last, HINTED)

    def _call(self, repeat: int, strategy: str) -> Call:
        return self.order.call(
            self.sample,
            self.info,
            DRAWN,
            repeat,
            template=strategy,
            strategy=strategy,
            sequel=self,
            beginning=self.beginning,
        )

    def predicted(self, text: str) -> str | None:
        found = extract(text, self.sample["choices"], self.answer)
        return self.answer if is_gold(found, self.sample["choices"], self.answer) else found.answer

    def in_place_of(self, call: Call) -> Sequence[str]:
        """A run of fewer draws put the hinted chain where this draw is: it is as good."""
        if call.strategy == HINTED:
            return ()
        hinted = self.hinted(call.repeat)
        return hinted.key, hinted.with_twice_the_budget(self.info).key

    def after(self, call: Call, reached: bool, known: dict[tuple[str, int], str] | None = None) -> Call | None:
        if reached or call.strategy == HINTED:
            return None
        following = self.draw(call.repeat + 1) if call.repeat + 1 < self.order.repeats else self.hinted()
        return unsettled(following, self.info, self.answered, known)
