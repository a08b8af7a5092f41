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
    text = _without_thinking(answer) if "think>" in answer else answer
    for stop in stops:
        if stop in text:
            text = text.partition(stop)[0]
    return text.strip()


def _without_thinking(text: str) -> str:
    text = _THINKING.sub("", text)
    if "</think>" in text:  # some servers put the opening mark into the prompt
        text = text.rpartition("</think>")[2]
    return text.partition("<think>")[0]  # cut while thinking: nothing of it is the rationale
