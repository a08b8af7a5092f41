"""Experiments with answers drawn on the spot: what statistics and reports are told of, without a training."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.grid import combinations
from teacherlm.experiments.results import Item, Outcome, Results

KINDS = {"kinds": ["none", "chain", "mistakes"], "order": ["first", "last"]}
"""Factors of which students that do not read rationales come to one training in both orders."""

Skill = Callable[[Mapping[str, str], int], float]
"""From levels and seed: how likely a question is answered."""


def experiment(**keys: Any) -> Experiment:
    """A declaration with two factors, three seeds and one test; `keys` are laid over it."""
    whole = {
        "name": "made",
        "question": "Does it help?",
        "train": {},
        "factors": KINDS,
        "tests": {"sums": {"procedural": {"count": 1, "seed": 1}, "ways": ["writing"]}},
        "comparisons": [{"vary": "kinds", "baseline": "none", "test": "sums"}],
        **keys,
    }
    return TypeAdapter(Experiment).validate_json(json.dumps(whole))


def cell_of(levels: Mapping[str, str], seed: int) -> str:
    """Students without rationales are one training in both orders."""
    told = [level for factor, level in levels.items() if not (factor == "order" and levels.get("kinds") == "none")]
    return "-".join([*told, str(seed)])


def answers(
    declared: Experiment,
    skill: Skill,
    *,
    questions: int = 60,
    per_content: int = 1,
    seed: int = 0,
    lacking: Mapping[str, str | None] | None = None,
    **columns: Any,
) -> Results:
    """Every cell's answers to four options each.

    Args:
        per_content: questions that are one content.
        lacking: cell -> why it failed; None: it was not run.
        columns: of every outcome.
    """
    outcomes: list[Outcome] = []
    items: dict[tuple[str, str, str], tuple[Item, ...]] = {}
    for number in declared.seeds:
        for levels in combinations(declared):
            for test, asked in declared.tests.items():
                for way in asked.asked:
                    cell = cell_of(levels, number)
                    same: dict[str, Any] = {
                        "experiment": declared.name, "cell": cell, "factors": levels, "seed": number, "test": test,
                        "way": way, **columns,
                    }  # fmt: skip
                    if lacking and cell in lacking:
                        if lacking[cell] is not None:
                            outcomes.append(Outcome(**same, status="failed", failure=lacking[cell]))
                        continue
                    key = (cell, test, way)
                    if key not in items:
                        source = random.Random(f"{seed} {key}")
                        right = [source.random() < skill(levels, number) for _ in range(questions)]
                        items[key] = written(cell, test, way, right, per_content=per_content)
                    count = sum(item.correct for item in items[key])
                    share = count / questions
                    outcomes.append(Outcome(**{"chance": 0.25, **same}, items=questions, right=count, accuracy=share))
    return Results(tuple(outcomes), items)


def written(
    cell: str, test: str, way: str, right: Sequence[bool], *, per_content: int = 1, names: Sequence[str] | None = None
) -> tuple[Item, ...]:
    """Items that are right or wrong, gold answers at each of four places in turn."""
    made = []
    for place, hit in enumerate(right):
        gold = place % 4
        made.append(
            Item(
                cell=cell,
                test=test,
                way=way,
                sample_id=names[place] if names else f"q{place}",
                cluster=f"content {place // per_content}",
                predicted="yes" if hit else "no",
                answer="yes",
                correct=hit,
                position=gold,
                said=gold if hit else (gold + 1 + place // 4 % 3) % 4,
            )
        )
    return tuple(made)
