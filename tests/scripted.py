"""A teacher whose answers are known: text-generation-inference's protocol on the standard library, in a thread."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

GOLD = re.compile(r"The answer is (.*?)\.(?= The | Let's |$)", re.DOTALL)
QUESTION = re.compile(r"Q: (.*?)(?: \(A\) | A: The answer)", re.DOTALL)


def sensible(prompt: str) -> str:
    """A text of the kind that the paper's prompt asks for, about its question and with its gold answer."""
    asked = QUESTION.search(prompt)
    stated = GOLD.search(prompt)
    words = " ".join((asked[1] if asked else prompt).split()[-6:]).rstrip("?.!")
    gold = stated[1] if stated else "(A)"
    if prompt.endswith("Let's think step by step."):
        steps = f"First we look at what is said about {words}. Then we compare it with what we know of the matter."
        return f" {steps} So the answer is {gold}."
    if prompt.endswith("The common mistakes are:"):
        return f" People often read {words} too quickly and take the first thing that sounds right, without a check."
    return f" One has to know what the words {words} mean, and how such things are related in everyday life."


class Scripted(ThreadingHTTPServer):
    """Answers `/info` and `/generate`."""

    daemon_threads = True

    def __init__(self, answer: Callable[[str], str | int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.prompts: list[str] = []
        """What was asked, in order."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def do_GET(self) -> None:
        self._send(200, {"model_id": "tests/scripted", "model_sha": "1", "max_concurrent_requests": 64})

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.prompts.append(body["inputs"])
        text = self.server.answer(body["inputs"])
        if isinstance(text, int):
            self._send(text, {"error": "scripted", "error_type": "validation"})
            return
        tokens = len(text.split())
        details = {"finish_reason": "eos_token", "generated_tokens": tokens, "seed": None}
        self._send(200, {"generated_text": text, "details": details}, {"x-prompt-tokens": "9"})

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = orjson.dumps(value)
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def teacher(answer: Callable[[str], str | int] = sensible) -> Iterator[Scripted]:
    """A teacher that gives `answer(prompt)`: a text, or the status of a refusal."""
    server = Scripted(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
