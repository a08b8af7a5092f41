"""Workspaces at a URL without Ray: shards, shipping, and the commands over an S3 server on loopback."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import teacherlm
from scripted import teacher
from store_server import SECRET, s3_server
from sums import KINDS, ledger_lines, sums_project
from teacherlm.api.augment import Augmented
from teacherlm.api.scale import Scaled, Target
from teacherlm.api.scale_shards import (
    MOST,
    Numbers,
    Shard,
    Shards,
    divide,
    earlier_segments,
    fetch_rows,
    ledger_entries,
    segment_number,
)
from teacherlm.api.scale_shipping import JOINED, Shipping
from teacherlm.api.scale_tasks import Job, check_task
from teacherlm.cli.main import main
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.engine.store import Store
from teacherlm.teacher.ledger import Ledger
from test_ledger import answer

SAMPLES = 30
TINY = Target("tiny")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def store() -> Store:
    return Store(f"memory://{uuid4().hex}")


# Shards.


@given(st.integers(1, 400), st.integers(1, 90))
def test_shards_hold_every_row_once(total: int, rows: int) -> None:
    shards = Shards("f", rows, 0).of(total)
    assert [row for shard in shards for row in range(shard.start, shard.end)] == list(range(total))
    assert [shard.number for shard in shards] == list(range(len(shards)))


def test_a_division_stays_as_long_as_the_samples_do(store: Store) -> None:
    first = divide(store, "creak", "one", total=20_000, places=10)
    assert first.rows == 500
    assert divide(store, "creak", "one", total=20_000, places=1) == first
    store.write("rationales/creak/train/fundamentals/90000000000000000.parquet", b"")
    other = divide(store, "creak", "other", total=10_000_000, places=1)
    assert (other.rows, other.since) == (5_000, 90000000000000000)
    assert len(other.of(10_000_000)) < MOST
    assert divide(store, "big", "one", total=100_000_000, places=1).rows == 10_000


def test_a_shard_finds_its_segments_and_those_of_before(store: Store) -> None:
    shards = Shards("f", 10, since=5 * MOST)
    for number in (1, 4 * MOST + 7, 6 * MOST + 7, 6 * MOST + 8):
        store.write(f"rationales/creak/train/fundamentals/{number}.parquet", b"")
    found = earlier_segments(ledger_entries(store, "creak"), shards, 7)
    assert [segment_number(entry) for entry in found] == [1, 4 * MOST + 7, 6 * MOST + 7]


def test_numbers_grow_whatever_the_clock_says() -> None:
    far = 9 * 10**17
    numbers = Numbers(12, far)
    found = [numbers.next() for _ in range(5)]
    assert found == sorted(set(found)) and found[0] > far
    assert {number % MOST for number in found} == {12}


def test_a_shard_gets_its_rows_and_no_others(store: Store, tmp_path: Path) -> None:
    for split, start, count in (("test", 0, 25), ("train", 25, 40)):
        table = pa.table({"sample_id": [f"s{number}" for number in range(start, start + count)]})
        pq.write_table(table, tmp_path / "file.parquet", row_group_size=10)
        store.upload(tmp_path / "file.parquet", f"samples/creak/{split}/00000.parquet")
    store.write("samples/creak/rejects.parquet", b"no samples")
    for start, end in ((0, 65), (0, 7), (18, 33), (25, 65), (61, 65)):
        folder = tmp_path / f"{start}-{end}"
        fetch_rows(store, "creak", Shard(0, start, end), folder)
        files = sorted(folder.rglob("*.parquet"))
        rows = [row for path in files for row in pq.read_table(path)["sample_id"].to_pylist()]
        assert rows == [f"s{number}" for number in range(start, end)]


# Shipping.


def shipped(store: Store) -> list[str]:
    """The texts in the order of the segments, of one kind."""
    texts: list[str] = []
    for entry in sorted(ledger_entries(store, "creak"), key=segment_number):
        if data := store.read(entry.name):  # else joined since it was listed
            texts += pq.read_table(io.BytesIO(data))["text"].to_pylist()
    return texts


def test_what_is_appended_is_uploaded_in_order_and_joined(store: Store, tmp_path: Path) -> None:
    count, nothing = 2 * JOINED + 3, threading.Event()
    shipping = Shipping(store, tmp_path, "rationales/creak", Numbers(3, 0).next, answers=1, look_s=0.01)
    with shipping, Ledger(tmp_path / "rationales" / "creak") as ledger:
        for number in range(count):
            ledger.append(answer(number, f"text {number}"))
            while len(set(shipped(store))) <= number:
                assert shipping.failure is None
                nothing.wait(0.01)
        assert len(ledger_entries(store, "creak")) < JOINED + 3
    assert shipped(store) == [f"text {number}" for number in range(count)]
    assert len(ledger_entries(store, "creak")) == 1
    assert not list((tmp_path / "pieces").rglob("*.*"))


def test_segments_that_were_sealed_and_swept_meanwhile_are_uploaded_too(store: Store, tmp_path: Path) -> None:
    with Ledger(tmp_path / "rationales" / "creak", seal_after=4) as ledger:
        ledger.append(answer(0, "earlier"))  # of an earlier run: it came from the store
    shipping = Shipping(store, tmp_path, "rationales/creak", Numbers(3, 0).next, age_s=3600)
    with shipping, Ledger(tmp_path / "rationales" / "creak", seal_after=4) as ledger:
        for number in range(10):
            ledger.append(answer(number, f"text {number}"))
    assert shipped(store) == [f"text {number}" for number in range(10)]


def test_a_store_that_fails_for_good_ends_the_shipping(tmp_path: Path) -> None:
    class Full(Store):
        def upload(self, path: Path, name: str) -> None:
            raise MachineFailed("is full")

    store = Full(f"memory://{uuid4().hex}")
    shipping = Shipping(store, tmp_path, "rationales/creak", Numbers(3, 0).next)
    with pytest.raises(MachineFailed, match="is full"), shipping, Ledger(tmp_path / "rationales" / "creak") as ledger:
        ledger.append(answer(0))


# Steps.


def test_steps_at_a_url_are_those_in_a_folder(server: str, tmp_path: Path) -> None:
    project, store = sums_project(tmp_path, SAMPLES), Store(f"{server}/{uuid4().hex}")
    scaled = Scaled(project, store, shard_rows=12)
    with teacher() as loopback:
        project.build("tiny")
        project.augment("tiny", teacher=loopback.url)
        local = project.check("tiny")
        asked = len(loopback.prompts)
        # A part first, then all: nothing is asked twice, whatever the limit.
        scaled.build(["tiny"])
        part = scaled.augment(["tiny"], teacher=loopback.url, limit=15)[TINY]
        whole = scaled.augment(["tiny"], teacher=loopback.url)[TINY]
        report = scaled.check(["tiny"])[TINY]
        assert len(loopback.prompts) == 2 * asked
    assert isinstance(part, Augmented) and isinstance(whole, Augmented) and not isinstance(report, Exception)
    assert (part.planned, whole.planned, whole.already) == (15 * KINDS, SAMPLES * KINDS, 15 * KINDS)
    assert (report.inputs, report.books) == (local.inputs, local.books)
    for path in (project.workspace.root / "augmented").rglob("*.parquet"):
        assert store.read(path.relative_to(project.workspace.root).as_posix()) == path.read_bytes()
    assert ledger_lines(store) == SAMPLES * KINDS
    assert report.created_at == getattr(scaled.check(["tiny"], only_if_stale=True)[TINY], "created_at", None)
    run = json.loads(store.read("reports/tiny/run.json") or b"")
    assert (run["state"], run["answered"], run["orders"][0]["requests"]) == ("done", 15 * KINDS, 15 * KINDS)
    assert len(store.entries("reports/tiny/runs")) == 2


def test_what_is_wrong_with_one_dataset_stops_no_other(tmp_path: Path, store: Store) -> None:
    project = sums_project(tmp_path, SAMPLES)
    (project.files.root / "builders" / "other.yaml").write_text(
        (project.files.root / "builders" / "tiny.yaml").read_text().replace("tiny.jsonl", "absent.jsonl")
    )
    scaled = Scaled(project, store)
    built = scaled.build(["tiny", "other"])
    assert isinstance(built[Target("other")], Mistake) and not isinstance(built[TINY], Exception)
    with teacher() as loopback:
        augmented = scaled.augment(["other", "tiny"], teacher=loopback.url, limit=3)
    assert "has no samples in memory://" in str(augmented[Target("other")])
    assert isinstance(augmented[TINY], Augmented)


def test_a_folder_that_is_used_as_a_local_workspace_is_locked(tmp_path: Path) -> None:
    project = sums_project(tmp_path, SAMPLES)
    scaled = Scaled(project, Store(project.workspace.root.as_uri()))
    with project.workspace.locked("tiny"), pytest.raises(MachineFailed, match="is being written by pid"):
        scaled.build(["tiny"])
    assert not isinstance(scaled.build(["tiny"])[TINY], Exception)
    assert project.build("tiny").reused  # both see the same samples


def test_a_worker_of_another_version_is_refused() -> None:
    with pytest.raises(MachineFailed, match="a worker has teacherlm"):
        check_task(Job("memory://x", "tiny", None, None, "0.0.0"), False, lambda _: False)


def test_declared_files_that_are_too_large_are_refused(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = sums_project(tmp_path, SAMPLES)
    with (project.files.root / "builders" / "rows.parquet").open("wb") as file:
        file.truncate(65_000_000)
    with pytest.raises(Mistake, match="the declared files hold 65 MB; workers are sent 64 MB at most"):
        Scaled(project, store).build(["tiny"])


# Commands.


def command(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert ended.value.code == code, out + err
    assert SECRET not in out + err
    return out, err


@pytest.mark.slow
def test_the_commands_take_a_url(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project, location = sums_project(tmp_path, SAMPLES), f"{server}/{uuid4().hex}"
    monkeypatch.chdir(project.files.root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TEACHERLM_WORKSPACE", location)
    with teacher() as loopback:
        out, _ = command(capsys, "run", "tiny", "-t", loopback.url, "--to", "published", "--format", "json")
        row = json.loads(out)["rows"][0]
        assert (row["dataset"], row["asked_now"], row["asked"]) == ("tiny", SAMPLES * KINDS, SAMPLES * KINDS)
        assert (project.files.root / "published" / "README.md").is_file()
        for step in (["build", "tiny"], ["augment", "tiny", "-t", loopback.url], ["check", "tiny"]):
            command(capsys, *step, "--workspace", location)
        assert len(loopback.prompts) == SAMPLES * KINDS
    out, _ = command(capsys, "sql", "SELECT count(*) AS n FROM augmented", "--format", "json")
    assert json.loads(out) == [{"n": SAMPLES}]
    out, _ = command(capsys, "status", "tiny", "--format", "json")
    assert json.loads(out)["rows"][0]["state"] == "checked"
    out, _ = command(capsys, "run", "tiny", "-t", "http://127.0.0.1:9", code=3)
    assert not (project.files.root / "workspace").exists() and not (project.files.root / "s3:").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "tiny", "--workers", "2"], "is given without --engine ray"),
        (["check", "tiny", "--ray-address", "auto"], "is given without --engine ray"),
        (["check", "tiny", "--engine", "ray", "--workers", "0"], "give a number of 1 or more"),
        (["check", "tiny", "-w", "s3://key:secret@b/ws"], "neither a key nor a query"),
        (["plan", "tiny", "--probe", "5", "-w", "s3://bucket/ws"], "its answers would be lost"),
        (["quickstart", "-w", "s3://bucket/ws"], "a folder of this machine is needed here"),
    ],
)
def test_what_is_given_wrongly_is_refused(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(sums_project(tmp_path, 1).files.root)
    _, err = command(capsys, *arguments, code=2)
    assert words in err


def test_a_collection_at_a_url(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project, location = sums_project(tmp_path, SAMPLES), f"{server}/{uuid4().hex}"
    collections: dict[str, Any] = {"collections": {"few": {"about": "A few.", "datasets": ["tiny"], "samples": 7}}}
    (project.files.root / "catalog.yaml").write_text(json.dumps(collections))
    monkeypatch.chdir(project.files.root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with teacher() as loopback:
        command(capsys, "build", "few", "-w", location)
        out, _ = command(capsys, "run", "few", "-t", loopback.url, "-w", location, "--format", "json")
        row = json.loads(out)["rows"][0]
        assert (row["collection"], row["asked"]) == ("few", 7 * KINDS)
        assert len(loopback.prompts) == 7 * KINDS
    assert Store(location).entries("collections/few/augmented/tiny")


def test_workers_are_sent_the_declared_files_alone(tmp_path: Path, store: Store) -> None:
    project = sums_project(tmp_path, SAMPLES)
    (project.files.root / "secrets.txt").write_text("not to be sent")
    Scaled(project, store).build(["tiny"])
    (packed,) = store.entries("declared")
    with zipfile.ZipFile(io.BytesIO(store.read(packed.name) or b"")) as archive:
        assert sorted(archive.namelist()) == ["builders/tiny.jsonl", "builders/tiny.yaml", "catalog.yaml"]


def test_opening_a_project_says_where_urls_can_be_used() -> None:
    with pytest.raises(Mistake, match=r"a folder of this machine is needed here") as caught:
        teacherlm.open(".", workspace="s3://bucket/ws")
    assert "docs/scale.md" in str(caught.value)
