"""OpenAI's wire, as vLLM, SGLang, llama.cpp, `transformers serve` and TGI's own `/v1` speak it.

Sources: vLLM's and SGLang's OpenAI entry points, llama.cpp's tools/server, transformers 5.23's cli/serving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from teacherlm.teacher.errors import TeacherError, TeacherFault, TeacherLost
from teacherlm.teacher.tgi import TGI
from teacherlm.teacher.wire import (
    UNREADABLE,
    Completion,
    Info,
    Prompt,
    as_count,
    as_text,
    as_word,
    read_error,
    read_json,
    said,
    unreadable,
)

SHARED = ("top_p", "seed", "frequency_penalty", "top_k", "typical_p", "repetition_penalty")
"""Parameters that go as they are; the last three are no part of OpenAI's API, but most servers take them."""

LLAMA_CPP = "llamacpp"
"""`owned_by` of llama.cpp's models; it has some names of its own."""

BROKEN_OFF = ("abort", "error")
"""Finish reasons of an answer that the server did not finish."""

PINNED = "server is pinned to"
"""How `transformers serve MODEL` refuses another model, in small letters."""


@dataclass(frozen=True, slots=True)
class Card:
    """A model of the list in `/v1/models`."""

    id: str
    root: str | None
    """What stands behind the name: vLLM and SGLang tell it."""
    owner: str | None
    max_total_tokens: int | None
    is_bare: bool
    """It has OpenAI's own fields and no others."""

    @property
    def info(self) -> Info:
        """No server of this kind tells a revision; what stands behind the name takes its place where it differs."""
        revision = self.root if self.root != self.id else None
        return Info(self.id, revision, max_total_tokens=self.max_total_tokens)


@dataclass(frozen=True, slots=True)
class OpenAI:
    """The protocol, as spoken with one model of one server.

    Args:
        model: its name there; None: the server has one and wants no name.
        is_tgi: tokens are counted in TGI's way.
    """

    model: str | None
    is_llama_cpp: bool = False
    is_tgi: bool = False

    def request(self, prompt: Prompt, parameters: Mapping[str, Any], stops: Sequence[str]) -> tuple[str, bytes]:
        """Path and body of the request for an answer; only what is set is sent, and always the temperature.

        Servers differ in its default, and sample unless it is 0.
        """
        body: dict[str, Any] = {} if self.model is None else {"model": self.model}
        if isinstance(prompt, str):
            path, body["prompt"] = "/v1/completions", prompt
        else:
            path, body["messages"] = "/v1/chat/completions", prompt
        if "max_new_tokens" in parameters:
            body["max_tokens"] = parameters["max_new_tokens"]
        body["temperature"] = parameters.get("temperature", 1.0) if parameters.get("do_sample") else 0.0
        body.update({name: parameters[name] for name in SHARED if name in parameters})
        if self.is_llama_cpp and "repetition_penalty" in body:
            body["repeat_penalty"] = body.pop("repetition_penalty")
        if "grammar" in parameters:
            body.update(self._held_to(parameters["grammar"], isinstance(prompt, str)))
        if stops:
            body["stop"] = list(stops)
        return path, orjson.dumps(body)

    def _held_to(self, grammar: Mapping[str, Any], is_text: bool) -> dict[str, Any]:
        """The field that holds an answer to a JSON schema."""
        if self.is_tgi:
            return {"response_format": grammar}
        if self.is_llama_cpp and is_text:  # there `response_format` is for chats alone
            return {"json_schema": grammar["value"]}
        return {
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": grammar["value"]}}
        }

    def completion(self, prompt: Prompt, body: bytes, prompt_tokens: str | None, secret: str | None) -> Completion:
        """Read the body of a 200. Thoughts in fields of their own (`reasoning_content`) are no part of the text.

        Raises:
            TeacherFault: the body is not what the route promises, or the answer was broken off.
        """
        try:
            answer = orjson.loads(body)
            choice, usage = answer["choices"][0], answer.get("usage") or {}
            text = choice["text"] if isinstance(prompt, str) else choice["message"].get("content") or ""
            completion = Completion(
                as_text(text),
                as_word(choice.get("finish_reason")),
                as_count(usage.get("prompt_tokens")),
                as_count(usage.get("completion_tokens")),
            )
        except UNREADABLE as error:
            raise unreadable(error, body, secret) from None
        if completion.finish_reason in BROKEN_OFF:
            raise TeacherFault(f"the server broke its answer off ({completion.finish_reason})", reason="broken off")
        return completion

    def error(self, status: int, body: bytes, secret: str | None) -> TeacherError | TeacherLost:
        """What a status other than 200 means. A model that the server does not have is no row's fault."""
        message = said(body, secret) if status in (400, 404) else ""
        if status == 404 or message.lower().startswith(PINNED):
            model = f" or no model `{self.model}`" if self.model else ""
            return TeacherLost(
                f"the server has no such route{model} ({status} {message})".replace(" )", ")"),
                "check its URL, and `model` in the teacher's profile",
            )
        return read_error(status, body, secret)

    def count_request(self, prompt: Prompt) -> tuple[str, bytes] | None:
        """Path and body of the question how many tokens a prompt has; None: it cannot be asked."""
        if self.is_tgi:
            return TGI().count_request(prompt)
        asked: dict[str, Any] = {} if self.model is None else {"model": self.model}
        if isinstance(prompt, str):
            asked |= {"content": prompt, "add_special": True} if self.is_llama_cpp else {"prompt": prompt}
            return "/tokenize", orjson.dumps(asked)
        return None if self.is_llama_cpp else ("/tokenize", orjson.dumps({**asked, "messages": prompt}))


def read_models(status: int, body: bytes) -> list[Card] | None:
    """Read `/v1/models`; None: it is no such list."""
    answer = read_json(body) if status == 200 else None
    listed = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        return None
    return [_card(one) for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)]


BARE = {"id", "object", "created", "owned_by"}


def _card(listed: Mapping[str, Any]) -> Card:
    meta = listed.get("meta")
    room = [listed.get("max_model_len")]
    if isinstance(meta, dict):
        room += [meta.get("n_ctx"), meta.get("n_ctx_train")]
    return Card(
        listed["id"],
        as_word(listed.get("root")),
        as_word(listed.get("owned_by")),
        next((size for size in map(as_count, room) if size), None),
        is_bare=listed.keys() <= BARE,
    )
