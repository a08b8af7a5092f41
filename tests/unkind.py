"""A text-generation-inference server on loopback that misbehaves as it is told: real sockets, scripted faults.

What it does is a function from the request to a `Reply`, or a sequence of replies (the last one stays). Nothing sleeps:
a slow answer waits for an event.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

DEADLINE_S = 30
"""For waits that end at once unless something is broken."""

INFO = {"model_id": "unkind/teacher", "model_sha": "5eed", "max_concurrent_requests": 128, "max_total_tokens": 2048}


@dataclass(frozen=True)
class Asked:
    """One request for a text."""

    number: int
    """From 1, over all requests."""
    attempt: int
    """From 1, over the requests with the same body."""
    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def prompt(self) -> str:
        if "inputs" in self.body:
            return str(self.body["inputs"])
        return "\n".join(message["content"] for message in self.body["messages"])

    @property
    def budget(self) -> int:
        return int(self.body.get("parameters", self.body).get("max_new_tokens") or self.body.get("max_tokens") or 0)


@dataclass(frozen=True)
class Reply:
    """What one request is answered with."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    drops: bool = False
    """Hang up: before the answer, or after half of its body if there is one."""
    after: asyncio.Event | None = None
    """Answer only when this has happened."""
    text: str | None = None
    finish_reason: str = "eos_token"
    tokens: int = 3

    def wire(self, asked: Asked) -> bytes:
        headers, body = dict(self.headers), self.body
        if self.text is not None:
            headers |= {"content-type": "application/json", "x-prompt-tokens": "7"}
            body = json.dumps(self._answer(asked)).encode()
        lines = [f"HTTP/1.1 {self.status} x", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + (body[: len(body) // 2] if self.drops else body)

    def _answer(self, asked: Asked) -> dict[str, Any]:
        if asked.path == "/generate":
            details = {"finish_reason": self.finish_reason, "generated_tokens": self.tokens, "seed": None}
            return {"generated_text": self.text, "details": details}
        choice = {"index": 0, "message": {"content": self.text}, "finish_reason": self.finish_reason}
        return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": self.tokens}}


Behaviour = Callable[[Asked], Reply] | Sequence[Reply]


def says(text: str, finish_reason: str = "eos_token", tokens: int = 3) -> Reply:
    return Reply(text=text, finish_reason=finish_reason, tokens=tokens)


def cut(text: str) -> Reply:
    """An answer that the token limit cut."""
    return says(text, "length")


def fails(status: int, error: str = "", kind: str = "") -> Reply:
    """TGI's error JSON."""
    body = json.dumps({"error": error, "error_type": kind}).encode() if error else b""
    return Reply(status, body, (("content-type", "application/json"),))


def plain(status: int, body: str, kind: str = "text/plain") -> Reply:
    return Reply(status, body.encode(), (("content-type", kind),))


def slow(event: asyncio.Event, reply: Reply) -> Reply:
    return replace(reply, after=event)


BUSY = fails(429, "Model is overloaded", "overloaded")
UNWELL = fails(503, "unhealthy", "healthcheck")
INCOMPLETE = fails(500, "Incomplete generation", "incomplete_generation")
SHARD = fails(424, "Request failed during generation: CUDA out of memory", "generation")
TOO_LONG = fails(422, "Input validation error: `inputs` must have less than 9 tokens", "validation")
DROP = Reply(drops=True)
DROP_IN_BODY = replace(says("half of this"), drops=True)
MALFORMED = plain(200, '{"generated_text": "no end', "application/json")
NO_TEXT = plain(200, '{"generated_text": null}', "application/json")
BAD_GATEWAY = plain(502, "<html><h1>502 Bad Gateway</h1></html>", "text/html")

BUSY_REPLIES = (BUSY, UNWELL)
FAULTS = (INCOMPLETE, SHARD, DROP, DROP_IN_BODY, MALFORMED, NO_TEXT, BAD_GATEWAY)


class Unkind:
    """The server, in the running event loop.

    >>> async with Unkind([BUSY, says("Rust is iron oxide.")]) as server:  # doctest: +SKIP
    ...     server.url, server.seen
    """

    def __init__(self, behaviour: Behaviour, *, info: Reply | None = None, health: Reply | None = None) -> None:
        self._behaviour = behaviour
        self.info = info or plain(200, json.dumps(INFO), "application/json")
        self.health = health or Reply()
        self.seen: list[Asked] = []
        self.looks: list[str] = []
        """Paths of the GET requests, and of those to unknown routes."""
        self.looked: list[Mapping[str, str]] = []
        """Headers of the GET requests."""
        self.at_work = 0
        """Requests that are not answered yet."""
        self.most_at_work = 0
        self.connections: set[_Connection] = set()
        self._attempts: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def prompts(self) -> list[str]:
        return [asked.prompt for asked in self.seen]

    @property
    def has_left(self) -> bool:
        return self._server is None

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def come_back(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._server = await self.loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self._port, start_serving=False
        )
        await self._server.start_serving()
        self._port = self._server.sockets[0].getsockname()[1]

    async def leave(self) -> None:
        """Close the port and every connection, as a killed server does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.transport.abort()
        await self.until(lambda: not self.connections)

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait until the server's state is as wanted."""
        async with asyncio.timeout(DEADLINE_S):
            while not happened():
                self._changed.clear()
                await self._changed.wait()

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """As `until`, from another thread."""
        asyncio.run_coroutine_threadsafe(self.until(happened), self.loop).result(DEADLINE_S)

    def changed(self) -> None:
        self._changed.set()

    def asked(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Take note of a request and say what becomes of it."""
        if path not in ("/generate", "/v1/chat/completions"):
            self.looks.append(path)
            self.looked.append(headers)
            self.changed()
            return {"/info": self.info, "/health": self.health}.get(path, Reply(404))
        key = path + body.decode()
        self._attempts[key] += 1
        asked = Asked(len(self.seen) + 1, self._attempts[key], path, json.loads(body), headers)
        self.seen.append(asked)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.changed()
        if callable(self._behaviour):
            return self._behaviour(asked)
        return self._behaviour[min(asked.number, len(self._behaviour)) - 1]


class _Connection(asyncio.Protocol):
    """One connection: a request after the other."""

    transport: asyncio.Transport

    def __init__(self, server: Unkind) -> None:
        self._server = server
        self._buffer = b""
        self._waiting: asyncio.Task[None] | None = None
        self._works = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.connections.add(self)
        if self._server.has_left:  # was being accepted as the port closed
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._done()
        self._server.connections.discard(self)
        self._server.changed()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, rest = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        path = lines[0].split(" ")[1]
        self._works = path in ("/generate", "/v1/chat/completions")
        reply = self._server.asked(path, rest[:length], headers)
        asked = self._server.seen[-1] if self._works else Asked(0, 0, path, {}, headers)
        if reply.after is None:
            self._answer(reply, asked)
        else:
            self._waiting = asyncio.create_task(self._answer_later(reply.after, reply, asked))

    async def _answer_later(self, event: asyncio.Event, reply: Reply, asked: Asked) -> None:
        await event.wait()
        self._waiting = None
        self._answer(reply, asked)

    def _answer(self, reply: Reply, asked: Asked) -> None:
        self._done()
        if reply is DROP:
            self.transport.abort()
            return
        self.transport.write(reply.wire(asked))
        if reply.drops:
            self.transport.close()

    def _done(self) -> None:
        if self._works:
            self._works = False
            self._server.at_work -= 1
            self._server.changed()


@contextmanager
def unkind_in_a_thread(behaviour: Behaviour) -> Iterator[Unkind]:
    """The server in a thread of its own, for tests that start processes."""
    made: list[Unkind] = []
    ready = threading.Event()
    leaving = asyncio.Event()

    async def serve() -> None:
        async with Unkind(behaviour) as server:
            made.append(server)
            ready.set()
            await leaving.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(DEADLINE_S)
    try:
        yield made[0]
    finally:
        made[0].loop.call_soon_threadsafe(leaving.set)
        thread.join()
