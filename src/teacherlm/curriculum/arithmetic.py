"""Sums, differences and rows of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from teacherlm.curriculum.family import Answer, Family, Texts
from teacherlm.curriculum.question import Parameters
from teacherlm.curriculum.wordings import NAMES, THINGS, Wordings

LARGEST = 129
"""No number in any text is larger: each can be one token of a small vocabulary."""


def in_tens(number: int) -> str:
    """`47 is 40 + 7`."""
    return f"{number} is {number - number % 10} + {number % 10}"


class Add(Family):
    """47 + 36, tens and ones apart."""

    name = "add"
    about = "The sum of two numbers of two digits."
    _wordings = Wordings(
        "What is {a} + {b}?",
        "What is the sum of {a} and {b}?",
        "{name} has {a} {things} and {other} has {b}. How many {things} do they have together?",
        "There are {a} {things} in one box and {b} in another. How many {things} are there in all?",
        "{name} collects {a} {things} in the morning and {b} in the evening. How many {things} is that in all?",
        name=NAMES,
        other=NAMES,
        things=THINGS,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """Without full tens, and so small that a mistake by ten is no more than the largest number."""
        for a in range(11, 100):
            for b in range(11, min(100, LARGEST - 9 - a)):
                if a % 10 and b % 10:
                    yield a + b, (a, b)

    def asked(self, core: Parameters) -> Parameters:
        return tuple(sorted(int(number) for number in core))

    def wordings(self, core: Parameters) -> Wordings:
        return self._wordings

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        return {"a": core[0], "b": core[1]}

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        a, b = int(core[0]), int(core[1])
        tens, ones = a // 10 * 10 + b // 10 * 10, a % 10 + b % 10
        parts = f"{in_tens(a)} and {in_tens(b)}. "
        sums = f"{a // 10 * 10} + {b // 10 * 10} = {tens}. {a % 10} + {b % 10} = {ones}."
        if ones >= 10:
            slip = (
                f"Whoever forgets the carry keeps only the {ones - 10} of {ones}: "
                f"{tens} + {ones - 10} = {tens + ones - 10}, which is 10 too small."
            )
        else:
            slip = (
                f"Whoever carries a ten that is not there takes {ones + 10} for {ones}: "
                f"{tens} + {ones + 10} = {tens + ones + 10}, which is 10 too large."
            )
        return Texts(
            "Two numbers are added tens to tens and ones to ones, and ten ones make one more ten.",
            f"{parts}{sums} {tens} + {ones} = {answer}. The result is {answer}.",
            f"{parts}{sums} {slip}",
        )


class Subtract(Family):
    """83 - 47, a ten broken up where the ones are too few."""

    name = "subtract"
    about = "The difference of two numbers of two digits."
    _wordings = Wordings(
        "What is {a} - {b}?",
        "What is left when {b} is taken away from {a}?",
        "{name} has {a} {things} and gives {b} of them to {other}. How many {things} does {name} keep?",
        "There are {a} {things} in a box and {name} takes {b} out. How many {things} stay in the box?",
        name=NAMES,
        other=NAMES,
        things=THINGS,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """With a difference of at least 11, so that the mistakes stay above 0."""
        for a in range(23, 100):
            for b in range(12, a - 10):
                if b % 10:
                    yield a - b, (a, b)

    def wordings(self, core: Parameters) -> Wordings:
        return self._wordings

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        return {"a": core[0], "b": core[1]}

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        a, b = int(core[0]), int(core[1])
        (a_tens, a_ones), (b_tens, b_ones) = (a // 10 * 10, a % 10), (b // 10 * 10, b % 10)
        parts = f"{in_tens(a)} and {in_tens(b)}. "
        if a_ones < b_ones:
            tens, ones = a_tens - 10 - b_tens, a_ones + 10 - b_ones
            looked = f"{a_ones} is less than {b_ones}, so {a} is {a_tens - 10} + {a_ones + 10}. "
            steps = f"{a_tens - 10} - {b_tens} = {tens}. {a_ones + 10} - {b_ones} = {ones}."
            wrong = a_tens - b_tens
            slip = (
                f"{a_tens} - {b_tens} = {wrong}. Whoever turns the ones around because {a_ones} is less than {b_ones} "
                f"takes {b_ones} - {a_ones} = {b_ones - a_ones}, "
                f"and {wrong} + {b_ones - a_ones} = {wrong + b_ones - a_ones} is too large."
            )
        else:
            tens, ones = a_tens - b_tens, a_ones - b_ones
            looked = f"{a_ones} is not less than {b_ones}. "
            steps = f"{a_tens} - {b_tens} = {tens}. {a_ones} - {b_ones} = {ones}."
            slip = (
                f"{steps} Whoever breaks up a ten that is not needed takes {tens - 10} for {tens}: "
                f"{tens - 10} + {ones} = {tens - 10 + ones}, which is 10 too small."
            )
        return Texts(
            "Tens are taken from tens and ones from ones, and where the ones are too few a ten is broken up.",
            f"{parts}{looked}{steps} {tens} + {ones} = {answer}. The result is {answer}.",
            f"{parts}{slip}",
        )


class Sequence(Family):
    """5, 8, 11, 14 and on."""

    name = "sequence"
    about = "The next number of a row with equal steps, up or down."
    offsets = ((2, 3, 4, 5), (1,))
    _wordings = Wordings(
        "Which number comes next: {row}?",
        "{name} writes down {row}. Which number does {name} write next?",
        "{name} says {row}, and {other} goes on. Which number does {other} say?",
        "A row of numbers begins with {row}. How does it go on?",
        "The houses on a street have the numbers {row}. What number does the next house have?",
        name=NAMES,
        other=NAMES,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        for step in (*range(2, 10), *range(-9, -1)):
            for first in range(1, 81):
                if 2 <= first + 4 * step <= 80:
                    yield first + 4 * step, (first, step)

    def wordings(self, core: Parameters) -> Wordings:
        return self._wordings

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        first, step = int(core[0]), int(core[1])
        return {"row": ", ".join(str(first + place * step) for place in range(4))}

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        first, step = int(core[0]), int(core[1])
        size, sign = abs(step), "+" if step > 0 else "-"
        row = [first + place * step for place in range(5)]
        low, high = sorted(row[:2])
        seen = f"From {low} to {high} it is {size}."
        steps = " ".join(f"{here} {sign} {size} = {there}." for here, there in pairwise(row))
        wrong = row[3] + (step + 1 if step > 0 else step - 1)
        way = "up" if step > 0 else "down"
        return Texts(
            f"A row with equal steps goes {way} by the same number each time.",
            f"{seen} {steps} The result is {answer}.",
            f"{seen} Whoever counts both ends takes the step for {size} + 1 = {size + 1}, "
            f"and {row[3]} {sign} {size + 1} = {wrong} is 1 too {'large' if step > 0 else 'small'}.",
        )
