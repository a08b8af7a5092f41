"""Steps on a real Ray cluster of two nodes over an S3 server on loopback; one of the nodes dies in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from store_server import SECRET, s3_server
from sums import KINDS, ledger_lines, sums_project
from teacherlm.api.augment import Augmented
from teacherlm.api.project import Project
from teacherlm.api.scale import Scaled, Target
from teacherlm.core.errors import Mistake
from teacherlm.engine.store import Store
from teacherlm.engine.store_locks import holder
from test_kill import is_an_answer, moody
from unkind import BUSY, DEADLINE_S, INCOMPLETE, Asked, Reply, says, slow, unkind_in_a_thread

pytest.importorskip("ray")
from teacherlm.engine.on_ray import ray_engine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

SAMPLES, SHARD, CONCURRENCY = 400, 200, 8
TINY = Target("tiny")
STORE_BYTES = 100 * 2**20


class Nodes:
    """A cluster of two nodes with a place each; the second may die and comes back."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args={**head, "node_ip_address": "127.0.0.2"})
        self.mend()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def kill_second(self) -> list[str]:
        """Kill every process of the second node at once; returns the titles of its workers."""
        raylet = psutil.Process(self._second.all_processes["raylet"][0].process.pid)
        processes = [raylet, *raylet.children(recursive=True)]
        titles = [" ".join(process.cmdline()) for process in processes]
        for process in processes:
            process.suspend()
        for process in processes:
            process.kill()
        self._cluster.remove_node(self._second, allow_graceful=False)
        return titles

    def mend(self) -> None:
        # An address of its own, so that the driver, which looks for a node at its own, is not on the node that dies.
        options: dict[str, Any] = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "node_ip_address": "127.0.0.3"}
        self._second = self._cluster.add_node(**options)
        self._cluster.wait_for_nodes()

    def leave(self) -> None:
        self._cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(scope="module")
