"""What every route shares: slots, validation, the batcher and the books."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from teacherlm.lm.generate import Request, Row
from teacherlm.lm.load import LoadedModel
from teacherlm.lm.tokens import Tokens
from teacherlm.teacher.server.batcher import Batcher, Call, Event
from teacherlm.teacher.server.errors import GenerationFailed, Overloaded, Refusal
from teacherlm.teacher.server.metrics import Metrics
from teacherlm.teacher.server.settings import Settings
from teacherlm.teacher.server.validate import Validator


@dataclass
class Timing:
    """Where the time of one request went; `time.perf_counter` seconds."""

    arrived: float
    validated: float = 0.0
    started: float = 0.0
    ended: float = 0.0

    def headers(self, rows: list[Row], *, characters: int, device: str) -> dict[str, str]:
        """TGI's timing headers: milliseconds, but `x-compute-time` in seconds."""
        tokens = sum(len(row.tokens) for row in rows)
        inference = self.ended - self.started
        return {
            "x-compute-type": device,
            "x-compute-time": f"{self.ended - self.arrived:.6f}",
            "x-compute-characters": str(characters),
            "x-total-time": _milliseconds(self.ended - self.arrived),
            "x-validation-time": _milliseconds(self.validated - self.arrived),
            "x-queue-time": _milliseconds(self.started - self.validated),
            "x-inference-time": _milliseconds(inference),
            "x-time-per-token": _milliseconds(inference / max(tokens, 1)),
            "x-prompt-tokens": str(len(rows[0].request.prompt_ids)),
            "x-generated-tokens": str(tokens),
        }


def _milliseconds(seconds: float) -> str:
    return str(max(0, round(seconds * 1000)))


class Service:
    """One model behind any number of routes. Used by the event loop's thread only."""

    def __init__(self, loaded: LoadedModel, settings: Settings) -> None:
        self.loaded = loaded
        self.settings = settings
        self.tokens = Tokens(loaded.tokenizer)
        self.validator = Validator(loaded, self.tokens, settings)
        self.batcher = Batcher(loaded, self.tokens, max_batch_size=settings.max_batch_size)
        self.metrics = Metrics(queue_size=lambda: self.batcher.queue_size, batch_size=lambda: self.batcher.batch_size)
        self._held = 0

    @contextmanager
    def request(self) -> Iterator[Timing]:
        """Count one request and hold a slot for it; refusals are counted by type.

        Raises:
            Overloaded: at once, when every slot is held.
        """
        timing = Timing(time.perf_counter())
        self.metrics.requests.add()
        try:
            if self._held >= self.settings.max_concurrent_requests:
                raise Overloaded
            self._held += 1
            try:
                yield timing
            finally:
                self._held -= 1
        except Refusal as refusal:
            self.metrics.failures.add(refusal.kind)
            raise

    def validate(self, timing: Timing, make: Callable[[Validator], list[Request]]) -> list[Request]:
        """Rows for a request, with the time it took."""
        requests = make(self.validator)
        timing.validated = time.perf_counter()
        self.metrics.validation.observe(timing.validated - timing.arrived)
        for request in requests:
            self.metrics.input_length.observe(len(request.prompt_ids))
            self.metrics.max_new_tokens.observe(request.max_new_tokens)
        return requests

    def spans(self, text: str, *, special: bool = True) -> list[dict[str, Any]]:
        """A text's tokens as `/tokenize` shows them; offsets in characters."""
        return [
            {"id": token, "text": text[start:stop], "start": start, "stop": stop}
            for token, start, stop in self.tokens.spans(text, special=special)
        ]

    async def events(self, requests: list[Request], timing: Timing, *, stream: bool) -> AsyncGenerator[Event, None]:
        """Generate rows; when the caller stops listening, they leave the batch.

        Raises:
            GenerationFailed: the model raised.
        """
        call = Call(requests, stream=stream)
        left = len(requests)
        self.batcher.submit(call)
        try:
            while left:
                event = await call.events.get()
                if isinstance(event, GenerationFailed):
                    raise event
                if event.done:
                    left -= 1
                    timing.started, timing.ended = call.started, time.perf_counter()
                    self._count(event.done, timing, last=not left)
                yield event
        finally:
            if left:
                self.batcher.cancel(call)

    async def rows(self, requests: list[Request], timing: Timing) -> list[tuple[int, Row]]:
        """Generate rows to their end; `(index, row)` in the order in which they ended."""
        events = self.events(requests, timing, stream=False)
        return [(event.index, event.done) async for event in events if event.done]

    def _count(self, row: Row, timing: Timing, *, last: bool) -> None:
        """Tokens are counted per row, times per request: with its last row."""
        metrics = self.metrics
        inference = timing.ended - timing.started
        metrics.generated_tokens.observe(len(row.tokens))
        metrics.per_token.observe(inference / len(row.tokens))
        if last:
            metrics.successes.add()
            metrics.duration.observe(timing.ended - timing.arrived)
            metrics.queue.observe(timing.started - timing.validated)
            metrics.inference.observe(inference)
