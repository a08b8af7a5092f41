"""The answer that a chain of thought reaches, and whether it is the gold one.

STaR (Zelikman et al. 2022, arXiv 2203.14465) asks for a chain without showing the answer, draws the answer from it, and
asks again with a hint where it differs from the gold one. This runs on every such call, so it takes microseconds.

A stated answer ("The answer is (B).") wins, the last one of several; negated and hedged statements do not count. Where
there is none, the fall-backs usual for such extraction follow, and `how` says which. The gold answer decides which
extractor applies (an option, a number, yes or no, a letter, a phrase) and never what it finds. The rule
`contradicts_gold` says the same in SQL, of stated answers and with fewer fall-backs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from teacherlm.text.extract_numbers import NUMBER, is_number, last_number, same_number
from teacherlm.text.extract_options import (
    SEVERAL,
    fallback_letter,
    only_option_in,
    option_at,
    stated_letter,
    truths_of,
)
from teacherlm.text.extract_statements import statements, without_invented
from teacherlm.text.extract_words import (
    YES_NO_ANSWER,
    comparable,
    last_sentence,
    phrase_of,
    polarity,
    truth_of,
)


@dataclass(frozen=True, slots=True)
class Extracted:
    """What a chain answers."""

    answer: str | None
    """The option's text, the number as written, `yes` or `no`, a letter or a phrase; None: none that can be told."""
    index: int | None
    """The option's position from 0; None where the sample has no options or none is told."""
    how: str
    """`statement`, `letter`, `option_text`, `last_number`, `yes_no`; `several`: it states more than one; `none`."""


_NONE = Extracted(None, None, "none")
_SEVERAL = Extracted(None, None, "several")


def extract(chain: str, choices: Sequence[str], answer: str) -> Extracted:
    """The answer that a chain reaches.

    Args:
        chain: any text; questions invented after it are left out.
        choices: the sample's options; none for free text.
        answer: the gold answer; only its kind is looked at.

    >>> extract("Iron rusts. The answer is (B).", ["gold", "iron"], "gold")
    Extracted(answer='iron', index=1, how='statement')
    >>> extract("She pays 13 first, and $1,200 in all.", [], "7")
    Extracted(answer='$1,200', index=None, how='last_number')
    """
    text = without_invented(chain)
    if choices:
        return _option(text, tuple(choices))
    return _EXTRACTORS[kind_of(answer)](text)


def reaches(chain: str, choices: Sequence[str], answer: str) -> bool | None:
    """Whether a chain reaches the gold answer: True, False (another one), or None (none that can be told).

    >>> reaches("The answer is (A).", ["gold", "iron"], "iron"), reaches("Half: 0.5", [], "1/2")
    (False, True)
    """
    return is_gold(extract(chain, choices, answer), choices, answer)


def is_gold(extracted: Extracted, choices: Sequence[str], answer: str) -> bool | None:
    """Whether what was extracted is the gold answer; None where nothing was."""
    stated = extracted.answer
    if stated is None:
        return None
    if choices:
        return stated == answer
    kind = kind_of(answer)
    if kind == "letter":
        return stated == answer.strip("().")
    if kind == "number":
        return same_number(stated, answer)
    if kind == "yes_no":
        return polarity(stated) == polarity(answer)
    return comparable(stated) == comparable(answer)


_LETTER_ANSWER = re.compile(r"\(?[A-Z]\)?\.?")


def kind_of(answer: str) -> str:
    """Which extractor a free-text answer asks for: `number`, `yes_no`, `letter` or `phrase`.

    >>> [kind_of(answer) for answer in ("1,200 dollars", "False", "(B)", "Paris", "3 or 4")]
    ['number', 'yes_no', 'letter', 'phrase', 'phrase']
    """
    if _LETTER_ANSWER.fullmatch(answer):
        return "letter"
    if YES_NO_ANSWER.fullmatch(answer):
        return "yes_no"
    return "number" if is_number(answer) else "phrase"


def _option(text: str, choices: tuple[str, ...]) -> Extracted:
    def found(place: int, how: str) -> Extracted:
        return Extracted(choices[place], place, how)

    may_negate = any(choice[:4].lower() == "not " for choice in choices)
    for statement in statements(text, lettered=True, may_negate=may_negate):
        conclusion = statement.conclusion
        place = stated_letter(conclusion, len(choices))
        if place is None:
            place = option_at(conclusion, choices)
        if place is None and (truths := truths_of(choices)) and (truth := polarity(conclusion)) is not None:
            place = truths[truth]
        if place is not None:
            return _SEVERAL if place == SEVERAL else found(place, "statement")
    if (place := fallback_letter(text, len(choices))) is not None:
        return _SEVERAL if place == SEVERAL else found(place, "letter")
    if (place := only_option_in(last_sentence(text), choices)) is not None:
        return found(place, "option_text")
    if (truths := truths_of(choices)) and (truth := truth_of(text)) is not None:
        return found(truths[truth], "yes_no")
    return _NONE


def _letter(text: str) -> Extracted:
    for statement in statements(text, lettered=True, may_negate=False):
        if (place := stated_letter(statement.conclusion, len(ascii_uppercase))) is not None:
            return _SEVERAL if place == SEVERAL else Extracted(ascii_uppercase[place], None, "statement")
    place = fallback_letter(text, len(ascii_uppercase))
    if place is None or place == SEVERAL:
        return _NONE if place is None else _SEVERAL
    return Extracted(ascii_uppercase[place], None, "letter")


_FIRST_SENTENCE = re.compile(r"\s*+(?:[^.\n]|\.(?=\d)|(?<=\b[Rr]s)\.)*+")
_EQUALS = ("=", "equals", "which is", "which gives", "which makes")


def _number(text: str) -> Extracted:
    for statement in statements(text, lettered=False, may_negate=False):
        # After the sentence's last "=", if it has one: "the answer is 4 x 3 = 12", "4 times 3, which is 12".
        sentence = _FIRST_SENTENCE.match(statement.said)
        said = sentence.group() if sentence else ""
        if number := NUMBER.search(said, max(said.rfind(sign) for sign in _EQUALS) + 1):
            return Extracted(number.group(), None, "statement")
    last = last_number(text)
    return _NONE if last is None else Extracted(last, None, "last_number")


def _yes_no(text: str) -> Extracted:
    for statement in statements(text, lettered=False, may_negate=False):
        if (truth := polarity(statement.conclusion)) is not None:
            return Extracted("yes" if truth else "no", None, "statement")
    truth = truth_of(text)
    return _NONE if truth is None else Extracted("yes" if truth else "no", None, "yes_no")


def _phrase(text: str) -> Extracted:
    for statement in statements(text, lettered=False, may_negate=False):
        if comparable(phrase := phrase_of(statement.said)):
            return Extracted(phrase, None, "statement")
    return _NONE


_EXTRACTORS: dict[str, Callable[[str], Extracted]] = {
    "number": _number,
    "yes_no": _yes_no,
    "letter": _letter,
    "phrase": _phrase,
}
