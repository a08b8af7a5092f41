"""`teacherlm verify`: it passes what is as it was published, and names what is not, in folders and on the Hub."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import teacherlm
from hub_project import CLOSED, OPEN, Command, copied
from hub_samples import publication
from loopback_hub import TOKEN, Hub, shared_hub
from pushing import processes
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.hub.folder import publish_folder

REPOSITORY = "org/explained"
PLACE = f"hf://datasets/{REPOSITORY}"
TRAIN = "data/creak/train-00000-of-00001.parquet"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    publish_folder([publication(tmp_path / "parts", formats=["text"]), publication(tmp_path / "parts", "ecqa")], folder)
    return folder


def manifest(folder: Path, change: Callable[[Any], None]) -> None:
    path = folder / "teacherlm.json"
    value = json.loads(path.read_text())
    change(value["datasets"]["creak"])
    path.write_text(json.dumps(value))


def rewritten(folder: Path, change: Callable[[Any], Any]) -> None:
    pq.write_table(change(pq.read_table(folder / TRAIN)), folder / TRAIN)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edited(folder: Path, old: str, new: str) -> None:
    readme = folder / "README.md"
    text = readme.read_text()
    assert old in text
    readme.write_text(text.replace(old, new, 1))


def count_more(entry: Any) -> None:
    entry["splits"]["train"]["rows"] += 1


def type_otherwise(entry: Any) -> None:
    entry["features"][0] = {"name": "sample_id", "dtype": "int64"}


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing data": (lambda f: (f / TRAIN).unlink(), f"creak, train: {TRAIN} is missing"),
    "missing format": (lambda f: shutil.rmtree(f / "data/creak-text"), "creak-text, train: data/creak-text/train.* is"),
    "missing recipe": (lambda f: (f / "recipes/creak.yaml").unlink(), "recipes/creak.yaml is missing"),
    "missing card": (lambda f: (f / "README.md").unlink(), "README.md is missing"),
    "flipped byte": (lambda f: flip(f / TRAIN), f"{TRAIN} is not the file that was published"),
    "flipped rule": (lambda f: flip(f / "rules/empty.sql"), "rules/empty.sql is not the file that was published"),
    "cut": (lambda f: (f / TRAIN).write_bytes(b"PAR1"), f"{TRAIN} cannot be read"),
    "fewer rows": (lambda f: rewritten(f, lambda t: t.slice(2)), "it has 3 rows where 5 were published"),
    "no column": (lambda f: rewritten(f, lambda t: t.drop_columns(["answer"])), "has the columns sample_id, dataset"),
    "other types": (
        lambda f: rewritten(f, lambda t: t.set_column(3, "task", t["answer_index"])),
        "has other types: task int",
    ),
    "stray shard": (
        lambda f: shutil.copy(f / TRAIN, f / "data/creak/train-00001-of-00002.parquet"),
        "train-00001-of-00002.parquet is there, and was not published",
    ),
    "manifest counts": (lambda f: manifest(f, count_more), "teacherlm.json counts 6 rows, and 5 in its files"),
    "manifest types": (
        lambda f: manifest(f, type_otherwise),
        "README.md says something else than teacherlm.json of the columns and counts of creak",
    ),
    "card configs": (
        lambda f: edited(f, "path: data/creak/train-*", "path: data/creak/trian-*"),
        "README.md says something else than teacherlm.json of the files of creak",
    ),
    "card front matter": (lambda f: edited(f, "---\n", "- - -\n"), "no front matter that can be read"),
    "card config": (lambda f: edited(f, "config_name: ecqa", "config_name: eqca"), "has a config eqca"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_as_it_was_published_is_named(published: Path, damage: str) -> None:
    spoil, words = DAMAGE[damage]
    assert teacherlm.verify(published, load=False).passed
    spoil(published)
    found = teacherlm.verify(published, load=False)
    assert not found.passed
    assert any(re.search(words, problem) for problem in found.found), found.found


def test_a_folder_that_is_none_and_a_manifest_that_is_damaged(published: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="not a published folder"):
        teacherlm.verify(tmp_path)
    (published / "teacherlm.json").write_text("{")
    with pytest.raises(MachineFailed, match="is damaged"):
        teacherlm.verify(published)


def test_a_card_that_does_not_load_is_named(published: Path) -> None:
    """What no comparison sees: `datasets` itself has the last word."""
    assert teacherlm.verify(published).passed
    # Scripts are refused by `datasets`, and it looks for one first.
    (published / "published.py").write_text("")
    found = teacherlm.verify(published)
    assert [problem for problem in found.found if "datasets cannot load" in problem], found.found


@pytest.mark.slow
def test_the_command_on_a_hub(tmp_path: Path) -> None:
    hub: Hub = shared_hub()
    hub.clear()
    hub.tokens = {TOKEN}
    run = Command(processes(hub.url), copied(tmp_path))
    run("publish", *OPEN, CLOSED, "--no-verify", "--to", PLACE, "--private", "--tag", "v1", token=TOKEN)
    hub.requests.clear()
    home = sorted(run.processes.home.rglob("*"))
    row = run("verify", f"{PLACE}@v1", "--format", "json", token=TOKEN).json["rows"][0]
    repository = hub.repository(REPOSITORY)
    assert (row["passed"], row["commit"], len(row["splits"])) == (True, repository.head().id, 6)
    assert all(re.fullmatch("[0-9a-f]{64}", split["content"]) for split in row["splits"])
    assert sorted(run.processes.home.rglob("*")) == home  # no cache of this machine is touched
    assert not hub.asked("^(POST|PUT|DELETE)")

    # A private one, seen without a token.
    said = run("verify", PLACE, code=2).err
    assert "there is no token for the Hub" in said and "for a private one" in said

    # One byte of one file of another commit.
    held = {path: file.content for path, file in repository.head().files.items()}
    path = "data/metals/train-00000-of-00001.parquet"
    spoilt = bytearray(held[path])
    spoilt[100] ^= 1
    hub.put(
        REPOSITORY, {name: data for name, data in held.items() if name != "recipes/fibres.yaml"} | {path: bytes(spoilt)}
    )
    done = run("verify", PLACE, token=TOKEN, code=1)
    assert "DIFFERS" in done.out and "as published" in done.out
    assert f"metals, train: {path} is not the file that was published" in done.err
    assert "recipes/fibres.yaml is missing" in done.err
    assert "take an older revision" in done.err
    done = run("verify", f"{PLACE}@v1", "--no-load", token=TOKEN)
    assert f"{PLACE}@v1 at {repository.tags['v1']}: everything is there, as it was published" in done.out
    hub.put(REPOSITORY, {"README.md": b"mine"})
    assert "teacherlm published nothing there" in run("verify", PLACE, token=TOKEN, code=2).err
