"""Other words for the questions of the curriculum, made by the program that made them: a paraphraser without mistakes.

The shipped nano teacher can only explain. Where an experiment asks for paraphrases of a procedural recipe and names no
teacher, these stand in: the same content in another wording, with other names and things. They cost no call.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from teacherlm.builders.recipe import Recipe
from teacherlm.core.errors import Mistake
from teacherlm.curriculum.draw import questions
from teacherlm.curriculum.families import FAMILIES, families
from teacherlm.curriculum.question import Question
from teacherlm.experiments.asked import augmented
from teacherlm.text.normalise import one_line

_TRIES = 50


def reworded(
    recipe: Recipe, split: str, samples: Iterable[Mapping[str, Any]], repeats: int
) -> Iterator[dict[str, Any]]:
    """Each sample and its rewordings, as rows of the augmented table.

    Args:
        recipe: procedural; it decides what the questions are made of.
        samples: of that split, as the recipe gives them.
        repeats: rewordings of each; fewer where a content has not so many.

    Raises:
        Mistake: a recipe that is not procedural, or one that changes the questions.
    """
    made = recipe.source.procedural
    if made is None or split not in made.splits:
        raise Mistake(
            f"`{recipe.name}` is not made by a program, and no teacher is named that could say it in other words",
            "name a `teacher`",
            recipe.name,
        )
    drawn = questions(families(made.families), split, made.splits[split], made.seed)
    known = {(one_line(one.question), one.choices): one for one in drawn}
    for sample in samples:
        yield augmented(sample)
        question = known.get((one_line(sample["question"]), tuple(sample["choices"])))
        if question is None:
            raise Mistake(
                f"{sample['sample_id']} is no question that the curriculum made",
                "take `question` and `choices` in the recipe's `sample` as they are, or name a `teacher`",
                recipe.name,
            )
        for number, text in enumerate(wordings(question, repeats, made.seed)):
            sample_id = f"{sample['sample_id']}/rewording-{number}"
            yield augmented(sample, sample_id=sample_id, question=text, human_rationale=None)


def wordings(question: Question, count: int, seed: int) -> list[str]:
    """Other texts of a question, each different; those of another template come first.

    Args:
        count: at most.
        seed: with the question it decides what is drawn.
    """
    family = FAMILIES[question.family]
    source = random.Random(f"{seed}/{question.id}")
    offered, fields = family.wordings(question.core), family.fields(question.core)
    template = question.parameters[len(question.core)]
    found: dict[str, bool] = {}
    for _ in range(_TRIES * max(count, 1)):
        dress = offered.draw(source)
        text = offered.fill(dress, fields)
        if text != question.question:
            found.setdefault(text, dress[0] != template)
    return sorted(found, key=lambda text: not found[text])[:count]  # else as they were drawn
