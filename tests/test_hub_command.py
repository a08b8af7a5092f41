"""`teacherlm publish` to a Hub: what the command says, sends and leaves alone, and what strangers load afterwards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

import teacherlm
from hub_project import CLOSED, EVERYTHING, OPEN, Command, copied, rows
from loopback_hub import TOKEN, Fault, Hub, environment, shared_hub
from pushing import Ended, processes
from recipes import parquet
from scripted import teacher

REPOSITORY = "org/explained"
TO = f"hf://datasets/{REPOSITORY}"
SENDS = "^(POST|PUT|DELETE)"


@pytest.fixture
def hub() -> Hub:
    served = shared_hub()
    served.clear()
    served.tokens = {TOKEN}
    return served


@pytest.fixture
def run(hub: Hub, tmp_path: Path) -> Command:
    return Command(processes(hub.url), copied(tmp_path))


def files(hub: Hub, revision: str = "main") -> Mapping[str, bytes]:
    commit = hub.repository(REPOSITORY).at(revision)
    assert commit is not None
    return {path: file.content for path, file in commit.files.items() if path != ".gitattributes"}


def python(code: str, folder: Path, hub: Hub, *arguments: str, token: str | None = TOKEN) -> str:
    """Run code in a fresh process with a fresh cache."""
    env = {**environment(hub, folder / "fresh", token), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def asked_again(root: Path, name: str, count: int) -> None:
    """The dataset with other sources: built, asked and checked again."""
    parquet(root / f"sources/{name}/validation.parquet", rows(name, "validation", count))
    project = teacherlm.open(root, workspace=root / "workspace")
    with teacher() as served:
        project.run(name, teacher=served.url)


LOAD = """
import datetime, io, sys
import datasets, duckdb, polars
from huggingface_hub import HfFileSystem
from teacherlm.schemas.records import record

datasets.disable_progress_bars()
place, = sys.argv[1:]
features = record("augmented").features()
assert datasets.get_dataset_config_names(place) == ["closed", "fibres", "metals"]
whole = datasets.load_dataset(place, "metals")
assert {name: split.num_rows for name, split in whole.items()} == {"train": 8, "validation": 6}
assert whole["train"].features == features
assert all(row["chain_of_thought"] for row in whole["train"])
other = datasets.load_dataset(place, "fibres", split="train")
both = datasets.concatenate_datasets([whole["train"], other])
assert both.num_rows == 16 and both.features == features
stream = datasets.load_dataset(place, "metals", split="train", streaming=True)
assert list(stream) == list(whole["train"]) and stream.features == features
old = datasets.load_dataset(place, "metals", split="validation", revision="v1.0.0")
assert old.num_rows == 4
alone = datasets.load_dataset(place, "closed", split="train")
assert "question" not in alone.features and alone[0]["fundamentals"]

class Files(HfFileSystem):
    def modified(self, path):
        return datetime.datetime(2026, 1, 1)

con = duckdb.connect()
con.register_filesystem(Files())
url = f"hf://datasets/{place}@v1.0.0/data/metals/*.parquet"
assert con.execute(f"SELECT count(*), count(DISTINCT sample_id) FROM read_parquet('{url}')").fetchone() == (12, 12)
with Files().open(f"datasets/{place}/data/metals/train-00000-of-00001.parquet") as file:
    frame = polars.read_parquet(io.BytesIO(file.read()))
