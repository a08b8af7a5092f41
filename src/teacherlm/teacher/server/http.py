"""HTTP odds and ends: bodies in, refusals and event streams out, clients that hang up."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Send

from teacherlm.teacher.server.errors import Refusal, Unreadable

T = TypeVar("T")
GONE = 499
"""Status of an answer that nobody will read (nginx's number for it)."""


def json_response(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def refusal_response(refusal: Refusal) -> Response:
    return json_response({"error": refusal.message, "error_type": refusal.kind}, status=refusal.status)


def unreadable_response(error: Unreadable) -> Response:
    return PlainTextResponse(error.message, error.status)


def authorised(request: Request, api_key: str | None) -> bool:
    """Whether the request bears the server's key; always true where there is none."""
    if api_key is None:
        return True
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {api_key}".encode())


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a JSON request.

    Raises:
        Unreadable: 415 for another content type, 413 for more than `limit` bytes.
        ClientDisconnect: the client hung up while sending.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Unreadable(415, "Expected request with `Content-Type: application/json`")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Unreadable(413, "length limit exceeded")
    return bytes(body)


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Run `work`, but cancel it when the client hangs up. The body must have been read before.

    Raises:
        ClientDisconnect: the client hung up first.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for future in (task, gone):
            future.cancel()
        # Both have to end here: a row is given up, and no exception stays unread.
        await asyncio.gather(task, gone, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class EventStream(StreamingResponse):
    """Server-sent events from an async generator, which is closed at once when the client hangs up."""

    def __init__(self, events: AsyncGenerator[bytes, None], headers: dict[str, str] | None = None) -> None:
        quiet = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(events, headers=quiet | (headers or {}), media_type="text/event-stream")
        self._events = events

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._events):
            await super().stream_response(send)
