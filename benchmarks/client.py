"""What a call costs: the whole of `augment` beside a bare pyreqwest loop, against a server that answers at once.

    make bench            # or: python benchmarks/client.py --calls 10000 1000000 --concurrency 64 512 --rounds 3

The two take turns, and the median of the rounds is shown: single rounds on shared cores vary by half. Each
measurement is a process of its own, so that its peak memory is its own. CPU is that of the client's process alone,
from the first call to the last, its threads included; start-up and imports are left out on both sides.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
KINDS = 3


def bare(url: str, calls: int, concurrency: int) -> dict[str, float]:
    """A loop that posts ready-made bodies, reads the answers and forgets them."""
    from pyreqwest.client import ClientBuilder

    body = (
        b'{"inputs":"' + b"Q: Does iron rust faster in salt water? (A) True (B) False A: " * 4 + b'","parameters":{}}'
    )

    async def main() -> None:
        left = iter(range(calls))
        async with ClientBuilder().default_headers({"Content-Type": "application/json"}).build() as client:

            async def worker() -> None:
                for _ in left:
                    response = await client.post(url + "/generate").body_bytes(body).build().send()
                    await response.bytes()

            await asyncio.gather(*(worker() for _ in range(concurrency)))

    with clock() as taken:
        asyncio.run(main())
    return taken


def whole(url: str, calls: int, concurrency: int) -> dict[str, float]:
    """`augment`: samples read and rendered, calls keyed, asked, written to the ledger, counted, sealed."""
    import polars  # noqa: F401 - what a run imports on its way is start-up

    import teacherlm

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "builders").mkdir()
        (root / "catalog.yaml").write_text("teachers: {}\n")
        (root / "builders" / "bench.yaml").write_text(RECIPE)
        with (root / "builders" / "bench.jsonl").open("w") as rows:
            for number in range(-(-calls // KINDS)):
                row = {"id": f"q{number}", "q": f"Does iron rust faster in salt water than in {number} drops of oil?"}
                rows.write(json.dumps(row) + "\n")
        # In a process of its own: its memory is not what is measured.
        build = [sys.executable, "-m", "teacherlm", "build", "bench", "-p", str(root), "-w", str(root / "workspace")]
        subprocess.run(build, check=True, capture_output=True)
        project = teacherlm.open(root, workspace=root / "workspace")
        with clock() as taken:
            state = project.augment("bench", teacher=url, concurrency=concurrency)
        if state.tally.answered != -(-calls // KINDS) * KINDS:
            raise SystemExit(f"asked for {calls}, answered {state.tally.answered}")
    return taken


RECIPE = """
title: Benchmark
source: {files: bench.jsonl}
license: CC0-1.0
redistribution: allowed
task: bench
sample: {id: id, question: q, choices: "['True', 'False']", answer: "'True'"}
"""


@contextmanager
def clock() -> Iterator[dict[str, float]]:
    """Seconds, CPU seconds of this process and its peak memory in MB."""
    taken: dict[str, float] = {}
    started, cpu = time.perf_counter(), time.process_time()
    yield taken
    taken["seconds"] = time.perf_counter() - started
    taken["cpu"] = time.process_time() - cpu
    taken["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(what: str, url: str, calls: int, concurrency: int) -> dict[str, float]:
    command = [sys.executable, str(HERE / "client.py"), "--one", what, url, str(calls), str(concurrency)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    taken: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--concurrency", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=4, metavar=("WHAT", "URL", "CALLS", "CONCURRENCY"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        what, url, calls, concurrency = given.one
        print(json.dumps({"bare": bare, "augment": whole}[what](url, int(calls), int(concurrency))), flush=True)
        os._exit(0)  # a native thread may still hold the interpreter; nothing is left to be done
    print(f"{'':<10}{'calls':>9}{'in flight':>11}{'calls/s':>10}{'of bare':>9}", end="")
    print(f"{'CPU ms/call':>13}{'CPU ratio':>11}{'peak MB':>9}")
    with subprocess.Popen(
        [sys.executable, str(HERE / "loopback.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None and server.stdin is not None
        url = server.stdout.readline().strip()
        for concurrency in given.concurrency:
            for calls in given.calls:
                rounds = [
                    (measure("bare", url, calls, concurrency), measure("augment", url, calls, concurrency))
                    for _ in range(given.rounds)
                ]
                sides = zip(*rounds, strict=True)
                base, ours = ({name: median(one[name] for one in side) for name in side[0]} for side in sides)
                for what, taken in (("bare loop", base), ("augment", ours)):
                    share = base["seconds"] / taken["seconds"]
                    print(
                        f"{what:<10}{calls:>9,}{concurrency:>11}{calls / taken['seconds']:>10,.0f}{share:>9.0%}", end=""
                    )
                    print(f"{1000 * taken['cpu'] / calls:>13.3f}{taken['cpu'] / base['cpu']:>11.2f}", end="")
                    print(f"{taken['peak_mb']:>9.0f}", flush=True)
        server.stdin.close()


if __name__ == "__main__":
    main()