def nodes(bucket: str) -> Iterator[Nodes]:
    """Its workers have the keys of the S3 server in their environment, as machines of a cluster have."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Nodes()
    try:
        yield cluster
    finally:
        cluster.leave()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return sums_project(tmp_path, SAMPLES)


@contextmanager
def scaled(project: Project, bucket: str, nodes: Nodes) -> Iterator[Scaled]:
    with ray_engine(nodes.address) as engine:
        yield Scaled(project, Store(f"{bucket}/{uuid4().hex}"), engine, shard_rows=SHARD)


def augmented_locally(project: Project, url: str) -> dict[str, bytes]:
    project.build("tiny")
    project.augment("tiny", teacher=url)
    project.check("tiny")
    root = project.workspace.root
    return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("augmented/**/*.parquet")}


def augmented_at(store: Store) -> dict[str, bytes | None]:
    return {entry.name: store.read(entry.name) for entry in store.entries("augmented")}


def test_a_node_is_killed_in_the_middle_and_the_table_is_the_same(project: Project, bucket: str, nodes: Nodes) -> None:
    with unkind_in_a_thread(moody) as server:
        expected = augmented_locally(project, server.url)

    answers: Counter[str] = Counter()
    first, second = asyncio.Event(), asyncio.Event()
    closed_from = SAMPLES * KINDS // 4  # no shard is done then, whoever was quicker
    closed_again = closed_from + 2 * CONCURRENCY + 30

    def behaviour(asked: Asked) -> Reply:
        reply = moody(asked)
        if reply is BUSY:  # both workers are to have all their requests in flight
            reply = INCOMPLETE
        answers[json.dumps(asked.body)] += is_an_answer(reply)
        if asked.number < closed_from:
            return reply
        return slow(first if asked.number < closed_again else second, reply)

    with unkind_in_a_thread(behaviour) as server, scaled(project, bucket, nodes) as opened:
        at_kill: dict[str, Any] = {}

        def kill_when_both_wait(state: Augmented) -> None:
            """Called twice a second: once all that was answered is uploaded, some more is answered, and a node dies."""
            lines = ledger_lines(opened.store)
            if at_kill or server.at_work < 2 * CONCURRENCY or lines < sum(answers.values()) - server.at_work:
                return
            server.loop.call_soon_threadsafe(first.set)
            server.wait_until(lambda: len(server.seen) >= closed_again and server.at_work == 2 * CONCURRENCY)
            at_kill.update(uploaded=ledger_lines(opened.store), answered=sum(answers.values()))
            at_kill["titles"] = nodes.kill_second()
            server.loop.call_soon_threadsafe(second.set)

        built = opened.build(["tiny"])[TINY]
        assert not isinstance(built, Exception) and built.samples == SAMPLES
        state = opened.augment(["tiny"], teacher=server.url, concurrency=2 * CONCURRENCY, watch=kill_when_both_wait)[
            TINY
        ]
        assert isinstance(state, Augmented), state
        report = opened.check(["tiny"])[TINY]
        assert not isinstance(report, Exception), report

        assert any("tiny" in title for title in at_kill["titles"]), at_kill["titles"]  # it was at work
        # The books close, and the table is that of one process on one machine.
        assert report.books.asked == SAMPLES * KINDS
        assert augmented_at(opened.store) == expected
        repeated = sum(count - 1 for count in answers.values() if count)
        assert 0 < repeated <= at_kill["answered"] - at_kill["uploaded"]
        assert at_kill["uploaded"] > 0.5 * at_kill["answered"]

        seen = len(server.seen)
        again = opened.augment(["tiny"], teacher=server.url)[TINY]
        assert isinstance(again, Augmented) and again.already == again.planned == SAMPLES * KINDS
        assert len(server.seen) == seen  # nothing is asked
        assert holder(opened.store, "locks/tiny") is None
        for entry in opened.store.entries():
            assert SECRET.encode() not in (opened.store.read(entry.name) or b"")
    nodes.mend()


def command(project: Project, *arguments: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "teacherlm", *arguments, "--project", str(project.files.root)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_is_interrupted_and_goes_on(project: Project, bucket: str, nodes: Nodes, tmp_path: Path) -> None:
    location, gate = f"{bucket}/{uuid4().hex}", asyncio.Event()
    closed_from = 60
    on_ray = ["--engine", "ray", "--ray-address", nodes.address, "-w", location, "--format", "json"]

    def behaviour(asked: Asked) -> Reply:
        return says("Count on from there.") if asked.number < closed_from else slow(gate, says("Count on from there."))

    with unkind_in_a_thread(behaviour) as server:
        asking = ["run", "tiny", "--teacher", server.url, "--concurrency", "16", "--to", str(tmp_path / "published")]
        with command(project, *asking, *on_ray) as process:
            server.wait_until(lambda: server.at_work >= 8)
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            holding = holder(Store(location), "locks/tiny")
            assert holding is not None and holding.pid == process.pid
            while "every worker knows" not in (line := process.stderr.readline()):
                assert line, "it has ended"
            server.loop.call_soon_threadsafe(gate.set)
            out, err = process.communicate(timeout=4 * DEADLINE_S)
        assert process.returncode == 130, err
        assert "Run the same command again to go on." in err
        asked = len(server.seen)
        assert ledger_lines(Store(location)) == asked

        with command(project, *asking, *on_ray) as process:
            out, err = process.communicate(timeout=4 * DEADLINE_S)
        assert process.returncode == 0, err + out
        assert len(server.seen) == SAMPLES * KINDS  # none twice
        row = json.loads(out)["rows"][0]
        assert (row["asked"], row["asked_now"]) == (SAMPLES * KINDS, SAMPLES * KINDS - asked)
        assert (tmp_path / "published" / "README.md").is_file()


def test_no_cluster_there() -> None:
    with pytest.raises(Mistake, match="no Ray cluster answers"), ray_engine("127.0.0.1:1"):
        pass
