"""The majority of several writings: self-consistency (Wang et al. 2022, arXiv 2203.11171).

A model that writes a chain before its answer is asked the same several times, each writing drawn by a seed of its own;
the answer that most of them state is its answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import Mistake
from teacherlm.core.keys import digest
from teacherlm.evaluate.answers import STOP, Prediction, asked, until_stop
from teacherlm.project.layouts import Layout
from teacherlm.text.extract import Extracted, extract, is_gold

if TYPE_CHECKING:
    from teacherlm.lm.load import LoadedModel

TEMPERATURE = 0.7
"""Of PaLM in the paper, section 3.1 (there with 40 writings)."""


@dataclass(frozen=True, slots=True)
class Majority:
    """What most of several writings state."""

    answer: str | None
    """The option's text, or the answer as the first of them states it; None: no writing states one."""
    votes: int
    """Writings that state it."""
    writings: int
    first: int
    """The place of the first writing that states it; 0 where none does."""

    @property
    def share(self) -> float:
        """Votes over all writings, those that state no answer included."""
        return self.votes / self.writings


def majority(stated: Sequence[str | None], choices: Sequence[str]) -> Majority:
    """The answer that most writings state; of several with as many votes, the one that was stated first.

    Args:
        stated: the answer of each writing, one or more, as `stated_in` reads it.
        choices: the options; none for free text, where answers are compared as gold answers are (`1,200` is 1200).

    >>> majority(["7", None, "8", "8.0"], [])
    Majority(answer='8', votes=2, writings=4, first=2)
    >>> majority(["iron", "gold"], ["gold", "iron"]).answer
    'iron'
    """
    groups: list[list[int]] = []
    for place, answer in enumerate(stated):
        if answer is None:
            continue
        for group in groups:
            if _same(answer, str(stated[group[0]]), choices):
                group.append(place)
                break
        else:
            groups.append([place])
    if not groups:
        return Majority(None, 0, len(stated), 0)
    best = max(groups, key=len)  # the first of the largest
    return Majority(stated[best[0]], len(best), len(stated), best[0])


def stated_in(text: str, choices: Sequence[str], answer: str) -> str | None:
    """The last answer that a writing states; None: it states none, or several at once.

    Args:
        answer: the gold answer; only its kind is looked at (a number, a phrase), and never what it is.

    >>> stated_in("3 + 4 = 7. The answer is (B).", ["6", "7"], "6")
    '7'
    """
    found = extract(text, choices, answer)
    return found.answer if found.how == "statement" else None


def by_votes(
    loaded: LoadedModel,
    layout: Layout,
    samples: Sequence[Mapping[str, Any]],
    *,
    votes: int,
    max_new_tokens: int,
    temperature: float = TEMPERATURE,
    seed: int = 0,
    batch_size: int = 128,
) -> list[Prediction]:
    """Let the model write several times and take the answer that most writings state.

    Args:
        loaded: the model.
        layout: how it is asked.
        samples: `sample_id`, `question`, `choices` (may be empty), `answer`.
        votes: writings of each sample, 1 or more.
        max_new_tokens: of one writing; prompts that leave no room for it are cut from the left.
        temperature: of the drawing, above 0.
        seed: with the sample's id and the writing's number it decides what is drawn: neither the other samples nor the
            number of votes do.
        batch_size: rows at once.

    Returns:
        One prediction for each sample; its text is the first writing that states the answer.

    Raises:
        Mistake: a layout that shows the answer in the prompt; more new tokens than the window holds; no votes.
    """
    from teacherlm.lm.generate import Request, generate
    from teacherlm.lm.sampling import Sampling
    from teacherlm.lm.tokens import Tokens

    room = loaded.max_total_tokens - max_new_tokens
    _check(votes, temperature, max_new_tokens, room, loaded.max_total_tokens)
    tokens = Tokens(loaded.tokenizer)
    prompts = [tokens.encode(asked(layout, sample)) for sample in samples]
    requests = [
        Request(
            prompt_ids=tuple(ids[-room:]),
            max_new_tokens=max_new_tokens,
            stop=STOP,
            sampling=Sampling(seed=int(digest([seed, sample["sample_id"], vote])[:13], 16), temperature=temperature),
        )
        for sample, ids in zip(samples, prompts, strict=True)
        for vote in range(votes)
    ]
    texts, ends = [""] * len(requests), [""] * len(requests)
    for place, row in generate(loaded, requests, batch_size=batch_size):
        texts[place], ends[place] = until_stop(row.text), str(row.finish_reason)
    found = []
    for number, sample in enumerate(samples):
        first, choices, answer = number * votes, sample["choices"], sample["answer"]
        written = texts[first : first + votes]
        chosen = majority([stated_in(text, choices, answer) for text in written], choices)
        found.append(
            Prediction(
                sample_id=sample["sample_id"],
                predicted=chosen.answer,
                correct=is_gold(Extracted(chosen.answer, None, "statement"), choices, answer) is True,
                text=written[chosen.first],
                finish_reason=ends[first + chosen.first],
                cut=max(0, len(prompts[number]) - room),
            )
        )
    return found


def _check(votes: int, temperature: float, max_new_tokens: int, room: int, window: int) -> None:
    if votes < 1:
        raise Mistake(f"`votes` is {votes}", "write a number of 1 or more")
    if temperature <= 0:
        raise Mistake(f"`temperature` is {temperature:g}, and all writings would be the same", "write one above 0")
    if room < 1:
        found = f"{max_new_tokens} new tokens leave no room for a prompt in a window of {window}"
        raise Mistake(found, "ask for fewer")


def _same(one: str, other: str, choices: Sequence[str]) -> bool:
    return one == other or (not choices and is_gold(Extracted(one, None, "statement"), (), other) is True)
