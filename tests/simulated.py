"""Servers in virtual time, driven by a `Limit` as the asker drives it: events in a heap, no socket, no sleep.

Calls never run out, so that what is measured is the limit alone. Times are seconds, and all chance has a seed.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from teacherlm.teacher.limit import Limit

WIRE_S = 0.002
"""From the client to the server, or back."""

Job = tuple[int, float]
"""Tokens of an answer, and the seconds that it takes a server with nothing else to do."""
Work = Callable[[random.Random], Job]
Phases = Sequence[tuple[float, int]]
"""Since when there are so many slots; the first begins at 0."""


def steady(seconds: float, tokens: int = 50) -> Work:
    return lambda _: (tokens, seconds)


def about(seconds: float, spread: float = 0.5, tokens: int = 50) -> Work:
    """Answers whose lengths differ: log-normal, with the given mean."""
    shift = -(spread**2) / 2  # so that the mean stays

    def draw(chance: random.Random) -> Job:
        factor = chance.lognormvariate(shift, spread)
        return max(1, round(tokens * factor)), seconds * factor

    return draw


class World:
    """A clock and what is going to happen."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def after(self, delay: float, happens: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + delay, self._number, happens))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, happens = heapq.heappop(self._events)
            happens()


@dataclass(eq=False)
class Request:
    """One request, and what becomes of it."""

    sent_at: float
    tokens: int
    seconds: float
    answered: Callable[[Request], None]
    refused: Callable[[Request], None]
    failed: Callable[[Request], None]


class Slots:
    """So many requests are worked on at a time; the others wait in a queue, or are refused where there is none.

    Args:
        queue: requests that may wait; 0: none.
        busy: share of the requests that are refused for no reason.
        broken: share of the requests that fail when half of their work is done.
    """

    def __init__(
        self, world: World, phases: Phases, work: Work, *, queue: int = 1 << 30, busy: float = 0.0, broken: float = 0.0
    ) -> None:
        self.world, self.work, self.busy, self.broken = world, work, busy, broken
        self.at_work = 0
        self._waiting: deque[Request] = deque()
        self._queue = queue
        self.slots = phases[0][1]
        for since, slots in phases[1:]:
            world.after(since, lambda slots=slots: self.resize(slots))  # type: ignore[misc]

    def resize(self, slots: int) -> None:
        """Also to fewer than are at work: those are finished."""
        self.slots = slots
        self._begin()

    def arrive(self, request: Request) -> None:
        has_room = self.at_work < self.slots or len(self._waiting) < self._queue
        if not has_room or self.world.chance.random() < self.busy:
            self.world.after(WIRE_S, lambda: request.refused(request))
            return
        self._waiting.append(request)
        self._begin()

    def _begin(self) -> None:
        while self._waiting and self.at_work < self.slots:
            request = self._waiting.popleft()
            self.at_work += 1
            breaks = self.world.chance.random() < self.broken
            self.world.after(request.seconds * (0.5 if breaks else 1.0), lambda r=request, b=breaks: self._end(r, b))  # type: ignore[misc]

    def _end(self, request: Request, breaks: bool) -> None:
        self.at_work -= 1
        self.world.after(WIRE_S, lambda: (request.failed if breaks else request.answered)(request))
        self._begin()


