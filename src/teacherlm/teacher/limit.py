"""How many requests an endpoint may have in flight: as many as pay, learnt from its refusals and its answers.

**Refusals** (429) show a wall: the server holds what is in flight, and not one more. The limit stays at the wall and
looks beyond it now and then: additive increase, which triples while nothing is refused. Who is refused again without
having asked for more meets a smaller wall, or other clients: multiplicative decrease, which shares a server fairly
(Chiu and Jain 1989). Refusals that go on through that, while most calls are answered, are not about room but a fault of
a proxy, say; they are borne.

**Latency** shows a queue that nobody tells of: twice the time for each token means that half of it was waiting, as in
TCP Vegas (Brakmo and Peterson 1995) and Netflix's concurrency-limits (Gradient2). But a server that batches answers
more slowly the more it has in flight, and gives more tokens a second all the same. So latency is weighed against
throughput: by Little's law (in flight = throughput x latency), `n` requests that take `t` seconds a token give `n / t`
tokens a second. Where more in flight brought more throughput, the latency was paid for and becomes the new measure.
Where it did not, it was waiting. Latency alone never lowers the limit below START.

A **round** is as many answers as there are places, of requests sent since the round began, so that all were under way
with the present limit. Nothing here has a clock: times come with the news, and only their differences count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, log, sqrt

START = 8
"""Requests in flight before anything is known; doubled each round while that pays."""

CEILING = 256
"""Most requests in flight where the server does not tell its own limit."""

SHARE = 0.8
"""Of the server's `max_concurrent_requests`: other clients and health checks need places too."""

FASTER = 3
"""Growth of an increase that was borne, each round: from 8 to 32 in four."""

FEWEST = 8
"""Answers of a round at least: with fewer, differences are chance."""

SEARCH = 1 / 40
"""Refused calls that looking beyond a wall may cost, per answer. A wall that moved is found after 40 answers at most.
Bursts, and capacity that falls, come on top; all together stays under 5 %."""

DECREASE = 0.9
"""Gentler than TCP's half: what is in flight at a refusal is known, and refusing costs a server next to nothing."""

STUBBORN = 3
"""Decreases in a row that change nothing before refusals are taken for faults: some four rounds. While a wall shrinks,
nothing that was sent since the last decrease is answered, so that it does not count here."""

MEMORY = 32
"""Answers and refusals over which the present share of refusals is averaged."""

MOST_BORNE, MARGIN = 0.5, 0.15
"""Share of refusals that are never borne; and how far above the double of those that are borne tells of a wall again:
an average over 32 differs by chance by some 0.07."""

STRETCH = 1.5
"""Times the measure that a token may take: half as many requests wait as are worked on. That keeps the server busy when
answers come in bursts, and shows at once when it can do more; others would only wait longer. Netflix takes 1.5 too."""

PAYS = 0.2
"""Share of an increase that has to arrive as throughput: of twice as many in flight, 15 % more tokens a second. A GPU
that takes a + b * n for a token is then driven to 80 % of what it could do with endless memory, and STRETCH goes
beyond; a queue brings 0 %."""

FAR = 1.2
"""Ratio of two numbers in flight from which their throughputs are compared: nearer ones differ by chance."""

SAME = (0.6, 1.3)
"""Gains that say that throughput fell just as the number in flight was lowered: there was no queue. A fall beyond that
is the server's own doing."""

LOOK = 0.75
"""Share of the measured places that is tried, to see whether fewer do as well: what was measured may be a queue."""

LOOK_EVERY, LOOK_SELDOM = 10, 40
"""Rounds between two such looks; doubled while they find nothing, so that they cost 1 % of the throughput at most."""

BOUND = 0.9
"""Share of the places that must be taken for a round to say anything about them: else the calls were too few."""


