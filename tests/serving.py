"""Real servers on real sockets for the tests, and models whose words are known beforehand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any

import torch

from random_teacher import MODEL_ID, random_teacher
from teacherlm.lm.load import LoadedModel, load
from teacherlm.teacher.server.run import listen, make_server, url_of
from teacherlm.teacher.server.settings import Settings

DEADLINE_S = 30
"""For waits that end at once unless something is broken."""


@cache
def random_model() -> LoadedModel:
    """The teacher with random weights, on one thread."""
    torch.set_num_threads(1)
    return replace(load(random_teacher(), device="cpu"), model_id=MODEL_ID)


@contextmanager
def serving(loaded: LoadedModel | None = None, **settings: Any) -> Iterator[str]:
    """A server in a thread of this process; gives its URL."""
    listener = listen("127.0.0.1", 0)
    ready = threading.Event()
    server = make_server(loaded or random_model(), Settings(**settings), ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(DEADLINE_S)
        yield url_of(listener)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class Answer:
    """Status, headers and body of one HTTP answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The JSON of a stream's events, without `[DONE]`."""
        lines = [line.removeprefix("data:").strip() for line in self.body.decode().split("\n\n") if line]
        return [json.loads(line) for line in lines if line != "[DONE]"]


def ask(url: str, path: str, body: Any = None, *, method: str | None = None, **headers: str) -> Answer:
    """One request over a connection of its own; bytes are sent as they are, anything else as JSON."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE_S)
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, raw, sent)
        response = connection.getresponse()
        lower = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, lower, response.read())
    finally:
        connection.close()


def generate(url: str, inputs: str, **parameters: Any) -> Any:
    """`/generate`, which must succeed."""
    answer = ask(url, "/generate", {"inputs": inputs, "parameters": parameters})
    assert answer.status == 200, answer.body
    return answer.json()


class Model:
    """A model made of a function; what `Batch` uses of a transformers model, and no more."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        self.forward = forward

    def __call__(self, **inputs: Any) -> Any:
        return self.forward(**inputs)


def parrot() -> LoadedModel:
    """Repeats what was said before `</s>`, then ends: `"Hi</s>"` is answered with `"Hi"` and the end token.

    The cache holds token ids in place of keys, so it tells whether rows were mixed up, cut or padded wrongly.
    """
    loaded = random_model()
    (end,) = loaded.eos_ids

    def forward(
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        past_key_values: Any,
        use_cache: bool,
        logits_to_keep: int,
    ) -> Any:
        keys, _ = past_key_values.update(*[input_ids[:, None, :, None].double()] * 2, 0)
        rows, columns = input_ids.shape
        logits = torch.zeros(rows, columns, len(loaded.tokenizer))
        for row in range(rows):
            said: list[int] = keys[row, 0, attention_mask[row].bool(), 0].long().tolist()
            if end not in said:  # the beginning of a prompt, read by itself
                continue
            words, rest = said[: said.index(end)], said[said.index(end) + 1 :]
            logits[row, -1, words[len(rest)] if len(rest) < len(words) else end] = 50.0
        return SimpleNamespace(logits=logits[:, -1:] if logits_to_keep == 1 else logits)

    return replace(loaded, model=Model(forward), model_id="parrot")


class Gate:
    """A model that computes only while the gate is open."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        """Set once the model has been asked for something."""
        self.open = threading.Event()
        self.steps = 0
        """How often the model has been asked."""
        self.loaded = replace(random_model(), model=Model(self._forward))

    def _forward(self, **inputs: Any) -> Any:
        self.steps += 1
        self.reached.set()
        assert self.open.wait(DEADLINE_S)
        return random_model().model(**inputs)
