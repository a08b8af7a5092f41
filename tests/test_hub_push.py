"""Publishing to a Hub: one commit, all or nothing, and nothing is sent twice."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from loopback_hub import TOKEN, Fault, Hub, shared_hub
from pushing import processes

REPOSITORY = "org/explained"


@pytest.fixture
def hub() -> Hub:
    served = shared_hub()
    served.clear()
    served.tokens = {TOKEN}
    return served


class Pusher:
    """Pushes small publications in processes of their own."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.processes, self.folder = processes(hub.url), folder

    def start(self, *datasets: str, to: str = REPOSITORY, token: str | None = TOKEN, **options: Any) -> int:
        given = {"datasets": datasets, "to": f"hf://datasets/{to}", **options}
        return self.processes.start("push", given, self.folder, HF_TOKEN=token)

    def __call__(self, *datasets: str, **options: Any) -> dict[str, Any]:
        self.start(*datasets, **options)
        ended = self.processes.wait()
        assert ended.code == 0, ended.err
        assert options.get("token", TOKEN) is None or options.get("token", TOKEN) not in ended.out + ended.err
        result: dict[str, Any] = ended.json
        return result


@pytest.fixture
def push(hub: Hub, tmp_path: Path) -> Pusher:
    return Pusher(hub, tmp_path)


def parquet_files(hub: Hub, revision: str = "main") -> list[str]:
    commit = hub.repository(REPOSITORY).at(revision)
    assert commit is not None
    return sorted(path for path in commit.files if path.endswith(".parquet"))


def titles(hub: Hub, branch: str = "main") -> list[str]:
    return [commit.title for commit in hub.repository(REPOSITORY).history(branch)]


def test_a_first_push_makes_the_repository_and_one_commit(hub: Hub, push: Pusher) -> None:
    done = push("creak", "ecqa", private=True, tag="v1.0.0")
    assert titles(hub) == ["2 datasets, 16 samples: creak, ecqa", "initial commit"]
    repository = hub.repository(REPOSITORY)
    assert repository.private
    assert repository.tags == {"v1.0.0": repository.head().id} == {"v1.0.0": done["commit"]}
    assert parquet_files(hub) == sorted(
        f"data/{name}/{split}-00000-of-00001.parquet" for name in ("creak", "ecqa") for split in ("train", "validation")
    )
    assert done["url"] == f"{hub.url}/datasets/{REPOSITORY}"


def test_publishing_again_without_a_change_makes_no_commit(hub: Hub, push: Pusher) -> None:
    first = push("creak", "ecqa")
    hub.requests.clear()
    again = push("creak", "ecqa", tag="v1")
    assert again["commit"] == first["commit"]
    assert (again["files"], again["unchanged"], again["tag"]) == ([], ["creak", "ecqa"], "v1")
    assert not hub.asked("preupload|/commit/|PUT|repos/create")
    assert len(titles(hub)) == 2
    assert push("creak", "ecqa", tag="v1")["tag"] == "v1"  # the same tag of the same commit is no mistake


def test_a_change_in_one_dataset_sends_that_one_only(hub: Hub, push: Pusher) -> None:
    push("creak", "ecqa")
    hub.received.clear()
    done = push("creak", "ecqa", train={"ecqa": 7})
    assert [path for path in done["files"] if path.endswith(".parquet")] == ["data/ecqa/train-00000-of-00001.parquet"]
    assert done["unchanged"] == ["creak"]
    assert len(hub.received) == 1
    assert titles(hub)[0] == "ecqa: 10 samples (+2), 10 explained (+2)"


def test_datasets_that_are_not_published_now_stay(hub: Hub, push: Pusher) -> None:
    push("creak")
    push("ecqa")
    assert len(parquet_files(hub)) == 4
    readme = hub.repository(REPOSITORY).head().files["README.md"].content.decode()
    assert "config_name: creak" in readme and "config_name: ecqa" in readme


def test_a_plan_sends_nothing(hub: Hub, push: Pusher) -> None:
    done = push("creak", dry_run=True)
    assert done["message"] == "creak: new, 8 samples, 8 explained, 4,690 rationales"
    assert done["put_bytes"] > done["bytes"] > 0
    assert not hub.asked("POST|PUT|DELETE")
    assert REPOSITORY not in hub.state.repositories


