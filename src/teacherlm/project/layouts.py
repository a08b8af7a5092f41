"""How a record becomes training text and how an evaluation asks: `train/layouts.yaml`.

A layout is a prompt and a response, each a row of parts. Training and evaluation both render through it, so that a
model is asked with the very characters that it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from string import ascii_uppercase
from typing import Any, Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from teacherlm.core.errors import Mistakes, Problem
from teacherlm.project.bind import SPEC_CONFIG, bind
from teacherlm.project.located import Located
from teacherlm.text.normalise import one_line
from teacherlm.text.render import gold, question_text

Part = Literal["question", "answer", "options", "fundamentals", "chain_of_thought", "common_mistakes"]
SAMPLE_PARTS = ("question", "answer", "options")
"""Parts that every sample has; the others are kinds of rationale."""

Gold = Literal["letter", "text"]

LEADS: dict[str, str] = {
    "answer": "The answer is",
    "fundamentals": "The fundamental of this question is:",
    "chain_of_thought": "Let's think step by step.",
    "common_mistakes": "The common mistakes are:",
}
"""What a part begins with; source: TeacherLM (arXiv 2310.19019), section 3."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Layout:
    """A prompt and a response. The response's first part may be begun by the prompt (`asks`)."""

    about: str = ""
    prefix: str = ""
    """Stands before the question, for training and for whoever asks: what tells the tasks of one model apart."""
    prompt: tuple[Part, ...] = ("question",)
    response: tuple[Part, ...]
    gold: Gold = "letter"
    """How the answer is written: the paper's `(B)`, or the option's text. Free-text answers are texts either way."""
    asks: bool = False
    """The prompt ends with the words that begin the first part of the response, as a teacher is asked for a kind."""

    @model_validator(mode="after")
    def _each_part_once(self) -> Layout:
        parts = [*self.prompt, *self.response]
        if not self.response:
            raise ValueError("`response` is empty | write  response: [answer]")
        if parts[0] != "question":
            raise ValueError("a layout begins with the question | write  prompt: [question]")
        if len(set(parts)) != len(parts):
            raise ValueError("a part stands twice | name each part once")
        if "options" in self.prompt:
            raise ValueError("the look at the options tells the answer | move `options` to the response")
        if self.asks and self.response[0] not in LEADS:
            raise ValueError(f"`asks` needs words that begin `{self.response[0]}`, which has none | leave `asks` out")
        if self.prefix != one_line(self.prefix):
            raise ValueError(f"`prefix` has needless blanks | write  prefix: {one_line(self.prefix)!r}")
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of rationale that a record must have."""
        return tuple(part for part in (*self.prompt, *self.response) if part not in SAMPLE_PARTS)


@plain_dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the text and the part that it belongs to; a loss may weigh each part."""

    part: str
    text: str


@plain_dataclass(frozen=True, slots=True)
class Rendered:
    """A record as text."""

    prompt: tuple[Piece, ...]
    response: tuple[Piece, ...]

    @property
    def prompt_text(self) -> str:
        return "".join(piece.text for piece in self.prompt)

    @property
    def text(self) -> str:
        return self.prompt_text + "".join(piece.text for piece in self.response)


def render(layout: Layout, record: Mapping[str, Any]) -> Rendered:
    """A record as its layout has it.

    Args:
        record: a sample's `question`, `choices`, `answer` and the layout's kinds.

    Raises:
        KeyError: the record lacks a kind that the layout names; see `lacking`.
    """
    prompt = _prompt(layout, record)
    response = [_piece(layout, part, record) for part in layout.response]
    if layout.asks:
        response[0] = Piece(response[0].part, response[0].text[len(prompt[-1].text) :])
    return Rendered(prompt, tuple(response))


def lacking(layout: Layout, record: Mapping[str, Any]) -> tuple[str, ...]:
    """Kinds that the layout names and the record has no text of."""
    return tuple(kind for kind in layout.kinds if not (record.get(kind) or "").strip())


def prompt_for(layout: Layout, record: Mapping[str, Any]) -> str:
    """What an evaluation asks: the prompt alone; what the response holds need not be known, the answer included.

    Raises:
        KeyError: the record lacks a kind, or the answer, that the prompt names.
    """
    return "".join(piece.text for piece in _prompt(layout, record))


def stated(layout: Layout, choices: Sequence[str], answer: str) -> str:
    """The answer as the layout writes it."""
    return one_line(answer) if layout.gold == "text" else gold(choices, answer)


def _prompt(layout: Layout, record: Mapping[str, Any]) -> tuple[Piece, ...]:
    pieces = [_piece(layout, part, record) for part in layout.prompt]
    if layout.asks:
        pieces.append(Piece(layout.response[0], f" {LEADS[layout.response[0]]}"))
    return tuple(pieces)


def _piece(layout: Layout, part: str, record: Mapping[str, Any]) -> Piece:
    if part == "question":
        asked = f"{question_text(record['question'], record['choices'] or ())} A:"
        return Piece(part, f"{layout.prefix} {asked}" if layout.prefix else asked)
    if part == "answer":
        text = stated(layout, record["choices"] or (), record["answer"])
        return Piece(part, f" {LEADS[part]} {text}{'' if text.endswith(('.', '!', '?')) else '.'}")
    if part == "options":
        return Piece(part, "".join(f" {looked}" for looked in _looked_at(record["choices"] or (), record["answer"])))
    if record[part] is None:
        raise KeyError(part)
    return Piece(part, f" {LEADS[part]} {one_line(record[part])}".rstrip())


def _looked_at(choices: Sequence[str], answer: str) -> list[str]:
    """The options in their order up to the right one: `(A) 14, no.`, `(B) 15, yes.`; nothing for free text.

    It leads from what a chain has found to a letter by steps that each copy from nearby or compare two neighbours; a
    small model that has to find the letter at once stays at chance (docs/nano.md).
    """
    looked = []
    for letter, choice in zip(ascii_uppercase, choices, strict=False):
        looked.append(f"({letter}) {one_line(choice)}, {'yes' if choice == answer else 'no'}.")
        if choice == answer:
            break
    return looked


def bind_layouts(located: Located) -> dict[str, Layout]:
    """The layouts of `train/layouts.yaml`, by name.

    Raises:
        Mistakes: all that is wrong in the file.
    """
    problems: list[Problem] = []
    found: dict[str, Layout] = {}
    if not isinstance(located.data or {}, dict):
        wanted = "holds no names with layouts | write  plain: {response: [answer]}"
        raise Mistakes([Problem(located.where(()), *wanted.split(" | "))])
    for name, data in (located.data or {}).items():
        try:
            found[name] = bind(located, Layout, loc=(name,), data=data)
        except Mistakes as error:
            problems += error.problems
    if problems:
        raise Mistakes(problems)
    return found
