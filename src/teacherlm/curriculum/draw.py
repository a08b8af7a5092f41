"""Draws questions by seed and splits them by content, so that no question stands in two splits."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from teacherlm.core.errors import Mistake
from teacherlm.curriculum.family import Answer, Family
from teacherlm.curriculum.question import Parameters, Question, content

SHARES = {"teacher": 0.55, "train": 0.35, "test": 0.10}
"""Shares of all contents: what a teacher is trained on, what it explains for students, what students are tested on."""

_SPARE = 500
"""Draws in a row that give nothing new before a family counts as exhausted."""


def split_of(family: str, asked: Parameters) -> str:
    """The split that a content belongs to, whatever the seed, the wording, the names and the options."""
    place = int.from_bytes(content(family, asked)[:8], "big") / 2**64
    for name, share in SHARES.items():
        place -= share
        if place < 0:
            return name
    return list(SHARES)[-1]


@dataclass(frozen=True, slots=True)
class Shelf:
    """What a family can ask in one split."""

    cores: Mapping[Answer, Sequence[Parameters]]
    """By answer. Answers that not every split can ask for are left out: each option could be the right one."""
    size: int
    """Different texts of questions, all wordings counted."""


@cache
def shelves(family: Family) -> dict[str, Shelf]:
    """All that a family can ask, by split."""
    found: dict[str, dict[Answer, list[Parameters]]] = {name: {} for name in SHARES}
    for answer, core in family.cores():
        found[split_of(family.name, family.asked(core))].setdefault(answer, []).append(core)
    common = set.intersection(*(set(part) for part in found.values()))
    return {
        name: Shelf(
            {answer: cores for answer, cores in part.items() if answer in common},
            sum(
                family.wordings(core).size for answer, cores in part.items() if answer in common for core in cores
            ),
        )
        for name, part in found.items()
    }  # fmt: skip


PLENTY = 40_000
"""So many different questions every family has in every split, or more; a test counts them."""


def shortage(families: Sequence[Family], split: str, count: int) -> str | None:
    """Why so many questions cannot be drawn from these families, in words for people; None: they can."""
    for place, family in enumerate(families):
        wanted = (count - place + len(families) - 1) // len(families)
        if wanted > PLENTY and wanted > (held := shelves(family)[split].size):
            return f"the family `{family.name}` holds {held:,} different questions for `{split}`; wanted: {wanted:,}"
    return None


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
    if short := shortage(families, split, count):
        raise Mistake(short, "ask for fewer, or name more families")
    drawing = [_draws(family, split, random.Random(f"{seed}/{split}/{family.name}")) for family in families]
    for number in range(count):
        yield next(drawing[number % len(families)])


def _draws(family: Family, split: str, source: random.Random) -> Iterator[Question]:
    """Questions of a family without end, each text once."""
    shelf = shelves(family)[split].cores
    seen: set[bytes] = set()
    misses = 0
    while True:
        options = family.options(source, shelf.keys())
        source.shuffle(options)
        answer = options[int(source.random() * 4)]
        cores = shelf[answer]
        # The options stay while another question is looked for, so that each of them remains as likely to be right.
        for _ in range(20):
            core = cores[int(source.random() * len(cores))]
            wordings = family.wordings(core)
            dress = wordings.draw(source)
            key = content(family.name, core + dress)
            if key not in seen:
                break
        else:
            misses += 1
            if misses == _SPARE:
                found = f"the family `{family.name}` has hardly a question left for `{split}` after {len(seen):,}"
                raise Mistake(found, "ask for fewer, or name more families")
            continue
        misses = 0
        seen.add(key)
        drawn = wordings.drawn(dress)
        texts = family.texts(core, answer, drawn)
        choices = tuple(family.shown(option) for option in options)
        yield Question(
            family=family.name,
            core=core,
            parameters=(*core, *dress, *choices),
            question=wordings.fill(dress, family.fields(core)),
            choices=choices,
            answer=family.shown(answer),
            fundamentals=texts.fundamentals,
            chain_of_thought=texts.chain_of_thought,
            common_mistakes=texts.common_mistakes,
        )
