"""Collections by command: what a person reads, what a program reads, exit codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from recipes import parquet, recipe
from scripted import sensible, teacher
from test_cli import Command, run
from test_collections import declare, project, rows

__all__ = ["run"]  # the fixture

SMALL = {"ant": 3, "bee": 40, "cow": 50}
ZOO: dict[str, Any] = {"datasets": ["ant", "bee", "cow"], "at_most": 4, "seed": 1}


@pytest.fixture
def zoo(run: Command, tmp_path: Path) -> Command:
    """In a project with the collection `zoo` of three datasets."""
    project(tmp_path, ZOO, SMALL)
    return run


def test_build_shows_a_line_for_each_and_one_table_with_totals(zoo: Command, tmp_path: Path) -> None:
    done = zoo("build", "zoo")
    assert done.err.splitlines() == [
        "[1/3] ant: 3 samples, built",
        "[2/3] bee: 4 of 40 samples, built",
        "[3/3] cow: 4 of 50 samples, built",
    ]
    lines = [line.split() for line in done.out.splitlines()]
    assert lines == [
        ["dataset", "rows", "samples", "rejected"],
        ["ant", "3", "3", "0", "built"],
        ["bee", "40", "4", "0", "built"],
        ["cow", "50", "4", "0", "built"],
        ["zoo", "93", "11", "0", "in", "all"],
    ]
    (row,) = zoo("build", "zoo", "--format", "json").json["rows"]
    assert (row["collection"], row["target"], row["samples"], row["missing"]) == ("zoo", None, 11, [])
    assert row["datasets"][1] == {
        "dataset": "bee",
        "state": "unchanged",
        "at_most": 4,
        "available": 40,
        "rows": 40,
        "samples": 4,
        "filtered": 0,
        "rejected": 0,
        "absent": [],
        "why": None,
    }


def test_a_dataset_that_cannot_be_read_ends_with_3(zoo: Command, tmp_path: Path) -> None:
    (tmp_path / "builders" / "bee.parquet").unlink()
    done = zoo("build", "zoo", code=3)
    assert "[2/3] bee: missing: " in done.err
    assert "no file matches `bee.parquet`" in done.err
    assert "zoo: 1 of 3 datasets are missing: bee" in done.err
    assert re.search(r"bee +missing", done.out)
    envelope = zoo("build", "zoo", "--format", "json", code=3).json
    assert envelope["ok"] is False
    assert [part["samples"] for part in envelope["rows"][0]["datasets"]] == [3, 0, 4]
    assert envelope["rows"][0]["missing"] == ["bee"]
    (error,) = envelope["errors"]
    assert (error["exit_code"], "bee.parquet" in error["found"]) == (3, True)


def test_a_target_that_is_not_reached(zoo: Command, tmp_path: Path) -> None:
    declare(tmp_path, {**ZOO, "samples": 20})
    done = zoo("build", "zoo")
    assert "20 samples were asked for; 9 are missing" in done.out
    assert "[1/3] ant: counting its samples" in done.err
    declare(tmp_path, {**ZOO, "samples": 20, "when_short": "fail"})
    assert "the sources have 11 samples; 20 are wanted" in zoo("build", "zoo", code=1).err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("build", "zo"), ["there is no dataset or collection `zo`", "did you mean zoo?"]),
        (("build", "zoo", "--split", "train"), ["--split   is train, and `zoo` is a collection"]),
        (("build", "zoo", "ant", "--source", "."), ["cannot be the source of zoo and ant"]),
        (("build", "zoo", "--source", "absent"), ["absent   there is no such folder"]),
        (("augment", "zoo", "-t", "nano"), ["`zoo` has no samples in", "teacherlm build zoo"]),
        (("check", "zoo"), ["`zoo` has no samples in"]),
        (("publish", "zoo", "ant", "--to", "p"), ["ant would be published twice"]),
        (("run", "zoo", "ant", "-t", "nano", "--to", "p"), ["ant would be published twice"]),
    ],
)
def test_mistakes(zoo: Command, arguments: tuple[str, ...], words: list[str]) -> None:
    done = zoo(*arguments, code=2)
    assert not done.out
    for word in words:
        assert word in done.err


def test_wrong_declarations_are_shown_before_anything_is_built(zoo: Command, tmp_path: Path) -> None:
    declare(tmp_path, {**ZOO, "datasets": ["ant", "yak"]})
    with (tmp_path / "builders" / "bee.yaml").open("a") as file:
        file.write("tasks: x\n")
    done = zoo("build", "zoo", code=2)
    assert "there is no dataset `yak`" in done.err
    assert "unknown key `tasks`" in done.err
    assert "2 problems; nothing was run" in done.err
    (tmp_path / "catalog.yaml").write_text("collection: {}\n")
    assert "rename it to `collections`" in zoo("build", "zoo", code=2).err


def test_every_step_takes_a_collection(zoo: Command, tmp_path: Path) -> None:
    zoo("build", "zoo")
    with teacher() as server:
        done = zoo("augment", "zoo", "-t", server.url, "--format", "json")
        assert [(row["collection"], row["dataset"], row["answered"]) for row in done.json["rows"]] == [
            ("zoo", "ant", 9),
            ("zoo", "bee", 12),
            ("zoo", "cow", 12),
        ]
        assert re.search(r"cow +12 +12 +0", zoo("augment", "zoo", "-t", server.url).out)
        assert len(server.prompts) == 33
    done = zoo("check", "zoo")
    assert re.search(r"bee +12 +12 +0 +0 +0 +yes\n", done.out)
    assert ["zoo", "33", "33", "0", "0", "0"] in [line.split() for line in done.out.splitlines()]
    done = zoo("publish", "zoo", "--to", "published")
    assert "published: published ant, bee, cow: 11 rows" in done.out
    done = zoo("status", "zoo")
    assert re.search(r"cow +checked +4 +12", done.out)
    assert done.out.splitlines()[-1].split()[:3] == ["zoo", "11", "33"]
    assert "collections: zoo (teacherlm status zoo)" in zoo("status").err
    query = "SELECT count(*) AS n FROM augmented"
    assert zoo("sql", query, "-w", "workspace/collections/zoo", "--format", "json").json == [{"n": 11}]


@pytest.mark.slow
def test_run_builds_explains_checks_and_publishes_what_passes(zoo: Command, tmp_path: Path) -> None:
    def short(prompt: str) -> str:
        return "no" if "bee" in prompt else sensible(prompt)

    with teacher(short) as server:
        done = zoo("run", "zoo", "-t", server.url, "--to", "published", code=1)
        assert len(server.prompts) == 33
        again = zoo("run", "zoo", "-t", server.url, "--to", "published", "--format", "json", code=1)
        assert len(server.prompts) == 33
    assert "published: published ant, cow: 7 rows" in done.out
    assert "bee: a gate fails: max_rejected" in done.err
    assert done.out.count("dataset ") == 2
    assert [(row["dataset"], row["passed"], row["published"]) for row in again.json["rows"]] == [
        ("ant", True, "published"),
        ("bee", False, None),
        ("cow", True, "published"),
    ]


def test_what_is_not_built_is_named_and_left(zoo: Command, tmp_path: Path) -> None:
    (tmp_path / "builders" / "bee.parquet").unlink()
    with teacher() as server:
        done = zoo("run", "zoo", "-t", server.url, code=3)
        assert len(server.prompts) == 21
        assert "zoo: not built and left: bee" in done.err
        parquet(tmp_path / "builders" / "bee.parquet", rows("bee", 2))
        zoo("run", "zoo", "-t", server.url)
        assert len(server.prompts) == 27


def test_a_collection_and_a_dataset_in_one_command(zoo: Command) -> None:
    done = zoo("build", "zoo", "ant")
    assert re.search(r"ant +train +3 +3 +0 +0 +built", done.out)
    assert re.search(r"zoo +93 +11", done.out)


def test_plan_names_members_sizes_and_what_is_absent(zoo: Command, tmp_path: Path) -> None:
    for name, count in SMALL.items():
        recipe(tmp_path, name=name, source={"files": f"{name}.parquet", "rows": {"train": count}})
    declare(tmp_path, {**ZOO, "about": "Animals.", "absent": {"yak": "no recipe", "gnu": "no recipe"}})
    done = zoo("plan", "zoo")
    assert done.out.startswith("zoo  Animals.\n")
    assert re.search(r"cow +train +50 +4 +MIT +allowed", done.out)
    assert re.search(r"samples, about +11\n +texts, about +33", done.out)
    assert "yak, gnu (no recipe)" in done.out
    assert zoo("plan", "zoo", "--format", "json").json["rows"][0]["absent"] == {"yak": "no recipe", "gnu": "no recipe"}
    assert not Path("workspace").exists()


def test_a_new_project_has_a_collection_of_its_own(run: Command, tmp_path: Path) -> None:
    run("init", ".")
    assert re.search(r"sample-100 +264 +164", run("build", "sample-100").out)
    assert "p3-sense" not in (tmp_path / "catalog.yaml").read_text()
