"""Collections: what they declare, and that building one goes on where it was, whatever happens to a dataset."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import teacherlm
from recipes import parquet, recipe
from scripted import teacher
from teacherlm.api.collections import OpenCollection
from teacherlm.builders import build as building
from teacherlm.builders.mapping import connect
from teacherlm.core.errors import GateFailed, Mistake

SIZES = {"ant": 30, "bee": 200, "cow-b": 500}


def rows(name: str, count: int) -> list[dict[str, str]]:
    return [{"q": f"How many legs have {number} of {name}?", "a": str(4 * number)} for number in range(count)]


def project(root: Path, collection: Mapping[str, Any], sizes: Mapping[str, int] = SIZES) -> Path:
    """A project with a dataset for each size, and the collection `zoo`."""
    for name, count in sizes.items():
        parquet(root / "builders" / f"{name}.parquet", rows(name, count))
        recipe(root, name=name, source={"files": f"{name}.parquet"})
    declare(root, collection)
    return root


def declare(root: Path, collection: Mapping[str, Any], name: str = "zoo") -> None:
    (root / "catalog.yaml").write_text(yaml.safe_dump({"collections": {name: dict(collection)}}, sort_keys=False))


def zoo(root: Path, workspace: str = "workspace") -> OpenCollection:
    return teacherlm.open(root, workspace=root / workspace).collection("zoo")


def counts(made: Any) -> dict[str, int]:
    return {part.dataset: part.samples for part in made.parts}


def states(made: Any) -> dict[str, str]:
    return {part.dataset: part.state for part in made.parts}


def ids(collection: OpenCollection) -> list[str]:
    query = "SELECT sample_id FROM samples ORDER BY 1"
    return [row[0] for row in collection.project.sql(query).fetchall()]


# What is declared.


def problems(root: Path, collection: Mapping[str, Any], name: str = "zoo") -> str:
    declare(root, collection, name)
    with pytest.raises(Mistake) as caught:
        teacherlm.open(root, workspace=root / "w").collection(name)
    return str(caught.value)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return project(tmp_path, {"datasets": ["ant"]}, {"ant": 3, "bee": 4, "bear": 4})


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"datasets": ["ant", "bea"]}, ["catalog.yaml:5:7   there is no dataset `bea`", "did you mean bear?"]),
        ({"datasets": []}, ["`datasets` is empty"]),
        ({"datasets": ["x*"]}, ["catalog.yaml:4:7   no dataset matches `x*`"]),
        ({"marked": "muffin"}, ["`zoo` is empty: no recipe has the mark `muffin`", "muffin: true"]),
        ({}, ["either `datasets` or `marked`"]),
        ({"datasets": ["ant"], "marked": "muffin"}, ["either `datasets` or `marked`"]),
        ({"datasets": ["ant"], "splits": ["test*"]}, ["`ant` has the splits train"]),
        ({"datasets": ["*"], "splits": ["test*"]}, ["`zoo` is empty: no dataset matches"]),
        ({"datasets": ["ant"], "at_most": 0}, ["`at_most` is 0"]),
        ({"datasets": ["ant"], "samples": "many"}, ["whole number is wanted"]),
        ({"datasets": ["ant"], "mixing": "cap"}, ["capped"]),
        ({"datasets": ["ant"], "when_short": "fail"}, ["without `samples`"]),
        ({"datasets": ["ant"], "leave_out": ["an"]}, ["there is no dataset `an`", "did you mean ant?"]),
        ({"datasets": ["ant"], "max": 3}, ["unknown key `max`"]),
        ({"datasets": ["ant"], "human": {"fundamentals": ["ant"]}}, ["`ant` has no human rationales"]),
        ({"datasets": ["ant"], "human": {"fundamentals": ["bee"]}}, ["`bee` is no dataset of this collection"]),
    ],
)
def test_mistakes_in_a_declaration(small: Path, declared: dict[str, Any], words: list[str]) -> None:
    said = problems(small, declared)
    assert "catalog.yaml:" in said
    for word in words:
        assert word in said


def test_a_name_belongs_to_a_dataset_or_to_a_collection(small: Path) -> None:
    assert "`bee` is a dataset too (builders/bee.yaml)" in problems(small, {"datasets": ["ant"]}, "bee")
    assert "cannot name a folder" in problems(small, {"datasets": ["ant"]}, "../up")
    with pytest.raises(Mistake, match="there is no collection `zo`"):
        teacherlm.open(small).collection("zo")


def test_members_come_by_name_by_pattern_and_by_mark(small: Path) -> None:
    recipe(small, name="bee", muffin=True)
    recipe(small, name="bear", source={"files": {"train_a": "x", "train_b": "y", "test": "z"}})
    for declared, expected in (
        ({"datasets": ["bee", "ant"]}, ["bee", "ant"]),
        ({"datasets": ["bee", "b*", "ant"]}, ["bee", "bear", "ant"]),
        ({"datasets": ["*"], "leave_out": ["bee"]}, ["ant", "bear"]),
        ({"datasets": ["*"], "splits": ["test"]}, ["bear"]),
        ({"marked": "muffin"}, ["bee"]),
    ):
        declare(small, declared)
        assert zoo(small).datasets == expected
    declare(small, {"datasets": ["bear"]})
    assert zoo(small).members[0].splits == ("train_a", "train_b")


def test_the_collection_says_how_its_datasets_are_explained(tmp_path: Path) -> None:
    root = project(tmp_path, {"datasets": ["ant", "bee"], "strategy": "star", "human": {"fundamentals": ["bee"]}})
    recipe(root, {"question": "q", "answer": "a", "human_rationale": "a"}, name="bee")
    collection = zoo(root)
    found = {name: collection.project.recipe(name).recipe for name in collection.datasets}
    assert {name: (recipe.strategy, recipe.human) for name, recipe in found.items()} == {
        "ant": ("star", None),
        "bee": ("star", "fundamentals"),
    }
    assert teacherlm.open(root).recipe("bee").recipe.strategy == "explain"


# Building.


def test_each_dataset_gives_at_most_so_many(tmp_path: Path) -> None:
    collection = zoo(project(tmp_path, {"datasets": ["*"], "at_most": 50, "seed": 1}))
    made = collection.build()
    assert counts(made) == {"ant": 30, "bee": 50, "cow-b": 50}
    assert made.samples == len(ids(collection)) == 130
    assert [part.available for part in made.parts] == [30, 200, 500]
    assert states(collection.build()) == dict.fromkeys(SIZES, "unchanged")
    # Drawn at random, and not the first ones.
    numbers = [
        int(row[0]) for row in collection.project.sql("SELECT answer FROM samples WHERE dataset = 'cow-b'").fetchall()
    ]
    assert max(numbers) > 4 * 400
    assert (tmp_path / "workspace" / "collections" / "zoo" / "collection.json").is_file()
    assert teacherlm.open(tmp_path, workspace=tmp_path / "workspace").workspace.datasets() == []


def test_another_seed_draws_others(tmp_path: Path) -> None:
    root = project(tmp_path, {"datasets": ["*"], "at_most": 50, "seed": 1})
    first = zoo(root)
    first.build()
    before = ids(first)
    declare(root, {"datasets": ["*"], "at_most": 50, "seed": 2})
    made = zoo(root).build()
    assert states(made) == dict.fromkeys(SIZES, "built")
    assert len(set(ids(first)) & set(before)) < len(before) == made.samples


@pytest.mark.parametrize("extra", [{"at_most": 40}, {"samples": 150}, {"samples": 150, "mixing": "proportional"}])
def test_the_samples_are_the_same_whatever_the_order_and_the_threads(
    tmp_path: Path, extra: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = {"datasets": ["*"], "seed": 5, **extra}
    one, two = project(tmp_path / "one", declared), project(tmp_path / "two", declared)
    for name, count in SIZES.items():
        shuffled = rows(name, count)
        random.Random(7).shuffle(shuffled)
        parquet(two / "builders" / f"{name}.parquet", shuffled)
    zoo(one).build()
    monkeypatch.setattr(building, "connect", lambda *_: connect(1))
    zoo(two).build()
    assert ids(zoo(one)) == ids(zoo(two))


@pytest.mark.parametrize(
    ("mixing", "expected"),
    [("capped", {"ant": 30, "bee": 60, "cow-b": 60}), ("proportional", {"ant": 6, "bee": 41, "cow-b": 103})],
)
def test_a_target_is_shared_out(tmp_path: Path, mixing: str, expected: dict[str, int]) -> None:
    root = project(tmp_path, {"datasets": ["*"], "samples": 150, "mixing": mixing})
    collection = zoo(root)
    made = collection.build()
    assert counts(made) == expected
    assert len(ids(collection)) == 150
    again = collection.build()
    assert counts(again) == expected
    assert states(again) == dict.fromkeys(SIZES, "unchanged")


def test_where_a_source_has_changed_sizes_are_shared_out_again(tmp_path: Path) -> None:
    root = project(tmp_path, {"datasets": ["*"], "samples": 150})
    zoo(root).build()
    parquet(root / "builders" / "ant.parquet", rows("ant", 45))
    made = zoo(root).build()
    assert counts(made) == {"ant": 45, "bee": 53, "cow-b": 52}
    assert made.samples == 150
    parquet(root / "builders" / "ant.parquet", rows("ant", 46))
    assert states(zoo(root).build()) == {"ant": "built", "bee": "built", "cow-b": "unchanged"}


def test_when_the_sources_run_short(tmp_path: Path) -> None:
    root = project(tmp_path, {"datasets": ["*"], "samples": 10_000})
    made = zoo(root).build()
    assert counts(made) == SIZES
    declare(root, {"datasets": ["*"], "samples": 10_000, "when_short": "fail"})
    with pytest.raises(GateFailed, match=r"zoo: the sources have 730 samples; 10,000 are wanted"):
        zoo(root).build()
    declare(root, {"datasets": ["*"], "samples": 730, "when_short": "fail"})
    assert zoo(root).build().samples == 730
    declare(root, {"datasets": ["*"], "samples": 700, "at_most": 100, "when_short": "fail"})
    with pytest.raises(GateFailed, match=r"the sources have 230 samples"):
        zoo(root).build()


def test_refused_rows_are_no_samples_to_share_out(tmp_path: Path) -> None:
    root = project(tmp_path, {"datasets": ["*"], "samples": 100})
    parquet(root / "builders" / "ant.parquet", [*rows("ant", 20), *[{"q": "", "a": "1"}] * 10])
    made = zoo(root).build()
    assert counts(made) == {"ant": 20, "bee": 40, "cow-b": 40}
    assert made.parts[0].rejected == 10


@pytest.mark.parametrize("extra", [{"at_most": 50}, {"samples": 150}])
def test_a_dataset_that_fails_does_not_stop_the_others(tmp_path: Path, extra: dict[str, Any]) -> None:
    root = project(tmp_path, {"datasets": ["*"], **extra})
    (root / "builders" / "bee.parquet").rename(root / "builders" / "away.parquet")
    # Its declared rows keep its place, so that the others have their sizes now as well.
    source = {"files": "bee.parquet", "rows": {"train": 200}}
    recipe(root, name="bee", source=source)
    made = zoo(root).build()
    assert states(made) == {"ant": "built", "bee": "missing", "cow-b": "built"}
    assert "no file matches `bee.parquet`" in str(made.missing[0].error)
    assert counts(made) == {"ant": 30, "bee": 0, "cow-b": 50 if "at_most" in extra else 60}
    (root / "builders" / "away.parquet").rename(root / "builders" / "bee.parquet")
    made = zoo(root).build()
    assert states(made) == {"ant": "unchanged", "bee": "built", "cow-b": "unchanged"}
    assert not made.missing


def test_local_copies_take_the_place_of_sources(tmp_path: Path) -> None:
    root = project(tmp_path / "p", {"datasets": ["*"], "at_most": 10})
    copies = tmp_path / "copies"
    parquet(copies / "ant" / "train.parquet", rows("other ant", 12))
    parquet(copies / "ant" / "test.parquet", rows("test ant", 12))
    parquet(copies / "cow_b" / "train-00000-of-00001.parquet", rows("cow", 5))
    made = zoo(root).build(source=copies)
    assert counts(made) == {"ant": 10, "bee": 0, "cow-b": 5}
    assert "there is no bee" in str(made.missing[0].error)
    assert all("/train/" in name for name in ids(zoo(root)))
    parquet(copies / "bee.parquet", rows("bee", 3))
    assert counts(zoo(root).build(source=copies)) == {"ant": 10, "bee": 3, "cow-b": 5}
    with pytest.raises(Mistake, match="no such folder"):
        zoo(root).build(source=copies / "absent")


def test_samples_are_drawn_from_all_training_splits_together(tmp_path: Path) -> None:
    root = project(tmp_path, {"datasets": ["ant"], "at_most": 20})
    for split in ("train_r1", "train_r2", "dev_r1"):
        parquet(root / "builders" / f"{split}.parquet", rows(split, 100))
    recipe(root, name="ant", source={"files": {name: f"{name}.parquet" for name in ("train_r1", "train_r2", "dev_r1")}})
    collection = zoo(root)
    assert collection.build().samples == 20
    found = collection.project.sql("SELECT split, count(*) FROM samples GROUP BY 1 ORDER BY 1").fetchall()
    assert [name for name, _ in found] == ["train_r1", "train_r2"]
    assert sum(count for _, count in found) == 20


KILLED = """
import os, signal, sys
import teacherlm
import teacherlm.builders.build as building