assert frame["sample_id"].to_list() == whole["train"]["sample_id"][:]
print("loaded")
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_publication_from_first_to_last(hub: Hub, run: Command, tmp_path: Path) -> None:
    # The plan is printed, and nothing sent.
    done = run("publish", *OPEN, CLOSED, "--to", TO, "--dry-run", token=TOKEN)
    assert "this would be done, and nothing was" in done.out
    assert "metals: new, 12 samples, 12 explained, 36 rationales" in done.out
    assert not hub.asked(SENDS) and not hub.state.repositories

    # The first time: one commit, tagged, read back.
    done = run("publish", *OPEN, CLOSED, "--to", TO, "--tag", "v1.0.0", "--private", token=TOKEN)
    assert "read back: everything is there, as it was sent" in done.out
    assert f'datasets.load_dataset("{REPOSITORY}", "metals", revision="v1.0.0")' in done.out
    repository = hub.repository(REPOSITORY)
    first = repository.head()
    assert repository.private and repository.tags == {"v1.0.0": first.id}
    assert len(hub.asked("POST .*/commit/")) == 1

    # The same in a folder: only what the card says of the place differs.
    run("publish", *OPEN, CLOSED, "--to", "published")
    folder = run.root / "published"
    local = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    there = dict(files(hub))
    assert local.pop("README.md").split(b"\n---\n")[0] == there.pop("README.md").split(b"\n---\n")[0]
    assert local == there

    # Again: no commit, nothing sent.
    hub.requests.clear()
    assert "nothing has changed" in run("publish", *OPEN, CLOSED, "--to", TO, token=TOKEN).out
    assert not hub.asked(SENDS) and repository.head() is first
    assert "nothing would be sent" in run("publish", *OPEN, "--to", TO, "--dry-run", token=TOKEN).out

    # A change in one dataset: that one alone is sent, and read back.
    asked_again(run.root, "metals", 6)
    hub.requests.clear()
    hub.received.clear()
    run("publish", *OPEN, CLOSED, "--to", TO, "--tag", "v1.1.0", token=TOKEN)
    assert len(hub.received) == 1
    assert repository.head().title == "metals: 14 samples (+2), 14 explained (+2), 42 rationales (+6)"
    assert not hub.asked("data/fibres/.*parquet") and hub.asked("HEAD .*data/metals/validation.*parquet")
    assert set(files(hub, "v1.0.0")) == set(files(hub))

    assert python(LOAD, tmp_path, hub, REPOSITORY) == "loaded\n"
    assert not [path for path in (run.root / "workspace").rglob("*") if "publishing" in path.parts]


def test_branches_and_pull_requests_leave_main_as_it_is(hub: Hub, run: Command) -> None:
    options = ("--no-verify", "--to")
    run("publish", "metals", *options, TO, token=TOKEN)
    head = hub.repository(REPOSITORY).head()
    run("publish", "fibres", *options, f"{TO}@next", token=TOKEN)
    run("publish", CLOSED, *options, TO, "--branch", "other/one", token=TOKEN)
    done = run("publish", "fibres", *options, TO, "--create-pr", "--format", "json", token=TOKEN).json
    assert hub.repository(REPOSITORY).head() is head
    assert {"data/metals/train-00000-of-00001.parquet", "recipes/fibres.yaml"} <= set(files(hub, "next"))
    assert "recipes/closed.yaml" in files(hub, "other/one")
    row = done["rows"][0]
    assert row["pull_request"] == f"{hub.url}/datasets/{REPOSITORY}/discussions/1"
    assert "recipes/fibres.yaml" in files(hub, "refs/pr/1")
    hub.repository(REPOSITORY).tags["v1"] = head.id
    for arguments, words in (
        ((f"{TO}@v1",), "`v1` is a tag"),
        ((f"{TO}@{head.id}",), "is a commit"),
        ((f"{TO}@next", "--branch", "main"), "name one branch"),
        ((TO, "--tag", "no good"), "no name"),
        (("hf://a/b",), "hf://datasets/ORG/REPO"),
        (("folder", "--tag", "v1"), "for a repository on the Hub"),
    ):
        assert words in run("publish", "fibres", *options, *arguments, token=TOKEN, code=2).err
    assert f"`{EVERYTHING}` has no samples" in run("publish", EVERYTHING, "--to", TO, token=TOKEN, code=2).err
    declared(run.root, collections={"one": {"datasets": ["metals"]}, "two": {"datasets": ["fibres"]}})
    assert "one collection at a time" in run("publish", "one", "two", "--to", TO, token=TOKEN, code=2).err
    assert hub.repository(REPOSITORY).head() is head


