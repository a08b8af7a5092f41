"""A server on loopback that answers every /generate at once, as TGI would: the client's own cost is what remains.

Run as `python benchmarks/loopback.py`; prints its URL, and serves until its standard input closes. With `--remember`
the answers differ from prompt to prompt, and the server counts how often it was asked each question: `GET /seen` tells.
`GET /kill/PID/NUMBER` makes it kill a process when it has seen so many questions.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from hashlib import blake2b

TEXT = (
    "Iron reacts with oxygen and water, and the oxide that forms takes more room than the metal. It flakes away, "
    "so the metal below is laid bare and the reaction goes on. The answer is (A)."
)
ANSWER = (
    '{"generated_text":"' + TEXT + '","details":{"finish_reason":"eos_token","generated_tokens":44,"seed":null,'
    '"prefill":[],"tokens":[]}}'
).encode()
INFO = b'{"model_id":"loopback/instant","model_sha":"0","max_concurrent_requests":4096,"max_total_tokens":4096}'


def _response(body: bytes) -> bytes:
    lines = ("HTTP/1.1 200 OK", "content-type: application/json", "x-prompt-tokens: 60", f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


GENERATED, DESCRIBED, HEALTHY = _response(ANSWER), _response(INFO), _response(b"")


class Instant(asyncio.Protocol):
    """One connection. Requests are read whole, however they arrive."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end]
            length = 0
            at = head.lower().find(b"content-length:")
            if at >= 0:
                length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(self._data) < end + 4 + length:
                return
            body, self._data = self._data[end + 4 : end + 4 + length], self._data[end + 4 + length :]
            self._transport.write(self.generated(body) if head.startswith(b"POST") else self.looked(head))

    def generated(self, body: bytes) -> bytes:
        return GENERATED

    def looked(self, head: bytes) -> bytes:
        return DESCRIBED if head.startswith(b"GET /info") else HEALTHY


class Remembering(Instant):
    """One connection of a server that remembers what it was asked."""

    counts: dict[bytes, int] = {}
    """By digest, how often each question was asked."""
    questions = 0
    first_at = 0.0
    """When the first question after the last look came."""
    victim: tuple[int, int] = (0, 0)
    """The process to kill, and after how many questions."""

    def generated(self, body: bytes) -> bytes:
        cls = Remembering
        digest = blake2b(body, digest_size=8).digest()
        cls.counts[digest] = cls.counts.get(digest, 0) + 1
        cls.questions += 1
        cls.first_at = cls.first_at or time.time()
        if cls.questions == cls.victim[1]:
            os.kill(cls.victim[0], signal.SIGKILL)
        return _response(ANSWER.replace(b"It flakes away", b"Of kind " + digest.hex().encode() + b" it flakes away"))

    def looked(self, head: bytes) -> bytes:
        cls = Remembering
        path = head.split(b" ", 2)[1].decode()
        if path == "/seen":
            seen = {"questions": cls.questions, "different": len(cls.counts), "first_at": cls.first_at}
            cls.first_at = 0.0
            return _response(json.dumps(seen).encode())
        if path.startswith("/kill/"):
            pid, number = map(int, path.split("/")[2:])
            cls.victim = (pid, number)
        return super().looked(head)


async def main() -> None:
    loop = asyncio.get_running_loop()
    connection = Remembering if "--remember" in sys.argv[1:] else Instant
    server = await loop.create_server(connection, "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
