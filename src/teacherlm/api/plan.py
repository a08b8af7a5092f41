"""Plan: what a build and an augmentation would do and cost. A named teacher counts tokens; a probe has it write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

from teacherlm.api.catalog import ChosenTeacher
from teacherlm.api.forecast import Forecast
from teacherlm.api.listening import listening
from teacherlm.api.options import PlanOptions
from teacherlm.api.orders import Order, make_orders
from teacherlm.api.plan_calls import PlannedCalls, mean_lengths, planned_calls, render, templates
from teacherlm.api.plan_rows import plan_rows
from teacherlm.api.star import DRAW, HINTED
from teacherlm.api.workspace import Workspace
from teacherlm.builders.mapping import BoundRecipe, run_examples
from teacherlm.builders.prompts import BoundPrompts
from teacherlm.core.errors import Mistake, Mistakes, Problem
from teacherlm.teacher.profile import TeacherProfile
from teacherlm.text.render import sample_text

if TYPE_CHECKING:
    from teacherlm.api.project import Project

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
    probe: Forecast | None = None

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


def plan(
    workspace: Workspace,
    bound: BoundRecipe,
    prompts_of: Callable[[ChosenTeacher | None], BoundPrompts],
    chosen: ChosenTeacher | None = None,
    *,
    kinds: Sequence[str] | None = None,
    limit: int | None = None,
    repeats: int = 1,
    strategy: str | None = None,
    shown: int = 1,
    tokenizer: str | None = None,
    context: int | None = None,
    ask: Callable[[Sequence[Order]], Forecast] | None = None,
) -> Plan:
    """Run the recipe's `given` rows, render what the teachers would be asked, and count.

    Args:
        prompts_of: the prompts of a teacher.
        shown: samples whose prompts are given whole.
        tokenizer: counts in place of the teacher's own: a folder, a `tokenizer.json` or a Hub id.
        context: tokens that the teacher takes; None: what it says itself.
        ask: makes a forecast, once nothing is wrong with what is declared.

    Raises:
        Mistakes: a `given` row does not become what the recipe expects; expressions that do not fit a local source.
    """
    recipe = bound.recipe
    if shown < 0:
        raise Mistake(f"is {shown}", "give a number of 0 or more", "--shown")
    if context is not None and context < 1:
        raise Mistake(f"is {context}", "give the tokens that the teacher takes", "--context")
    _check(bound, prompts_of, chosen, kinds)
    orders = make_orders(
        bound,
        chosen or NOBODY,
        lambda teacher: prompts_of(teacher if chosen else None),
        kinds=kinds,
        limit=limit,
        repeats=repeats,
        strategy=strategy,
    )
    probe = ask(orders) if ask is not None else None
    rows = plan_rows(workspace, bound)
    if limit is not None and rows.number is not None:
        rows = replace(rows, number=min(limit, rows.number))
    lengths = mean_lengths(workspace, recipe.name)
    asked = [
        part
        for order in orders
        for part in planned_calls(order, rows, lengths, tokenizer, context, named=chosen is not None)
    ]
    wanted = {kind: order.texts_of(kind) for order in orders for kind in order.kinds}
    needed = [part for part in asked if part.template != HINTED]
    human = next((order.human for order in orders if order.human), None)
    return Plan(
        dataset=recipe.name,
        title=recipe.title,
        source=recipe.source.place,
        license=recipe.license,
        redistribution=recipe.redistribution,
        kinds=tuple(kind for kind in recipe.kinds if kind in wanted),
        prompts=", ".join(dict.fromkeys(order.prompts.profile.name for order in orders)),
        strategy=orders[0].strategy,
        max_new_tokens=recipe.max_new_tokens,
        given=len(recipe.given),
        built=rows.origin == "samples",
        samples=rows.number,
        rows=rows.rows,
        rendered_from=rows.origin,
        texts=None if rows.number is None else rows.number * sum(wanted.values()),
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
                sample_id=row["sample_id"], kind=_shown_as(template), prompt=render(order, template, parts, row)
            )
            for row in rows.samples[:shown]
            for order in orders
            for template, parts in templates(order)
        ),
        probe=probe,
    )


def plan_dataset(project: Project, name: str, **asked: Unpack[PlanOptions]) -> Plan:
    """The plan of a declared dataset, with a forecast where a probe is wanted.

    Raises:
        Mistake: a probe of nobody, or of a dataset that is not built.
    """
    if unknown := sorted(asked.keys() - PlanOptions.__annotations__.keys()):
        raise TypeError(f"plan() has no option `{unknown[0]}`; it has {', '.join(PlanOptions.__annotations__)}")
    bound, given, probe = project.recipe(name), asked.get("teacher"), asked.get("probe")
    chosen = project.teacher(given) if given or probe is not None else None

    def ask(orders: Sequence[Order]) -> Forecast:
        from teacherlm.api.probe import forecast

        assert chosen is not None and probe is not None
        tell = asked.get("tell") or (lambda _: None)
        with listening([order.teacher for order in orders], tell) as urls:
            return forecast(
                project.workspace,
                orders,
                chosen.name,
                urls,
                probe,
                concurrency=asked.get("concurrency"),
                watch=asked.get("watch"),
            )

    if probe is not None:
        if probe < 2:
            raise Mistake(f"is {probe}", "give a number of 2 or more", "--probe")
        project.workspace.sample_files(name)
    return plan(
        project.workspace,
        bound,
        lambda teacher: project.prompts(bound, teacher),
        chosen,
        kinds=asked.get("kinds"),
        limit=asked.get("limit"),
        repeats=asked.get("repeats", 1),
        strategy=asked.get("strategy"),
        shown=asked.get("shown", 1),
        tokenizer=asked.get("tokenizer"),
        context=asked.get("context"),
        ask=ask if probe is not None else None,
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


def _shown_as(template: str) -> str:
    return "chain_of_thought" if template == DRAW else template


def _sum(numbers: Iterator[Any]) -> Any:
    """The sum; None where a part of it is not known."""
    known = list(numbers)
    return None if None in known or not known else sum(known)