@pytest.mark.slow
def test_a_collection_is_one_commit_with_what_passes(hub: Hub, run: Command) -> None:
    collection = teacherlm.open(run.root, workspace=run.root / "workspace").collection(EVERYTHING)
    collection.build()
    with teacher() as served:
        for name in (*OPEN, CLOSED):
            collection.project.augment(name, teacher=served.url)
            if name != "fibres":
                collection.project.check(name)
    done = run("publish", EVERYTHING, "--to", TO, token=TOKEN, code=1)
    assert "`fibres` was not checked" in done.err
    assert len(hub.asked("POST .*/commit/")) == 1
    assert {"recipes/closed.yaml", "recipes/metals.yaml"} <= set(files(hub))
    assert "recipes/fibres.yaml" not in files(hub)


# Failures.


@pytest.mark.slow
def test_exit_codes_when_the_hub_fails(hub: Hub, run: Command) -> None:
    publish = ("publish", "metals", "--no-verify", "--to", TO)
    for token, words in ((None, "there is no token"), ("hf_expired" * 4, "does not accept the token")):
        refused = run(*publish, token=token, code=2)
        assert words in refused.err and "HF_TOKEN" in refused.err and "hf_expired" not in refused.err
    hub.readers.add(reader := "hf_reader" * 4)
    refused = run(*publish, token=reader, code=2)
    assert "the token may not write here" in refused.err and "role `write`" in refused.err
    assert not hub.state.repositories

    # Nobody listens there.
    down = run(*publish, token=TOKEN, code=3, HF_ENDPOINT="http://127.0.0.1:9")
    assert "the Hub cannot be reached" in down.err and "run the same command again" in down.err
    # Busy for as long as nobody waits.
    hub.faults.append(Fault("GET", "revision/main", 429, headers={"Retry-After": "4000"}))
    busy = run(*publish, token=TOKEN, code=3)
    assert "asks for fewer requests" in busy.err and "4,000 s" in busy.err
    # Busy for a moment, at every step: the command goes on by itself.
    hub.faults[:] = [
        Fault("GET", "revision/main", 503, headers={"Retry-After": "0"}),
        Fault("POST", "repos/create", 429, headers={"Retry-After": "0"}),
        Fault("POST", "preupload", 429, headers={"Retry-After": "0"}),
        Fault("POST", "/commit/", 429, headers={"RateLimit": '"api";r=0;t=0'}, times=2),
        Fault("POST", "/tag/", 500, headers={"Retry-After": "0"}),
    ]
    run(*publish, "--tag", "v1", token=TOKEN)
    assert len(hub.asked("POST .*/commit/")) == 3
    repository = hub.repository(REPOSITORY)
    assert repository.tags == {"v1": repository.head().id}
    # It fails for good in the commit: what was there stays.
    head = repository.head()
    hub.faults[:] = [Fault("POST", "/commit/", 500, headers={"Retry-After": "0"}, times=99)]
    failed = run("publish", "fibres", "--to", TO, token=TOKEN, code=3)
    assert "the Hub failed" in failed.err and repository.head() is head


@pytest.mark.slow  # the client waits between its tries
def test_a_publication_that_cannot_be_read_back_is_said_to_be_there(hub: Hub, run: Command) -> None:
    run("publish", "metals", "--no-verify", "--to", TO, token=TOKEN)
    repository = hub.repository(REPOSITORY)
    hub.faults[:] = [Fault("HEAD", "resolve/.*/teacherlm.json", 500, headers={"Retry-After": "0"}, times=99, after=1)]
    failed = run("publish", "fibres", "--to", TO, token=TOKEN, code=3)
    assert f"was published (commit {repository.head().id}), but could not be read back" in failed.err


def test_a_disk_that_is_full_leaves_nothing_on_its_way(hub: Hub, run: Command) -> None:
    failed = run("publish", "metals", "--to", TO, token=TOKEN, code=4, TEST_FILE_LIMIT="15000")
    assert "the file system failed" in failed.err
    assert not hub.asked(SENDS)
    assert not (run.root / "workspace/publishing").exists()


