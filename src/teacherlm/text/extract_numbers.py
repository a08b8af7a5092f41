"""Numbers as people write them: "$1,200", "−5", "40%", "2 1/2", "\\frac{1}{2}"; found, read and compared."""

from __future__ import annotations

import re
from math import inf

# As in quality/metrics/: a minus counts where no digit, word or bracket stands right before it.
NUMBER = re.compile(
    r"(?:(?<![\w)])[-−](?=[$\d.\\]))?+\$?+"
    r"(?:\\[dt]?frac\{-?\d{1,18}\}\{\d{1,18}\}"
    r"|(?:\d{1,3}(?:(?:,|\{,\})\d{3}(?!\d))++|\d++)(?: \d{1,3}/\d{1,3}|(?:\.\d++)?+(?:/\d++)?+)|\.\d++)"
    r"(?: ?(?:\\?%|percent\b))?+",
    re.ASCII,
)
_LAST_DIGIT = re.compile(r"(?s:.*)[0-9]")
_FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}", re.ASCII)
_ONLY_NUMBER = re.compile(r"[\W_]*+(?:(?<!\.)\d[\d,]*+(?:\.\d++)?+|(?<=\.)\d++)(?: \d++/\d++|/\d++)?+[^\d]*+", re.ASCII)
_MIXED = re.compile(r"(\d+) (\d+)/(\d+)", re.ASCII)
_NEAR = 48
"""Characters before the last digit in which its number begins."""


def last_number(text: str) -> str | None:
    """The last number of a text, as written.

    >>> last_number("48 + 24 = <<48+24=72>>72 clips, or 1,200 in all."), last_number("none")
    ('1,200', None)
    """
    last = _LAST_DIGIT.match(text)
    if last is None:
        return None
    found = [number.group() for number in NUMBER.finditer(text, max(0, last.end() - _NEAR), last.end() + 9)]
    return found[-1] if found else None


def is_number(text: str) -> bool:
    """Whether a text holds one number and nothing before it but signs.

    >>> [is_number(text) for text in ("$1,200", "12 apples", "2 1/2", "1 or 2", "May 5")]
    [True, True, True, False, False]
    """
    return _ONLY_NUMBER.fullmatch(text) is not None


def same_number(stated: str, gold: str) -> bool:
    """Whether two numbers are equal up to the decimals that the stated one has, or as a percentage.

    >>> same_number("3.14", "3.14159"), same_number("40%", "0.4"), same_number("1/2", ".5"), same_number("100", "1")
    (True, True, True, False)
    """
    value, wanted = _value(stated), _value(gold)
    if value is None or wanted is None:
        return False
    if _near(value, wanted, _decimals(stated)):
        return True
    percent = "%" in stated or "percent" in stated or "%" in gold
    return percent and (_near(value, 100 * wanted) or _near(100 * value, wanted))


def _near(value: float, wanted: float, tolerance: float = 0.0) -> bool:
    return abs(value - wanted) <= tolerance + 1e-9 * abs(wanted) < inf


def _decimals(written: str) -> float:
    places = re.search(r"\.(\d+)", written, re.ASCII)
    return 0.5 * 10.0 ** -len(places[1]) if places else 0.0


def _value(written: str) -> float | None:
    digits = _FRACTION.sub(r"\1/\2", written).replace("{,}", "").replace(",", "").replace("−", "-")
    if mixed := _MIXED.search(digits):
        whole, above, below = (float(part) for part in mixed.groups())
        size = whole + above / below if below else inf
        return -size if digits.lstrip().startswith("-") else size
    found = re.search(r"(-?)[^\d.]{0,3}(\d*\.?\d+)(?:/(\d+))?", digits, re.ASCII)
    if found is None:
        return None
    below = float(found[3] or 1)
    return float(found[1] + found[2]) / below if below else None
