"""The calls of a run that goes on: those that a look at every key finds, whatever earlier runs have left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import teacherlm
from recipes import parquet, recipe
from teacherlm.api import pending
from teacherlm.api.human import has_human
from teacherlm.api.orders import Order, make_orders
from teacherlm.api.project import Project
from teacherlm.api.samples import ASKED_COLUMNS, sample_batches
from teacherlm.api.star import Star
from teacherlm.schemas.records import KINDS
from teacherlm.teacher.answered import EXHAUSTED, REFUSED, AnsweredCalls
from teacherlm.teacher.calls import Call, answer_lines, failure_lines
from teacherlm.teacher.ledger import Ledger
from teacherlm.teacher.resume import unsettled
from teacherlm.teacher.wire import Completion, Info

SAMPLES = 6
NOW, EARLIER = Info("some/teacher", "5eed"), Info("other/teacher", None)
OUTCOMES = ("answered", "cut", "refused", "exhausted")
ORDERS: dict[str, dict[str, Any]] = {
    "explain": {},
    "repeats": {"repeats": 2},
    "star": {"strategy": "star", "repeats": 2},
    "human": {"human": "chain_of_thought"},
    "one_call": {"prompts": "one-call", "human": "chain_of_thought", "repeats": 2},
    "limit": {"limit": 4},
}


@dataclass
class Counts:
    """What a plan counts, and the lines that it takes up again."""

    already: int = 0
    taken_up_again: int = 0
    lines: list[Mapping[str, Any]] = field(default_factory=list)

    def know(self, kind: str, texts: int) -> None:
        self.already += texts


@pytest.fixture(scope="module", params=ORDERS)
def ordered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Order]:
    """A project, and one of the ways to ask about its samples."""
    options = dict(ORDERS[request.param])
    root = tmp_path_factory.mktemp("pending")
    rows = [
        {"id": str(n), "q": f"{'long ' * 50 * (n % 2)}{n}?", "a": "8", "h": "So it is." if n in (1, 2) else None}
        for n in range(SAMPLES)
    ]
    parquet(root / "p" / "builders" / "rows.parquet", rows)
    entries = {name: options.pop(name) for name in ("prompts", "human") if name in options}
    columns = {"id": "id", "question": "q", "answer": "a"} | ({"human_rationale": "h"} if "human" in entries else {})
    recipe(root / "p", columns, max_new_tokens=8, **entries)
    sampling = "parameters: {do_sample: true, temperature: 0.7, seed: 1}"
    (root / "p" / "catalog.yaml").write_text(f"teachers: {{lab: {{url: 'http://127.0.0.1:1', {sampling}}}}}\n")
    opened = teacherlm.open(root / "p", workspace=root / "w")
    opened.build("d")
    bound = opened.recipe("d")
    (order,) = make_orders(
        bound, opened.teacher("lab"), lambda teacher: opened.prompts(bound, teacher), kinds=list(KINDS), **options
    )
    return opened, order


def all_calls(opened: Project, order: Order, info: Info, answered: AnsweredCalls) -> Iterator[Call]:
    """Every call that an order begins with."""
    for samples in sample_batches(opened.workspace.sample_files("d"), order.limit, [*ASKED_COLUMNS, "human_rationale"]):
        for sample in samples:
            kinds = tuple(kind for kind in order.kinds if kind != order.human or not has_human(sample))
            if order.prompts.profile.one_call is not None:
                for repeat in range(order.repeats):
                    yield order.call(sample, info, kinds[0], repeat, template="one_call", parts=kinds)
                continue
            for kind in kinds:
                if order.draws(kind):
                    yield Star(order, sample, info, answered).draw()
                else:
                    yield from (order.call(sample, info, kind, repeat) for repeat in range(order.repeats))


def lines_of(call: Call, outcome: str) -> list[dict[str, Any]]:
    if outcome in ("answered", "cut"):
        text = "{" + ", ".join(f'"{part}": "It is 7."' for part in call.parts) + "}" if call.parts else "It is 7."
        cut = outcome == "cut"
        return answer_lines(call, Completion(text[: 5 if cut else None], "length" if cut else "stop", 7, 3), 0.1, 1)
    return failure_lines(call, {"refused": REFUSED, "exhausted": EXHAUSTED}[outcome] + "502", 1)


def looked_up(opened: Project, order: Order, answered: AnsweredCalls) -> tuple[Counter[Any], int, Counter[Any]]:
    """What is to be asked, how many texts are there, and what is to be taken up again: by the key of every call."""
    left: Counter[Any] = Counter()
    already, again = 0, []
    for call in all_calls(opened, order, NOW, answered):
        known: dict[tuple[str, int], str] = {}
        if (open_call := unsettled(call, NOW, answered, known)) is not None:
            left[open_call.keys, open_call.first_text] += 1
        else:
            already += len(call.keys)
        again += [key for key in known.values() if not answered.is_last(key)]
    return left, already, Counter(again)


@pytest.mark.parametrize("at_once", [0, 4096])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_plan_is_what_the_keys_say(
    ordered: tuple[Project, Order], at_once: int, tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    opened, order = ordered
    nothing = AnsweredCalls.read(Path("nowhere"))
    other_prompt = replace(order, parameters={**order.parameters, "top_k": 5})
    infos = {"now": (order, NOW), "other teacher": (order, EARLIER), "other question": (other_prompt, NOW)}
    begun = {name: list(all_calls(opened, by, info, nothing)) for name, (by, info) in infos.items()}
    drawn = st.tuples(st.sampled_from(sorted(begun)), st.integers(0, 40), st.sampled_from(OUTCOMES), st.booleans())
    folder = tmp_path_factory.mktemp("ledger")
    with Ledger(folder, seal_after=3) as ledger:
        for name, number, outcome, longer in data.draw(st.lists(drawn, max_size=40)):
            info = infos[name][1]
            call = begun[name][number % len(begun[name])]
            for line in lines_of(call.with_twice_the_budget(info) if longer else call, outcome):
                ledger.append(line)
    answered = AnsweredCalls.read(folder)
    wanted, already, again = looked_up(opened, order, answered)

    state = Counts()
    before = pending.AT_ONCE
    pending.AT_ONCE = at_once
    try:
        files = opened.workspace.sample_files("d")
        calls = list(filter(None, pending.pending_calls(order, files, NOW, answered, state, state.lines.append)))
    finally:
        pending.AT_ONCE = before
    assert Counter((call.keys, call.first_text) for call in calls) == wanted
    assert state.already == already
    assert Counter(line["call_key"] for line in state.lines) == again
    assert state.taken_up_again == again.total()
