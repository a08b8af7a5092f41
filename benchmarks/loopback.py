"""A server on loopback that answers every /generate at once, as TGI would: the client's own cost is what remains.

Run as `python benchmarks/loopback.py`; prints its URL, and serves until its standard input closes.
"""

from __future__ import annotations

import asyncio
import sys

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
            self._data = self._data[end + 4 + length :]
            if head.startswith(b"POST"):
                self._transport.write(GENERATED)
            else:
                self._transport.write(DESCRIBED if head.startswith(b"GET /info") else HEALTHY)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Instant, "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
