"""What a run may spend: requests, tokens and money, over all its teachers.

A request is allowed while the limits are not reached by what was answered. So requests are never exceeded; tokens and
money by what was in flight when they were reached, since nobody knows the length of an answer before it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from teacherlm.core.errors import Mistake
from teacherlm.teacher.errors import TeacherLost
from teacherlm.teacher.profile import TeacherProfile

Record = Callable[[Mapping[str, Any]], None]
"""Takes the ledger line of an answer."""


class Allowance(Protocol):
    """What a run may still spend."""

    def take(self) -> bool:
        """Take one request; False where nothing more may be sent."""

    def spent(self, prompt_tokens: int, generated_tokens: int) -> None:
        """Count what an answer took."""


@dataclass
class Budget:
    """Limits of a run, and what it has spent; None: no limit."""

    max_calls: int | None = None
    """Requests, repeated ones included."""
    max_tokens: int | None = None
    """Tokens of prompts and answers together."""
    max_cost: float | None = None
    """In the currency of the prices."""
    calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    stopped_by: str | None = None
    """The limit that ended the run: `max_calls`, `max_tokens` or `budget`."""

    @classmethod
    def of(cls, max_calls: int | None, max_tokens: int | None, budget: float | Budget | None) -> Budget:
        """The budget that options describe; one that is given whole is shared with others.

        Raises:
            Mistake: a limit that lets nothing through.
        """
        for name, value in (("--max-calls", max_calls), ("--max-tokens", max_tokens)):
            if value is not None and value < 1:
                raise Mistake(f"is {value}", "give a number of 1 or more", name)
        if isinstance(budget, Budget):
            return budget
        if budget is not None and not budget > 0:
            raise Mistake(f"is {budget:g}", "give an amount above 0, in the currency of your prices", "--budget")
        return cls(max_calls, max_tokens, budget)

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by the names of `stopped_by`."""
        named = {"max_calls": self.max_calls, "max_tokens": self.max_tokens, "budget": self.max_cost}
        return {name: value for name, value in named.items() if value is not None}

    def share(self, name: str, profile: TeacherProfile) -> Share:
        """What one teacher of the run spends from.

        Raises:
            Mistake: money is limited, and the teacher has no prices.
        """
        if self.max_cost is not None and profile.cost(1, 1) is None:
            raise Mistake(
                f"the teacher `{name}` has no prices, so that nobody knows what it costs",
                "add  price_per_million_input: …  and  price_per_million_output: …  to its profile in catalog.yaml"
                " (or  gpu_hour: …  and  tokens_per_second: …); or limit it by --max-tokens",
                "--budget",
            )
        return Share(self, profile)

    def take(self) -> bool:
        """Take one request; False where a limit is reached."""
        if self.stopped_by is None:
            self.stopped_by = self._reached()
        if self.stopped_by is not None:
            return False
        self.calls += 1
        return True

    def _reached(self) -> str | None:
        if self.max_calls is not None and self.calls >= self.max_calls:
            return "max_calls"
        if self.max_tokens is not None and self.tokens >= self.max_tokens:
            return "max_tokens"
        if self.max_cost is not None and self.cost >= self.max_cost:
            return "budget"
        return None


@dataclass(frozen=True)
class Share:
    """A budget as one teacher sees it, who has prices of its own."""

    budget: Budget
    profile: TeacherProfile

    def take(self) -> bool:
        return self.budget.take()

    def recording(self, record: Record) -> Record:
        """A `record` that also sees to it that the limits can be held."""

        def checked(line: Mapping[str, Any]) -> None:
            record(line)
            if line["status"] != "failed" and line["attempts"]:
                self._check_told(line["prompt_tokens"], line["generated_tokens"])

        return checked if self.budget.max_tokens is not None or self.budget.max_cost is not None else record

    def _check_told(self, prompt_tokens: int | None, generated_tokens: int | None) -> None:
        """Without the server's counts no token would ever count.

        Raises:
            TeacherLost: it does not tell them.
        """
        needs_prompt = self.budget.max_tokens is not None or self.profile.cost(1, 0)
        if generated_tokens is None or (prompt_tokens is None and needs_prompt):
            what = "its answers" if generated_tokens is None else "prompts"
            raise TeacherLost(
                f"the server does not tell how many tokens {what} have, so that this limit cannot be held",
                "limit the run by --max-calls",
                "--max-tokens" if self.budget.max_tokens is not None else "--budget",
            )

    def spent(self, prompt_tokens: int, generated_tokens: int) -> None:
        self.budget.tokens += prompt_tokens + generated_tokens
        self.budget.cost += self.profile.cost(prompt_tokens, generated_tokens) or 0.0
