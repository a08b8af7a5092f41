"""Draws questions by seed and splits them by content, so that no question stands in two splits."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from teacherlm.core.errors import Mistake
from teacherlm.curriculum.question import Family, Question, content

SHARES = {"teacher": 0.55, "pool": 0.35, "test": 0.10}
"""Shares of all contents: what a teacher is trained on, what it explains for students, what students are tested on."""

_SPARE = 200
"""Draws in a row that give nothing new, for each family, before a family counts as exhausted."""


def split_of(family: str, parameters: tuple[str | int, ...]) -> str:
    """The split that a content belongs to, whatever the seed."""
    place = int.from_bytes(content(family, parameters)[:8], "big") / 2**64
    for name, share in SHARES.items():
        place -= share
        if place < 0:
            return name
    return list(SHARES)[-1]


def questions(families: Sequence[Family], split: str, count: int, seed: int) -> Iterator[Question]:
    """Different questions of one split, the families in turn.

    Args:
        split: one of `SHARES`.
        count: how many in all.
        seed: another seed gives other questions of the same split.

    Raises:
        Mistake: no such split, no family, or the families do not hold so many different questions.
    """
    if split not in SHARES:
        raise Mistake(f"the curriculum has no split `{split}`", f"name one of {', '.join(SHARES)}")
    if not families:
        raise Mistake("no family is named", "name at least one family of questions")
    sources: Mapping[str, random.Random] = {
        family.name: random.Random(f"{seed}/{split}/{family.name}") for family in families
    }
    seen: set[bytes] = set()
    for number in range(count):
        family = families[number % len(families)]
        for _ in range(_SPARE):
            question = family.draw(sources[family.name])
            key = content(family.name, question.parameters)
            if key not in seen and split_of(family.name, question.parameters) == split:
                break
        else:
            raise Mistake(
                f"the family `{family.name}` holds no {-(-count // len(families)):,} different questions for `{split}`",
                "ask for fewer, or name more families",
            )
        seen.add(key)
        yield question
