"""The store and its locks, on a folder, in memory and on an S3 server on loopback."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from store_server import SECRET, s3_server
from teacherlm.core.errors import MachineFailed, MissingExtra, Mistake, Mistakes, Problem, RemoteFailed
from teacherlm.engine.mirror import mirror
from teacherlm.engine.on_ray import ray_engine
from teacherlm.engine.store import Store, without_secrets
from teacherlm.engine.store_locks import holder, holding
from teacherlm.engine.tasks import Failure, Inline, Report, Task


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "file":
        return Store(f"file://{tmp_path}/store")
    if request.param == "memory":
        return Store(f"memory://{uuid4().hex}")
    return Store(f"{request.getfixturevalue('server')}/{uuid4().hex}")


def filled(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def names(store: Store, prefix: str = "") -> list[str]:
    return [entry.name for entry in store.entries(prefix)]


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("[!.]*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_files_come_back_as_they_were_written(store: Store, tmp_path: Path) -> None:
    assert store.entries() == [] and store.entries("a/b") == []
    assert store.read("a/x") is None
    store.write("a/x", b"one")
    store.write("a/x", b"two")
    store.upload(filled(tmp_path, {"y": "three"}) / "y", "a/b/y")
    store.write("ab/z", b"")
    assert names(store) == ["a/b/y", "a/x", "ab/z"]
    assert names(store, "a") == ["a/b/y", "a/x"]  # and not `ab`
    assert [entry.size for entry in store.entries("a")] == [5, 3]
    assert store.read("a/x") == b"two"
    with store.open("a/b/y") as file:
        file.seek(1)
        assert file.read(2) == b"hr"
    assert store.below("a").read("x") == b"two"
    store.remove(["a/x", "a/none"])
    assert store.read("a/x") is None


def test_only_one_creates_a_file(store: Store) -> None:
    done = [store.create("lock", text) for text in (b"first", b"second")]
    assert done == [True, False]
    assert store.read("lock") == b"first"


def test_a_tree_is_fetched_and_replaced_whole(store: Store, tmp_path: Path) -> None:
    first = filled(tmp_path / "first", {"train/0.txt": "a", "old/0.txt": "b", "manifest.json": "1"})
    store.upload_tree(first, "samples/creak", last="manifest.json")
    store.upload_tree(
        filled(tmp_path / "second", {"train/0.txt": "c", "manifest.json": "2"}), "samples/creak", last="manifest.json"
    )
    assert store.fetch_tree("samples/creak", tmp_path / "here") == names(store)
    assert contents(tmp_path / "here" / "samples" / "creak") == {"train/0.txt": "c", "manifest.json": "2"}


def test_a_tree_without_its_last_file_was_not_uploaded_whole(store: Store, tmp_path: Path) -> None:
    tree = filled(tmp_path / "tree", {"a": "1", "manifest.json": "1"})
    store.upload_tree(tree, "t", last="manifest.json")
    (tree / "b").mkdir()  # a folder uploads nothing
    seen: list[bool] = []

    class Watched(Store):
        def upload(self, path: Path, name: str) -> None:
            seen.append(self.read("t/manifest.json") is None)
            super().upload(path, name)

    Watched(store.url).upload_tree(tree, "t", last="manifest.json")
    assert seen == [True, True]
    assert store.read("t/manifest.json") == b"1"


def test_fetching_what_has_gone_says_so(store: Store, tmp_path: Path) -> None:
    store.write("there", b"1")
    with pytest.raises(FileNotFoundError):
        store.fetch(["there", "gone"], tmp_path / "here")


def test_a_mirror_fetches_what_has_changed(store: Store, tmp_path: Path) -> None:
    store.write("samples/a", b"1")
    store.write("samples/b", b"1")
    store.write("locks/a", b"1")
    assert mirror(store, tmp_path / "copy", ["samples"]) == 2
    assert mirror(store, tmp_path / "copy", ["samples"]) == 0
    store.write("samples/a", b"longer")
    store.remove(["samples/b"])
    store.write("samples/c", b"1")
    assert mirror(store, tmp_path / "copy", ["samples"]) == 2
    assert contents(tmp_path / "copy") == {"samples/a": "longer", "samples/c": "1"}


LOCK = {"locks/creak": "dataset `creak`"}


def test_a_lock_names_its_holder(store: Store) -> None:
    with holding(store, LOCK) as held:
        with (
            pytest.raises(MachineFailed, match=r"dataset `creak` is being written by pid \d+ on .+ \(since ") as caught,
            holding(store, LOCK),
        ):
            pass
        assert caught.value.where == f"{store.url}/locks/creak"
        assert holder(store, "locks/creak") is not None
        held.check()
    assert holder(store, "locks/creak") is None
    with holding(store, LOCK):
        assert len(names(store, "locks/creak")) == 1


@pytest.mark.parametrize("store", ["file", "s3"], indirect=True)  # a store in memory serves one process alone
def test_of_many_only_one_has_the_lock(store: Store) -> None:
    start, inside, most, refused = threading.Barrier(8), [0], [0], [0]
    done = threading.Event()

    def take() -> None:
        start.wait()
        try:
            with holding(store, LOCK):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                done.wait(10)
                inside[0] -= 1
        except MachineFailed:
            refused[0] += 1
        if refused[0] == 7:
            done.set()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 1 and refused[0] >= 7


def test_locks_that_were_taken_are_given_back_when_one_is_busy(store: Store) -> None:
    with holding(store, {"locks/b": "dataset `b`"}):
        both = {"locks/a": "dataset `a`", "locks/b": "dataset `b`"}
        with pytest.raises(MachineFailed, match="`b` is being written"), holding(store, both):
            pass
        assert holder(store, "locks/a") is None


def test_a_dead_holder_does_not_lock_for_ever_and_one_that_was_slow_learns_of_it(store: Store) -> None:
    with holding(store, LOCK, beat_s=60) as slow:
        with holding(store, LOCK, expiry_s=-60):  # whatever its age, it is taken to be dead
            assert holder(store, "locks/creak") is not None
        slow.check()  # it has not looked yet
    with holding(store, LOCK, beat_s=0.01) as slow:
        with holding(store, LOCK, expiry_s=-60):
            lost = threading.Event()
            while slow.lost is None:
                lost.wait(0.01)
        with pytest.raises(MachineFailed, match="another process has taken over"):
            slow.check()


def test_a_lock_that_cannot_be_read_is_held(store: Store) -> None:
    store.write("locks/creak/000007", b"torn")
    with pytest.raises(MachineFailed, match="an unknown host"), holding(store, LOCK):
        pass


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("s3://key:secret@bucket/ws", "neither a key"),
        ("s3://bucket/ws?secret=1", "nor a query"),
        ("s3://", "no location"),
        ("nonsense://bucket/ws", "nonsense"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_secrets(url: str, found: str) -> None:
    with pytest.raises(Mistake, match=found) as caught:
        Store(url)
    assert "secret@" not in str(caught.value) and "=1" not in str(caught.value)


def test_a_bucket_that_is_not_there(server: str) -> None:
    store = Store("s3://no-such-bucket/ws")
    with pytest.raises(Mistake, match="no such bucket"):
        store.entries("samples")


def test_a_store_that_does_not_answer(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    try:
        with pytest.raises(RemoteFailed, match="the store failed") as caught:
            Store("s3://bucket/ws").write("a", b"1")
        assert SECRET not in str(caught.value)
    finally:
        fsspec.filesystem("s3").clear_instance_cache()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert without_secrets(f"the key {SECRET} is wrong") == "the key *** is wrong"


def double(number: int, report: Report) -> int:
    report(number)
    return 2 * number


def wrong(report: Report) -> None:
    raise Mistakes([Problem("a:1", "one"), Problem("b:2", "two")])


def broken(report: Report) -> None:
    raise ZeroDivisionError("by zero")


def test_tasks_end_with_a_value_or_with_what_was_wrong() -> None:
    told: list[object] = []
    tasks = [Task("two", double, (2,)), Task("wrong", wrong), Task("broken", broken), Task("three", double, (3,))]
    ended = {end.task: end for end in Inline().run(tasks, watch=lambda values: told.append(dict(values)))}
    assert (ended["two"].value, ended["three"].value) == (4, 6)
    assert told == [{"two": 2}, {"three": 3}]
    failure = ended["wrong"].failure
    assert failure is not None and isinstance(failure.error(), Mistakes) and len(failure.error().problems) == 2
    failure = ended["broken"].failure
    assert failure is not None and "ZeroDivisionError: by zero" in failure.found and failure.exit_code == 4


def test_a_failure_keeps_its_kind() -> None:
    for error in (Mistake("a", "b", "c"), RemoteFailed("a", "b", "c"), MachineFailed("a", "b", "c")):
        again = Failure.of(error).error()
        assert (type(again), str(again)) == (type(error), str(error))


def test_a_stopped_engine_begins_nothing() -> None:
    engine = Inline()
    ends = []
    for end in engine.run([Task("1", double, (1,)), Task("2", double, (2,))]):
        ends.append(end.task)
        engine.stop()
    assert ends == ["1"]


def test_ray_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match="--engine ray needs the extra `ray`") as caught, ray_engine():
        pass
    assert "pip install 'teacherlm[ray]'" in str(caught.value)


def test_what_lies_in_a_lock_holds_no_secret(store: Store) -> None:
    with holding(store, LOCK):
        content = orjson.loads(store.read(names(store, "locks/creak")[0]) or b"")
    assert set(content) == {"host", "pid", "since", "token"}
