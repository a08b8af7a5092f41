"""What OpenAI-compatible servers send, each in its own words, over real sockets.

The words are those of vLLM 0.1x, SGLang 0.5, llama.cpp's server, transformers 5.23 and text-generation-inference 3.3.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

Answer = tuple[int, Any]
"""Status and body; bytes are sent as they are."""

Route = Answer | Callable[[dict[str, Any]], Answer]
"""What a path answers: always the same, or by the body that was posted."""

TEXT = "Rust is iron oxide."
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def completion(text: Any = TEXT, reason: Any = "stop", **more: Any) -> Answer:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
    return 200, {"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": [choice], "usage": USAGE} | more


def chat(content: Any = TEXT, reason: Any = "stop", **message: Any) -> Answer:
    said = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": said, "finish_reason": reason}
    return 200, {"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": USAGE}


def models(*cards: Mapping[str, Any]) -> Answer:
    return 200, {"object": "list", "data": list(cards)}


def card(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1750000000, "owned_by": "someone", **more}


def vllm_card(name: str, root: str | None = None, parent: str | None = None, **more: Any) -> dict[str, Any]:
    own: dict[str, Any] = {
        "owned_by": "vllm",
        "root": root or name,
        "parent": None,
        "max_model_len": 4096,
        "permission": [{}],
    }
    return card(name, **own | more)


ANSWERS: dict[str, Route] = {"/v1/completions": completion(), "/v1/chat/completions": chat()}
FASTAPI: dict[str, Route] = {"/openapi.json": (200, {"openapi": "3.1.0", "paths": {"/v1/completions": {}}})}

VLLM: dict[str, Route] = {
    **ANSWERS,
    **FASTAPI,
    "/health": (200, b""),
    "/v1/models": models(vllm_card("Qwen/Qwen3-8B")),
    "/tokenize": (200, {"count": 9, "max_model_len": 4096, "tokens": [0] * 9, "token_strs": None}),
}
SGLANG: dict[str, Route] = {
    **ANSWERS,
    **FASTAPI,
    "/health": (200, b""),
    "/v1/models": models(card("Qwen/Qwen3-8B", owned_by="sglang", root="Qwen/Qwen3-8B", max_model_len=8192)),
    "/tokenize": (200, {"tokens": [0] * 9, "count": 9, "max_model_len": 8192}),
}
LLAMA_CPP: dict[str, Route] = {
    **ANSWERS,
    "/health": (200, {"status": "ok"}),
    "/v1/models": models(
        card("qwen3.gguf", owned_by="llamacpp", aliases=["qwen3.gguf"], meta={"n_ctx": 2048, "n_ctx_train": 40960})
    ),
    "/tokenize": (200, {"tokens": [0] * 9}),
}
TGI: dict[str, Route] = {
    **ANSWERS,
    "/health": (200, b""),
    "/info": (200, {"model_id": "Qwen/Qwen3-8B", "model_sha": "5eed", "max_concurrent_requests": 128}),
    "/v1/models": models(card("Qwen/Qwen3-8B", owned_by="Qwen/Qwen3-8B")),
    "/tokenize": (200, [{"id": 0, "text": "a", "start": 0, "stop": 1}] * 9),
    "/chat_tokenize": (200, {"tokenize_response": [{}] * 9, "templated_text": "…"}),
}


def transformers(pinned: str | None = None, cached: Answer = (500, b"Internal Server Error")) -> dict[str, Route]:
    """`transformers serve`, with a model or without one.

    Args:
        cached: its list of models: those of the Hub's cache; it fails where there is no cache.
    """

    def answers(route: Answer) -> Route:
        def answer(body: dict[str, Any]) -> Answer:
            asked = body.get("model")
            if pinned is not None and asked not in (None, pinned):
                return 400, {"detail": f"Server is pinned to '{pinned}'; requested '{asked}'."}
            if (model := pinned or asked) is None:
                return 500, b"Internal Server Error"
            return route[0], {**route[1], "model": model if "@" in model else f"{model}@main"}

        return answer

    return {
        "/openapi.json": (200, {"openapi": "3.1.0", "paths": {"/v1/completions": {}, "/load_model": {}, "/reset": {}}}),
        "/health": (200, {"status": "ok"}),
        "/v1/models": cached,
        "/v1/completions": answers(completion()),
        "/v1/chat/completions": answers(chat()),
    }


def missing(path: str) -> Answer:
    return 404, {"detail": "Not Found"}


class Shaped(ThreadingHTTPServer):
    """Answers by its routes, which may be changed while it runs."""

    daemon_threads = True

    def __init__(self, routes: Mapping[str, Route]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes = dict(routes)
        self.asked: list[tuple[str, Any]] = []
        """Paths and bodies, in order; None for the body of a GET."""
        self.keys: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def prompts(self) -> list[tuple[str, Any]]:
        """What was asked of a model, without what was asked about it."""
        return [(path, body) for path, body in self.asked if path in ANSWERS and body.get("prompt") != "a"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Shaped

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(orjson.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        self.server.asked.append((self.path, body))
        self.server.keys.add(self.headers["Authorization"])
        route = self.server.routes.get(self.path) or missing(self.path)
        status, value = route(body) if callable(route) else route
        data = value if isinstance(value, bytes) else orjson.dumps(value)
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(value, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = status == 500  # as uvicorn does, which does not say so

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def shaped(routes: Mapping[str, Route]) -> Iterator[Shaped]:
    """A server of this shape, in a thread of its own."""
    server = Shaped(routes)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
