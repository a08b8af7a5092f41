"""Which option a passage names: by its letter or by its text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from teacherlm.text.extract_words import YES_NO_ANSWER, bare, last_sentence, plain, polarity

SEVERAL = -1
"""In the place of a position: more than one letter is stated."""

_SEVERAL_LETTERS = re.compile(r"\(?[A-Za-z]\)?\s{0,3}(?:(?:and|or)\b|[/&,])\s{0,3}\(?[A-Za-z]\b[).,]")
_STATED_LETTER = re.compile(r"""([A-Za-z])\)|([A-Z])(?:[.:,;*"”}\]]|\s*+$|[^\S\n]*+\n| (?:because|since)\b)""")
_OTHER_LETTER = re.compile(r"[^.\n]{0,80}?\b(?:and|or|/) ?\(?([A-Z])\)")
_BRACKETED = re.compile(r"(?<!\w)\(([A-Za-z])\)")
_LONE_LETTER = re.compile(r"[\W_]*+([A-Z])[\W_]*+")
_LETTERED_LINE = re.compile(r"\n[^\S\n]*+[(*]{0,3}([A-Z])[*]{0,2}[).](?=\s|$)([^\n]*+)")
_LETTER_INSIDE = re.compile(r"\b[A-Z]\)")
_LISTED = re.compile(r"[\s*]*+(?:\(?[A-Z][).:]|\d+[.)]|[-•])\s")
# fmt: off
_REFUSING = frozenset((
    "not", "cannot", "never", "neither", "nor", "none", "no", "without", "wrong", "incorrect", "false", "unlike",
    "except", "eliminate", "eliminated", "rather", "instead", "rule", "ruled", "if", "whether", "unclear", "depends",
    "t",  # what is left of "don't"
))
# fmt: on


class Option(NamedTuple):
    words: str
    place: int


@lru_cache(maxsize=512)
def options_of(choices: tuple[str, ...]) -> tuple[Option, ...]:
    """The options' words, the longest first, so that "not true" is found before "true"."""
    options = [Option(plain(bare(choice)) + " ", place) for place, choice in enumerate(choices)]
    return tuple(sorted((option for option in options if option.words != " "), key=lambda option: -len(option.words)))


@lru_cache(maxsize=512)
def truths_of(choices: tuple[str, ...]) -> dict[bool, int]:
    """Which option is the yes and which the no, where there is one of each.

    >>> truths_of(("False", "True")), truths_of(("gold", "iron"))
    ({False: 0, True: 1}, {})
    """
    truths = [
        (polarity(choice) is True, place) for place, choice in enumerate(choices) if YES_NO_ANSWER.fullmatch(choice)
    ]
    places = dict(truths)
    return places if len(places) == len(truths) == 2 else {}


def stated_letter(conclusion: str, options: int) -> int | None:
    """The position of the letter that a conclusion begins with; SEVERAL; or None: it begins with no option's letter.

    >>> stated_letter("B) iron", 4), stated_letter("A) or (B).", 4), stated_letter("A dog.", 4)
    (1, -1, None)
    """
    stated = _STATED_LETTER.match(conclusion)
    if stated is None:
        return SEVERAL if _SEVERAL_LETTERS.match(conclusion) else None
    letter = stated[1] or stated[2]
    place = ord(letter) & 31
    if place > options:
        return None
    if _SEVERAL_LETTERS.match(conclusion):
        return SEVERAL
    other = _OTHER_LETTER.match(conclusion, stated.end())
    return SEVERAL if other and other[1] != letter.upper() else place - 1


def option_at(conclusion: str, choices: tuple[str, ...]) -> int | None:
    """The option that a conclusion begins with; of options that differ by signs alone, the one written there.

    >>> option_at("not true, since iron rusts", ("true", "not true")), option_at("it depends", ("true", "not true"))
    (1, None)
    """
    said = bare(conclusion)
    words = plain(said) + " "
    begins = [option for option in options_of(choices) if words.startswith(option.words)]
    if len(begins) > 1:
        begins = [option for option in begins if option.words == begins[0].words]
    if len(begins) > 1:
        begins = [option for option in begins if said.startswith(bare(choices[option.place]))] or begins
    return begins[0].place if begins else None


def fallback_letter(text: str, options: int) -> int | None:
    """A chain that is a letter; its only line that begins with one; the only bracketed letter of its last sentence.

    >>> fallback_letter("C", 4), fallback_letter("B) iron\\n\\nIt rusts.", 4), fallback_letter("Iron rusts: (B)", 4)
    (2, 1, 1)
    >>> fallback_letter("It is (B) or (C).", 4), fallback_letter("It is not (B).", 4)
    (-1, None)
    """
    lone = _LONE_LETTER.fullmatch(text) if len(text) < 40 else None
    if lone is not None:
        return _place(lone[1], options)
    lines = _LETTERED_LINE.findall(f"\n{text}")
    if len(lines) == 1 and not _LETTER_INSIDE.search(lines[0][1]):
        return _place(lines[0][0], options)
    last = last_sentence(text)
    letters = {letter.upper() for letter in _BRACKETED.findall(last) if _place(letter, options) is not None}
    if not letters or _refuses(plain(last)):
        return None
    return _place(letters.pop(), options) if len(letters) == 1 else SEVERAL


def only_option_in(sentence: str, choices: tuple[str, ...]) -> int | None:
    """The only option that a sentence names, where it refuses nothing and is no item of a list.

    >>> only_option_in("Barking points to a dog.", ("cat", "dog")), only_option_in("It is not a dog.", ("cat", "dog"))
    (1, None)
    """
    words = plain(sentence)
    if _LISTED.match(sentence):
        return None
    rest = f" {words} "
    named: set[int] = set()
    for option, place in options_of(choices):
        if (there := f" {option}") in rest:
            named.add(place)
            rest = rest.replace(there, " | ")
    # What is left may refuse: an option may itself hold a "not".
    return named.pop() if len(named) == 1 and not _refuses(rest) else None


def _refuses(words: str) -> bool:
    return not _REFUSING.isdisjoint(words.split())


def _place(letter: str, options: int) -> int | None:
    place = ord(letter) & 31
    return place - 1 if place <= options else None
