"""TGI's wire: requests as bytes, answers as our types. Nothing else knows the protocol's words.

Source: text-generation-inference 3.3, router and OpenAPI description; `reference` behaviour noted where it surprises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from teacherlm.teacher.errors import TeacherError, TeacherLost
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
    unreadable,
)


class TGI:
    """TGI's protocol; the same for every server that speaks it."""

    def request(self, prompt: Prompt, parameters: Mapping[str, Any], stops: Sequence[str]) -> tuple[str, bytes]:
        """Path and body of the request for an answer.

        `details` is always asked for: without it nothing says whether the limit cut the text. `do_sample` is always
        sent: its default depends on whether there are parameters at all.
        """
        if isinstance(prompt, str):
            wire: dict[str, Any] = {"do_sample": False, **parameters, "details": True, "return_full_text": False}
            if stops:
                wire["stop"] = list(stops)
            return "/generate", orjson.dumps({"inputs": prompt, "parameters": wire})
        chat: dict[str, Any] = {"model": "tgi", "messages": prompt, "stream": False}
        chat["max_tokens"] = parameters.get("max_new_tokens")
        # Chat routes sample unless the temperature is 0.
        chat["temperature"] = parameters.get("temperature", 1.0) if parameters.get("do_sample") else 0.0
        chat.update({name: parameters[name] for name in ("top_p", "seed", "frequency_penalty") if name in parameters})
        if "grammar" in parameters:
            chat["response_format"] = parameters["grammar"]
        if stops:
            chat["stop"] = list(stops)
        return "/v1/chat/completions", orjson.dumps(chat)

    def completion(
        self, prompt: Prompt, body: bytes, prompt_tokens: str | None, secret: str | None = None
    ) -> Completion:
        """Read the body of a 200; `/generate` tells the prompt's tokens nowhere but in the header.

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
                    as_text(answer["generated_text"]),
                    as_word(details.get("finish_reason")),
                    as_count(int(prompt_tokens)) if prompt_tokens and _DIGITS.fullmatch(prompt_tokens) else None,
                    as_count(details.get("generated_tokens")),
                )
            choice, usage = answer["choices"][0], answer.get("usage") or {}
            return Completion(
                as_text(choice["message"]["content"] or ""),
                as_word(choice.get("finish_reason")),
                as_count(usage.get("prompt_tokens")),
                as_count(usage.get("completion_tokens")),
            )
        except UNREADABLE as error:
            raise unreadable(error, body, secret) from None

    def error(self, status: int, body: bytes, secret: str | None = None) -> TeacherError | TeacherLost:
        """What a status other than 200 means."""
        return read_error(status, body, secret)

    def count_request(self, prompt: Prompt) -> tuple[str, bytes]:
        """Path and body of the question how many tokens a prompt has."""
        if isinstance(prompt, str):
            return "/tokenize", orjson.dumps({"inputs": prompt})
        return "/chat_tokenize", orjson.dumps({"model": "tgi", "messages": prompt})


_DIGITS = re.compile("[0-9]{1,19}")


def read_info(status: int, body: bytes) -> Info | None:
    """Read `/info`; None: it is not TGI's."""
    info = read_json(body) if status == 200 else None
    if not isinstance(info, dict) or not isinstance(info.get("model_id"), str):
        return None
    return Info(
        info["model_id"],
        as_word(info.get("model_sha")),
        as_count(info.get("max_concurrent_requests")),
        as_count(info.get("max_total_tokens")),
        as_count(info.get("max_input_tokens") or info.get("max_input_length")),
    )
