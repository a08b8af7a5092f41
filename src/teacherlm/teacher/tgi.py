"""TGI's wire: requests as bytes, answers and errors as our types. Nothing else knows the protocol's words.

Source: text-generation-inference 3.3, router and OpenAPI description; `reference` behaviour noted where it surprises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from teacherlm.teacher.address import hidden
from teacherlm.teacher.errors import TeacherAbsent, TeacherBusy, TeacherError, TeacherFault, TeacherLost, TeacherRefused

Prompt = str | list[dict[str, str]]
"""A text to continue, or the messages of a chat."""

CUT = "length"
"""The finish reason of an answer that the token limit cut."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of a teacher."""

    text: str
    """As the server sent it: a stop string still ends it."""
    finish_reason: str | None
    prompt_tokens: int | None
    generated_tokens: int | None

    @property
    def is_cut(self) -> bool:
        return self.finish_reason == CUT


@dataclass(frozen=True, slots=True)
class Info:
    """What a server says of itself; every field but the model may be missing."""

    model: str
    revision: str | None
    max_concurrent_requests: int | None = None
    max_total_tokens: int | None = None
    max_input_tokens: int | None = None

    @property
    def named(self) -> str:
        """Model and revision, for people."""
        return f"{self.model} ({f'revision {self.revision}' if self.revision else 'no revision'})"


def json_of(properties: Sequence[str]) -> dict[str, Any]:
    """The parameters that make a server answer with a JSON object that has a text for each property.

    The schema is not shown to the model: the prompt has to name the properties too.
    """
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in properties}}
    return {"grammar": {"type": "json", "value": {**schema, "required": list(properties)}}}


def path_for(prompt: Prompt) -> str:
    return "/generate" if isinstance(prompt, str) else "/v1/chat/completions"


def request_body(prompt: Prompt, parameters: Mapping[str, Any], stops: Sequence[str]) -> bytes:
    """The body of one request.

    `details` is always asked for: without it nothing says whether the limit cut the text. `do_sample` is always sent:
    its default depends on whether there are parameters at all.
    """
    if isinstance(prompt, str):
        wire: dict[str, Any] = {"do_sample": False, **parameters, "details": True, "return_full_text": False}
        if stops:
            wire["stop"] = list(stops)
        return orjson.dumps({"inputs": prompt, "parameters": wire})
    chat: dict[str, Any] = {"model": "tgi", "messages": prompt, "stream": False}
    chat["max_tokens"] = parameters.get("max_new_tokens")
    # Chat routes sample unless the temperature is 0.
    chat["temperature"] = parameters.get("temperature", 1.0) if parameters.get("do_sample") else 0.0
    chat.update({name: parameters[name] for name in ("top_p", "seed", "frequency_penalty") if name in parameters})
    if "grammar" in parameters:
        chat["response_format"] = parameters["grammar"]
    if stops:
        chat["stop"] = list(stops)
    return orjson.dumps(chat)


def tokenize_request(prompt: Prompt) -> tuple[str, bytes]:
    """Path and body of the question how many tokens a prompt has."""
    if isinstance(prompt, str):
        return "/tokenize", orjson.dumps({"inputs": prompt})
    return "/chat_tokenize", orjson.dumps({"model": "tgi", "messages": prompt})


def read_tokens(status: int, body: bytes) -> int | None:
    """How many tokens a prompt has; None where the server does not say."""
    try:
        answer = orjson.loads(body) if status == 200 else None
    except orjson.JSONDecodeError:
        return None
    tokens = answer.get("tokenize_response") if isinstance(answer, dict) else answer
    return len(tokens) if isinstance(tokens, list) else None


def read_completion(prompt: Prompt, body: bytes, prompt_tokens: str | None, secret: str | None = None) -> Completion:
    """Read the body of a 200.

    Args:
        prompt_tokens: the header `x-prompt-tokens`; `/generate` tells the count nowhere else.
        secret: what an error must not show.

    Raises:
        TeacherFault: the body is not what the route promises.
    """
    try:
        answer = orjson.loads(body)
        if isinstance(prompt, str):
            if isinstance(answer, list):  # `POST /` and some proxies answer with a list of one
                answer = answer[0]
            details = answer.get("details") or {}
            return Completion(
                _text(answer["generated_text"]),
                _word(details.get("finish_reason")),
                _count(int(prompt_tokens)) if prompt_tokens and _DIGITS.fullmatch(prompt_tokens) else None,
                _count(details.get("generated_tokens")),
            )
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        return Completion(
            _text(choice["message"]["content"] or ""),
            _word(choice.get("finish_reason")),
            _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
        )
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
        shown = hidden(body.decode(errors="replace"), secret)[:80]
        raise TeacherFault(
            f"the answer cannot be read ({type(error).__name__}): {shown!r}", reason="answer not readable"
        ) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("the text is no text")
    return value


# What look-alikes send in the place of words and counts must not reach the ledger's columns.
def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


_DIGITS = re.compile("[0-9]{1,19}")


def read_error(status: int, body: bytes, secret: str | None = None) -> TeacherError | TeacherLost:
    """What a status other than 200 means. Bodies may be JSON, text, HTML or empty, by route and proxy.

    Args:
        secret: what the error must not show.
    """
    message = _message(body, secret)
    if status in (429, 503):
        return TeacherBusy(f"{status} {message}".strip(), is_doubtful=status == 503, reason=str(status))
    if status in (401, 403):
        return TeacherLost(
            f"the teacher does not let us in ({status} {message})".replace(" )", ")"),
            "set $TEACHERLM_TEACHER_TOKEN to the server's key and run again",
        )
    if status in (404, 405):
        return TeacherLost(
            f"the server has no such route ({status}): it is not text-generation-inference, or its model went away",
            "check the URL; it is the server's root, such as http://127.0.0.1:8080",
        )
    if status in (408, 424) or status >= 500 or status < 400:
        return TeacherFault(f"{status} {message}".strip(), is_doubtful=status in (502, 504), reason=str(status))
    return TeacherRefused(status, message)


def _message(body: bytes, secret: str | None) -> str:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return " ".join(hidden(body.decode(errors="replace"), secret)[:200].split())
    if isinstance(parsed, dict):
        error = parsed.get("error", parsed)
        if isinstance(error, dict):
            error = error.get("message", error)
        kind = parsed.get("error_type")
        return hidden(f"{kind}: {error}" if kind else str(error), secret)[:500]
    return hidden(str(parsed), secret)[:200]


NOT_READY = (429, 502, 503, 504)
"""Statuses of a server, or of a proxy before it, that is loading."""


def read_info(url: str, status: int, body: bytes, secret: str | None = None) -> Info:
    """Read `/info`.

    Raises:
        TeacherLost: the server is not text-generation-inference, is not ready, or does not let us in.
    """
    if status in (401, 403):
        raise read_error(status, body, secret)
    if status in NOT_READY:
        raise TeacherAbsent(
            f"the teacher at {url} is not ready (GET /info: {status})",
            "wait until it has loaded its model and run again",
        )
    try:
        info = orjson.loads(body) if status == 200 else None
    except orjson.JSONDecodeError:
        info = None
    if not isinstance(info, dict) or not isinstance(info.get("model_id"), str):
        raise TeacherLost(
            f"{url} answers, but is not text-generation-inference (GET /info: {status})",
            "give the root URL of a TGI server, or start one: teacherlm serve MODEL",
        )
    return Info(
        info["model_id"],
        _word(info.get("model_sha")),
        _count(info.get("max_concurrent_requests")),
        _count(info.get("max_total_tokens")),
        _count(info.get("max_input_tokens") or info.get("max_input_length")),
    )