def test_a_command_that_is_killed_goes_on_where_it_was(hub: Hub, run: Command) -> None:
    process: list[int] = []
    started = threading.Event()

    def kill() -> None:
        started.wait()
        os.kill(process[0], signal.SIGKILL)

    hub.faults.append(Fault("PUT", "/store/", 0, after=1, then=kill))
    process.append(run.start("publish", *OPEN, "--to", TO, token=TOKEN))
    started.set()
    assert run.processes.wait().code == -signal.SIGKILL
    assert (run.root / "workspace/publishing").exists()
    arrived = len(hub.received)
    run("publish", *OPEN, "--no-verify", "--to", TO, token=TOKEN)
    assert arrived >= 1 and len(hub.received) == len(set(hub.received)) == 4
    assert not (run.root / "workspace/publishing").exists()
    assert [commit.title for commit in hub.repository(REPOSITORY).history()][1:] == ["initial commit"]


def test_a_branch_that_moves_and_places_that_hold_other_things(hub: Hub, run: Command) -> None:
    hub.put("org/other", {"train.csv": b"a,b\n"})
    refused = run("publish", "metals", "--to", "hf://datasets/org/other", token=TOKEN, code=2)
    assert "train.csv" in refused.err and "name another repository" in refused.err
    run("publish", "metals", "--no-verify", "--to", TO, token=TOKEN)

    def somebody() -> None:
        hub.put(REPOSITORY, {**files(hub), "theirs.txt": b"mine"})

    hub.faults.append(Fault("POST", "/commit/", 0, then=somebody))
    refused = run("publish", "fibres", "--to", TO, token=TOKEN, code=3)
    assert "somebody else has moved `main` meanwhile; nothing was overwritten" in refused.err
    assert "theirs.txt" in files(hub) and "recipes/fibres.yaml" not in files(hub)
    run("publish", "fibres", "--no-verify", "--to", TO, token=TOKEN)
    assert {"theirs.txt", "recipes/fibres.yaml", "recipes/metals.yaml"} <= set(files(hub))


# Gates.


def declared(root: Path, **entries: Any) -> None:
    path = root / "catalog.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **entries}))


def refused(hub: Hub, run: Command, name: str, *options: str) -> str:
    """What stands against publishing; nothing may have been asked of the Hub."""
    hub.requests.clear()
    said = run("publish", name, *options, "--to", TO, token=TOKEN, code=1).err
    assert not hub.requests
    return said


def test_gates_stop_a_publication_before_the_hub_is_asked(hub: Hub, run: Command) -> None:

    def check(name: str) -> None:
        teacherlm.open(run.root, workspace=run.root / "workspace").check(name)

    # The licence: a training format holds the source's text.
    said = refused(hub, run, CLOSED, "--as", "messages")
    assert "whose licence (unknown) is unclear" in said and "licences: {closed: {by: NAME" in said
    # The declared gates are others than those of the check.
    declared(run.root, gates={"min_accepted": 1})
    assert "changed since the check" in refused(hub, run, "metals")
    # A gate that fails.
    declared(run.root, gates={"min_accepted": 1_000})
    assert "by the verdicts min_accepted fails" in refused(hub, run, "metals")
    check("metals")
    said = refused(hub, run, "metals")
    assert "the gate `min_accepted" in said and "found 36, limit 1000" in said
    declared(run.root, gates={})
    check("metals")
    # The contract.
    suite = run.root / "quality/expectations/mine.yaml"
    suite.parent.mkdir(parents=True)
    suite.write_text(
        "table: augmented\nexpectations:\n- type: expect_column_values_to_satisfy\n"
        '  kwargs: {column: answer, condition: "length(answer) > 100"}\n  description: An answer is long.\n'
    )
    check("metals")
    assert "An answer is long" in refused(hub, run, "metals")
    # Rows that have gone.
    suite.unlink()
    verdicts = run.root / "workspace/verdicts/fibres/verdicts.parquet"
    pq.write_table(pq.read_table(verdicts).slice(1), verdicts)
    said = refused(hub, run, "fibres")
    assert "1 without a verdict, such as fibres/train/train0" in said and "check again" in said


