"""The thread that owns the model: rows come from the event loop, tokens and results go back to it.

Rows join the running batch between two steps, so nobody waits for a batch to end; a row whose client has gone leaves
the same way.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from teacherlm.lm.generate import Batch, Request, Row, Token
from teacherlm.lm.load import LoadedModel
from teacherlm.lm.tokens import Tokens
from teacherlm.teacher.server.errors import GenerationFailed

PREFILL_TOKENS = 16_384
"""Padded prompt tokens that are read in one go; bounds the memory of a step."""


PATIENCE = 4
"""Steps for which a few waiting rows may be kept waiting: reading prompts stops all running rows, so it pays to read
several at once. Not worth it for one in `CROWD` of the running rows or more."""

CROWD = 4


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to one row of a call."""

    index: int
    """Which of the call's rows."""
    token: Token | None = None
    """The newest token; only for calls that stream."""
    done: Row | None = None
    """The row, once it has finished."""


@dataclass(eq=False)
class Call:
    """The rows of one HTTP request."""

    requests: Sequence[Request]
    stream: bool = False
    events: asyncio.Queue[Event | GenerationFailed] = field(default_factory=asyncio.Queue)
    submitted: float = field(default_factory=time.perf_counter)
    started: float = 0.0
    """When its first row joined the batch (`time.perf_counter`)."""


@dataclass(eq=False, slots=True)
class _Seat:
    call: Call
    index: int
    row: Row


class Batcher:
    """Runs one model for many callers. Submit and cancel from the event loop that `start` was called in."""

    def __init__(self, loaded: LoadedModel, tokens: Tokens, *, max_batch_size: int) -> None:
        self._batch = Batch(loaded, tokens)
        self._max_batch_size = max_batch_size
        self._changed = threading.Condition()
        self._waiting: deque[_Seat] = deque()
        self._cancelled: set[Call] = set()
        self._seats: dict[Row, _Seat] = {}
        """Rows in the batch; the model's thread only."""
        self._steps = 0
        """Since rows last joined."""
        self._joining: list[_Seat] = []
        """Rows on their way from the queue to the batch."""
        self._dead = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def queue_size(self) -> int:
        return len(self._waiting)

    @property
    def batch_size(self) -> int:
        return len(self._seats)

    @property
    def healthy(self) -> bool:
        """Whether the model's thread still runs."""
        return self._thread.is_alive() and not self._dead

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current step; rows that are still running are dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def submit(self, call: Call) -> None:
        """Queue a call's rows; its events follow in `call.events`."""
        with self._changed:
            if not self.healthy:  # nobody would ever answer
                call.events.put_nowait(GenerationFailed("the model's thread has ended"))
                return
            self._waiting.extend(_Seat(call, index, Row(request)) for index, request in enumerate(call.requests))
            self._changed.notify()

    def cancel(self, call: Call) -> None:
        """Nobody waits for this call any more."""
        with self._changed:
            self._cancelled.add(call)
            self._changed.notify()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # a fault outside one step: no caller may be left waiting, and /health tells
            with self._changed:
                self._dead = True
                left = [*self._seats.values(), *self._joining, *self._waiting]
                self._waiting.clear()
            self._seats.clear()
            self._fail(left, error)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._seats or self._cancelled or self._closing):
                    self._changed.wait()
                if self._closing:
                    return
                cancelled, self._cancelled = self._cancelled, set()
                joining = self._joining = self._admit(cancelled)
            if cancelled:
                self._drop(cancelled)
            # Reading whose every token is told costs more; rows that did not ask for that do not share it.
            for told in (False, True):
                if seats := [seat for seat in joining if seat.row.request.prompt_logprobs is told]:
                    self._join(seats)
            if self._seats:
                self._step()

    def _admit(self, cancelled: set[Call]) -> list[_Seat]:
        """Take waiting rows while seats and the prefill allow; call with the lock held."""
        if cancelled:
            self._waiting = deque(seat for seat in self._waiting if seat.call not in cancelled)
        joining: list[_Seat] = []
        if self._steps < PATIENCE and len(self._waiting) * CROWD < len(self._seats):
            return joining
        widest = 0
        while self._waiting and len(self._seats) + len(joining) < self._max_batch_size:
            widest = max(widest, len(self._waiting[0].row.request.prompt_ids))
            if joining and widest * (len(joining) + 1) > PREFILL_TOKENS:
                break
            joining.append(self._waiting.popleft())
        return joining

    def _drop(self, cancelled: set[Call]) -> None:
        gone = [row for row, seat in self._seats.items() if seat.call in cancelled]
        self._batch.leave(gone)
        for row in gone:
            del self._seats[row]

    def _join(self, joining: list[_Seat]) -> None:
        now = time.perf_counter()
        self._steps = 0
        for seat in joining:
            seat.call.started = seat.call.started or now
        try:
            self._batch.join([seat.row for seat in joining])
        except Exception as error:  # whatever the model raises belongs to these rows
            self._fail(joining, error)
            return
        self._seats |= {seat.row: seat for seat in joining}
        self._report([seat.row for seat in joining])

    def _step(self) -> None:
        self._steps += 1
        try:
            moved = self._batch.step()
        except Exception as error:
            self._batch.clear()
            failed = list(self._seats.values())
            self._seats.clear()
            self._fail(failed, error)
            return
        self._report(moved)

    def _report(self, moved: list[Row]) -> None:
        events: list[tuple[Call, Event | GenerationFailed]] = []
        for row in moved:
            seat = self._seats[row]
            if row.finished:
                del self._seats[row]
            elif not seat.call.stream:
                continue
            token = row.tokens[-1] if seat.call.stream else None
            events.append((seat.call, Event(seat.index, token, row if row.finished else None)))
        self._send(events)

    def _fail(self, seats: list[_Seat], error: Exception) -> None:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        self._send([(seat.call, GenerationFailed(reason)) for seat in seats])

    def _send(self, events: list[tuple[Call, Event | GenerationFailed]]) -> None:
        # One wake-up of the loop per step, not one per row.
        if events and self._loop is not None:
            self._loop.call_soon_threadsafe(_deliver, events)


def _deliver(events: list[tuple[Call, Event | GenerationFailed]]) -> None:
    for call, event in events:
        call.events.put_nowait(event)