written, plain = 0, building.write_json

def dying(path, value):
    global written
    written += 1
    if written == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    plain(path, value)

building.write_json = dying
teacherlm.open(sys.argv[1], workspace=sys.argv[1] + "/torn").collection("zoo").build()
"""


@pytest.mark.parametrize("extra", [{"at_most": 50}, {"samples": 150}])
@pytest.mark.parametrize("die", [1, 3])
def test_a_build_that_is_killed_goes_on_and_ends_the_same(tmp_path: Path, extra: dict[str, Any], die: int) -> None:
    root = project(tmp_path, {"datasets": ["*"], "seed": 3, **extra})
    zoo(root).build()
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), str(die)], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    torn = zoo(root, "torn")
    assert len(torn.built) == die - 1
    assert list((torn.workspace.root / "samples").glob(".*.tmp"))
    made = torn.build()
    if "at_most" in extra:
        assert list(states(made).values()) == ["unchanged"] * (die - 1) + ["built"] * (4 - die)
    assert not list((torn.workspace.root / "samples").glob(".*"))
    assert ids(torn) == ids(zoo(root))
    for path in sorted((zoo(root).workspace.root / "samples").rglob("*.parquet")):
        there = torn.workspace.root / path.relative_to(zoo(root).workspace.root)
        assert there.read_bytes() == path.read_bytes()


def test_a_collection_is_built_by_one_process(tmp_path: Path) -> None:
    from teacherlm.core.errors import MachineFailed
    from teacherlm.core.locks import held

    collection = zoo(project(tmp_path, {"datasets": ["ant"]}))
    with (
        held(collection.workspace.root / "locks" / "zoo.lock", "it"),
        pytest.raises(MachineFailed, match="collection `zoo` is being written"),
    ):
        collection.build()


# Explaining and publishing.


def test_human_rationales_are_taken_and_the_others_drawn(tmp_path: Path) -> None:
    root = project(
        tmp_path,
        {"datasets": ["ant", "bee"], "at_most": 3, "strategy": "star", "human": {"chain_of_thought": ["ant"]}},
    )
    explained = "'Each has four legs, so that all of them together have ' || a"
    mapping = {"question": "q", "answer": "a", "human_rationale": explained}
    recipe(root, mapping, name="ant", source={"files": "ant.parquet"})
    collection = zoo(root)
    collection.build()
    with teacher() as server:
        for name in collection.built:
            collection.project.augment(name, teacher=server.url)
    query = "SELECT DISTINCT dataset, kind, strategy FROM rationales WHERE strategy <> 'star' ORDER BY ALL"
    assert collection.project.sql(query).fetchall() == [
        ("ant", "chain_of_thought", "human"),
        ("ant", "common_mistakes", "explain"),
        ("ant", "fundamentals", "explain"),
        ("bee", "chain_of_thought", "star_hinted"),
        ("bee", "common_mistakes", "explain"),
        ("bee", "fundamentals", "explain"),
    ]


def test_a_collection_goes_the_whole_way(tmp_path: Path) -> None:
    root = project(tmp_path, {"datasets": ["ant", "bee"], "at_most": 4})
    collection = zoo(root)
    collection.build()
    with teacher() as server:
        for name in collection.built:
            collection.project.augment(name, teacher=server.url)
    collection.project.check("ant")
    published, against = collection.publish(tmp_path / "published")
    assert published is not None
    assert published.datasets == ("ant",)
    assert [problem.found for problem in against] == ["`bee` was not checked"]
    assert [row["state"] for row in collection.status()] == ["checked", "augmented"]
    declare(root, {"datasets": ["ant"], "at_most": 4})
    assert [row["dataset"] for row in zoo(root).status()] == ["ant", "bee"]


def test_plan_counts_by_the_declared_rows(tmp_path: Path) -> None:
    root = project(tmp_path, {"datasets": ["ant", "bee"], "at_most": 50, "absent": {"yak": "no recipe"}})
    assert zoo(root).plan()["samples"] is None
    for name in ("ant", "bee"):
        recipe(root, name=name, source={"files": f"{name}.parquet", "rows": {"train": SIZES[name], "test": 9}})
    planned = zoo(root).plan()
    assert (planned["samples"], planned["calls"], planned["absent"]) == (80, 240, {"yak": "no recipe"})
    assert [row["samples"] for row in planned["datasets"]] == [30, 50]
