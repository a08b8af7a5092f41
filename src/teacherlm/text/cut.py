"""What of a server's answer is the rationale: no stop strings, no thinking aloud."""

from __future__ import annotations

import re
from collections.abc import Sequence

_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)


def rationale_text(answer: str, stops: Sequence[str]) -> str:
    """Cut an answer at its first stop string and strip a reasoning model's `<think>` part.

    TGI leaves the stop string in the text, and misses one that stands inside a token.

    >>> rationale_text("<think>hm</think> Iron rusts. Q: And", ["Q:"])
    'Iron rusts.'
    """
    text = _THINKING.sub("", answer)
    if "</think>" in text:  # some servers put the opening mark into the prompt
        text = text.rpartition("</think>")[2]
    if "<think>" in text:  # cut while thinking: nothing of it is the rationale
        text = text.partition("<think>")[0]
    for stop in stops:
        text = text.partition(stop)[0]
    return text.strip()
