"""Progress: how far a run is, as plain numbers, which the terminal's view, the line a minute and `run.json` show."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, Protocol

from teacherlm.teacher.tally import EndpointTally, KindTally, Tally

WINDOW_S = 30.0
"""Rates are those of so many seconds before."""


@dataclass(frozen=True)
class Judged:
    """Some answers of a kind, judged while the run goes on."""

    looked_at: int = 0
    accepted: int = 0


class Watched(Protocol):
    """The state of a run, as `augment` has it."""

    dataset: str
    teacher: str
    model: str | None
    planned: int
    seconds: float
    cost: float | None
    stopped_by: str | None
    wanted: dict[str, int]
    there: dict[str, int]
    judged: Mapping[str, Judged]
    not_judged: str | None

    @property
    def done(self) -> int: ...

    @property
    def tally(self) -> Tally: ...


@dataclass(frozen=True, kw_only=True)
class KindProgress:
    """Texts of one kind."""

    kind: str
    wanted: int
    done: int
    """Settled, in this run or before."""
    answered: int
    """In this run, as the next two."""
    truncated: int
    failed: int
    looked_at: int
    """Answers that were judged already, a sample of them."""
    accepted: int
    """Of those that were judged."""


@dataclass(frozen=True, kw_only=True)
class EndpointProgress:
    """What one server does."""

    url: str
    in_flight: int
    places: int
    """Requests that it may have in flight."""
    answered: int
    calls_per_second: float
    busy: int
    faults: int
    away: str | None
    """Why nothing is sent there now."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    dataset: str
    teacher: str
    model: str | None
    seconds: float
    """Since its start."""
    wanted: int
    """Texts."""
    done: int
    """Of them, those that are settled, in this run or before."""
    answered: int
    """Texts of this run, as the next two."""
    truncated: int
    failed: int
    looked_at: int
    """Answers that were judged already, a sample of them."""
    accepted: int
    """Of those that were judged."""
    calls_per_second: float
    """Answered requests, over the last WINDOW_S; as the next one."""
    tokens_per_second: float
    """Generated ones."""
    seconds_left: float | None
    """At the present rate; None where nothing was settled of late, or the run is ending."""
    in_flight: int
    places: int
    waiting: int
    """Calls that wait for another attempt."""
    cost: float | None
    """In the currency of the teacher's prices; None without prices."""
    cost_in_all: float | None
    """Of this run at its end, if what is left costs as much as what was settled."""
    kinds: tuple[KindProgress, ...]
    failures: Mapping[str, int]
    """Failed texts by reason."""
    faults: Mapping[str, int]
    """Attempts that failed, by reason."""
    endpoints: tuple[EndpointProgress, ...]
    stopped_by: str | None
    not_judged: str | None
    """Why no answers are judged, where they should be."""

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


class _Moment(NamedTuple):
    seconds: float
    calls: int
    texts: int
    tokens: int
    endpoints: Mapping[str, int]
    """Answered requests by URL."""


@dataclass
class Meter:
    """Makes progress of the states of one run, which it has to see now and then. Its clock is the run's own."""

    _moments: deque[_Moment] = field(default_factory=lambda: deque([_Moment(0.0, 0, 0, 0, {})]))

    def see(self, state: Watched) -> Progress:
        """Take note of a state."""
        tally = state.tally
        endpoints = _by_url(tally)
        answered = {url: endpoint.answered for url, endpoint in endpoints.items()}
        here = _Moment(state.seconds, sum(answered.values()), tally.settled, tally.generated_tokens, answered)
        moments = self._moments
        while moments and moments[-1].seconds >= here.seconds:
            moments.pop()
        # The oldest that is kept is the last one before the window.
        while len(moments) > 1 and moments[1].seconds <= here.seconds - WINDOW_S:
            moments.popleft()
        before = moments[0] if moments else here
        moments.append(here)
        took = here.seconds - before.seconds

        def rate(now: int, then: int) -> float:
            return max(0, now - then) / took if took > 0 else 0.0

        texts_per_second, left = rate(here.texts, before.texts), max(0, state.planned - state.done)
        is_ending = state.stopped_by is not None or not texts_per_second
        cost = state.cost
        return Progress(
            dataset=state.dataset,
            teacher=state.teacher,
            model=state.model,
            seconds=round(state.seconds, 3),
            wanted=state.planned,
            done=state.done,
            answered=tally.answered,
            truncated=tally.truncated,
            failed=tally.refused + tally.exhausted,
            looked_at=sum(judged.looked_at for judged in state.judged.values()),
            accepted=sum(judged.accepted for judged in state.judged.values()),
            calls_per_second=round(rate(here.calls, before.calls), 3),
            tokens_per_second=round(rate(here.tokens, before.tokens), 3),
            seconds_left=None if is_ending else round(left / texts_per_second, 1),
            in_flight=tally.in_flight,
            places=tally.places,
            waiting=tally.waiting,
            cost=cost,
            cost_in_all=cost * (1 + left / tally.settled) if cost is not None and tally.settled else None,
            kinds=tuple(_kind(state, kind, tally.kinds.get(kind)) for kind in {**state.wanted, **tally.kinds}),
            failures=dict(tally.failures),
            faults=dict(tally.faults),
            endpoints=tuple(
                EndpointProgress(
                    url=url,
                    in_flight=one.in_flight,
                    places=one.places,
                    answered=one.answered,
                    calls_per_second=round(rate(one.answered, before.endpoints.get(url, 0)), 3),
                    busy=one.busy,
                    faults=one.faults,
                    away=one.away,
                )
                for url, one in endpoints.items()
            ),
            stopped_by=state.stopped_by,
            not_judged=state.not_judged,
        )


def _kind(state: Watched, kind: str, tally: KindTally | None) -> KindProgress:
    counts = tally or KindTally()
    judged = state.judged.get(kind, Judged())
    return KindProgress(
        kind=kind,
        wanted=state.wanted.get(kind, 0),
        done=state.there.get(kind, 0) + counts.settled,
        answered=counts.answered,
        truncated=counts.truncated,
        failed=counts.refused + counts.exhausted,
        looked_at=judged.looked_at,
        accepted=judged.accepted,
    )


def _by_url(tally: Tally) -> dict[str, EndpointTally]:
    """Each server once, also where several teachers are served by one."""
    found: dict[str, EndpointTally] = {}
    for one in tally.endpoints:
        known = found.setdefault(one.url, EndpointTally(one.url))
        for part in fields(EndpointTally):
            if isinstance(value := getattr(one, part.name), int):
                setattr(known, part.name, getattr(known, part.name) + value)
        known.away = known.away or one.away
    return found
