"""Where a text states its answer: "The answer is (B).", "(B) is correct", "#### 12", "\\boxed{12}"; the last one first.

The forms are those of quality/metrics/, found by looking for their words instead of running one large pattern over
the text: a few microseconds. No pattern here takes more than linear time; repeats are possessive or bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import ascii_lowercase, ascii_uppercase
from typing import NamedTuple

MAX_CONCLUSION = 400
"""Characters after a statement's head that are looked at."""
MAX_STATEMENTS = 32
"""Statements looked at, from the last one backwards."""

# Questions that the teacher went on to invent. A "Question:" without an empty line before it repeats the one asked.
_INVENTED = re.compile(r"\n[^\S\n]*+(?:Q|\n[^\S\n]*+(?:Question|Premise))(?: ?\d+)?:")

_NOUNS = ("answer", "option", "choice", "conclusion", "solution", "completion")
_ADJECTIVES = (
    *("correct ", "right ", "best ", "only ", "appropriate ", "likely ", "suitable ", "logical ", "final "),
    *("correct answer ", "right answer ", "best answer ", "final answer "),
)
_LETTER_AFTER = re.compile(r" \(?[A-Z]\b(?! (?:is|=))")  # "answer D may tempt" is about D
_TELLS = re.compile(
    r"s?+(?! (?:choice|option))(?: \([a-z ]{3,30}\))?(?: [a-z' ]{0,40}?)??"
    r"(?: ?[*_]{0,3}:[*_]{0,3}|(?: is:?| are:?| was| would be| should be| must be| has to be| =)(?=[\s$\\*\"]))"
)
_HEADING = re.compile(r"[*_ ]{0,4}\n")
_BEFORE_HEADING = re.compile(r"(?:^|\n)[#*_ ]{0,6}(?:the )?(?:final |correct )?$")
_LINE = re.compile(r"\n[^\S\n]*+A:|####")
_BOXED = "\\boxed{"

_IS_CORRECT = (
    r" (?:is|must be|would be) (?:therefore |thus |the |most |only |single |appropriate ){0,4}"
    r"(?:correct|right|best|answer)\b"
)
_LETTER_FIRST = re.compile(
    rf"(?:\(([A-Za-z])\)(?: [\w']++){{0,6}}|([A-Z])(?<!\w.)(?:\)(?: [\w']++){{0,6}})?){_IS_CORRECT}", re.ASCII
)
_PRAISE = (" correct", " right", " best", " answer")
_LETTER_LAST = re.compile(r"([A-Z])(?<!\w.)\)")
_PRAISED = re.compile(r"\b(?:most|best|correct) [^.\n]{0,100} (?:is|are):?\s{1,3}\(?$")

_BEFORE = 90
"""Characters before a statement that tell whether it is one of somebody else."""
# What stands before a statement of what somebody might answer.
_HEDGED = re.compile(
    r"\b(?:wrong|incorrect|false|mistaken|tempting|possible|another|other|common|first|if the|whether the|unless the"
    r"|n't be the|not the|never the"
    r"|(?<!\bwe )(?:might|may|could|would|can|people|students|some|often)(?: \w+){0,3}"
    r" (?:think|say|guess|believe|assume|conclude|answer|choose)(?: \w+){0,2})(?: correct| right| final)? $",
    re.ASCII,
)
_NEGATED = re.compile(r"\W*(?:not|neither|never)\b", re.IGNORECASE)
_OPENING = re.compile(
    r"""[\s*_"'“‘:,$\\(\[{]*+"""
    r"(?i:(?:that|the|option|choice|letter|answer|therefore|thus|hence|then|likely|most likely|probably|clearly|simply"
    r"""|indeed|definitely|text(?=\{)|mathrm(?=\{)|mathbf(?=\{)|textbf(?=\{))\b[\s*_:,"({]*+)*+"""
)
_ASCII_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


class Statement(NamedTuple):
    conclusion: str
    """What it says, without "(", "**", "option", "clearly"…"""
    said: str
    """The same as it stands there."""


def without_invented(chain: str) -> str:
    """The chain up to the first question that the teacher went on to invent.

    >>> without_invented("It rusts. The answer is (B).\\n\\nQ: What else is there?")
    'It rusts. The answer is (B).'
    """
    if "\n" in chain and (found := _INVENTED.search(chain)):
        return chain[: found.start()].rstrip()
    return chain


def statements(text: str, *, lettered: bool, may_negate: bool) -> Iterator[Statement]:
    """What each statement concludes with, the last one first; negated and hedged ones are left out.

    Args:
        text: a chain without invented questions.
        lettered: "(B) is correct" counts as well.
        may_negate: "not true" is an answer.

    >>> text = "The answer is (A). No, the answer is **B**."
    >>> [found.conclusion for found in statements(text, lettered=True, may_negate=False)]
    ['B**.', 'A). No, the ']
    """
    low = text.lower()
    if len(low) != len(text):  # "İ" grows
        low = text.translate(_ASCII_LOWER)
    end = unread = len(text)
    for start, head in [*sorted(_heads(text, low))[: -MAX_STATEMENTS - 1 : -1], (0, 0)]:
        if lettered and start < min(end, unread):
            for letter, before in _by_letter(text, low, start, min(end, unread)):
                if not _HEDGED.search(low, max(0, before - _BEFORE), before):
                    end = before
                    yield Statement(f"{letter})", f"({letter})")
            unread = start
        if head < start < end and not _HEDGED.search(low, max(0, head - _BEFORE), head):
            said = text[start : min(end, start + MAX_CONCLUSION)]
            end = head
            if may_negate or not _NEGATED.match(said):
                opening = _OPENING.match(said)
                yield Statement(said[opening.end() :] if opening else said, said)


def _by_letter(text: str, low: str, start: int, end: int) -> list[tuple[str, int]]:
    """The letters that a part calls correct, the last one first, and where that begins."""
    found: list[tuple[int, str]] = []
    if any(low.find(word, start, end) >= 0 for word in _PRAISE):
        found += [(first.start(), first[1] or first[2]) for first in _LETTER_FIRST.finditer(text, start, end)]
    for last in _LETTER_LAST.finditer(text, start, end):
        if praised := _PRAISED.search(low, max(start, last.start() - _BEFORE - 30), last.start()):
            found.append((praised.start(), last[1]))
    return [(letter, before) for before, letter in sorted(found, reverse=True)[:MAX_STATEMENTS]]


def _heads(text: str, low: str) -> list[tuple[int, int]]:
    """Where each statement's conclusion and its head begin, in no order."""
    heads: list[tuple[int, int]] = []
    for noun in _NOUNS:
        at = low.find(noun)
        while at >= 0:
            after = at + len(noun)
            if noun == "answer":
                counts = at == 0 or not (low[at - 1].isalnum() or low[at - 1] == "_")
            else:
                counts = low.endswith(_ADJECTIVES, max(0, at - 20), at)
            if counts and not _LETTER_AFTER.match(text, after):
                if tells := _TELLS.match(low, after):
                    heads.append((tells.end(), at))
                elif (heading := _HEADING.match(low, after)) and _BEFORE_HEADING.search(low, max(0, at - 30), at):
                    heads.append((heading.end(), at))
            at = low.find(noun, after)
    if "A:" in text or "####" in text:
        heads += [(mark.end(), mark.start()) for mark in _LINE.finditer(text)]
    at = text.find(_BOXED)
    while at >= 0:
        heads.append((at + len(_BOXED), at))
        at = text.find(_BOXED, at + 1)
    return heads
