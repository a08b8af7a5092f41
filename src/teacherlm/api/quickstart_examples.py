"""Which test questions a page explains: those with something wrong first, of different families and faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from teacherlm.api.quickstart_figures import Example, Said, Text
from teacherlm.api.quickstart_scores import Answers
from teacherlm.curriculum.question import Question
from teacherlm.schemas.records import KINDS

FLAWED = 0.6
"""Share of the examples that show something wrong, as long as there are so many and enough others."""


def choose_examples(
    questions: Mapping[str, Question], texts: Mapping[str, Mapping[str, Text]], answers: Answers, count: int
) -> tuple[Example, ...]:
    """The examples of a page; the same inputs give the same ones.

    Args:
        questions: all test questions, in the order of the answers.
        texts: of those that the teacher explained, by sample and kind.
        count: how many.
    """
    found = []
    for place, (sample, question) in enumerate(questions.items()):
        if sample in texts:
            found.append(_example(sample, question, texts[sample], [said[place] for said in answers.values()]))
    # The plain student is wrong most of the time: that alone makes no question worth showing.
    faulty = [one for one in found if _faults(one)]
    others = [one for one in found if not _faults(one)]
    most = max(round(FLAWED * count), count - len(others))
    chosen = _varied(faulty, min(most, count))
    return tuple(chosen + _varied(others, count - len(chosen)))


def _example(sample: str, question: Question, texts: Mapping[str, Text], said: list[Said]) -> Example:
    return Example(
        sample_id=sample,
        family=question.family,
        question=question.question,
        choices=question.choices,
        answer=question.answer,
        texts=tuple(texts[kind] for kind in KINDS if kind in texts),
        said=tuple(said),
    )


def _faults(example: Example) -> tuple[str, ...]:
    """What is wrong: texts that were not accepted or are not exact, and a student wrong after writing a chain."""
    found = [
        f"{text.kind} {text.verdict}" + ("" if text.is_exact else " inexact")
        for text in example.texts
        if text.verdict != "accepted" or not text.is_exact
    ]
    found += [
        f"{said.student} wrong" for said in example.said if said.way == "writing" and not said.is_right and said.answer
    ]
    return tuple(found)


def _varied(examples: list[Example], count: int) -> list[Example]:
    """The first so many, each time one whose family and faults were taken least."""
    left, taken = list(examples), list[Example]()
    families: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    while left and len(taken) < count:
        best = min(left, key=lambda one: families[one.family] + sum(faults[fault] for fault in _faults(one)))
        left.remove(best)
        taken.append(best)
        families[best.family] += 1
        faults.update(_faults(best))
    return taken
