"""Plan: what a build and an augmentation would do and cost. Nobody writes a text; a named teacher counts tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from teacherlm.api.catalog import ChosenTeacher
from teacherlm.api.human import has_human
from teacherlm.api.orders import Order, make_orders
from teacherlm.api.plan_rows import PlanRows, plan_rows
from teacherlm.api.star import DRAW, HINTED
from teacherlm.api.tokens import count_tokens
from teacherlm.api.workspace import Workspace, open_session
from teacherlm.builders.mapping import BoundRecipe, run_examples
from teacherlm.builders.prompts import BoundPrompts
from teacherlm.core.errors import Mistake, Mistakes, Problem
from teacherlm.teacher.profile import TeacherProfile
from teacherlm.text.render import sample_text

SAMPLES_SHOWN = 5

NOBODY = ChosenTeacher("", TeacherProfile(url="http://127.0.0.1"), "")
"""Stands for the teacher where none was named."""


@dataclass(frozen=True, kw_only=True)
class PlannedPrompt:
    """What the teacher would read for one kind of one sample."""

    sample_id: str
    kind: str
    """The kind, or `one_call`, or `star_hinted`."""
    prompt: str | list[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class PlannedSample:
    """A sample as text."""

    sample_id: str
    text: str


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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is known of a dataset before anything is run."""

    dataset: str
    title: str
    source: str
    license: str
    redistribution: str
    kinds: tuple[str, ...]
    prompts: str
    strategy: str
    max_new_tokens: int
    given: int
    """Example rows of the recipe that became what it expects."""
    built: bool
    samples: int | None
    """Samples of the last build; without one an estimate, or None."""
    rows: int | None
    """Rows of a source that is not built."""
    rendered_from: str
    """Where the samples shown come from: `samples`, `source` or `given`."""
    texts: int | None
    """Texts wanted: samples x kinds."""
    human: int | None
    """Of them, those that the source has already."""
    calls: int | None
    """Calls to make, without those that only wrong answers need."""
    tokens_in: int | None
    tokens_out: int | None
    cost: float | None
    verify: tuple[str, ...]
    first_samples: tuple[PlannedSample, ...]
    asked: tuple[PlannedCalls, ...]
    examples: tuple[PlannedPrompt, ...]

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


def plan(
    workspace: Workspace,
    bound: BoundRecipe,
    prompts_of: Callable[[ChosenTeacher | None], BoundPrompts],
    chosen: ChosenTeacher | None = None,
    *,
    kinds: Sequence[str] | None = None,
    shown: int = 1,
    tokenizer: str | None = None,
    context: int | None = None,
) -> Plan:
    """Run the recipe's `given` rows, render what the teachers would be asked, and count.

    Args:
        prompts_of: the prompts of a teacher.
        shown: samples whose prompts are given whole.
        tokenizer: counts in place of the teacher's own: a folder, a `tokenizer.json` or a Hub id.
        context: tokens that the teacher takes; None: what it says itself.

    Raises:
        Mistakes: a `given` row does not become what the recipe expects; expressions that do not fit a local source.
    """
    recipe = bound.recipe
    if shown < 0:
        raise Mistake(f"is {shown}", "give a number of 0 or more", "--shown")
    if context is not None and context < 1:
        raise Mistake(f"is {context}", "give the tokens that the teacher takes", "--context")
    _check(bound, prompts_of, chosen, kinds)
    orders = make_orders(bound, chosen or NOBODY, lambda teacher: prompts_of(teacher if chosen else None), kinds=kinds)
    rows = plan_rows(workspace, bound)
    lengths = _lengths(workspace, recipe.name)
    asked = [
        part for order in orders for part in _calls(order, rows, lengths, tokenizer, context, named=chosen is not None)
    ]
    wanted = [kind for order in orders for kind in order.kinds]
    needed = [part for part in asked if part.template != HINTED]
    human = next((order.human for order in orders if order.human), None)
    return Plan(
        dataset=recipe.name,
        title=recipe.title,
        source=recipe.source.hub or "local files",
        license=recipe.license,
        redistribution=recipe.redistribution,
        kinds=tuple(kind for kind in recipe.kinds if kind in wanted),
        prompts=", ".join(dict.fromkeys(order.prompts.profile.name for order in orders)),
        strategy=recipe.strategy,
        max_new_tokens=recipe.max_new_tokens,
        given=len(recipe.given),
        built=rows.origin == "samples",
        samples=rows.number,
        rows=rows.rows,
        rendered_from=rows.origin,
        texts=None if rows.number is None else rows.number * len(wanted),
        human=round(rows.number * rows.explained) if human and rows.number is not None else None,
        calls=_sum(part.calls for part in needed),
        tokens_in=_sum(part.tokens_in for part in needed),
        tokens_out=_sum(part.tokens_out for part in needed),
        cost=_sum(part.cost for part in needed),
        verify=recipe.verify,
        first_samples=tuple(
            PlannedSample(sample_id=row["sample_id"], text=sample_text(row["question"], row["choices"], row["answer"]))
            for row in rows.samples[:SAMPLES_SHOWN]
        ),
        asked=tuple(asked),
        examples=tuple(
            PlannedPrompt(
                sample_id=row["sample_id"], kind=_shown_as(template), prompt=_render(order, template, parts, row)
            )
            for row in rows.samples[:shown]
            for order in orders
            for template, parts in _templates(order)
        ),
    )


