"""What a family of questions has to offer, and how its options are drawn so that they say nothing of the answer.

Options come first: four answers that differ by two offsets, each able to be the right one. Then one of the four is
chosen, all alike, and only then a question that has this answer. Whoever sees the options alone is at chance by
construction, whatever is known of the family.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from teacherlm.curriculum.question import Parameters
from teacherlm.curriculum.wordings import Wordings

Answer = str | int


@dataclass(frozen=True, slots=True)
class Texts:
    """The gold rationales of a question."""

    fundamentals: str
    chain_of_thought: str
    common_mistakes: str


class Family(ABC):
    """A form of question, such as the sum of two numbers."""

    name: ClassVar[str]
    """A lower-case word."""
    about: ClassVar[str]
    """One sentence for people."""
    offsets: ClassVar[tuple[Sequence[int], Sequence[int]]] = ((10,), (1, 2))
    """How numeric options differ: the size of a typical mistake, and a small one."""

    @abstractmethod
    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """All that can be asked, each with its answer. None whose typical mistake gives the right answer."""

    def asked(self, core: Parameters) -> Parameters:
        """What decides the split: the same for contents that ask the same in another order."""
        return core

    @abstractmethod
    def wordings(self, core: Parameters) -> Wordings:
        """The wordings that a content can have."""

    @abstractmethod
    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        """What the wordings call the parts of a content."""

    @abstractmethod
    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        """The gold rationales: functions of what the question says, and of nothing else."""

    def options(self, source: random.Random, answers: Collection[Answer]) -> list[Answer]:
        """Four different ones of `answers`, none of which stands out."""
        numbers = sorted(int(answer) for answer in answers)
        for _ in range(1000):
            large, small = source.choice(self.offsets[0]), source.choice(self.offsets[1])
            base = source.choice(numbers)
            found: list[Answer] = [base, base + large, base + small, base + large + small]
            if len(set(found)) == 4 and all(number in answers for number in found):
                return found
        raise AssertionError(f"the answers of `{self.name}` leave no room for four options")

    def shown(self, answer: Answer) -> str:
        """The answer as an option has it."""
        return str(answer)
