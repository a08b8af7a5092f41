"""Turning left and right."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from itertools import product

from teacherlm.curriculum.family import Answer, Family, Texts
from teacherlm.curriculum.question import Parameters
from teacherlm.curriculum.wordings import NAMES, Wordings

DIRECTIONS = ("north", "east", "south", "west")
QUARTERS = {"right": 1, "around": 2, "left": 3}
ORDINALS = ("first", "second", "third", "fourth", "fifth")
ROBOTS = ("robot", "dog", "horse", "driver", "sailor", "scout", "pilot", "guide")


class Turn(Family):
    """Several turns, one after the other."""

    name = "turn"
    about = "The direction somebody faces after two to five turns."
    _wordings = Wordings(
        "{name} faces {start} and makes these turns: {turns}. Which way does {name} face then?",
        "A {robot} looks {start} and turns {turns}. Where does the {robot} look in the end?",
        "{name} stands on a square and looks {start}. {name} turns {turns}. In which direction does {name} look now?",
        "{name} looks {start} and follows what {other} says: {turns}. Which way does {name} look then?",
        name=NAMES,
        other=NAMES,
        robot=ROBOTS,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """Where it begins, and the turns. Those before the last one do not cancel each other."""
        for length in range(2, 6):
            for turns in product(QUARTERS, repeat=length):
                if sum(QUARTERS[turn] for turn in turns[:-1]) % 4:
                    for place, start in enumerate(DIRECTIONS):
                        yield DIRECTIONS[(place + sum(QUARTERS[turn] for turn in turns)) % 4], (start, *turns)

    def wordings(self, core: Parameters) -> Wordings:
        return self._wordings

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        start, *turns = core
        parts = [f"{ordinal} {turn}" for ordinal, turn in zip(ORDINALS, turns, strict=False)]
        return {"start": start, "turns": f"{', '.join(parts[:-1])} and {parts[-1]}"}

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        start, *turns = (str(part) for part in core)
        here, steps = start, []
        for ordinal, turn in zip(ORDINALS, turns, strict=False):
            there = _after(here, turn)
            steps.append(f"{ordinal.capitalize()}, {turn} from {here} is {there}.")
            here = there
        return Texts(
            "Each turn begins in the direction in which the turn before it ended.",
            f"{' '.join(steps)} The result is {answer}.",
            f"Whoever takes the {ORDINALS[len(turns) - 1]} turn from {start}, and not from where the others lead, "
            f"says that {turns[-1]} from {start} is {_after(start, turns[-1])}.",
        )

    def options(self, source: random.Random, answers: Collection[Answer]) -> list[Answer]:
        return list(DIRECTIONS)


def _after(here: str, turn: str) -> str:
    return DIRECTIONS[(DIRECTIONS.index(here) + QUARTERS[turn]) % 4]
