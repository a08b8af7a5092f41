"""A teacher with so many slots and no more: what it cannot take it refuses, or lets wait without a word.

Real sockets and real time, for measurements; tests of the controller alone drive `simulated.py`, which needs neither.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable, Sequence

from replies import BUSY, UNWELL, Asked, Reply, plain, says, slow
from unkind import INFO, Unkind

Latency = Callable[[random.Random], float]
"""Seconds that an answer takes once a slot works on it."""


def steady(seconds: float) -> Latency:
    return lambda _: seconds


def about(seconds: float, spread: float = 0.3) -> Latency:
    """Log-normal, with the given mean: most answers are short, a few are long."""
    return lambda chance: seconds * chance.lognormvariate(-(spread**2) / 2, spread)


class Strained(Unkind):
    """The server.

    Args:
        slots: requests that it works on at a time.
        latency: of each, drawn by `seed`.
        refuses: whether requests without a slot get a 429; else they wait in a queue.
        faults: replies in place of the answer, with the share of requests that get each. Refusals come at once.
        told: `max_concurrent_requests` as `/info` tells it.
    """

    def __init__(
        self,
        slots: int,
        latency: Latency,
        *,
        refuses: bool = False,
        faults: Sequence[tuple[float, Reply]] = (),
        told: int = 128,
        seed: int = 0,
    ) -> None:
        info = plain(200, json.dumps({**INFO, "max_concurrent_requests": told}), "application/json")
        super().__init__(self._take, info=info)
        self.slots = slots
        self.refused = 0
        """Requests that got a 429."""
        self._latency = latency
        self._refuses = refuses
        self._faults = faults
        self._chance = random.Random(seed)
        self._waiting: deque[asyncio.Event] = deque()
        self._at_work: dict[asyncio.Event, asyncio.TimerHandle] = {}
        self._is_draining = False

    def resize(self, slots: int) -> None:
        """Work on more, or on fewer: what has begun is finished."""
        self.slots = slots
        self._begin()

    async def drain(self) -> None:
        """Refuse new requests, finish those that are there, and go: a server that is shut down in peace."""
        self._is_draining = True
        self.health = UNWELL
        await self.until(lambda: not self.at_work)
        await self.leave()

    async def leave(self) -> None:
        for timer in self._at_work.values():
            timer.cancel()
        self._at_work.clear()
        self._waiting.clear()
        await super().leave()

    async def come_back(self) -> None:
        self._is_draining = False
        self.health = Reply()
        await super().come_back()

    def _take(self, asked: Asked) -> Reply:
        if self._is_draining:
            return UNWELL
        reply = self._drawn()
        if reply == BUSY or (self._refuses and len(self._at_work) >= self.slots):
            self.refused += 1
            return BUSY
        turn = asyncio.Event()
        self._waiting.append(turn)
        self._begin()
        return slow(turn, reply)

    def _drawn(self) -> Reply:
        at = self._chance.random()
        for share, reply in self._faults:
            at -= share
            if at < 0:
                return reply
        return says("Rust is iron oxide.", tokens=8)

    def _begin(self) -> None:
        while self._waiting and len(self._at_work) < self.slots:
            turn = self._waiting.popleft()
            self._at_work[turn] = self.loop.call_later(self._latency(self._chance), self._end, turn)

    def _end(self, turn: asyncio.Event) -> None:
        del self._at_work[turn]
        turn.set()
        self._begin()
