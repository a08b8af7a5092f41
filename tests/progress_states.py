"""States of runs to look at: their progress is shown in the tests, and drawn for the documentation."""

from __future__ import annotations

from teacherlm.api.augment import Augmented
from teacherlm.api.progress import Judged, Meter, Progress
from teacherlm.teacher.tally import EndpointTally, KindTally, Tally

KINDS = ("fundamentals", "chain_of_thought", "common_mistakes")


def begun(dataset: str = "creak", samples: int = 3392) -> Augmented:
    """A run of three kinds that goes on where another one ended."""
    state = Augmented(dataset=dataset, teacher="lab", model="bigscience/bloom-7b1")
    for kind in KINDS:
        state.want(kind, samples)
        state.know(kind, samples // 8)
    state.cost = 0.0
    return state


def later(state: Augmented, seconds: float, texts: int, servers: int) -> Augmented:
    """The same run when so many texts of each kind were settled; every 40th was cut, every 90th failed."""
    tally = Tally()
    for kind in KINDS:
        truncated, refused = texts // 40, texts // 90
        tally.kinds[kind] = KindTally(texts - truncated - refused, truncated, refused, 0)
    tally.answered = sum(kind.answered for kind in tally.kinds.values())
    tally.truncated = sum(kind.truncated for kind in tally.kinds.values())
    tally.refused = sum(kind.refused for kind in tally.kinds.values())
    tally.generated_tokens = 120 * tally.settled
    share = sum(1 / number for number in range(1, servers + 1))
    for number in range(1, servers + 1):
        answered = int(tally.settled / number / share)
        url = f"http://10.0.0.{number}:8080"
        tally.endpoints.append(EndpointTally(url, 64 // number, 64, answered, answered, 3 * number, number % 3))
    tally.in_flight = sum(one.in_flight for one in tally.endpoints)
    state.tallies, state.seconds = [tally], seconds
    state.cost = 1.5e-6 * tally.generated_tokens
    state.judged = {kind: Judged(120, 120 - 9 * place) for place, kind in enumerate(KINDS)}
    return state


def seen(state: Augmented, servers: int = 1) -> tuple[Augmented, Progress]:
    """A run of 12 minutes that settles 0.8 texts of each kind a second, of late twice as many."""
    meter = Meter()
    meter.see(later(state, 690.0, 552, servers))
    return later(state, 720.0, 600, servers), meter.see(state)


def troubled(servers: int) -> Progress:
    """One with whatever may go wrong."""
    meter, state = Meter(), begun()
    meter.see(later(state, 690.0, 552, servers))
    tally = later(state, 720.0, 600, servers).tally
    tally.failures.update({"422": 15, "no answer": 3})
    tally.faults.update({"no answer": 80, "connection broke": 31, "503": 4})
    tally.waiting = 12
    for place in (1, servers - 1):
        tally.endpoints[place].away = "no connection (Connection refused)"
        tally.endpoints[place].in_flight = 0
    state.stopped_by = "interrupt"
    return meter.see(state)
