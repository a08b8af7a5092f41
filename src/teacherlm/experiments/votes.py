"""Labels by vote: a teacher answers without being shown the answer, several times; the majority is the label.

Self-consistency (Wang et al. 2022, arXiv 2203.11171), here used to label training questions: the gold answer plays no
part in a sample's label, nor in whether the sample is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from teacherlm.evaluate.votes import majority, stated_in
from teacherlm.experiments.asked import Answer, Books, augmented
from teacherlm.schemas.records import KINDS
from teacherlm.text.extract import Extracted, is_gold
from teacherlm.text.extract_words import last_sentence

KIND = "chain_of_thought"
NO_ANSWER = "no_answer"
"""Why a writing is rejected: it states no answer, or several."""

_STATEMENT = re.compile(r"(?:(?:so|thus|hence|therefore|and so)\b,? *)?(?:the|my) (?:final |right )?answer is\b", re.I)


@dataclass
class Labelled:
    """How far the votes led."""

    books: Books = field(default_factory=Books)
    """Of the calls; accepted are those that state an answer."""
    samples: int = 0
    labelled: int = 0
    right: int = 0
    """Labels that are the gold answer; counted, and used for nothing."""
    share: float = 0.0
    """Sum of the labels' shares of the votes."""

    def to_row(self) -> dict[str, Any]:
        mean = self.share / self.labelled if self.labelled else None
        counts = {"samples": self.samples, "labelled": self.labelled, "right": self.right, "mean_share": mean}
        return {**self.books.to_row(), **counts}


def by_vote(sample: Mapping[str, Any], answers: Sequence[Answer], counts: Labelled) -> dict[str, Any] | None:
    """The sample with the majority's answer and the chain that first led to it; None: no writing states an answer.

    Args:
        answers: in the order of their repeats; each has a vote, also those that were cut or failed, for none.

    Returns:
        A row of the augmented table. The score of its chain of thought is the label's share of the votes, so that
        `where: quality.chain_of_thought.score > 0.6` chooses the labels that are read.
    """
    choices, gold = list(sample["choices"] or ()), sample["answer"]
    stated: list[str | None] = []
    for answer in answers:
        read = None if counts.books.unusable(answer) else stated_in(answer.text, choices, gold)
        if read is not None:
            counts.books.accepted += 1
        elif answer.status == "ok":
            counts.books.rejected[NO_ANSWER] += 1
        stated.append(read)
    counts.samples += 1
    chosen = majority(stated, choices) if stated else None
    if chosen is None or chosen.answer is None:
        return None
    first = answers[chosen.first]
    counts.labelled += 1
    counts.share += chosen.share
    counts.right += is_gold(Extracted(chosen.answer, None, "statement"), choices, gold) is True
    origin = {name: getattr(first, name) for name in ("call_key", "teacher_model", "teacher_revision", "strategy")}
    return augmented(
        sample,
        answer=chosen.answer,
        answer_index=choices.index(chosen.answer) if choices else None,
        human_rationale=None,  # it explains the gold answer
        chain_of_thought=without_statement(first.text),
        quality={**dict.fromkeys(KINDS), KIND: {"score": chosen.share, "flags": []}},
        provenance={**dict.fromkeys(KINDS), KIND: {**origin, "repeat": first.repeat}},
    )


def without_statement(text: str) -> str:
    """A chain without the answer that it ends with, which layouts state by themselves; whole where nothing is left.

    >>> without_statement("3 + 4 = 7. So the answer is (B)."), without_statement("The answer is 7.")
    ('3 + 4 = 7.', 'The answer is 7.')
    """
    last = last_sentence(text)
    left = text.rstrip()[: -len(last)].rstrip() if _STATEMENT.match(last) else ""
    return left or text.strip()
