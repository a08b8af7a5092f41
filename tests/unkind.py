"""A text-generation-inference server on loopback that misbehaves as it is told: real sockets, scripted faults.

What it does is a function from the request to a `Reply`, or a sequence of replies (the last one stays). Nothing sleeps:
a slow answer waits for an event.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from replies import (
    BAD_GATEWAY,
    BUSY,
    BUSY_REPLIES,
    DROP,
    DROP_IN_BODY,
    FAULTS,
    INCOMPLETE,
    MALFORMED,
    NO_TEXT,
    SHARD,
    TOO_LONG,
    UNWELL,
    Asked,
    Behaviour,
    Reply,
    cut,
    fails,
    plain,
    says,
    slow,
)
from sockets import stop_listening

__all__ = [
    "BAD_GATEWAY",
    "BUSY",
    "BUSY_REPLIES",
    "DEADLINE_S",
    "DROP",
    "DROP_IN_BODY",
    "FAULTS",
    "INCOMPLETE",
    "INFO",
    "MALFORMED",
    "NO_TEXT",
    "SHARD",
    "TOO_LONG",
    "UNWELL",
    "Asked",
    "Behaviour",
    "Reply",
    "Unkind",
    "cut",
    "fails",
    "plain",
    "says",
    "slow",
    "unkind_in_a_thread",
]

DEADLINE_S = 30
"""For waits that end at once unless something is broken."""

NO_LINGER = struct.pack("ii", 1, 0)
"""Closing sends a reset."""

INFO = {"model_id": "unkind/teacher", "model_sha": "5eed", "max_concurrent_requests": 128, "max_total_tokens": 2048}


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
            server, self._server = self._server, None
            await stop_listening(server)
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
        if reply.drops and reply.text is None and not reply.body:
            self.transport.abort()
            return
        self.transport.write(reply.wire(asked))
        if reply.drops:
            self.transport.close()
        elif reply.resets:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            self.transport.abort()

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
