"""Words of a chain as answers are compared with them: sentences, yes and no, phrases."""

from __future__ import annotations

import re

_SENTENCE_BEFORE = re.compile(r"(?s:.*)(?:[.!?][\"”')*]{0,3}\s|\n)")
_MAX_SENTENCE = 600

_THOUSANDS = re.compile(r",(\d{3})")
_SIGNS = re.compile(r"\.+(?:[\W_]+|$)|[^\w.%/+-]+|_+")
_LETTER_MARK = re.compile(r"\s*(?:\(?[A-Za-z]\)|[A-Z][.:]\s)\s*")
_ARTICLE = re.compile(r"[\s*_\"'“‘$\\(\[{]*(?:(?:that|the|an?|to|it is|they are)\s+)?", re.IGNORECASE)
_ARTICLES = re.compile(r"\b(?:an?|the)\b ?")

YES_NO_ANSWER = re.compile(r"(?:true|false|yes|no)\.?", re.IGNORECASE)
_POLARITY = re.compile(r"[\W_]*+(?:(true|yes)|(?:false|no))\b", re.IGNORECASE)
_LEADING_TRUTH = re.compile(r"[\W_]*+(?:yes|no|true|false)\b *(?:[.,:;!*\n]|$)", re.IGNORECASE)
_TRUTHS = re.compile(
    r"(not |n't )?\b(?:(yes|true)|(?:false|untrue|no(?=\s?[.,;:!)\"”'*]|\s?$)))\b(?! that)", re.IGNORECASE
)

_PHRASE_OPENING = re.compile(r"[\s*_:,\"“‘'$]*+(?:that\b|\\text\{)?[\s*_\"“‘'$]*+")
_ABBREVIATED = r"(?<=\b[A-Z])|(?<=\b(?:Mr|Ms|Dr|St|vs|Jr|Sr))|(?<=\bMrs)"
_QUOTES = "[\"”'’*)}]{0,3}"
_PHRASE = re.compile(
    rf"(?:[^.!?\n]|(?:{_ABBREVIATED})\.|[.!?](?=[\w,)]))*?"
    rf"(?=(?:[!?]|(?!{_ABBREVIATED})\.){_QUOTES}(?:\s*+$|\s[^a-z])|{_QUOTES}(?:\s*+$|\n)"
    r"|[\"”]?,? (?:because|since|as it|as they|which) )"
)
_NOT_IN_FORMULA = re.compile(r"\.0++(?!\d)|(?<!\d)\s++|\s++(?!\d)")
_NOT_A_FORMULA = re.compile(r"[^\d\s.+*/()x×÷^=-]")


def last_sentence(text: str) -> str:
    """The last sentence or line of a text, at most its last 600 characters.

    >>> last_sentence("Iron rusts. So it is (B).\\n")
    'So it is (B).'
    """
    tail = text.rstrip()[-4 * _MAX_SENTENCE :]
    before = _SENTENCE_BEFORE.match(tail)
    return tail[before.end() if before else 0 :][-_MAX_SENTENCE:]


def plain(passage: str) -> str:
    """Small letters, one blank between words, 1,234 as 1234; signs that change a number stay inside it.

    >>> plain("The  $1,200 (or 40%).")
    'the 1200 or 40%'
    """
    return _SIGNS.sub(" ", _THOUSANDS.sub(r"\1", passage.lower().replace("−", "-"))).strip()


def bare(passage: str) -> str:
    """An option or a stated answer without its letter and the words that people put before it.

    >>> bare("(B) an apple"), bare("that it is red")
    ('apple', 'it is red')
    """
    if mark := _LETTER_MARK.match(passage):
        passage = passage[mark.end() :]
    opening = _ARTICLE.match(passage)
    return passage[opening.end() :] if opening else passage


def polarity(passage: str) -> bool | None:
    """Whether a passage begins with yes or true (True), or with no or false (False)."""
    found = _POLARITY.match(passage)
    return None if found is None else found[1] is not None


def truth_of(text: str) -> bool | None:
    """The only truth that the last sentence says, else the "Yes," or "No." that a text begins with.

    >>> truth_of("No, iron rusts. Gold does not."), truth_of("So it is not true."), truth_of("There is no rust.")
    (False, False, None)
    """
    said = {bool(found[2]) is not bool(found[1]) for found in _TRUTHS.finditer(last_sentence(text))}
    if len(said) == 1:
        return said.pop()
    return polarity(text) if not said and _LEADING_TRUTH.match(text) else None


def phrase_of(statement: str) -> str:
    """The phrase that a statement begins with, up to the end of its sentence or its reason.

    >>> phrase_of(' "Dr. No" because he is.'), phrase_of("(13 - 3).")
    ('Dr. No', '(13 - 3)')
    """
    opening = _PHRASE_OPENING.match(statement)
    found = _PHRASE.match(statement, opening.end() if opening else 0)
    return (found.group() if found else statement).strip(" \n*_\"'“”‘’$:}")


def comparable(phrase: str) -> str:
    """A phrase as it is compared: its words without articles; a formula without blanks, "13.0" as "13".

    >>> comparable("The United  States."), comparable("( 13.0 - 3.0 )")
    ('united states', '13-3')
    """
    if _NOT_A_FORMULA.search(phrase):
        words = plain(phrase)
        return _ARTICLES.sub("", words).strip() or words
    formula = _NOT_IN_FORMULA.sub("", phrase).rstrip(".")
    while formula[:1] == "(" and _closes_at_end(formula):
        formula = formula[1:-1]
    return formula


def _closes_at_end(formula: str) -> bool:
    """Whether the first bracket is closed by the last character."""
    depth = 0
    for at, sign in enumerate(formula):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return at == len(formula) - 1
    return False