def test_a_branch_and_a_pull_request_leave_main_as_it_is(hub: Hub, push: Pusher) -> None:
    first = push("creak")["commit"]
    push("ecqa", to=f"{REPOSITORY}@next")
    assert len(parquet_files(hub, "next")) == 4  # it began where main stood
    done = push("esnli", create_pr=True)
    assert done["pull_request"].endswith("/discussions/1")
    assert len(parquet_files(hub, "refs/pr/1")) == 4
    assert hub.repository(REPOSITORY).head().id == first


def test_a_tag_that_is_taken_is_refused_before_anything_is_sent(hub: Hub, push: Pusher) -> None:
    push("creak", tag="v1")
    hub.received.clear()
    refused = push("ecqa", tag="v1")
    assert (refused["error"], refused["found"]) == ("Mistake", "the tag `v1` is there already")
    assert not hub.received


@pytest.mark.parametrize(
    ("token", "status", "found"),
    [
        (None, None, "no token"),
        ("hf_expired", None, "does not accept the token"),
        (TOKEN, 403, "may not"),
    ],
)
def test_a_token_that_is_not_enough(hub: Hub, push: Pusher, token: str | None, status: int | None, found: str) -> None:
    if status is not None:
        hub.faults.append(Fault("POST", "repos/create", status))
    refused = push("creak", token=token)
    assert refused["error"] == "Mistake"
    assert re.search(found, refused["found"])
    assert "HF_TOKEN" in refused["remedy"]
    assert token is None or token not in json.dumps(refused)


def test_a_repository_with_other_things_is_refused(hub: Hub, push: Pusher) -> None:
    hub.put(REPOSITORY, {"train.csv": b"a,b\n"})
    refused = push("creak")
    assert refused["error"] == "Mistake" and "train.csv" in refused["found"]
    assert list(hub.repository(REPOSITORY).head().files) == ["train.csv"]


@pytest.mark.slow  # the client tries each request five times, with waits between
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "preupload"), ("POST", "objects/batch"), ("PUT", "/store/"), ("POST", "/commit/")],
    ids=["preupload", "batch", "upload", "commit"],
)
@pytest.mark.parametrize("status", [500, 0], ids=["500", "cut"])
def test_a_push_that_breaks_leaves_the_branch_and_goes_on(
    hub: Hub, push: Pusher, method: str, path: str, status: int
) -> None:
    push("creak")
    before = hub.repository(REPOSITORY).head().id
    at_once = {"Retry-After": "0"} if status else {}
    hub.faults.append(Fault(method, path, status, at_once, times=1000, after=1 if "store" in path else 0))
    hub.received.clear()
    broken = push("ecqa")
    assert broken["error"] == "HubBusy", broken
    assert "run the same command again" in broken["remedy"]
    assert hub.repository(REPOSITORY).head().id == before
    arrived = list(hub.received)
    hub.faults.clear()
    hub.received.clear()
    push("ecqa")
    assert len(parquet_files(hub)) == 4
    assert not set(arrived) & set(hub.received)  # what had arrived was not sent again
    assert len(arrived) + len(hub.received) == 2


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub: Hub, push: Pusher) -> None:
    push("creak")
    hub.faults.append(Fault("POST", "/commit/", cut=True))
    done = push("ecqa")
    assert done["commit"] == hub.repository(REPOSITORY).head().id
    assert len(titles(hub)) == 3
    hub.faults.append(Fault("POST", "/commit/", cut=True))
    asked = push("esnli", create_pr=True)
    assert asked["pull_request"].endswith("/discussions/1")
    assert [ref for ref in hub.repository(REPOSITORY).refs if ref != "main"] == ["refs/pr/1"]


def test_a_large_file_that_is_no_parquet_goes_to_the_store(hub: Hub, push: Pusher) -> None:
    big = {"rules/big.sql": "-- a line of a rule that is far too long\n" * 300_000}
    push("creak", changes={"files": big})
    file = hub.repository(REPOSITORY).head().files["rules/big.sql"]
    assert file.large and (file.sha256, len(file.content)) in hub.received
    hub.received.clear()
    assert push("creak", changes={"files": big})["files"] == []
    assert not hub.received


