"""Publishing to a folder: what `datasets`, polars and DuckDB read back, and what a folder goes through."""

from __future__ import annotations

import errno
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from hub_samples import part, publication
from teacherlm.core.errors import GateFailed, MachineFailed, Mistake, TeacherlmError
from teacherlm.core.locks import held
from teacherlm.hub import content
from teacherlm.hub.folder import WORK, publish_folder
from teacherlm.hub.gates import Refused
from teacherlm.hub.publication import LicenceChecked
from teacherlm.hub.shards import Sizes, write_split


def state(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


LOAD = """
import sys
import datasets
from datasets import concatenate_datasets, get_dataset_config_names, load_dataset
from teacherlm.schemas.records import KINDS, record

datasets.disable_progress_bars()
folder = sys.argv[1]
features = record("augmented").features()
assert get_dataset_config_names(folder) == ["alone", "creak", "ecqa", "holey"], get_dataset_config_names(folder)

creak = load_dataset(folder, "creak")
assert {name: split.num_rows for name, split in creak.items()} == {"train": 2500, "validation": 3}
assert creak["train"].features == features
assert creak["train"][0]["provenance"]["fundamentals"]["teacher_model"] == "teacher/one"
assert creak["train"][1]["quality"]["chain_of_thought"] is None
assert creak["train"][7]["choices"] == ["False", "True"]

ecqa = load_dataset(folder, "ecqa", split="validation")
assert ecqa.features == features
both = concatenate_datasets([creak["validation"], ecqa])
assert both["sample_id"][:] == [f"{name}/validation/{n}" for name in ("creak", "ecqa") for n in range(3)]

stream = load_dataset(folder, "creak", split="train", streaming=True)
assert stream.features == features
assert sum(1 for _ in stream) == 2500
assert next(iter(stream)) == creak["train"][0]

holey = load_dataset(folder, "holey")
assert {name: split.num_rows for name, split in holey.items()} == {"train": 5}

alone = load_dataset(folder, "alone", split="train")
assert list(alone.features) == ["sample_id", *KINDS, "quality", "provenance"]
assert alone.features == datasets.Features({name: features[name] for name in alone.features})
assert alone[0]["fundamentals"] == "Iron rusts in wet air; fact 0."
print("read")
"""


def test_what_is_published_is_read_by_datasets_polars_and_duckdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    small = functools.partial(write_split, sizes=Sizes(group_rows=1_000, shard_bytes=1))
    monkeypatch.setattr(content, "write_split", small)
    done = publish_folder([publication(tmp_path, train=2_500)], out)
    assert (done.datasets, done.rows, done.unchanged) == (("creak",), 2_503, ())
    holey = publication(tmp_path, "holey")
    holey = publication(tmp_path, "holey", splits={**holey.splits, "validation": [part(tmp_path / "none.parquet", [])]})
    publish_folder(
        [publication(tmp_path, "ecqa"), publication(tmp_path, "alone", redistribution="unclear"), holey], out
    )

    names = sorted(path.name for path in (out / "data/creak").iterdir())
    assert names == [f"train-{n:05d}-of-00003.parquet" for n in range(3)] + ["validation-00000-of-00001.parquet"]
    frame = pl.read_parquet(out / "data/creak/train-*.parquet")
    assert frame.height == 2_500
    assert frame["provenance"].struct.field("fundamentals").struct.field("strategy").unique().to_list() == ["explain"]
    query = f"SELECT count(*), count(chain_of_thought), any_value(choices[2]) FROM '{out}/data/creak/train-*.parquet'"
    assert duckdb.execute(query).fetchall() == [(2_500, 1_250, "True")]
    assert pl.read_parquet(out / "data/holey/validation-00000-of-00001.parquet").height == 0
    assert "`holey`/`validation`" in (out / "README.md").read_text()

    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-c", LOAD, str(out)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.stdout == "read\n", run.stderr


def test_the_same_content_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    both = [publication(tmp_path), publication(tmp_path, "ecqa")]
    publish_folder(both, out)
    before, times = state(out), {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = publish_folder(both, out)
    assert again.unchanged == ("creak", "ecqa")
    assert (again.files, again.removed) == ((), ())
    assert state(out) == before
    # The folder itself was worked in; nothing below it was touched.
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times
    # The order in which datasets came does not matter, nor whether they came together.
    for one in reversed(both):
        publish_folder([one], tmp_path / "other")
    assert state(tmp_path / "other") == before


def test_a_second_dataset_leaves_the_first_and_mends_what_was_lost(tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish_folder([publication(tmp_path)], out)
    creak = {path: content for path, content in state(out).items() if "creak" in path}
    done = publish_folder([publication(tmp_path, "ecqa")], out)
    assert done.datasets == ("ecqa",)
    assert not [path for path in done.files if "creak" in path]
    assert {path: state(out)[path] for path in creak} == creak
    assert "`ecqa`" in (out / "README.md").read_text()
    lost = out / "data/creak/train-00000-of-00001.parquet"
    lost.unlink()
    assert publish_folder([publication(tmp_path)], out).files == ("data/creak/train-00000-of-00001.parquet",)


def test_files_that_a_dataset_has_no_more_are_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = publication(tmp_path)
    publish_folder([first, publication(tmp_path, "ecqa")], out)
    stray = out / "data/creak/train-00000-of-00009.parquet"
    stray.write_bytes(b"left by something else")
    (out / "notes.txt").write_text("mine")
    fewer = publication(tmp_path, splits={"train": first.splits["train"]}, files={"recipes/creak.yaml": "v: 2\n"})
    done = publish_folder([fewer], out)
    assert done.removed == (
        "data/creak/train-00000-of-00009.parquet",
        "data/creak/validation-00000-of-00001.parquet",
    )
    # `ecqa` was made with the shared rule and keeps it.
    assert (out / "rules/empty.sql").exists()
    assert (out / "notes.txt").read_text() == "mine"
    done = publish_folder([publication(tmp_path, "ecqa", files={"prompts/own.yaml": "own: 1\n"})], out)
    assert done.removed == ("recipes/ecqa.yaml", "rules/empty.sql", "schemas/sample.yaml")
    assert not (out / "rules").exists()


def test_datasets_made_with_different_versions_of_a_rule_keep_each_their_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish_folder([publication(tmp_path)], out)
    rule = (out / "rules/empty.sql").read_text()
    ecqa = publication(tmp_path, "ecqa", files={"rules/empty.sql": "select 2\n"})
    publish_folder([ecqa], out)
    assert (out / "rules/empty.sql").read_text() == rule
    (own,) = (out / "rules").glob("empty-*.sql")
    assert own.read_text() == "select 2\n"
    assert publish_folder([ecqa], out).unchanged == ("ecqa",)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(Mistake, match=r"thesis\.tex") as mistake:
        publish_folder([publication(tmp_path)], out)
    assert mistake.value.exit_code == 2
    assert str(out / "published") in mistake.value.remedy
    assert state(out) == {"thesis.tex": b"mine"}
    with pytest.raises(Mistake, match="is a file"):
        publish_folder([publication(tmp_path)], out / "thesis.tex")
    with pytest.raises(Mistake, match="no dataset is given"):
        publish_folder([], tmp_path / "new")
    with pytest.raises(Mistake, match="creak is given twice"):
        publish_folder([publication(tmp_path), publication(tmp_path)], tmp_path / "new")
    clone = tmp_path / "clone"
    (clone / ".git").mkdir(parents=True)
    (clone / ".gitattributes").write_text("*.parquet filter=lfs\n")
    assert publish_folder([publication(tmp_path)], clone).rows == 8


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "cannot be written"), (errno.EIO, "failed")]
)
def test_a_disk_that_refuses_leaves_nothing_half_written(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "deep/out"
    small, large = publication(tmp_path / "small"), publication(tmp_path / "large", train=9)
    write, seen = pq.ParquetWriter.write_table, []

    def refuse(self: pq.ParquetWriter, table: object, **options: int) -> None:
        seen.append(table)
        if len(seen) % 2 == 0:
            raise OSError(number, os.strerror(number))
        write(self, table, **options)

    with monkeypatch.context() as patched:
        patched.setattr(pq.ParquetWriter, "write_table", refuse)
        with pytest.raises(MachineFailed, match=words):
            publish_folder([small], out)
        assert not (tmp_path / "deep").exists()
    publish_folder([small], out)
    before = state(out)
    with monkeypatch.context() as patched:
        patched.setattr(pq.ParquetWriter, "write_table", refuse)
        with pytest.raises(MachineFailed, match=words):
            publish_folder([large], out)
    assert state(out) == before


class Killed(BaseException):
    """Stands for `kill -9`: nothing is tidied up after it."""


def test_a_publish_killed_at_any_step_is_mended_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, start = tmp_path / "wanted", tmp_path / "start"
    first = publication(tmp_path / "1")
    second = publication(
        tmp_path / "2", train=9, splits={"train": publication(tmp_path / "2", train=9).splits["train"]}
    )
    for folder, steps in ((start, [first]), (wanted, [first, second])):
        for step in steps:
            publish_folder([step], folder)
    replace, unlink = Path.replace, Path.unlink
    killed = 0
    for die_at in range(1, 30):
        out = tmp_path / f"torn{die_at}"
        shutil.copytree(start, out)
        calls = iter(range(1, 1_000))

        def dying(
            do: Callable[..., Any], *arguments: Any, die_at: int = die_at, calls: Iterator[int] = calls, **options: Any
        ) -> Any:
            if next(calls) >= die_at:
                raise Killed
            return do(*arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", lambda path, to, dying=dying: dying(replace, path, to))
            patched.setattr(Path, "unlink", lambda path, dying=dying, **options: dying(unlink, path, **options))
            patched.setattr(shutil, "rmtree", lambda *_, **__: None)
            try:
                publish_folder([second], out)
            except Killed:
                killed += 1
        manifest = (out / "teacherlm.json").read_bytes()
        assert manifest in ((start / "teacherlm.json").read_bytes(), (wanted / "teacherlm.json").read_bytes())
        # Any next publish carries the plan out, not only one of the same dataset.
        if (out / WORK / "plan.json").exists():
            publish_folder([publication(tmp_path / "3", "ecqa")], out)
            assert (
                state(out)["data/creak/train-00000-of-00001.parquet"]
                == state(wanted)["data/creak/train-00000-of-00001.parquet"]
            )
            assert not (out / "data/creak/validation-00000-of-00001.parquet").exists()
        shutil.rmtree(out / "data/ecqa", ignore_errors=True)
        publish_folder([second], out)
        assert {path for path in state(out) if path.startswith(WORK)} == set()
        if "ecqa" not in (out / "teacherlm.json").read_text():
            assert state(out) == state(wanted)
    assert killed >= 6


def test_a_first_publish_that_was_killed_does_not_bar_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / WORK / "new/data").mkdir(parents=True)
    (out / WORK / "new/data/half.part").write_bytes(b"PAR1")
    publish_folder([publication(tmp_path)], out)
    assert not (out / WORK).exists()


def test_two_publishes_do_not_meet(tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish_folder([publication(tmp_path)], out)
    before = state(out)
    with held(out / WORK / "lock", "the folder"), pytest.raises(MachineFailed, match="is being written by pid"):
        publish_folder([publication(tmp_path, "ecqa")], out)
    shutil.rmtree(out / WORK)
    assert state(out) == before


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (b"{torn", MachineFailed, "is damaged"),
        (b'{"schema_version": 1, "datasets": {"x": {}}}', MachineFailed, "is damaged"),
        (b'{"schema_version": 99}', Mistake, "newer teacherlm"),
    ],
)
def test_a_manifest_that_cannot_be_read_stops_the_publish(
    text: bytes, error: type[TeacherlmError], words: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    publish_folder([publication(tmp_path)], out)
    (out / "teacherlm.json").write_bytes(text)
    before = state(out)
    with pytest.raises(error, match=words):
        publish_folder([publication(tmp_path, "ecqa")], out)
    assert state(out) == before


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish_folder([publication(tmp_path)], out)
    path = out / "teacherlm.json"
    path.write_text(path.read_text().replace("rules/empty.sql", "../mine.txt"))
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(MachineFailed, match="leads out of the folder"):
        publish_folder([publication(tmp_path, files={})], out)
    assert (tmp_path / "mine.txt").exists()


def test_a_dataset_without_rows_is_not_published(tmp_path: Path) -> None:
    empty = {"train": [part(tmp_path / "none.parquet", [])], "test": []}
    with pytest.raises(GateFailed, match="no rows"):
        publish_folder([publication(tmp_path, splits=empty)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_whoever_left_the_source_out_does_not_publish_it_by_leaving_out_an_option(tmp_path: Path) -> None:
    def questions(**changes: Any) -> bool:
        publish_folder([publication(tmp_path / "parts", **changes)], tmp_path / "published")
        (file,) = (tmp_path / "published" / "data" / "creak").glob("train-*.parquet")
        return "question" in pq.read_schema(file).names

    assert not questions(rationales_only=True)
    assert not questions()
    assert questions(rationales_only=False)
    assert questions()


def test_a_secret_that_a_catalogue_holds_does_not_reach_the_card(tmp_path: Path) -> None:
    token = "hf_" + "a" * 30
    checked = LicenceChecked(by="Ada", on="2026-01-01", basis=f"see the ticket, key {token}")
    with pytest.raises(Refused, match=r"README\.md") as caught:
        publish_folder([publication(tmp_path / "parts", licence_checked=checked)], tmp_path / "published")
    assert token not in str(caught.value)
    assert not (tmp_path / "published" / "README.md").exists()