def test_contamination_stops_a_publication(hub: Hub, run: Command) -> None:
    questions = run.root / "evaluation.jsonl"
    lines = [f'{{"question": "{row["q"]}", "answer": "{row["a"]}"}}' for row in rows("metals", "train", 8)]
    questions.write_text("\n".join(lines))
    declared(run.root, gates={"max_contaminated": 0.01, "max_rejected": 1.0})
    project = teacherlm.open(run.root, workspace=run.root / "workspace")
    project.check("metals", against={"arc_easy": questions})
    said = refused(hub, run, "metals")
    assert "the gate `max_contaminated` has failed: found 1, limit 0.01" in said


SECRET = "hf_" + "abcdefghij" * 3


def test_secrets_in_the_rows_stop_a_publication_and_are_not_shown(hub: Hub, run: Command) -> None:
    found = rows("fibres", "train", 8)
    found[1]["q"] += f" Its key is {SECRET}"
    found[2]["o"][1] = SECRET
    parquet(run.root / "sources/fibres/train.parquet", found)
    project = teacherlm.open(run.root, workspace=run.root / "workspace")
    with teacher() as served:
        project.run("fibres", teacher=served.url)
    done = run("publish", "metals", "fibres", "--to", TO, token=TOKEN, code=1)
    assert not hub.asked(SENDS)
    assert "`question` of sample `fibres/train/train1`" in done.err
    assert "`choices` of sample `fibres/train/train2`" in done.err
    # The teacher has repeated what it was asked.
    assert re.search(r"`(fundamentals|chain_of_thought|common_mistakes)` of sample `fibres/train/train1`", done.err)
    assert "withdraw the secret" in done.err
    assert SECRET not in done.out + done.err
    recipe = run.root / "builders/metals.yaml"
    recipe.write_text(recipe.read_text() + f"about: made with {SECRET}\n")
    project.check("metals")
    done = run("publish", "metals", "--to", TO, token=TOKEN, code=1)
    assert "`recipes/metals.yaml` looks as if it held a secret" in done.err and SECRET not in done.err


# Tokens.


def test_tokens_are_nowhere_in_what_is_printed_and_written(hub: Hub, run: Command) -> None:
    odd = "an-odd-token-0123456789"
    hub.tokens = {TOKEN, odd}
    said: list[Ended] = []
    for token in (TOKEN, odd):
        to = f"hf://datasets/org/by-{len(said)}"
        said.append(run("--debug", "publish", "metals", "--no-verify", "--to", to, "--format", "json", token=token))
        said.append(run("verify", to, "--no-load", token=token))
        hub.faults[:] = [
            Fault("GET", "revision/main", 400, headers={"X-Error-Message": f"no good: Bearer {token}"}, times=9)
        ]
        failed = run("--debug", "publish", "fibres", "--to", to, token=token, code=3)
        assert "the Hub refused: no good: Bearer ***" in failed.err
        said += [failed, run("publish", "fibres", "--to", to, "--format", "json", token=token, code=3)]
        hub.faults.clear()
    said.append(run("--debug", "publish", "metals", "--to", TO, token="hf_töken" * 3, code=2))
    assert "has letters that no token has" in said[-1].err
    # The Hub's own login serves as well.
    login = run.processes.home / "token"
    try:
        login.write_text(odd)
        said.append(run("publish", "metals", "--no-verify", "--to", TO))
    finally:
        login.unlink()
    everything = "".join(ended.out + ended.err for ended in said).encode()
    for path in run.root.rglob("*"):
        everything += path.read_bytes() if path.is_file() else b""
    for repository in hub.state.repositories.values():
        for commit in repository.commits.values():
            everything += b"".join(file.content for file in commit.files.values()) + commit.title.encode()
    assert TOKEN.encode() not in everything and odd.encode() not in everything
