"""Units, and the way around a rectangle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from teacherlm.curriculum.arithmetic import LARGEST
from teacherlm.curriculum.family import Answer, Family, Texts
from teacherlm.curriculum.question import Parameters
from teacherlm.curriculum.wordings import NAMES, Wordings

UNITS = {
    "week": ("weeks", "days", 7),
    "foot": ("feet", "inches", 12),
    "yard": ("yards", "feet", 3),
    "year": ("years", "months", 12),
    "gallon": ("gallons", "quarts", 4),
    "pound": ("pounds", "ounces", 16),
    "bushel": ("bushels", "gallons", 8),
    "meter": ("meters", "decimeters", 10),
    "day": ("days", "hours", 24),
}
"""A unit -> its plural, the smaller unit and how many of it."""
PLACES = ("garden", "field", "park", "court", "meadow", "pool", "playground", "farm")


class Convert(Family):
    """A length of 6 feet and 2 inches in inches."""

    name = "convert"
    about = "A measure in two units, in the smaller one alone."
    offsets = ((3, 4, 5, 6, 7, 8), (1, 2))
    _wordings = Wordings(
        "How many {smalls} are {n} {bigs} and {e} {smalls}?",
        "{name} measures {n} {bigs} and {e} {smalls}. How many {smalls} is that?",
        "{n} {bigs} and {e} {smalls} are to be written in {smalls} alone. How many are they?",
        "{name} tells {other} that it is {n} {bigs} and {e} {smalls}. {other} wants it in {smalls}. How many are they?",
        name=NAMES,
        other=NAMES,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """The larger unit, how many of it, and how many of the smaller one."""
        for unit, (_, _, factor) in UNITS.items():
            for n in range(2, 13):
                for e in range(2, 16):
                    if n * factor + e <= LARGEST:
                        yield n * factor + e, (unit, n, e)

    def wordings(self, core: Parameters) -> Wordings:
        return self._wordings

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        bigs, smalls, _ = UNITS[str(core[0])]
        return {"bigs": bigs, "smalls": smalls, "n": core[1], "e": core[2]}

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        unit, n, e = str(core[0]), int(core[1]), int(core[2])
        bigs, smalls, factor = UNITS[unit]
        return Texts(
            f"The number of {bigs} times the {smalls} in one {unit}, plus the other {smalls}, is all in {smalls}.",
            f"1 {unit} has {factor} {smalls}. {n} x {factor} = {n * factor}. {n * factor} + {e} = {answer}. "
            f"The result is {answer}.",
            f"Whoever adds {bigs} and {smalls} as if they were the same says {n} + {e} = {n + e}, which is too small.",
        )


class Fence(Family):
    """Twice the length and twice the width."""

    name = "fence"
    about = "The way around a rectangle."
    offsets = ((4, 6, 8, 10), (2,))
    _wordings = Wordings(
        "A {place} is {a} meters long and {b} meters wide. How many meters of fence go around it?",
        "{name} walks once around a {place} that is {a} meters long and {b} meters wide. "
        "How many meters does {name} walk?",
        "{name} and {other} run once around a {place}, {a} meters long and {b} meters wide. "
        "How many meters does each of them run?",
        "A rectangle is {a} meters long and {b} meters wide. How many meters is it around?",
        place=PLACES,
        name=NAMES,
        other=NAMES,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        for a in range(4, 51):
            for b in range(3, min(a, 21)):
                if 2 * (a + b) < LARGEST:
                    yield 2 * (a + b), (a, b)

    def wordings(self, core: Parameters) -> Wordings:
        return self._wordings

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        return {"a": core[0], "b": core[1]}

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        a, b = int(core[0]), int(core[1])
        return Texts(
            "A rectangle has 2 long sides and 2 short sides, and the way around it passes all of them.",
            f"A long and a short side make {a} + {b} = {a + b}. There are 2 of each: 2 x {a + b} = {answer}. "
            f"The result is {answer}.",
            f"Whoever passes each side only once stops at {a} + {b} = {a + b}, which is half of the way.",
        )