@dataclass(slots=True)
class _Round:
    """What came of the requests that were sent since it began."""

    began: float
    """At the first answer after the last round: what was sent together before it waits less than what follows."""
    needs: float
    """Answers that end it."""
    answers: int = 0
    bound: int = 0
    """Answers that came while the places were taken."""
    refused: int = 0
    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class _Point:
    """What was measured with so many in flight."""

    in_flight: float
    token_s: float
    """Seconds for each token of an answer, waiting included."""

    def gain(self, fewer: _Point) -> float:
        """Share of the increase that arrived as throughput: 0, a queue; 1, as many more tokens as requests."""
        return 1 - log(self.token_s / fewer.token_s) / log(self.in_flight / fewer.in_flight)


@dataclass(slots=True)
class Limit:
    """The present limit of one endpoint."""

    ceiling: int
    value: float
    is_learnt: bool = True
    """Whether latency counts. A number that the user fixed is only lowered by refusals, and comes back."""
    _step: float = START
    """The next increase."""
    _round: _Round = field(default_factory=lambda: _Round(-inf, START))
    _tells_tokens: bool = False
    # --- refusals
    _wall: float = inf
    """What the server held when it refused."""
    _credit: float = 1.0
    """Refusals that may be risked; never more than one."""
    _cut_at: float = -inf
    _cut_to: float = 0.0
    _answered_since: float = inf
    """Answers of requests that were sent since the last cut."""
    _in_vain: int = 0
    """Cuts in a row that were followed by refusals."""
    _before: float = 0.0
    """Places before these cuts."""
    _share: float = 0.0
    """Of late, of refused calls."""
    _borne: float = 0.0
    """Share of refusals that are not about room."""
    # --- latency
    _measure: _Point | None = None
    """The latency that is known to pay."""
    _higher: _Point | None = None
    """What was measured just before the limit was lowered, for latency or for a look."""
    _look_in: int = LOOK_EVERY
    _look_every: int = LOOK_EVERY
    _looked_from: float | None = None
    """Places before the look at fewer that is going on."""

    @classmethod
    def learn(cls, concurrency: int | None, server: int | None) -> Limit:
        """A limit for an endpoint.

        Args:
            concurrency: requests in flight as the user fixed them; None: learnt from the server's answers.
            server: the `max_concurrent_requests` that the server tells.
        """
        if concurrency is not None:
            return cls(concurrency, float(concurrency), is_learnt=False)
        ceiling = max(1, int(server * SHARE)) if server else CEILING
        return cls(ceiling, float(min(START, ceiling)))

    @property
    def places(self) -> int:
        return max(1, min(self.ceiling, int(self.value)))

    def answered(self, sent_at: float, now: float, in_flight: int, tokens: int) -> None:
        """A call was answered.

        Args:
            sent_at: when it was sent, as `now`: its latency is the difference.
            in_flight: requests in flight at the endpoint when it was answered, itself among them.
            tokens: that the answer has; 0 where that is not known.
        """
        self._credit = min(1.0, self._credit + SEARCH)
        self._share -= self._share / MEMORY
        self._answered_since += sent_at >= self._cut_at
        self._tells_tokens = self._tells_tokens or tokens > 0
        going = self._round
        going.bound += in_flight >= BOUND * self.places
        if going.began == inf:
            going.began = now
        if sent_at < going.began:
            return
        going.answers += 1
        if tokens or not self._tells_tokens:  # else nothing was generated: the prompt was refused
            going.seconds += now - sent_at
            going.tokens += tokens or 1
        if going.answers >= going.needs or self._is_late(going):
            self._end_round(going)
            self._round = _Round(inf, max(FEWEST, self.value))

    def refused(self, sent_at: float, now: float, in_flight: int) -> None:
        """A call was refused for lack of room; see `answered`. What was in flight shows where the wall is."""
        self._credit = max(0.0, self._credit - 1)
        self._share += (1 - self._share) / MEMORY
        self._round.refused += 1
        if self._borne:
            if self._share <= min(MOST_BORNE, 2 * self._borne + MARGIN):
                return
            self._borne, self._in_vain = 0.0, 0
        held = min(self.value, in_flight - 1.0)
        self._wall = held
        # Only those sent since the last cut tell what it did, and only once answers can have shown it.
        if sent_at >= self._cut_at and self._answered_since >= max(4.0, self.value / 2):
            if self.value > self._cut_to:
                self._in_vain, self._before = 0, self.value
            else:
                self._in_vain += 1
                held *= DECREASE
            self._cut_at, self._answered_since = now, 0
            if self._in_vain >= STUBBORN and self._share < MOST_BORNE:
                self._borne, self._wall, self._cut_to = self._share, inf, inf
                self.value = max(self.value, self._before)
                return
        self.value = self._cut_to = max(1.0, held)
        self._step, self._looked_from, self._higher = 1.0, None, None
        self._round.needs = max(FEWEST, self.value)

    def _is_late(self, going: _Round) -> bool:
        """Whether a round need not be waited for, since answers come far too late."""
        if self._measure is None or not self.is_learnt or going.answers < 2 * FEWEST:
            return False
        return going.seconds > 2 * STRETCH * self._measure.token_s * going.tokens

    def _end_round(self, ended: _Round) -> None:
        if self._borne:
            self._borne += (self._share - self._borne) / FEWEST
            if self._borne < 1 / (2 * MEMORY):
                self._borne, self._in_vain, self._cut_to = 0.0, 0, 0.0
        elif not ended.refused and self.value > self._cut_to:
            self._in_vain = 0
        if 2 * ended.bound < ended.answers:
            return
        most = inf
        if self.is_learnt and ended.tokens:
            most = self._judge(_Point(self.places, max(1e-9, ended.seconds / ended.tokens)))
        if self._looked_from is None:
            self._move(most, is_clean=self._borne > 0 or not ended.refused)
        self.value = max(1.0, min(self.value, self.ceiling))

    def _move(self, most: float, *, is_clean: bool) -> None:
        """Grow, or shrink to what latency allows."""
        if self.value > most:
            self.value = max(most, self.value / 2)
            self._step = sqrt(self.value)
        elif is_clean:
            if self.value >= self._wall:
                if self._credit < 1:
                    return
                self._wall, self._step = inf, 1.0
            wanted = self.value + self._step
            self.value = min(wanted, self._wall, most)
            self._step = min(FASTER * self._step, self.value) if self.value == wanted else sqrt(self.value)

    def _judge(self, found: _Point) -> float:
        """Take note of a latency, and say how many places it allows."""
        measure = self._measure or found
        if found.in_flight > measure.in_flight * FAR:
            if found.gain(measure) >= PAYS:
                measure = found
        elif found.in_flight < measure.in_flight / FAR:
            if measure.gain(found) < PAYS:
                measure = found
        elif found.token_s < measure.token_s:
            measure = found
        fewer_do_less = True
        if self._higher is not None and found.in_flight * FAR < self._higher.in_flight:
            gain = self._higher.gain(found)
            fewer_do_less = gain >= PAYS
            if SAME[0] <= gain <= SAME[1]:  # what was taken for waiting is work
                measure = self._higher
                self.value = max(self.value, measure.in_flight)
            elif not fewer_do_less and found.token_s < measure.token_s:
                measure = found
        self._higher = None
        if self._looked_from is not None:
            if fewer_do_less:
                self.value = self._looked_from
                self._look_in = self._look_every = min(2 * self._look_every, LOOK_SELDOM)
            else:
                self._look_in, self._look_every = 1, LOOK_EVERY  # and still fewer?
            self._looked_from = None
        self._measure = measure
        most = inf
        if found.token_s > STRETCH * measure.token_s:
            # Netflix's Gradient: what would not have waited, and room to find more.
            most = found.in_flight * STRETCH * measure.token_s / found.token_s + sqrt(found.in_flight)
            most = max(START, most)
            if most * FAR < found.in_flight:
                self._higher = found
        self._look_in -= self._wall == inf and (self._step < self.value or self.value >= self.ceiling)
        if self._look_in <= 0:
            self._look_in, self._looked_from = self._look_every, self.value
            self.value, self._higher = LOOK * min(self.value, measure.in_flight), found
        return most
