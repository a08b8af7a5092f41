"""What becomes of a text that exceeds the window: dropped, cut or split, and always counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from teacherlm.train.declaration import TooLong
from teacherlm.train.encode import Encoded

Outcome = Literal["whole", "dropped", "no_room", "cut", "split"]
"""`no_room`: to be cut, but the prompt alone fills the window, so that nothing would be left to learn."""


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens that are read together."""

    ids: list[int]
    parts: bytes


def fit(text: Encoded, window: int, too_long: TooLong) -> tuple[Outcome, list[Row]]:
    """The rows of one text, each of at most `window` tokens.

    `cut` keeps the beginning; the end token is cut off with the rest, since the text does not end there. `split` goes
    on in further rows. Each of those begins with the last token of the row before, which is only read: the first token
    of a row is never predicted, so every token but the text's first is predicted exactly once.
    """
    length = len(text.ids)
    if length <= window:
        return "whole", [Row(text.ids, text.parts)]
    if too_long == "split":
        starts = range(0, length - 1, window - 1)
        return "split", [Row(text.ids[at : at + window], text.parts[at : at + window]) for at in starts]
    if too_long == "drop":
        return "dropped", []
    if text.prompt >= window:
        return "no_room", []
    return "cut", [Row(text.ids[:window], text.parts[:window])]
