"""Servers of known capacity, together in a process of their own; see `overload.py`.

Run as `python benchmarks/strained_servers.py JSON`; prints their URLs, and serves until its standard input closes.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "tests"))

from strained import Strained, about, steady  # noqa: E402
from unkind import BUSY, DROP, INCOMPLETE  # noqa: E402

ANSWER_S = 0.15
"""Of an answer in the overload scenarios: short, so that some seconds hold many rounds."""


@dataclass
class Server:
    """What a server is told to be; times count from the first request."""

    slots: int
    answer_s: float = ANSWER_S
    spread: float = 0.3
    refuses: bool = False
    faulty: bool = False
    """20 % 429, 2.5 % 500, 2.5 % resets."""
    told: int = 128
    events: list[tuple[float, str, int]] = field(default_factory=list)
    """Moment; `resize`, `leave` or `back`; slots."""

    def capacity(self, moment: float) -> int:
        """Slots at a moment; 0 while it is away."""
        slots, away = self.slots, False
        for since, what, count in self.events:
            if since <= moment:
                slots, away = (count if what == "resize" else slots), what == "leave"
        return 0 if away else slots

    def ideal(self, seconds: float) -> float:
        """Answers that it could give."""
        moments = [0.0, *(event[0] for event in self.events), seconds]
        return sum(self.capacity(start) * (end - start) for start, end in pairwise(moments)) / self.answer_s


async def serve(told: Sequence[Server]) -> None:
    """Print the URLs; serve until the standard input closes."""
    faults = [(0.2, BUSY), (0.025, INCOMPLETE), (0.025, DROP)]
    servers = []
    for number, one in enumerate(told):
        latency = about(one.answer_s, one.spread) if one.spread else steady(one.answer_s)
        server = Strained(
            one.slots, latency, refuses=one.refuses, faults=faults if one.faulty else (), told=one.told, seed=number
        )
        await server.come_back()
        servers.append(server)
    print(json.dumps([server.url for server in servers]), flush=True)

    async def follow(server: Strained, events: Sequence[tuple[float, str, int]]) -> None:
        await first.wait()
        for moment, what, slots in events:
            await asyncio.sleep(begun[0] + moment - time.monotonic())
            if what == "resize":
                server.resize(slots)
            else:
                await (server.leave() if what == "leave" else server.come_back())

    first, begun = asyncio.Event(), []
    tasks = [asyncio.create_task(follow(*pair)) for pair in zip(servers, (one.events for one in told), strict=True)]
    done = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    while not any(server.seen for server in servers):  # noqa: ASYNC110 - any of them may be the first
        await asyncio.sleep(0.002)
    begun.append(time.monotonic())
    first.set()
    await done
    for task in tasks:
        task.cancel()


@contextmanager
def serving(servers: Sequence[Server]) -> Iterator[list[str]]:
    command = [sys.executable, __file__, json.dumps([asdict(one) for one in servers])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve([Server(**one) for one in json.loads(sys.argv[1])]))
