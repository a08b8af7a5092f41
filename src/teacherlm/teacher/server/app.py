"""The routes of TGI's own protocol; those in OpenAI's shapes are in `openai.py`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import teacherlm
from teacherlm.lm.generate import Row
from teacherlm.lm.load import LoadedModel
from teacherlm.teacher.server import http
from teacherlm.teacher.server.errors import Refusal, Unreadable
from teacherlm.teacher.server.openai import OpenAIRoutes
from teacherlm.teacher.server.service import Service
from teacherlm.teacher.server.settings import Settings
from teacherlm.teacher.server.wire import CompatGenerate, Generate, answer_json, read, sse, stream_json

Handler = Callable[[Request, bytes], Awaitable[Response]]


def create_app(loaded: LoadedModel, settings: Settings | None = None) -> Starlette:
    """The server as an ASGI application; its lifespan starts and stops the model's thread."""
    service = Service(loaded, settings or Settings())
    own, openai = Routes(service), OpenAIRoutes(service)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.batcher.start()
        try:
            yield
        finally:
            service.batcher.stop()

    def post(path: str, handler: Handler, *, open_to_all: bool = False) -> Route:
        async def endpoint(request: Request) -> Response:
            if not open_to_all and not http.authorised(request, service.settings.api_key):
                return Response(status_code=401)
            try:
                return await handler(request, await http.read_body(request, service.settings.payload_limit))
            except Refusal as refusal:
                return http.refusal_response(refusal)
            except Unreadable as error:
                return http.unreadable_response(error)
            except ClientDisconnect:
                return Response(status_code=http.GONE)

        return Route(path, endpoint, methods=["POST"])

    async def nothing(request: Request, error: Exception) -> Response:
        """404 and 405 have no body."""
        assert isinstance(error, HTTPException)
        return Response(status_code=error.status_code, headers=error.headers)

    return Starlette(
        routes=[
            post("/", own.compat),
            post("/generate", own.generate),
            post("/generate_stream", own.generate_stream),
            post("/tokenize", own.tokenize),
            post("/v1/completions", openai.completions),
            post("/v1/chat/completions", openai.chat),
            # TGI leaves this one open as well.
            post("/chat_tokenize", openai.chat_tokenize, open_to_all=True),
            Route("/v1/models", openai.models),
            Route("/info", own.info),
            Route("/metrics", own.metrics),
            Route("/health", own.health),
            Route("/ping", own.health),
            Route("/", own.health),
        ],
        exception_handlers={HTTPException: nothing},
        lifespan=lifespan,
    )


class Routes:
    """TGI's routes for one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def compat(self, request: Request, body: bytes) -> Response:
        """`POST /`: a list of one answer, or a stream."""
        asked = read(CompatGenerate, body)
        if asked.parameters.return_full_text is None:
            full = self._service.loaded.pipeline_tag == "text-generation"
            asked = asked.model_copy(
                update={"parameters": asked.parameters.model_copy(update={"return_full_text": full})}
            )
        if asked.stream:
            return self._stream(asked)
        answer, headers = await http.while_connected(request, self._answer(asked))
        return http.json_response([answer], headers=headers)

    async def generate(self, request: Request, body: bytes) -> Response:
        answer, headers = await http.while_connected(request, self._answer(read(Generate, body)))
        return http.json_response(answer, headers=headers)

    async def generate_stream(self, request: Request, body: bytes) -> Response:
        return self._stream(read(Generate, body))

    async def tokenize(self, request: Request, body: bytes) -> Response:
        asked = read(Generate, body)
        if not asked.inputs:
            self._service.validator.rows("", asked.parameters)
        return http.json_response(self._service.spans(asked.inputs, special=asked.add_special_tokens))

    async def info(self, request: Request) -> Response:
        loaded, settings = self._service.loaded, self._service.settings
        limits = self._service.validator.limits
        return http.json_response(
            {
                "model_id": loaded.model_id,
                "model_sha": loaded.model_sha,
                "model_pipeline_tag": loaded.pipeline_tag,
                "model_dtype": loaded.dtype,
                "model_device_type": loaded.device.split(":")[0],
                "max_concurrent_requests": settings.max_concurrent_requests,
                "max_best_of": settings.max_best_of,
                "max_stop_sequences": settings.max_stop_sequences,
                "max_input_tokens": limits.max_input_tokens,
                "max_total_tokens": limits.max_total_tokens,
                "max_batch_size": settings.max_batch_size,
                "validation_workers": 1,
                "max_client_batch_size": settings.max_client_batch_size,
                "router": "teacherlm",
                "version": teacherlm.__version__,
                "sha": None,
                "docker_label": None,
            }
        )

    async def health(self, request: Request) -> Response:
        if self._service.batcher.healthy:
            return Response()
        return http.json_response({"error": "unhealthy", "error_type": "healthcheck"}, status=503)

    async def metrics(self, request: Request) -> Response:
        return PlainTextResponse(self._service.metrics.render(), media_type="text/plain; version=0.0.4")

    async def _answer(self, asked: Generate) -> tuple[dict[str, Any], dict[str, str]]:
        """One answer and its headers."""
        service, parameters = self._service, asked.parameters
        with service.request() as timing:
            requests = service.validate(
                timing, lambda check: [*check.rows(asked.inputs, parameters, special=asked.add_special_tokens)]
            )
            rows = [row for _, row in await service.rows(requests, timing)]
        rows.sort(key=_mean_logprob, reverse=True)
        prompt = asked.inputs if parameters.return_full_text else ""
        headers = timing.headers(rows, characters=len(asked.inputs), device=service.loaded.device)
        return answer_json(rows, prompt, details=parameters.details or parameters.decoder_input_details), headers

    def _stream(self, asked: Generate) -> Response:
        headers = {
            "x-compute-type": self._service.loaded.device,
            "x-compute-characters": str(len(asked.inputs)),
        }
        return http.EventStream(self._events(asked), headers)

    async def _events(self, asked: Generate) -> AsyncGenerator[bytes, None]:
        """One event per token; whatever is refused becomes an event too, since the status is sent already."""
        service, parameters = self._service, asked.parameters
        prompt = asked.inputs if parameters.return_full_text else ""
        try:
            with service.request() as timing:
                requests = service.validate(
                    timing,
                    lambda check: [
                        *check.rows(asked.inputs, parameters, stream=True, special=asked.add_special_tokens)
                    ],
                )
                async with aclosing(service.events(requests, timing, stream=True)) as events:
                    index = 0
                    async for event in events:
                        if event.token is not None:
                            index += 1
                            yield sse(stream_json(index, event.token, event.done, prompt, details=parameters.details))
        except Refusal as refusal:
            yield sse({"error": refusal.message, "error_type": refusal.kind})


def _mean_logprob(row: Row) -> float:
    """How `best_of` ranks: the mean log-probability of the answer's tokens. Source: TGI."""
    return sum(token.logprob or 0.0 for token in row.tokens) / len(row.tokens)
