"""Orders: what is to be asked of one teacher about one dataset, checked before anybody is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from teacherlm.api.catalog import ChosenTeacher
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.builders.prompts import BoundPrompts
from teacherlm.core.errors import Mistake
from teacherlm.core.keys import digest
from teacherlm.teacher.calls import Call, Sequel, asked_with, make_call
from teacherlm.teacher.wire import Info, json_of

Strategy = Literal["explain", "star"]
STRATEGIES: tuple[Strategy, ...] = ("explain", "star")

DRAWN = "chain_of_thought"
"""The kind that STaR draws; the others are explained in every strategy."""


def seed_of(base: int, sample_id: str, kind: str, repeat: int) -> int:
    """The seed of one call, drawn from a teacher's declared one: the same on every machine, another for each text."""
    # 53 bits: some servers read the seed as a signed integer or a double.
    return int(digest([base, sample_id, kind, repeat])[:13], 16)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be asked of one teacher about one dataset."""

    bound: BoundRecipe
    teacher: ChosenTeacher
    prompts: BoundPrompts
    kinds: tuple[str, ...]
    parameters: Mapping[str, Any]
    """As on the wire, `max_new_tokens` of one text included."""
    seed: int | None = None
    """With sampling: from it each call gets its own."""
    repeats: int = 1
    """Texts of each kind; of a drawn kind, draws at most."""
    limit: int | None = None
    """Samples of the dataset, in their order; None: all."""
    strategy: Strategy = "explain"
    human: str | None = None
    """The kind that a sample's human rationale is taken for."""

    def texts_of(self, kind: str) -> int:
        """Texts wanted of a kind for each sample."""
        return 1 if self.draws(kind) else self.repeats

    def draws(self, kind: str) -> bool:
        return self.strategy == "star" and kind == DRAWN

    def check_limits(self, info: Info) -> None:
        """Compare what is asked for with what the server says of itself.

        Raises:
            Mistake: the budget alone is more than the server allows: it would refuse every call.
        """
        texts = len(self.kinds) if self.prompts.profile.one_call is not None else 1
        budget, most = texts * int(self.parameters["max_new_tokens"]), info.max_total_tokens
        if most is not None and budget >= most:
            raise Mistake(
                f"asks for {budget:,} new tokens; the teacher `{self.teacher.name}` has room for {most:,} in all",
                "lower `max_new_tokens`, or start the server with a larger --max-total-tokens",
                self.bound.located.where(("max_new_tokens",)),
            )

    def call(
        self,
        sample: Mapping[str, Any],
        info: Info,
        kind: str,
        repeat: int,
        *,
        template: str | None = None,
        strategy: str = "explain",
        sequel: Sequel | None = None,
        parts: tuple[str, ...] = (),
        beginning: str = "",
    ) -> Call:
        """One call about a sample.

        Args:
            template: what the profile asks with; None: the kind's own.
            parts: kinds to ask for in one request.
            beginning: see `Call.beginning`; empty: the sample's own.
        """
        parameters, written = self.parameters, b"" if parts or self.seed is not None else self._written
        if parts:
            budget = len(parts) * parameters["max_new_tokens"]
            parameters = {**parameters, "max_new_tokens": budget, **json_of(parts)}
        if self.seed is not None:
            parameters = {**parameters, "seed": seed_of(self.seed, sample["sample_id"], kind, repeat)}
        return make_call(
            sample_id=sample["sample_id"],
            dataset=self.bound.name,
            split=sample["split"],
            kind=kind,
            repeat=repeat,
            prompt=self.prompts.render(template or kind, sample, parts),
            parameters=parameters,
            stops=self.prompts.profile.stop,
            info=info,
            strategy=strategy,
            sequel=sequel,
            parts=parts,
            beginning=beginning,
            asked_with=written,
        )

    @cached_property
    def _written(self) -> bytes:
        """What every call of a greedy teacher asks with."""
        return asked_with(self.parameters, self.prompts.profile.stop)


def make_orders(
    bound: BoundRecipe,
    chosen: ChosenTeacher,
    prompts_of: Callable[[ChosenTeacher], BoundPrompts],
    *,
    kinds: Sequence[str] | None = None,
    limit: int | None = None,
    repeats: int = 1,
    strategy: str | None = None,
) -> tuple[Order, ...]:
    """An order for each teacher that `chosen` stands for.

    Args:
        prompts_of: the prompts of a teacher.
        strategy: None: the recipe's.

    Raises:
        Mistake: a kind that the recipe, the teacher or the prompts do not have; a number below 1.
    """
    recipe = bound.recipe
    if unknown := [kind for kind in kinds or () if kind not in recipe.kinds]:
        raise Mistake(
            f"`{recipe.name}` has no kind `{unknown[0]}`", f"its kinds are {', '.join(recipe.kinds)}", "--kinds"
        )
    if kinds is not None and not kinds:
        raise Mistake("names no kind", f"name some of {', '.join(recipe.kinds)}, or leave it out", "--kinds")
    for name, value in (("--limit", limit), ("--repeats", repeats)):
        if value is not None and value < 1:
            raise Mistake(f"is {value}", "give a number of 1 or more", name)
    decided = next((known for known in STRATEGIES if known == (strategy or recipe.strategy)), None)
    if decided is None:
        raise Mistake(f'is "{strategy}"', f"strategies are {', '.join(STRATEGIES)}", "--strategy")
    shares: dict[str, tuple[ChosenTeacher, list[str]]] = {}
    for kind in recipe.kinds:
        if kinds is None or kind in kinds:
            teacher = chosen.for_kind(kind)
            shares.setdefault(teacher.name, (teacher, []))[1].append(kind)
    return tuple(
        _order(bound, teacher, prompts_of(teacher), tuple(share), limit, repeats, decided)
        for teacher, share in shares.values()
    )


def _order(
    bound: BoundRecipe,
    teacher: ChosenTeacher,
    prompts: BoundPrompts,
    kinds: tuple[str, ...],
    limit: int | None,
    repeats: int,
    strategy: Strategy,
) -> Order:
    recipe, parameters = bound.recipe, teacher.profile.parameters
    if missing := prompts.missing(kinds):
        raise Mistake(f"it has no prompt for `{missing[0]}`", "add it under `kinds:`", prompts.located.shown)
    if strategy == "star" and DRAWN in kinds and prompts.profile.star is None:
        raise Mistake(
            "it has no prompts for the strategy `star`",
            "add `star:` and `star_hinted:`, take other prompts, or ask with --strategy explain",
            prompts.located.shown,
        )
    if repeats > 1 and not parameters.do_sample:
        raise Mistake(
            "several texts of a greedy teacher are the same",
            f"set  do_sample: true  in the profile `{teacher.name}`",
            "--repeats",
        )
    return Order(
        bound=bound,
        teacher=teacher,
        prompts=prompts,
        kinds=kinds,
        parameters={**parameters.wire(), "max_new_tokens": recipe.max_new_tokens},
        seed=parameters.seed if parameters.do_sample else None,
        repeats=repeats,
        limit=limit,
        strategy=strategy,
        human=recipe.human if recipe.human in kinds else None,
    )
