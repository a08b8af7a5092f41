"""How likely a server finds the tokens of a text: TGI's details of the prompt, and OpenAI's echoed completions.

Sources: text-generation-inference 3.3's OpenAPI description; OpenAI's API reference, "Completions (legacy)"; vLLM's and
SGLang's entry points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from teacherlm.evaluate.served_line import Line, no_logprobs
from teacherlm.teacher.errors import TeacherLost, TeacherRefused
from teacherlm.teacher.openai import OpenAI
from teacherlm.teacher.wire import UNREADABLE, Info, Wire

START_TGI = "start text-generation-inference with --enable-prefill-logprobs"
START_OTHER = "take a server that answers `echo` with `logprobs`: vLLM, SGLang or teacherlm serve"

NO_ROUTE = "no such route"
"""How `teacher` says 404."""


@dataclass(frozen=True, slots=True)
class Told:
    """A text's tokens and what the model thinks of each; all have the same length."""

    texts: tuple[str, ...]
    values: tuple[float, ...]
    """Natural logarithms; NaN for the first, and where the server says null."""
    likeliest: tuple[bool, ...] | None
    """Whether the model would have written the same; None: the server does not say."""
    ids: tuple[int, ...] | None


class Speech(Protocol):
    """One protocol's way to score texts."""

    limit: int | None
    """Tokens of a text that the server takes."""

    async def told(self, text: str, last: int | None = None) -> Told:
        """Score a text.

        Args:
            last: only so many of its last tokens.

        Raises:
            TeacherRefused: the server takes no such text.
            Mistake: it gives no log-probabilities.
        """

    async def count(self, text: str) -> int | None:
        """How many tokens a text has by itself; None: the server does not say."""

    async def written(self, text: str, last: int | None, count: int) -> tuple[int, ...] | None:
        """The ids of the tokens that the model writes after a text; None where nobody needs to ask."""

    async def short(self, text: str, last: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a request for an answer, of whose prompt only the last tokens are taken."""


class TGISpeech:
    """TGI's `/generate` with `decoder_input_details`."""

    def __init__(self, line: Line, info: Info) -> None:
        self._line = line
        total = info.max_total_tokens
        self.limit = info.max_input_tokens or (total - 1 if total is not None else None)

    async def told(self, text: str, last: int | None = None) -> Told:
        """See `Speech`. TGI does not say which token is the likeliest."""
        details = await self._details(text, last, 1, decoder_input_details=True)
        prefill = details.get("prefill") or []
        if not prefill:
            raise no_logprobs(self._line.endpoint.url, "`prefill` is empty", START_TGI)
        try:
            return Told(
                tuple(str(token["text"]) for token in prefill),
                tuple(_number(token.get("logprob")) for token in prefill),
                None,
                tuple(int(token["id"]) for token in prefill),
            )
        except UNREADABLE as error:
            raise self._line.odd(error) from None

    async def count(self, text: str) -> int | None:
        """See `Speech`."""
        try:
            return len(await self._line.json("/tokenize", {"inputs": text}))
        except TeacherLost as error:
            if NO_ROUTE in error.found:  # a proxy that lets `/generate` alone through
                return None
            raise

    async def written(self, text: str, last: int | None, count: int) -> tuple[int, ...] | None:
        """See `Speech`."""
        details = await self._details(text, last, count)
        return tuple(int(token["id"]) for token in details.get("tokens") or ())

    async def short(self, text: str, last: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """See `Speech`."""
        return {**body, "parameters": {**body["parameters"], "truncate": last}}

    async def _details(self, text: str, last: int | None, count: int, **more: bool) -> dict[str, Any]:
        parameters: dict[str, Any] = {"do_sample": False, "max_new_tokens": count, "details": True, **more}
        if last is not None:
            parameters["truncate"] = last
        answer = await self._line.json("/generate", {"inputs": text, "parameters": parameters})
        try:
            return dict((answer[0] if isinstance(answer, list) else answer)["details"])
        except UNREADABLE as error:
            raise self._line.odd(error) from None


class OpenAISpeech:
    """OpenAI's `/v1/completions` with `echo` and `logprobs`."""

    def __init__(self, line: Line, info: Info, wire: OpenAI) -> None:
        self._line, self._wire = line, wire
        self._tokenizes = True
        # One token is always written: not every server takes `max_tokens: 0`.
        self.limit = info.max_total_tokens - 1 if info.max_total_tokens is not None else None

    async def told(self, text: str, last: int | None = None) -> Told:
        """See `Speech`."""
        prompt: str | list[int] = text if last is None else (await self._ids(text))[-last:]
        try:
            answer = await self._complete({"prompt": prompt, "echo": True, "logprobs": 1})
        except TeacherRefused as error:
            if any(word in str(error) for word in ("echo", "logprobs")):
                self._silent(f"it answers {error}")
            raise
        try:
            choice = answer["choices"][0]
            told, usage = choice.get("logprobs") or {}, answer.get("usage") or {}
            texts, values = told.get("tokens") or [], told.get("token_logprobs") or []
            tops = told.get("top_logprobs") or []
            own = usage.get("prompt_tokens")
            own = len(texts) - 1 if own is None else own
            if len(texts) < max(1, own) or len(values) < own or not own:
                self._silent("the answer has no `logprobs` of the prompt")
            return Told(
                tuple(str(one) for one in texts[:own]),
                tuple(_number(one) for one in values[:own]),
                tuple(map(_is_best, values[:own], tops[:own])) if len(tops) >= own else None,
                None,
            )
        except UNREADABLE as error:
            raise self._line.odd(error) from None

    async def count(self, text: str) -> int | None:
        """See `Speech`. Where there is no `/tokenize`, `usage` tells it too."""
        if self._tokenizes:
            try:
                return len(await self._ids(text))
            except TeacherRefused:
                self._tokenizes = False
        answer = await self._complete({"prompt": text})
        found = (answer.get("usage") or {}).get("prompt_tokens") if isinstance(answer, dict) else None
        return found if isinstance(found, int) else None

    async def written(self, text: str, last: int | None, count: int) -> tuple[int, ...] | None:
        """See `Speech`."""
        return None

    async def short(self, text: str, last: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """See `Speech`."""
        return {**body, "prompt": (await self._ids(text))[-last:]}

    async def _ids(self, text: str) -> list[int]:
        """A text's tokens, where the server has `/tokenize` of vLLM's, llama.cpp's or TGI's kind.

        Raises:
            TeacherRefused: it has none.
        """
        asked = self._wire.count_request(text)
        assert asked is not None  # it is for chats alone
        try:
            answer = await self._line.raw(*asked)
        except TeacherLost as error:
            if NO_ROUTE not in error.found:
                raise
            raise TeacherRefused(404, "there is no /tokenize to count tokens with") from None
        found = answer.get("tokens") if isinstance(answer, dict) else answer
        if not isinstance(found, list):
            raise TeacherRefused(200, "/tokenize gives no tokens")
        return [int(one["id"] if isinstance(one, dict) else one) for one in found]

    async def _complete(self, more: Mapping[str, Any]) -> Any:
        model = {} if self._wire.model is None else {"model": self._wire.model}
        try:
            return await self._line.json("/v1/completions", {**model, "max_tokens": 1, "temperature": 0.0, **more})
        except TeacherLost as error:
            if NO_ROUTE in error.found:
                self._silent(error.found)
            raise

    def _silent(self, why: str) -> NoReturn:
        raise no_logprobs(self._line.endpoint.url, why, START_OTHER)


def speech(wire: Wire, line: Line, info: Info) -> Speech:
    """How to speak with the server of a line."""
    return OpenAISpeech(line, info, wire) if isinstance(wire, OpenAI) else TGISpeech(line, info)


def line_up(texts: Sequence[str], joint: str, border: int) -> tuple[int, bool] | None:
    """Which token of a text is the first that ends behind a border, and whether it begins there.

    Tokens are laid along the text from its end, since servers put begin tokens before it.

    Args:
        texts: of the tokens.
        joint: what they make up.
        border: in characters.

    Returns:
        None where the tokens' texts do not make up the text: some servers lose blanks and parts of characters.

    >>> line_up(["<s>", "The", " sky", " is"], "The sky is", 7)
    (3, True)
    >>> line_up(["The", " sky is"], "The sky is", 7)
    (1, False)
    >>> line_up(["The", "sky", "is"], "The sky is", 7)
    """
    place = len(joint)
    first: tuple[int, bool] | None = None
    for index in range(len(texts) - 1, -1, -1):
        text = texts[index]
        if place > border:
            start = place - len(text)
            if start < 0 or joint[start:place] != text:
                return None
            first, place = (index, start >= border), start
        elif first is None or text or index == 0:
            return first
        else:  # the first part of a character that a later token completes
            first = (index, first[1])
    return first


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _is_best(value: Any, top: Any) -> bool:
    """Whether a token is the likeliest one of those that stand beside it."""
    if not isinstance(top, Mapping) or not isinstance(value, (int, float)):
        return False
    return value >= max((_number(one) for one in top.values()), default=value)
