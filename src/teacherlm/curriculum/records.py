"""A made question as a record of the augmented form, its gold rationales in the place of a teacher's."""

from __future__ import annotations

from typing import Any

from teacherlm.curriculum.draw import split_of
from teacherlm.curriculum.families import FAMILIES
from teacherlm.curriculum.question import Question

TASK = "procedural"
"""The task of made questions; rules that work their steps out again look for it."""


def record(question: Question, split: str | None = None, dataset: str = "curriculum") -> dict[str, Any]:
    """The columns that training reads of an augmented dataset, with the gold rationales.

    Args:
        split: left out: the one that the question's content belongs to.
        dataset: begins the sample's id.
    """
    if split is None:
        split = split_of(question.family, FAMILIES[question.family].asked(question.core))
    return {
        "sample_id": f"{dataset}/{split}/{question.id}",
        "dataset": dataset,
        "split": split,
        "task": TASK,
        "subject": question.family,
        "question": question.question,
        "choices": list(question.choices),
        "answer": question.answer,
        "answer_index": question.choices.index(question.answer),
        "human_rationale": None,
        "fundamentals": question.fundamentals,
        "chain_of_thought": question.chain_of_thought,
        "common_mistakes": question.common_mistakes,
    }
