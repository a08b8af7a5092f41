"""How close a run comes to what its teachers can do: overload, random faults, and a pool of unequal servers.

    python benchmarks/overload.py                       # two minutes; --seconds 4 is quicker
    python benchmarks/overload.py --plot docs/img/overload.svg

Servers are in a process of their own on loopback, with real sockets and real time. A slot works on one request at a
time, and a server's capacity is its slots / seconds for an answer. Throughput is what was answered while calls were
begun; after that the run goes on until everything is settled, and the ledger is read again: nothing may be missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plot import Chart, Line, write_svg
from strained_servers import ANSWER_S, Server, serving
from teacherlm.teacher.answered import AnsweredCalls
from teacherlm.teacher.asker import Asker
from teacherlm.teacher.calls import Call, make_call
from teacherlm.teacher.client import Teacher
from teacherlm.teacher.ledger import Ledger
from teacherlm.teacher.wire import Info

SAMPLE_S = 0.1
"""Between two points of the plot."""

KINDS = ("fundamentals", "chain_of_thought", "common_mistakes")


@dataclass
class Result:
    """What came of one scenario."""

    name: str
    seconds: float
    answered: int
    """While calls were begun."""
    ideal: float
    requests: int
    busy: int
    calls: int
    lost: int
    trace: list[tuple[float, int, int, float]]
    """Moment, places, requests in flight, latency in seconds."""

    @property
    def share(self) -> float:
        return self.answered / self.ideal

    @property
    def refused(self) -> float:
        return self.busy / max(1, self.requests)


# --- runs ------------------------------------------------------------------------------------------------------------


def make(number: int, info: Info) -> Call:
    """A kind of a sample."""
    sample, kind = divmod(number, len(KINDS))
    return make_call(
        sample_id=f"bench/train/{sample}",
        dataset="bench",
        split="train",
        kind=KINDS[kind],
        repeat=0,
        prompt=f"Q: Does iron rust faster in salt water than in {sample} drops of oil? {KINDS[kind]}",
        parameters={"max_new_tokens": 64},
        stops=(),
        info=info,
    )


async def ask(
    name: str, servers: Sequence[Server], urls: Sequence[str], seconds: float, calls: int, concurrency: int | None
) -> Result:
    """Begin calls for so many seconds, or so many calls; settle them all."""
    keys: list[str] = []
    answered: list[float] = []
    latencies: deque[float] = deque([0.0], maxlen=20)
    trace: list[tuple[float, int, int, float]] = []
    started = 0.0

    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder)) as ledger:
        async with Teacher(list(urls)) as teacher:
            info = await teacher.info()

            def begin() -> Iterator[Call]:
                while len(keys) < calls and time.monotonic() - started < seconds:
                    call = make(len(keys), info)
                    keys.append(call.key)
                    yield call

            def record(line: Any) -> None:
                ledger.append(line)
                if line["status"] == "ok":
                    answered.append(time.monotonic() - started)
                    latencies.append(line["latency_ms"] / 1000)

            async def watch() -> None:
                while True:
                    latency = sum(latencies) / len(latencies)
                    trace.append((time.monotonic() - started, asker.tally.places, asker.tally.in_flight, latency))
                    await asyncio.sleep(SAMPLE_S)

            asker = Asker(teacher, record, concurrency)
            watching = asyncio.create_task(watch())
            started = time.monotonic()
            await asker.run(begin())
            took = time.monotonic() - started
            watching.cancel()
        ledger.close()
        states = AnsweredCalls.read(Path(folder)).look_up(keys)
    seconds = min(seconds, took)
    return Result(
        name,
        took if calls < sys.maxsize else seconds,
        sum(moment <= seconds for moment in answered),
        sum(server.ideal(seconds) for server in servers),
        asker.tally.requests,
        asker.tally.busy,
        len(keys),
        sum(state != "answered" for state in states),
        trace,
    )


def measure(
    name: str,
    servers: Sequence[Server],
    seconds: float = float("inf"),
    calls: int = sys.maxsize,
    concurrency: int | None = None,
) -> Result:
    random.seed(0)
    with serving(servers) as urls:
        return asyncio.run(ask(name, servers, urls, seconds, calls, concurrency))


def overload(phase_s: float) -> Iterator[Result]:
    """8, 32, then 4 slots."""
    for name, refuses in (("refusing (429)", True), ("queueing silently", False)):
        events = [(phase_s, "resize", 32), (2 * phase_s, "resize", 4)]
        yield measure(name, [Server(8, refuses=refuses, events=events)], 3 * phase_s)


def pool(phase_s: float) -> Result:
    """Three servers: one four times slower, one that dies for a third of the time."""
    away: list[tuple[float, str, int]] = [(phase_s, "leave", 0), (2 * phase_s, "back", 0)]
    three = [Server(16), Server(16, answer_s=4 * ANSWER_S), Server(16, events=away)]
    return measure("pool of three", three, 3 * phase_s)


def faults(samples: int) -> tuple[Result, Result]:
    """Random faults, and the same number of requests without any."""
    server = Server(10_000, answer_s=0.02, spread=0.0, told=10_000)
    faulty = measure("random faults", [Server(**{**asdict(server), "faulty": True})], calls=3 * samples, concurrency=64)
    return faulty, measure("without faults", [server], calls=faulty.requests, concurrency=64)


# --- what is shown ---------------------------------------------------------------------------------------------------

COLUMNS = f"{'':<20}{'seconds':>9}{'requests':>10}{'answered':>10}{'of ideal':>10}{'refused':>9}{'calls':>8}{'lost':>6}"


def row(result: Result, *, has_ideal: bool = True) -> str:
    share = f"{result.share:.1%}" if has_ideal else ""
    return (
        f"{result.name:<20}{result.seconds:>9.1f}{result.requests:>10,}{result.answered:>10,}{share:>10}"
        f"{result.refused:>9.1%}{result.calls:>8,}{result.lost:>6}"
    )


def charts(results: Sequence[Result], phase_s: float) -> list[Chart]:
    capacity = [
        (0.0, 8.0),
        (phase_s, 8.0),
        (phase_s, 32.0),
        (2 * phase_s, 32.0),
        (2 * phase_s, 4.0),
        (3 * phase_s, 4.0),
    ]
    made = []
    for result in results:
        seen = [point for point in result.trace if point[0] <= 3 * phase_s]
        lines = [
            Line("server's slots", capacity, "#9aa0a6", fills=True),
            Line("limit", [(at, float(places)) for at, places, _, _ in seen], "#8ab4f8", width=4.5),
            Line("in flight", [(at, float(count)) for at, _, count, _ in seen], "#c5221f", width=1.3),
        ]
        made.append(Chart(f"Server {result.name}", "requests", lines))
        made.append(Chart("", "latency, s", [Line("latency", [(at, late) for at, _, _, late in seen], "#188038")]))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase")
    parser.add_argument("--samples", type=int, default=2_000, help="with random faults; three calls each")
    parser.add_argument("--plot", type=Path, help="write the overload scenarios as SVG")
    parser.add_argument("--json", action="store_true", help="print the results for programs")
    given = parser.parse_args()
    say: Callable[[str], None] = (lambda _: None) if given.json else (lambda text: print(text, flush=True))
    say(COLUMNS)
    results = []
    for result in overload(given.seconds):
        results.append(result)
        say(row(result))
    if given.plot:
        given.plot.write_text(write_svg(charts(results, given.seconds)))
    results.append(pool(given.seconds))
    say(row(results[-1]))
    results += faults(given.samples)
    for result in results[-2:]:
        say(row(result, has_ideal=False))
    ratio = results[-2].seconds / results[-1].seconds
    say(f"time with faults / time of the same number of requests without: {ratio:.2f}")
    if given.json:
        kept = [{name: value for name, value in asdict(one).items() if name != "trace"} for one in results]
        print(json.dumps({"ratio": ratio, "results": kept}))


if __name__ == "__main__":
    main()