def test_a_commit_that_fails_once_is_made_again(hub: Hub, push: Pusher) -> None:
    push("creak")
    hub.faults.append(Fault("POST", "/commit/", 503))
    assert push("ecqa")["commit"] == hub.repository(REPOSITORY).head().id
    hub.faults.append(Fault("PUT", "/store/", 429, headers={"Retry-After": "0"}, times=2))
    assert "error" not in push("esnli")


def test_a_branch_that_somebody_has_moved_is_not_overwritten(hub: Hub, push: Pusher) -> None:
    push("creak")

    def somebody() -> None:
        repository = hub.repository(REPOSITORY)
        files = {path: file.content for path, file in repository.head().files.items()}
        hub.put(REPOSITORY, files | {"theirs.txt": b"mine"})

    hub.faults.append(Fault("POST", "/commit/", 0, then=somebody, times=1))
    refused = push("ecqa")
    assert refused["error"] == "RemoteFailed" and "somebody else has moved `main`" in refused["found"]
    assert "theirs.txt" in hub.repository(REPOSITORY).head().files
    assert len(parquet_files(hub)) == 2
    push("ecqa")
    assert len(parquet_files(hub)) == 4 and "theirs.txt" in hub.repository(REPOSITORY).head().files


def test_a_push_that_was_killed_goes_on(hub: Hub, push: Pusher) -> None:
    push("creak")
    before = hub.repository(REPOSITORY).head().id
    process: list[int] = []
    started = threading.Event()

    def kill() -> None:
        started.wait()
        os.kill(process[0], signal.SIGKILL)

    hub.faults.append(Fault("PUT", "/store/", 0, after=1, then=kill))
    hub.received.clear()
    process.append(push.start("ecqa"))
    started.set()
    assert push.processes.wait().code == -signal.SIGKILL
    assert hub.repository(REPOSITORY).head().id == before
    arrived = len(hub.received)
    push("ecqa")
    assert len(parquet_files(hub)) == 4
    # Whatever had arrived before the kill was not sent again.
    assert arrived >= 1 and len(hub.received) == len(set(hub.received)) == 2


def test_many_files_are_one_commit(hub: Hub, push: Pusher) -> None:
    names = [f"set{number:02}" for number in range(30)]
    done = push(*names)
    assert len(done["files"]) >= 90
    assert len(parquet_files(hub)) == 60
    assert len(titles(hub)) == 2
    hub.received.clear()
    assert len(push(*names[:-1], "more")["unchanged"]) == 29
    assert len(hub.received) == 2


def test_somebody_elses_data_stops_a_push_before_it_begins(hub: Hub, push: Pusher) -> None:
    push("creak")
    repository = hub.repository(REPOSITORY)
    files = {path: file.content for path, file in repository.head().files.items()}
    hub.put(REPOSITORY, files | {"data/creak/train-extra.parquet": b"theirs"})
    hub.requests.clear()
    refused = push("creak", train={"creak": 7})
    assert refused["error"] == "Mistake" and "data/creak/train-extra.parquet" in refused["found"]
    assert not hub.asked("preupload|/commit/|PUT")


def test_a_tag_that_is_not_made_is_said_beside_the_commit(hub: Hub, push: Pusher) -> None:
    push("creak")

    def somebody() -> None:
        repository = hub.repository(REPOSITORY)
        repository.tags["v9"] = repository.history()[-1].id

    hub.faults.append(Fault("POST", "/commit/", 0, then=somebody))
    refused = push("ecqa", tag="v9")
    head = hub.repository(REPOSITORY).head()
    assert head.title.startswith("ecqa")
    assert f"was published (commit {head.id}), but the tag `v9` was not made" in refused["found"]


def test_a_public_repository_is_not_taken_for_a_private_one(hub: Hub, push: Pusher) -> None:
    push("creak")
    refused = push("ecqa", private=True)
    assert refused["error"] == "Mistake" and "is public" in refused["found"]
    assert len(parquet_files(hub)) == 2
