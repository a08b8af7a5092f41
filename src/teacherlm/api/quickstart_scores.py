"""How the students answer the test questions: each asked in both ways, compared question by question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teacherlm.api.quickstart_explained import contents, rate
from teacherlm.api.quickstart_figures import COMPARED, Difference, FamilyScore, Said, Score, Way
from teacherlm.curriculum.question import Question
from teacherlm.evaluate.answers import Prediction, by_generation, by_likelihood
from teacherlm.evaluate.intervals import paired
from teacherlm.project.layouts import Layout

Answers = Mapping[tuple[str, Way], Sequence[Said]]
"""By student and way, one for each test question, in their order."""


@dataclass(frozen=True)
class Asked:
    """A trained student."""

    name: str
    folder: Path
    layout: Layout


def ask(student: Asked, questions: Mapping[str, Question], max_new_tokens: int) -> Iterable[tuple[Way, list[Said]]]:
    """Ask a student all questions, in one way after the other."""
    import torch

    threads = torch.get_num_threads()
    # For models of this size a second thread gains little, and costs much where the machine has other work.
    torch.set_num_threads(1)
    try:
        yield from _ask(student, questions, max_new_tokens)
    finally:
        torch.set_num_threads(threads)


def _ask(student: Asked, questions: Mapping[str, Question], max_new_tokens: int) -> Iterable[tuple[Way, list[Said]]]:
    from teacherlm.lm.load import load

    loaded = load(str(student.folder), device="cpu")
    samples: list[dict[str, Any]] = [
        {"sample_id": sample, "question": one.question, "choices": list(one.choices), "answer": one.answer}
        for sample, one in questions.items()
    ]
    chosen = by_likelihood(loaded, student.layout, samples)
    yield "options", [_said(student.name, "options", one) for one in chosen]
    written = by_generation(loaded, student.layout, samples, max_new_tokens=max_new_tokens)
    yield "writing", [_said(student.name, "writing", one) for one in written]


def _said(student: str, way: Way, one: Prediction) -> Said:
    text = one.text if one.text is not None else one.predicted
    return Said(student=student, way=way, text=(text or "").strip(), answer=one.predicted, is_right=one.correct)


def scores(answers: Answers, questions: Mapping[str, Question], families: Sequence[str]) -> tuple[Score, ...]:
    """Accuracies, over all questions and by family."""
    of_family = [question.family for question in questions.values()]
    asked = contents(questions)
    found = []
    for (student, way), said in answers.items():
        by_family = []
        for family in families:
            places = [place for place, name in enumerate(of_family) if name == family]
            if places:
                mine = rate([said[place].is_right for place in places], [asked[place] for place in places])
                by_family.append(FamilyScore(family=family, rate=mine))
        found.append(
            Score(
                student=student,
                way=way,
                rate=rate([one.is_right for one in said], asked),
                unanswered=sum(one.answer is None for one in said),
                families=tuple(by_family),
            )
        )
    return tuple(found)


def differences(answers: Answers, questions: Mapping[str, Question], seed: int) -> tuple[Difference, ...]:
    """The comparisons of `COMPARED`, in percentage points; questions of one content are drawn and tested together.

    Args:
        seed: of the bootstrap.
    """
    asked, found = contents(questions), []
    for first, second in COMPARED:
        # `paired` takes the second from the first.
        one, other = ([said.is_right for said in answers[pair]] for pair in (second, first))
        made = paired(one, other, seed=seed, clusters=asked)
        found.append(
            Difference(
                first=first[0],
                first_way=first[1],
                second=second[0],
                second_way=second[1],
                points=100 * made.difference,
                low=100 * made.low,
                high=100 * made.high,
                p_value=made.p,
                distinct=len(set(asked)),
            )
        )
    return tuple(found)
