"""What a model answers to samples with options: by the likelihood of each option, or by writing and being read.

Prompts are rendered by the layout that the model was trained on, with the same characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from teacherlm.core.errors import Mistake
from teacherlm.lm.load import LoadedModel
from teacherlm.project.layouts import LEADS, Layout, prompt_for, stated
from teacherlm.text.extract import extract, is_gold

STOP = ("\nQ:", " Q: ")
"""A model that goes on to invent another question has ended its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One sample's answer."""

    sample_id: str
    predicted: str | None
    """The option's text, or the answer as stated; None: none was stated."""
    correct: bool
    scores: tuple[float, ...] = ()
    """Log-likelihood of each option, in their order."""
    by_character: str | None = None
    """The option with the highest log-likelihood per character: `acc_norm` of lm-evaluation-harness."""
    text: str | None = None
    """What was written."""
    finish_reason: str | None = None
    """`length`: the answer was cut at the token limit."""
    cut: int = 0
    """Tokens of the prompt that did not fit into the window, on its left."""


def by_likelihood(loaded: LoadedModel, layout: Layout, samples: Sequence[Mapping[str, Any]]) -> list[Prediction]:
    """Answer with the option whose statement is the likeliest after `A: The answer is`.

    Args:
        loaded: the model.
        layout: its `gold` says whether the letter or the text of an option is stated.
        samples: `sample_id`, `question`, `choices`, `answer`.

    Raises:
        Mistake: a sample without options, or a layout that shows the answer in the prompt.
    """
    from teacherlm.lm.score import score

    requests: list[tuple[str, str]] = []
    for sample in samples:
        if len(sample["choices"]) < 2:
            raise Mistake(
                f"{sample['sample_id']} has no options to choose from", "evaluate it by generation", sample["sample_id"]
            )
        context = _answered(layout, sample)
        requests += [(context, _statement(layout, sample["choices"], option)) for option in sample["choices"]]
    scores = iter(score(loaded, requests))
    found = []
    for sample in samples:
        mine = [next(scores) for _ in sample["choices"]]
        sums = tuple(one.sum for one in mine)
        per_character = [one.sum / one.characters for one in mine]
        predicted = sample["choices"][sums.index(max(sums))]
        found.append(
            Prediction(
                sample_id=sample["sample_id"],
                predicted=predicted,
                correct=predicted == sample["answer"],
                scores=sums,
                by_character=sample["choices"][per_character.index(max(per_character))],
                cut=max(one.cut for one in mine),
            )
        )
    return found


def by_generation(
    loaded: LoadedModel,
    layout: Layout,
    samples: Sequence[Mapping[str, Any]],
    *,
    max_new_tokens: int,
    batch_size: int = 128,
) -> list[Prediction]:
    """Let the model write, greedily, and read the last answer that it states.

    Args:
        loaded: the model.
        layout: how it is asked.
        samples: `sample_id`, `question`, `choices` (may be empty), `answer`.
        max_new_tokens: of one answer; prompts that leave no room for it are cut from the left.
        batch_size: rows at once.

    Raises:
        Mistake: a layout that shows the answer in the prompt; more new tokens than the window holds.
    """
    from teacherlm.lm.generate import Request, generate
    from teacherlm.lm.tokens import Tokens

    room = loaded.max_total_tokens - max_new_tokens
    if room < 1:
        raise Mistake(
            f"{max_new_tokens} new tokens leave no room for a prompt in a window of {loaded.max_total_tokens}",
            "ask for fewer",
        )
    tokens = Tokens(loaded.tokenizer)
    prompts = [tokens.encode(asked(layout, sample)) for sample in samples]
    requests = [Request(prompt_ids=tuple(ids[-room:]), max_new_tokens=max_new_tokens, stop=STOP) for ids in prompts]
    found: list[Prediction | None] = [None] * len(samples)
    for place, row in generate(loaded, requests, batch_size=batch_size):
        sample, text = samples[place], until_stop(row.text)
        read = extract(text, sample["choices"], sample["answer"])
        stated_one = read.how == "statement"
        found[place] = Prediction(
            sample_id=sample["sample_id"],
            predicted=read.answer if stated_one else None,
            correct=stated_one and is_gold(read, sample["choices"], sample["answer"]) is True,
            text=text,
            finish_reason=row.finish_reason,
            cut=max(0, len(prompts[place]) - room),
        )
    return [one for one in found if one is not None]


def until_stop(text: str) -> str:
    """What was written before another question was begun."""
    ends = [place for stop in STOP if (place := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def asked(layout: Layout, sample: Mapping[str, Any]) -> str:
    """The prompt of a student.

    Raises:
        Mistake: the layout shows the answer in it.
    """
    if "answer" in layout.prompt:
        raise Mistake("the layout shows the answer in its prompt", "name a layout for students, such as plain")
    return prompt_for(layout, sample)


def _answered(layout: Layout, sample: Mapping[str, Any]) -> str:
    """The prompt up to and with `The answer is`."""
    prompt = asked(layout, sample)
    return prompt if layout.asks and layout.response[0] == "answer" else f"{prompt} {LEADS['answer']}"


def _statement(layout: Layout, choices: Sequence[str], option: str) -> str:
    """An option as it follows `The answer is`, with the characters that training has there."""
    text = stated(layout, choices, option)
    return f" {text}{'' if text.endswith(('.', '!', '?')) else '.'}"
