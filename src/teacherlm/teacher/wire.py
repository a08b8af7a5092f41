"""What the protocols of teachers have in common: prompts, answers, what a server says of itself, and its errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from teacherlm.teacher.address import hidden
from teacherlm.teacher.errors import TeacherBusy, TeacherError, TeacherFault, TeacherLost, TeacherRefused

Prompt = str | list[dict[str, str]]
"""A text to continue, or the messages of a chat."""

CUT = "length"
"""The finish reason of an answer that the token limit cut; all servers call it so."""

NOT_READY = (429, 502, 503, 504)
"""Statuses of a server, or of a proxy before it, that is loading."""


@dataclass(slots=True)
class Completion:
    """One answer of a teacher. Nobody changes it; a frozen one takes three times as long to make."""

    text: str
    """As the server sent it: with some servers a stop string still ends it."""
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


class Wire(Protocol):
    """A protocol, as spoken with one server. Parameters have the names that TGI gave them."""

    def request(self, prompt: Prompt, parameters: Mapping[str, Any], stops: Sequence[str]) -> tuple[str, bytes]:
        """Path and body of the request for an answer."""

    def completion(self, prompt: Prompt, body: bytes, prompt_tokens: str | None, secret: str | None) -> Completion:
        """Read the body of a 200.

        Args:
            prompt_tokens: the header `x-prompt-tokens`.
            secret: what an error must not show.

        Raises:
            TeacherFault: the body is not what the route promises.
        """

    def error(self, status: int, body: bytes, secret: str | None) -> TeacherError | TeacherLost:
        """What a status other than 200 means."""

    def count_request(self, prompt: Prompt) -> tuple[str, bytes] | None:
        """Path and body of the question how many tokens a prompt has; None: it cannot be asked."""


def json_of(properties: Sequence[str]) -> dict[str, Any]:
    """The parameters that make a server answer with a JSON object that has a text for each property.

    The schema is not shown to the model: the prompt has to name the properties too.
    """
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in properties}}
    return {"grammar": {"type": "json", "value": {**schema, "required": list(properties)}}}


def read_tokens(status: int, body: bytes) -> int | None:
    """How many tokens a prompt has; None where the server does not say."""
    answer = read_json(body) if status == 200 else None
    if isinstance(answer, dict):
        if (found := as_count(answer.get("count"))) is not None:  # vLLM, SGLang
            return found
        answer = answer.get("tokenize_response", answer.get("tokens"))  # TGI's chats; llama.cpp
    return len(answer) if isinstance(answer, list) else None


def read_json(body: bytes) -> Any:
    """A body as JSON; None where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


# What look-alikes send in the place of texts, words and counts must not reach the ledger's columns.
def as_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("the text is no text")
    return value


def as_word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def as_count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


UNREADABLE = (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError)
"""What reading an answer raises where it is not what the route promises."""


def unreadable(error: Exception, body: bytes, secret: str | None) -> TeacherFault:
    """An answer that cannot be read, as an error that shows its beginning."""
    shown = hidden(body.decode(errors="replace"), secret)[:80]
    return TeacherFault(f"the answer cannot be read ({type(error).__name__}): {shown!r}", reason="answer not readable")


def read_error(status: int, body: bytes, secret: str | None = None) -> TeacherError | TeacherLost:
    """What a status other than 200 means. Bodies may be JSON, text, HTML or empty, by route and proxy.

    Args:
        secret: what the error must not show.
    """
    message = said(body, secret)
    if status in (429, 503):
        return TeacherBusy(f"{status} {message}".strip(), is_doubtful=status == 503, reason=str(status))
    if status in (401, 403):
        return TeacherLost(
            f"the teacher does not let us in ({status} {message})".replace(" )", ")"),
            "set $TEACHERLM_TEACHER_TOKEN to the server's key and run again",
        )
    if status in (404, 405):
        return TeacherLost(
            f"the server has no such route ({status}): it is no teacher, or its model went away",
            "check the URL; it is the server's root, such as http://127.0.0.1:8080",
        )
    if status in (408, 424) or status >= 500 or status < 400:
        return TeacherFault(f"{status} {message}".strip(), is_doubtful=status in (502, 504), reason=str(status))
    return TeacherRefused(status, message)


def said(body: bytes, secret: str | None) -> str:
    """The message of an error's body, in one of the shapes that servers use.

    `{"error": "…", "error_type": "…"}` (TGI), `{"error": {"message": "…"}}` (OpenAI, llama.cpp, vLLM),
    `{"object": "error", "message": "…"}` (SGLang, older vLLM), `{"detail": "…"}` or a list of details (FastAPI).
    """
    parsed = read_json(body)
    if isinstance(parsed, dict):
        error = parsed.get("error", parsed.get("detail", parsed))
        if isinstance(error, dict):
            error = error.get("message", error)
        elif isinstance(error, list):
            error = "; ".join(map(_detail, error))
        kind = parsed.get("error_type")
        return hidden(f"{kind}: {error}" if kind else str(error), secret)[:500]
    if parsed is not None:
        return hidden(str(parsed), secret)[:200]
    return " ".join(hidden(body.decode(errors="replace"), secret)[:200].split())


def _detail(detail: Any) -> str:
    """One of the mistakes that FastAPI finds in a body."""
    if not isinstance(detail, dict) or "msg" not in detail:
        return str(detail)
    place = detail.get("loc")
    return ".".join(map(str, place)) + f": {detail['msg']}" if isinstance(place, list) else str(detail["msg"])
