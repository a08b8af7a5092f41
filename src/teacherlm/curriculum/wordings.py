"""Several wordings of one question: templates whose names and things are drawn from lists."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from string import Formatter

from teacherlm.curriculum.question import Parameters

NAMES = (
    "Ann", "Ben", "Clara", "David", "Emma", "Finn", "Grace", "Henry", "Iris", "Jack", "Kate", "Leo",
    "Maria", "Nora", "Oscar", "Paul", "Rosa", "Sam", "Tina", "Victor", "Wendy", "Yusuf", "Zoe", "Lucy",
)  # fmt: skip
THINGS = (
    "marbles", "stamps", "coins", "cards", "shells", "stickers", "beads", "buttons", "apples", "nuts", "stones",
    "pencils", "cookies", "tickets", "books", "pears",
)  # fmt: skip


class Wordings:
    """Templates, each with fields that the question's numbers fill and fields that are drawn.

    Args:
        templates: in the syntax of `str.format`.
        pools: for each drawn field the list of what it can be. Fields with the very same list never get the same entry.

    >>> Wordings("{name} has {a} nuts.", name=["Ann"]).fill((0, "Ann"), {"a": 3})
    'Ann has 3 nuts.'
    """

    def __init__(self, *templates: str, **pools: Sequence[str]) -> None:
        self.templates = templates
        self._pools = [
            [(field, pools[field]) for field in dict.fromkeys(name for _, name, _, _ in Formatter().parse(text) if name)
             if field in pools]
            for text in templates
        ]  # fmt: skip

    @property
    def size(self) -> int:
        """How many different texts one question can have."""
        total = 0
        for pools in self._pools:
            ways = 1
            for place, (_, pool) in enumerate(pools):
                ways *= len(pool) - sum(earlier is pool for _, earlier in pools[:place])
            total += ways
        return total

    def draw(self, source: random.Random) -> Parameters:
        """A template's number, and the entries of its drawn fields in their order."""
        number = int(source.random() * len(self.templates))
        taken: list[str] = []
        pools = self._pools[number]
        for place, (_, pool) in enumerate(pools):
            while True:
                entry = pool[int(source.random() * len(pool))]
                if all(entry != taken[i] for i in range(place) if pools[i][1] is pool):
                    break
            taken.append(entry)
        return (number, *taken)

    def drawn(self, dress: Parameters) -> dict[str, str | int]:
        """The drawn fields by name."""
        number, *entries = dress
        return {field: entry for (field, _), entry in zip(self._pools[int(number)], entries, strict=True)}

    def fill(self, dress: Parameters, fields: Mapping[str, str | int]) -> str:
        """The text of a draw."""
        return self.templates[int(dress[0])].format(**fields, **self.drawn(dress))