def _check(
    bound: BoundRecipe,
    prompts_of: Callable[[ChosenTeacher | None], BoundPrompts],
    chosen: ChosenTeacher | None,
    kinds: Sequence[str] | None,
) -> None:
    """All mistakes of recipe and prompts at once."""
    problems = run_examples(bound)
    profile = None if chosen is None or chosen.profile.kinds else chosen
    if not (chosen and chosen.profile.kinds):  # else each kind has prompts of its own, which `make_orders` checks
        prompts = prompts_of(profile)
        wanted = tuple(kind for kind in bound.recipe.kinds if kinds is None or kind in kinds)
        if missing := prompts.missing(wanted):
            found = f"the prompts `{prompts.profile.name}` have nothing for {', '.join(missing)}"
            edit = f"add them to {prompts.located.shown}, or take them out here"
            problems.append(Problem(bound.located.where(("kinds",)), found, edit))
    if problems:
        raise Mistakes(problems)


def _templates(order: Order) -> Iterator[tuple[str, tuple[str, ...]]]:
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


def _shown_as(template: str) -> str:
    return "chain_of_thought" if template == DRAW else template


def _render(order: Order, template: str, parts: tuple[str, ...], row: dict[str, Any]) -> str | list[dict[str, str]]:
    return order.prompts.render(template, row, parts if template == "one_call" else ())


def _calls(
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
    for template, parts in _templates(order):
        asked_about = [row for row in rows.samples if not (parts == (order.human,) and has_human(row))]
        rendered.append([_render(order, template, parts, row) for row in asked_about])
    counted = count_tokens([prompt for prompts in rendered for prompt in prompts], profile, tokenizer)
    room = context or (counted.info.max_total_tokens if counted.info else None)
    longest = counted.info.max_input_tokens if counted.info and context is None else None
    left = iter(counted.tokens)
    for (template, parts), prompts in zip(_templates(order), rendered, strict=True):
        tokens = [next(left) for _ in prompts]
        max_new = order.bound.recipe.max_new_tokens * len(parts)
        share = 1 - rows.explained if parts == (order.human,) else 1
        calls = None if rows.number is None else round(rows.number * share)
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


def _lengths(workspace: Workspace, dataset: str) -> dict[str, float]:
    """Mean length, in tokens, of the answers that the ledger holds, by kind."""
    if dataset not in workspace.datasets():
        return {}
    session = open_session(workspace, [dataset], judged=False)
    query = "SELECT kind, avg(generated_tokens) FROM rationales WHERE generated_tokens IS NOT NULL GROUP BY kind"
    return {str(kind): float(mean) for kind, mean in session.execute(query).fetchall()}


def _sum(numbers: Iterator[Any]) -> Any:
    """The sum; None where a part of it is not known."""
    known = list(numbers)
    return None if None in known or not known else sum(known)
