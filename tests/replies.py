"""What a scripted teacher is asked and what it answers: texts, errors, and bodies that are not what they seem."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


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
    resets: bool = False
    """Break the connection after half of the body, as a killed process does (RST)."""
    stalls: bool = False
    """Send half of the body and say nothing more; the connection stays open."""
    chunked: bool = False
    """Send the body in pieces, without telling its length."""
    zipped: bool = False
    """Send the body compressed by gzip, asked for or not."""
    after: asyncio.Event | None = None
    """Answer only when this has happened."""
    text: str | None = None
    finish_reason: str = "eos_token"
    tokens: int = 3

    @property
    def breaks_off(self) -> bool:
        return self.drops or self.resets or self.stalls

    def wire(self, asked: Asked) -> bytes:
        headers, body = dict(self.headers), self.body
        if self.text is not None:
            headers = {"content-type": "application/json", "x-prompt-tokens": "7"} | headers
            body = json.dumps(self._answer(asked)).encode()
        if self.zipped:
            headers["content-encoding"] = "gzip"
            body = gzip.compress(body, mtime=0)
        headers |= {"transfer-encoding": "chunked"} if self.chunked else {"content-length": str(len(body))}
        sent = body[: len(body) // 2] if self.breaks_off else body
        if self.chunked:
            sent = b"".join(_chunks(sent)) + (b"" if self.breaks_off else b"0\r\n\r\n")
        lines = [f"HTTP/1.1 {self.status} x", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + sent

    def _answer(self, asked: Asked) -> dict[str, Any]:
        if asked.path == "/generate":
            details = {"finish_reason": self.finish_reason, "generated_tokens": self.tokens, "seed": None}
            return {"generated_text": self.text, "details": details}
        choice = {"index": 0, "message": {"content": self.text}, "finish_reason": self.finish_reason}
        return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": self.tokens}}


def _chunks(body: bytes, size: int = 16) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


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

RESET_IN_BODY = replace(says("half of this"), resets=True)
STALL_IN_BODY = replace(says("half of this"), stalls=True, chunked=True)
"""Ends only by the client's patience."""
MISLABELLED = replace(says("Rust."), headers=(("content-type", "text/html; charset=latin-1"),))
"""An answer all the same: what the body holds decides."""
PAGE = plain(200, "<html><h1>Welcome</h1></html>", "text/html")
"""A proxy's own page, with the status of an answer."""
ZIPPED = replace(says("Rust."), zipped=True)
CHUNKED = replace(says("Rust."), chunked=True)

ODD_ANSWERS = (MISLABELLED, ZIPPED, CHUNKED)
ODD_FAULTS = (RESET_IN_BODY, PAGE)
