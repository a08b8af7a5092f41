"""The calls of a plan: what is rendered for each kind, how many tokens it has, what it will cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from teacherlm.api.human import has_human
from teacherlm.api.orders import Order
from teacherlm.api.plan_rows import PlanRows
from teacherlm.api.star import DRAW, HINTED
from teacherlm.api.tokens import count_tokens
from teacherlm.api.workspace import Workspace, open_session


@dataclass(frozen=True, kw_only=True)
class PlannedCalls:
    """The calls with one template: of a kind, of all kinds in one call, of STaR's draws or its hints."""

    template: str
    teacher: str | None
    calls: int | None
    """None where the number of samples is not known; of `star_hinted` the most that there can be."""
    prompts_counted: int
    prompt_tokens_mean: float | None
    prompt_tokens_max: int | None
    tokens_counted_by: str
    max_new_tokens: int
    context: int | None
    """Tokens that the teacher takes, prompt and text together."""
    overflowing: int | None
    """Prompts, of those counted, that leave no room for the text."""
    tokens_in: int | None
    tokens_out: int | None
    """By the mean length of earlier answers; without any, as `tokens_out_most`."""
    tokens_out_most: int | None
    cost: float | None
    """In the currency of the teacher's prices."""


def templates(order: Order) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is rendered for each sample: the template, and the kinds that one call of it gives."""
    if order.prompts.profile.one_call is not None:
        yield "one_call", order.kinds
        return
    for kind in order.kinds:
        if order.draws(kind):
            yield DRAW, (kind,)
            yield HINTED, (kind,)
        else:
            yield kind, (kind,)


def render(order: Order, template: str, parts: tuple[str, ...], row: dict[str, Any]) -> str | list[dict[str, str]]:
    return order.prompts.render(template, row, parts if template == "one_call" else ())


def planned_calls(
    order: Order,
    rows: PlanRows,
    lengths: dict[str, float],
    tokenizer: str | None,
    context: int | None,
    *,
    named: bool,
) -> Iterator[PlannedCalls]:
    """The calls of each template of an order, their tokens and cost."""
    profile = order.teacher.profile if named else None
    rendered: list[list[Any]] = []
    for template, parts in templates(order):
        asked_about = [row for row in rows.samples if not (parts == (order.human,) and has_human(row))]
        rendered.append([render(order, template, parts, row) for row in asked_about])
    counted = count_tokens([prompt for prompts in rendered for prompt in prompts], profile, tokenizer)
    room = context or (counted.info.max_total_tokens if counted.info else None)
    longest = counted.info.max_input_tokens if counted.info and context is None else None
    left = iter(counted.tokens)
    for (template, parts), prompts in zip(templates(order), rendered, strict=True):
        tokens = [next(left) for _ in prompts]
        max_new = order.bound.recipe.max_new_tokens * len(parts)
        share = 1 - rows.explained if parts == (order.human,) else 1
        times = 1 if template in (DRAW, HINTED) else order.repeats
        calls = None if rows.number is None else round(rows.number * share) * times
        mean = fmean(tokens) if tokens else None
        earlier = [lengths[kind] for kind in parts if kind in lengths]
        length = sum(earlier) if len(earlier) == len(parts) else float(max_new)
        tokens_in = round(calls * mean) if calls is not None and mean is not None else None
        tokens_out = round(calls * length) if calls is not None else None
        known = profile is not None and tokens_in is not None and tokens_out is not None
        yield PlannedCalls(
            template=template,
            teacher=order.teacher.name if named else None,
            calls=calls,
            prompts_counted=len(tokens),
            prompt_tokens_mean=round(mean, 1) if mean is not None else None,
            prompt_tokens_max=max(tokens, default=None),
            tokens_counted_by=counted.by,
            max_new_tokens=max_new,
            context=room,
            overflowing=None
            if room is None
            else sum(count + max_new > room or (longest is not None and count > longest) for count in tokens),
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            tokens_out_most=None if calls is None else calls * max_new,
            cost=profile.cost(tokens_in or 0, tokens_out or 0) if known and profile else None,
        )


def mean_lengths(workspace: Workspace, dataset: str) -> dict[str, float]:
    """Mean length, in tokens, of the answers that the ledger holds, by kind."""
    if dataset not in workspace.datasets():
        return {}
    session = open_session(workspace, [dataset], judged=False)
    query = "SELECT kind, avg(generated_tokens) FROM rationales WHERE generated_tokens IS NOT NULL GROUP BY kind"
    return {str(kind): float(mean) for kind, mean in session.execute(query).fetchall()}
