"""Steps over an object store: how fast, how much memory, how many objects; beside the same steps in a local workspace.

    python benchmarks/scale.py --samples 20000 [--ray 2]

Everything is on this machine: an S3 server of moto in a process of its own, a teacher that answers at once, and with
`--ray N` a local cluster of N nodes with a core each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import teacherlm
from teacherlm.api.scale import Scaled, Target
from teacherlm.engine.store import Store
from teacherlm.engine.tasks import Engine, Inline

RECIPE = """
title: Sums
about: Sums.
source:
  files: {train: sums.jsonl}
  columns: {id: VARCHAR, question: VARCHAR, answer: VARCHAR}
license: CC0-1.0
redistribution: allowed
task: sums
sample: {id: id, question: question, choices: "[]", answer: answer}
gates: {max_rejected: 1.0, max_truncated: 1.0, max_failed: 1.0}
given: [{id: g, question: "How much is 1 and 1?", answer: "2"}]
expect: [{question: "How much is 1 and 1?", answer: "2"}]
"""

MOTO = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
server.stop()
"""


@contextlib.contextmanager
def serving(command: list[str]) -> Iterator[str]:
    """A process that prints its URL and serves until its standard input closes."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


@contextlib.contextmanager
def keys_of(s3: str) -> Iterator[None]:
    """What every machine of a cluster has in its environment."""
    os.environ.update(
        AWS_ENDPOINT_URL=s3,
        AWS_ACCESS_KEY_ID="loopback",
        AWS_SECRET_ACCESS_KEY="loopback",
        AWS_DEFAULT_REGION="us-east-1",
    )
    yield


@contextlib.contextmanager
def engine_of(nodes: int) -> Iterator[Engine]:
    if not nodes:
        yield Inline()
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    from teacherlm.engine.on_ray import ray_engine

    started = time.perf_counter()
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(**node)
    try:
        with ray_engine(str(cluster.address)) as engine:
            print(f"cluster of {nodes} nodes after {time.perf_counter() - started:.1f} s")
            yield engine
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


def peak_mb() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def timed(what: str, rows: int) -> Iterator[None]:
    started = time.perf_counter()
    yield
    took = time.perf_counter() - started
    print(f"{what:<28} {took:7.1f} s  {rows / took:8,.0f} a second   peak {peak_mb():,.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--ray", type=int, default=0, help="nodes of a local cluster; 0: in this process")
    parser.add_argument("--local", action="store_true", help="the same in a local workspace first")
    given = parser.parse_args()
    loopback = [sys.executable, str(Path(__file__).with_name("loopback.py"))]
    with tempfile.TemporaryDirectory() as scratch, serving(loopback) as url:
        root = Path(scratch)
        (root / "builders").mkdir()
        (root / "catalog.yaml").write_text("teachers: {}\n")
        (root / "builders" / "sums.yaml").write_text(RECIPE)
        with (root / "builders" / "sums.jsonl").open("w") as file:
            for n in range(given.samples):
                row = {"id": f"s{n}", "question": f"How much is {n} and {n}?", "answer": str(2 * n)}
                file.write(json.dumps(row) + "\n")
        project = teacherlm.open(root, workspace=root / "workspace")
        texts = 3 * given.samples
        if given.local:
            with timed("local build", given.samples):
                project.build("sums")
            with timed("local augment", texts):
                project.augment("sums", teacher=url)
            with timed("local check", texts):
                project.check("sums")
        with serving([sys.executable, "-c", MOTO]) as s3, keys_of(s3), engine_of(given.ray) as engine:
            import fsspec

            fsspec.filesystem("s3").mkdir("bucket")
            scaled = Scaled(project, Store("s3://bucket/workspace"), engine)
            with timed("store build", given.samples):
                result(scaled.build(["sums"]))
            with timed("store augment", texts):
                result(scaled.augment(["sums"], teacher=url))
            segments = scaled.store.entries("rationales")
            size = sum(entry.size for entry in segments)
            print(f"ledger: {len(segments)} objects, {size / 1e6:.1f} MB, {size / texts:.0f} bytes an answer")
            with timed("store augment, all there", texts):
                result(scaled.augment(["sums"], teacher=url))
            with timed("store check", texts):
                result(scaled.check(["sums"]))


def result(results: dict[Target, Any]) -> None:
    for value in results.values():
        if isinstance(value, Exception):
            raise value


if __name__ == "__main__":
    main()
