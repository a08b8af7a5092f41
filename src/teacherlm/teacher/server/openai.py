"""`/v1/completions`, `/v1/chat/completions` and `/v1/models`, as TGI answers them.

As in TGI the stop text stays in the answer, generation samples unless `temperature` is 0, `model` is not looked at, and
without `max_tokens` an answer may fill the window.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from pydantic import Field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

import teacherlm
from teacherlm.lm.generate import Request, Row, Token
from teacherlm.teacher.server import http
from teacherlm.teacher.server.batcher import Event
from teacherlm.teacher.server.chat import Message, render
from teacherlm.teacher.server.errors import Invalid, Refusal, Unsupported
from teacherlm.teacher.server.service import Service, Timing
from teacherlm.teacher.server.wire import U32, U64, Parameters, Wire, read, sse

FINGERPRINT = f"{teacherlm.__version__}-teacherlm"


class StreamOptions(Wire):
    include_usage: bool = False


class Asked(Wire):
    """What both kinds of request share."""

    model: str | None = None
    max_tokens: U32 | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    seed: U64 | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: U32 | None = None

    def parameters(self, **more: Any) -> Parameters:
        """TGI's parameters for this request."""
        if self.n is not None and self.n > 1:
            raise Invalid("`n` > 1 is not supported: ask several times")
        greedy = self.temperature == 0.0
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Parameters(
            do_sample=not greedy,
            temperature=None if greedy else self.temperature,
            top_p=self.top_p,
            frequency_penalty=self.frequency_penalty,
            max_new_tokens=more.pop("max_new_tokens", self.max_tokens),
            seed=self.seed,
            stop=tuple(stop),
            **more,
        )

    @property
    def usage_wanted(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class Completions(Asked):
    """Body of `/v1/completions`."""

    prompt: str | list[str]
    suffix: str | None = None
    repetition_penalty: float | None = None


class Chat(Asked):
    """Body of `/v1/chat/completions` and `/chat_tokenize`."""

    messages: list[Message]
    max_completion_tokens: U32 | None = None
    logprobs: bool | None = None
    top_logprobs: U32 | None = None
    response_format: dict[str, Any] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = Field(default=None)


class OpenAIRoutes:
    """OpenAI's routes for one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

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
        choices = [
            {"index": index, "text": row.text, "logprobs": None, "finish_reason": _reason(row)} for index, row in done
        ]
        headers = timing.headers(rows, characters=characters, device=self._service.loaded.device)
        return http.json_response(self._frame("text_completion", choices, usage=_usage(rows)), headers=headers)

    async def _converse(self, asked: Chat) -> Response:
        with self._service.request() as timing:
            requests, characters = self._chat_requests(asked, timing)
            ((_, row),) = await self._service.rows(requests, timing)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": row.text},
            "logprobs": _logprobs(row.tokens) if asked.logprobs else None,
            "finish_reason": _reason(row),
        }
        headers = timing.headers([row], characters=characters, device=self._service.loaded.device)
        return http.json_response(self._frame("chat.completion", [choice], usage=_usage([row])), headers=headers)

    async def _completion_events(self, asked: Completions) -> AsyncGenerator[bytes, None]:
        try:
            with self._service.request() as timing:
                requests, _ = self._completion_requests(asked, timing)
                rows: list[Row] = []
                async with aclosing(self._service.events(requests, timing, stream=True)) as events:
                    async for event in events:
                        rows += [event.done] if event.done else []
                        yield sse(self._frame("text_completion", [_completion_choice(event)]))
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
        if asked.suffix is not None:
            raise Unsupported(
                "Suffix is not supported and can be achieved by preprocessing the prompt.", kind="suffix not supported"
            )
        prompts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        most = self._service.settings.max_client_batch_size
        if len(prompts) > most:
            raise Unsupported(
                f"Number of prompts exceeds the maximum allowed batch size of {most}", kind="batch size exceeded"
            )
        if not prompts:
            raise Invalid("`inputs` cannot be empty")
        parameters = asked.parameters(repetition_penalty=asked.repetition_penalty)
        requests = self._service.validate(
            timing,
            lambda check: [row for prompt in prompts for row in check.rows(prompt, parameters, stream=asked.stream)],
        )
        return requests, sum(map(len, prompts))

    def _chat_requests(self, asked: Chat, timing: Timing) -> tuple[list[Request], int]:
        """The conversation's row, and the prompt's characters."""
        if asked.tools and asked.tool_choice != "none":
            raise Unsupported("Tool error: tools are not supported", kind="tool_error")
        grammar = asked.response_format if (asked.response_format or {}).get("type") != "text" else None
        parameters = asked.parameters(
            grammar=grammar,
            top_n_tokens=asked.top_logprobs if asked.logprobs else None,
            max_new_tokens=asked.max_tokens if asked.max_tokens is not None else asked.max_completion_tokens,
        )
        text, special = render(self._service.loaded, asked.messages)
        requests = self._service.validate(
            timing, lambda check: [*check.rows(text, parameters, stream=asked.stream, special=special)]
        )
        return requests, len(text)

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


def _usage(rows: list[Row]) -> dict[str, int]:
    prompt = sum(len(row.request.prompt_ids) for row in rows)
    completion = sum(len(row.tokens) for row in rows)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _said(token: Token | None) -> str:
    return token.text if token is not None and not token.special else ""


def _completion_choice(event: Event) -> dict[str, Any]:
    """Here TGI sends its own reason, `eos_token` included, and "" while there is none."""
    reason = event.done.finish_reason if event.done else ""
    return {"index": event.index, "text": _said(event.token), "logprobs": None, "finish_reason": reason}


def _chat_choice(event: Event, asked: Chat) -> dict[str, Any]:
    return {
        "index": event.index,
        "delta": {"role": "assistant", "content": _said(event.token)},
        "logprobs": _logprobs([event.token]) if asked.logprobs and event.token else None,
        "finish_reason": _reason(event.done) if event.done else None,
    }


def _logprobs(tokens: list[Token]) -> dict[str, Any]:
    return {
        "content": [
            {
                "token": token.text,
                "logprob": token.logprob,
                "top_logprobs": [{"token": top.text, "logprob": top.logprob} for top in token.top],
            }
            for token in tokens
        ]
    }


def _stream_error(refusal: Refusal) -> bytes:
    """TGI says 422 here whatever went wrong."""
    return sse({"error": {"message": refusal.message, "http_status_code": 422}})