class Batching:
    """Continuous batching on one GPU: every token of the running batch takes `base_s + each_s * batch`.

    More in flight: each answer slower, but all together faster, up to `most` in the batch; the others wait.
    """

    def __init__(self, world: World, work: Work, *, base_s: float, each_s: float, most: int) -> None:
        self.world, self.work = world, work
        self._base_s, self._each_s, self._most = base_s, each_s, most
        self._waiting: deque[Request] = deque()
        self._running: list[tuple[float, int, Request]] = []
        """By the step at which each is done."""
        self._step, self._stepped_at = 0.0, 0.0
        self._number = 0

    def best(self, tokens: float, places: int) -> float:
        """Answers a second with so many places."""
        batch = min(places, self._most)
        return batch / (self._base_s + self._each_s * batch) / tokens

    def arrive(self, request: Request) -> None:
        self._waiting.append(request)
        self._turn()

    def _turn(self) -> None:
        """Bring the batch up to date: who is done leaves, who waits joins."""
        now = self.world.now
        self._step += (now - self._stepped_at) / self._step_s
        self._stepped_at = now
        while self._running and self._running[0][0] <= self._step + 1e-9:
            request = heapq.heappop(self._running)[2]
            self.world.after(WIRE_S, lambda r=request: r.answered(r))  # type: ignore[misc]
        while self._waiting and len(self._running) < self._most:
            request = self._waiting.popleft()
            self._number += 1
            heapq.heappush(self._running, (self._step + request.tokens, self._number, request))
        if self._running:
            self._plan((self._running[0][0] - self._step) * self._step_s)

    @property
    def _step_s(self) -> float:
        return self._base_s + self._each_s * len(self._running)

    def _plan(self, delay: float) -> None:
        self._planned = planned = object()
        self.world.after(delay, lambda: self._turn() if self._planned is planned else None)


@dataclass
class Outcome:
    """What a limit has brought about."""

    answers: list[float] = field(default_factory=list)
    """When each answer came."""
    tokens: int = 0
    refused: int = 0
    failed: int = 0
    trace: list[tuple[float, int, int]] = field(default_factory=list)
    """Moment, places, requests in flight."""
    latencies: list[tuple[float, float]] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return len(self.answers) + self.refused + self.failed

    @property
    def refused_share(self) -> float:
        return self.refused / max(1, self.requests)

    def answered(self, since: float = 0.0, until: float = float("inf")) -> int:
        return sum(since <= moment < until for moment in self.answers)

    def places(self, since: float, until: float) -> float:
        """The mean over a time."""
        seen = [places for moment, places, _ in self.trace if since <= moment < until]
        return sum(seen) / max(1, len(seen))


class Client:
    """Sends as many requests as a limit allows; a refused or failed one makes room for another at once."""

    def __init__(self, world: World, limit: Limit, server: Slots | Batching) -> None:
        self.world, self.limit, self.server = world, limit, server
        self.in_flight = 0
        self.outcome = Outcome()

    def send(self) -> None:
        while self.in_flight < self.limit.places:
            tokens, seconds = self.server.work(self.world.chance)
            request = Request(self.world.now, tokens, seconds, self._answered, self._refused, self._failed)
            self.in_flight += 1
            self.world.after(WIRE_S, lambda r=request: self.server.arrive(r))  # type: ignore[misc]
        self.outcome.trace.append((self.world.now, self.limit.places, self.in_flight))

    def _answered(self, request: Request) -> None:
        self.outcome.answers.append(self.world.now)
        self.outcome.tokens += request.tokens
        self.outcome.latencies.append((self.world.now, self.world.now - request.sent_at))
        self.limit.answered(request.sent_at, self.world.now, self.in_flight, request.tokens)
        self._next()

    def _refused(self, request: Request) -> None:
        self.outcome.refused += 1
        self.limit.refused(request.sent_at, self.world.now, self.in_flight)
        self._next()

    def _failed(self, request: Request) -> None:
        self.outcome.failed += 1
        self._next()

    def _next(self) -> None:
        self.in_flight -= 1
        self.send()


def play(
    seconds: float,
    server: Callable[[World], Slots | Batching],
    *,
    concurrency: int | None = None,
    told: int | None = None,
    seed: int = 0,
) -> Outcome:
    """Let a limit drive a server for so long.

    Args:
        concurrency: as the user fixed it.
        told: what the server says of its own limit.
    """
    world = World(seed)
    client = Client(world, Limit.learn(concurrency, told), server(world))
    client.send()
    world.run(seconds)
    return client.outcome
