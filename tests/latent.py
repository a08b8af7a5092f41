"""A teacher that takes its time: answers of differing lengths, written by so many places at so many tokens a second.

Its clock is the event loop's; an answer is due when its tokens are written. Each place works on one answer at a time,
and what finds none waits, as on a server with a full batch.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sockets import stop_listening


@dataclass
class Latent:
    """How the teacher is, and what it has done."""

    places: int = 32
    tokens_a_second: float = 400.0
    """Of one place."""
    mean: float = 40.0
    """Tokens of an answer; log-normal, decided by the prompt."""
    spread: float = 0.5
    requests: int = 0
    answered: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    url: str = ""
    connections: set[asyncio.Transport] = field(default_factory=set)
    _free: int = 0
    _waiting: deque[Any] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._free = self.places

    def length(self, prompt: str) -> int:
        chance = random.Random(hashlib.sha256(prompt.encode()).digest())
        return max(1, round(self.mean * math.exp(chance.gauss(-(self.spread**2) / 2, self.spread))))

    def arrive(self, connection: _Connection, body: dict[str, Any]) -> None:
        self.requests += 1
        if self._free:
            self._work(connection, body)
        else:
            self._waiting.append((connection, body))

    def _work(self, connection: _Connection, body: dict[str, Any]) -> None:
        self._free -= 1
        whole, budget = self.length(body["inputs"]), body["parameters"]["max_new_tokens"]
        tokens = min(whole, budget)
        loop = asyncio.get_running_loop()
        reason = "length" if whole > budget else "eos_token"
        loop.call_later(tokens / self.tokens_a_second, self._done, connection, body["inputs"], tokens, reason)

    def _done(self, connection: _Connection, prompt: str, tokens: int, reason: str) -> None:
        self._free += 1
        self.answered += 1
        self.prompt_tokens += len(prompt.split())
        self.generated_tokens += tokens
        details = {"finish_reason": reason, "generated_tokens": tokens, "seed": None}
        connection.answer({"generated_text": f" {tokens} words of sense.", "details": details}, len(prompt.split()))
        if self._waiting:
            self._work(*self._waiting.popleft())


class _Connection(asyncio.Protocol):
    def __init__(self, teacher: Latent) -> None:
        self._teacher, self._buffer = teacher, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._teacher.connections.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._teacher.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        told = (line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        length = int(next(told, b"0"))
        if len(rest) < length or b"\r\n\r\n" not in self._buffer:
            return
        self._buffer = b""
        if head.startswith(b"POST /generate "):
            self._teacher.arrive(self, json.loads(rest))
        elif head.startswith(b"POST"):
            self.answer({}, 0, "404 Not Found")
        else:
            info = {"model_id": "tests/latent", "model_sha": "1", "max_concurrent_requests": 2 * self._teacher.places}
            self.answer(info, 0)

    def answer(self, value: dict[str, Any], prompt_tokens: int, status: str = "200 OK") -> None:
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-prompt-tokens: {prompt_tokens}\r\n"
        self._transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)


@contextmanager
def latent(teacher: Latent) -> Iterator[Latent]:
    """Serve in a thread of its own while the block lasts."""
    ready, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = await loop.create_server(lambda: _Connection(teacher), "127.0.0.1", 0)
        teacher.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await ended.wait()
        await stop_listening(server)
        while teacher.connections:
            for connection in teacher.connections:
                connection.abort()
            await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(30)
    try:
        yield teacher
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
