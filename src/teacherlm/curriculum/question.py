"""A made question with all that is known of it: its content, its texts, and the names of both."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

Parameters = tuple[str | int, ...]
"""Numbers, names, things, in an order of the family's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, its answer and a gold rationale of each kind. The parameters decide all of its texts."""

    family: str
    core: Parameters
    """What is asked, without names and wording; decides the split."""
    parameters: Parameters
    """All that the question is made of: the core, the wording with its names, the options in their order."""
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


def content(family: str, parameters: Parameters) -> bytes:
    """16 bytes that name a content, the same on every machine."""
    text = "\x1f".join([family, *(f"{type(value).__name__}:{value}" for value in parameters)])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
