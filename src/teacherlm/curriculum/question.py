"""A made question with all that is known of it, and what a family of questions has to offer."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Protocol

Parameters = tuple[str | int, ...]
"""What a question is made of: numbers, names, things. Equal parameters are the same question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, its answer and a gold rationale of each kind."""

    family: str
    parameters: Parameters
    question: str
    choices: tuple[str, ...]
    """Different texts in their shown order, the answer among them."""
    answer: str
    fundamentals: str
    """The facts that the question rests on; does not say the answer."""
    chain_of_thought: str
    """The steps from the question to the answer, each following from the one before; the last sentence states it."""
    common_mistakes: str
    """What people get wrong here, with the wrong result that it leads to, and why."""

    @property
    def id(self) -> str:
        """The family and 12 hex digits of the parameters: equal exactly where the question is the same."""
        return f"{self.family}-{content(self.family, self.parameters).hex()[:12]}"


class Family(Protocol):
    """A form of question, such as the sum of two numbers."""

    name: str
    """A lower-case word."""
    about: str
    """One sentence for people."""

    def draw(self, source: random.Random) -> Question:
        """One question; the same state of `source` gives the same one. Never the same text with another answer."""
        ...


def content(family: str, parameters: Parameters) -> bytes:
    """16 bytes that name a question's content, the same on every machine."""
    text = "\x1f".join([family, *(f"{type(value).__name__}:{value}" for value in parameters)])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
