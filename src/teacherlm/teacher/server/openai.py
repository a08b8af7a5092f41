"""`/v1/completions`, `/v1/chat/completions` and `/v1/models`, as TGI answers them.

As in TGI the stop text stays in the answer, generation samples unless `temperature` is 0, `model` is not looked at, and
without `max_tokens` an answer may fill the window. Beyond TGI, `/v1/completions` takes token ids and gives
log-probabilities, with `echo` those of the prompt too, as vLLM does.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

import teacherlm
from teacherlm.lm.generate import Request, Row, Token
from teacherlm.teacher.server import http
from teacherlm.teacher.server.asked import Chat, Completions
from teacherlm.teacher.server.batcher import Event
from teacherlm.teacher.server.chat import render
from teacherlm.teacher.server.errors import Invalid, Refusal
from teacherlm.teacher.server.logprobs import chat_logprobs, completion_logprobs, echoed
from teacherlm.teacher.server.service import Service, Timing
from teacherlm.teacher.server.wire import read, sse

FINGERPRINT = f"{teacherlm.__version__}-teacherlm"


class OpenAIRoutes:
    """OpenAI's routes for one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._most = service.settings.max_client_batch_size

    async def models(self, request: HttpRequest) -> Response:
        model = {"id": self._service.loaded.model_id, "object": "model", "created": 0, "owned_by": "teacherlm"}
        return http.json_response({"object": "list", "data": [model]})

    async def completions(self, request: HttpRequest, body: bytes) -> Response:
        asked = read(Completions, body)
        if asked.stream:
            return http.EventStream(self._completion_events(asked))
        return await http.while_connected(request, self._complete(asked))

    async def chat(self, request: HttpRequest, body: bytes) -> Response:
        asked = read(Chat, body)
        if asked.stream:
            return http.EventStream(self._chat_events(asked))
        return await http.while_connected(request, self._converse(asked))

    async def chat_tokenize(self, request: HttpRequest, body: bytes) -> Response:
        text, special = render(self._service.loaded, read(Chat, body).messages)
        tokens = self._service.spans(text, special=special)
        return http.json_response({"tokenize_response": tokens, "templated_text": text})

    async def _complete(self, asked: Completions) -> Response:
        with self._service.request() as timing:
            requests, characters = self._completion_requests(asked, timing)
            done = await self._service.rows(requests, timing)
        rows = [row for _, row in done]
        choices = [self._completion(asked, index, row) for index, row in done]
        usage = _usage(rows, prompt_alone=asked.is_prompt_alone)
        headers = timing.headers(rows, characters=characters, device=self._service.loaded.device)
        return http.json_response(self._frame("text_completion", choices, usage=usage), headers=headers)

    def _completion(self, asked: Completions, index: int, row: Row) -> dict[str, Any]:
        """One choice, with the prompt before the answer where it is echoed."""
        text, told = "", list[Token]()
        if asked.echo:
            text, told = echoed(self._service.tokens, row, asked.prompts(self._most)[index])
        if not asked.is_prompt_alone:
            text, told = text + row.text, told + row.tokens
        return {
            "index": index,
            "text": text,
            "logprobs": completion_logprobs(told, text) if asked.logprobs is not None else None,
            "finish_reason": _reason(row),
        }

    async def _converse(self, asked: Chat) -> Response:
        with self._service.request() as timing:
            requests, characters = self._chat_requests(asked, timing)
            ((_, row),) = await self._service.rows(requests, timing)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": row.text},
            "logprobs": chat_logprobs(row.tokens) if asked.logprobs else None,
            "finish_reason": _reason(row),
        }
        headers = timing.headers([row], characters=characters, device=self._service.loaded.device)
        return http.json_response(self._frame("chat.completion", [choice], usage=_usage([row])), headers=headers)

    async def _completion_events(self, asked: Completions) -> AsyncGenerator[bytes, None]:
        try:
            with self._service.request() as timing:
                requests, _ = self._completion_requests(asked, timing)
                rows: list[Row] = []
                sent: dict[int, int] = {}
                async with aclosing(self._service.events(requests, timing, stream=True)) as events:
                    async for event in events:
                        rows += [event.done] if event.done else []
                        yield sse(self._frame("text_completion", [_completion_choice(event, asked, sent)]))
                if asked.usage_wanted:
                    yield sse(self._frame("text_completion", [], usage=_usage(rows)))
        except Refusal as refusal:
            yield _stream_error(refusal)
        yield b"data: [DONE]\n\n"

    async def _chat_events(self, asked: Chat) -> AsyncGenerator[bytes, None]:
        try:
            with self._service.request() as timing:
                requests, _ = self._chat_requests(asked, timing)
                async with aclosing(self._service.events(requests, timing, stream=True)) as events:
                    async for event in events:
                        yield sse(self._frame("chat.completion.chunk", [_chat_choice(event, asked)], usage=None))
                        if event.done and asked.usage_wanted:
                            yield sse(self._frame("chat.completion.chunk", [], usage=_usage([event.done])))
        except Refusal as refusal:
            yield _stream_error(refusal)
        yield b"data: [DONE]\n\n"

    def _completion_requests(self, asked: Completions, timing: Timing) -> tuple[list[Request], int]:
        """One row per prompt, and the prompts' characters."""
        self._check("logprobs", asked.logprobs)
        prompts, parameters = asked.prompts(self._most), asked.parameters()
        requests = self._service.validate(
            timing,
            lambda check: [row for prompt in prompts for row in check.rows(prompt, parameters, stream=asked.stream)],
        )
        if asked.echo and asked.logprobs:
            requests = [replace(request, prompt_top_tokens=asked.logprobs) for request in requests]
        return requests, sum(len(prompt) for prompt in prompts if isinstance(prompt, str))

    def _chat_requests(self, asked: Chat, timing: Timing) -> tuple[list[Request], int]:
        """The conversation's row, and the prompt's characters."""
        self._check("top_logprobs", asked.top_logprobs)
        parameters = asked.parameters()
        text, special = render(self._service.loaded, asked.messages)
        requests = self._service.validate(
            timing, lambda check: [*check.rows(text, parameters, stream=asked.stream, special=special)]
        )
        return requests, len(text)

    def _check(self, name: str, wanted: int | None) -> None:
        most = self._service.settings.max_top_n_tokens
        if wanted is not None and wanted > most:
            raise Invalid(f"`{name}` must be >= 0 and <= {most}. Given: {wanted}")

    def _frame(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """What every answer and chunk begins with."""
        return {
            "object": kind,
            "id": "",
            "created": int(time.time()),
            "model": self._service.loaded.model_id,
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
            **more,
        }


def _reason(row: Row) -> str | None:
    """OpenAI says `stop` for the end token; TGI keeps `stop_sequence` apart."""
    return "stop" if row.finish_reason == "eos_token" else row.finish_reason


def _usage(rows: list[Row], *, prompt_alone: bool = False) -> dict[str, int]:
    prompt = sum(len(row.request.prompt_ids) for row in rows)
    completion = 0 if prompt_alone else sum(len(row.tokens) for row in rows)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _said(token: Token | None) -> str:
    return token.text if token is not None and not token.special else ""


def _completion_choice(event: Event, asked: Completions, sent: dict[int, int]) -> dict[str, Any]:
    """Here TGI sends its own reason, `eos_token` included, and "" while there is none.

    Args:
        sent: characters of each choice so far; updated.
    """
    text, logprobs = _said(event.token), None
    if asked.logprobs is not None and event.token is not None:
        start = sent.get(event.index, 0)
        logprobs, sent[event.index] = completion_logprobs([event.token], text, start), start + len(text)
    reason = event.done.finish_reason if event.done else ""
    return {"index": event.index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _chat_choice(event: Event, asked: Chat) -> dict[str, Any]:
    return {
        "index": event.index,
        "delta": {"role": "assistant", "content": _said(event.token)},
        "logprobs": chat_logprobs([event.token]) if asked.logprobs and event.token else None,
        "finish_reason": _reason(event.done) if event.done else None,
    }


def _stream_error(refusal: Refusal) -> bytes:
    """TGI says 422 here whatever went wrong."""
    return sse({"error": {"message": refusal.message, "http_status_code": 422}})
