"""What is published is what was asked, judged and declared: nothing may change between the steps unnoticed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

import teacherlm
from recipes import parquet, recipe
from scripted import teacher
from teacherlm.core.errors import GateFailed, MachineFailed, Mistake
from teacherlm.core.files import mend_folder, replacing_folder

ROWS: list[dict[str, Any]] = [
    {"q": "Which metal rusts when it is wet?", "a": "iron"},
    {"q": "Which animal gives us wool for warm coats?", "a": "sheep"},
]


@pytest.fixture
def project(tmp_path: Path) -> teacherlm.Project:
    """A dataset that was built, augmented and checked."""
    parquet(tmp_path / "p" / "builders" / "rows.parquet", ROWS)
    recipe(tmp_path / "p")
    opened = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    with teacher() as server:
        opened.run("d", teacher=server.url)
    return opened


def edit(project: teacherlm.Project, old: str, new: str) -> None:
    path = project.files.root / "builders" / "d.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_recipe_that_was_edited_since_the_build_is_not_published(project: teacherlm.Project, tmp_path: Path) -> None:
    edit(project, "question: q", "question: \"'Say: ' || q\"")
    for step in (lambda: project.publish("d", to=tmp_path / "published"), lambda: project.check("d")):
        with pytest.raises(Mistake, match="has changed since its samples were built"):
            step()
    assert "has changed since" in project.status()[0]["state"]


def test_texts_of_an_old_question_are_not_published_with_a_new_one(tmp_path: Path) -> None:
    parquet(tmp_path / "p" / "builders" / "rows.parquet", [{"i": str(n), **row} for n, row in enumerate(ROWS)])
    recipe(tmp_path / "p", {"question": "q", "answer": "a", "id": "i"})
    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    with teacher() as server:
        project.run("d", teacher=server.url)
        edit(project, "question: q", "question: \"'Say: ' || q\"")
        project.build("d")
        project.check("d")
        with pytest.raises(GateFailed, match="prompts or questions since the teacher was asked"):
            project.publish("d", to=tmp_path / "published")
        project.run("d", teacher=server.url, to=tmp_path / "published")


def test_prompts_that_were_edited_since_the_teacher_was_asked_are_said(
    project: teacherlm.Project, tmp_path: Path
) -> None:
    project.publish("d", to=tmp_path / "published")
    assert (tmp_path / "published" / "prompts" / "paper.yaml").is_file()
    assert not (tmp_path / "published" / "prompts" / "chat.yaml").exists()
    prompts = project.files.root / "builders" / "prompts"
    prompts.mkdir()
    text = (tmp_path / "published" / "prompts" / "paper.yaml").read_text()
    (prompts / "paper.yaml").write_text(text.replace("The fundamental of this question is:", "The basics are:"))
    with pytest.raises(GateFailed, match="prompts or questions since the teacher was asked"):
        project.publish("d", to=tmp_path / "published")


def test_a_report_that_was_edited_does_not_pass(tmp_path: Path) -> None:
    parquet(tmp_path / "p" / "builders" / "rows.parquet", ROWS)
    recipe(tmp_path / "p")
    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    with teacher(lambda prompt: "") as server:
        assert not project.run("d", teacher=server.url).report.passed  # type: ignore[union-attr]
    path = project.workspace.report("d")
    path.write_bytes(path.read_bytes().replace(b'"passed": false', b'"passed": true'))
    with pytest.raises(GateFailed, match="by the verdicts max_rejected"):
        project.publish("d", to=tmp_path / "published")


def test_a_damaged_report_is_written_again(project: teacherlm.Project) -> None:
    project.workspace.report("d").write_text('{"dataset": "d"')
    assert project.check("d", only_if_stale=True).passed


@pytest.mark.parametrize("loss", ["split", "rows", "manifest"])
def test_samples_that_were_lost_are_built_again(project: teacherlm.Project, loss: str) -> None:
    folder = project.workspace.samples("d")
    path = folder / "train" / "00000.parquet"
    if loss == "split":
        shutil.rmtree(folder / "train")
    elif loss == "rows":
        pq.write_table(pq.read_table(path).slice(0, 1), path)
    else:
        (folder / "manifest.json").write_bytes(orjson.dumps({}))
        with pytest.raises(MachineFailed, match="is no manifest"):
            project.build("d")
    assert not project.build("d", force=loss == "manifest").reused
    assert project.sql("SELECT count(*) FROM samples").fetchall() == [(2,)]


def test_one_dataset_that_cannot_be_read_hides_no_other(project: teacherlm.Project, tmp_path: Path) -> None:
    shutil.copytree(project.workspace.samples("d"), project.workspace.samples("e"))
    project.workspace.report("d").write_text("{")
    states = {row["dataset"]: row["state"] for row in project.status()}
    assert "is not JSON" in states["d"] or "cannot be read" in states["d"]
    assert states["e"] == "built"


def test_a_writer_that_was_killed_between_two_renames_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "samples" / "d"
    with replacing_folder(path) as folder:
        (folder / "one").write_text("1")
    path.rename(path.with_name(".d.12345678.old"))  # as on systems that cannot let two folders change places
    path.with_name(".d.12345678.tmp").mkdir()
    mend_folder(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["d"]
    assert (path / "one").read_text() == "1"


def test_a_reader_always_finds_a_folder_that_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "d"
    with replacing_folder(path) as folder:
        (folder / "one").write_text("1")
    descriptor = os.open(path, os.O_RDONLY)
    with replacing_folder(path) as folder:
        (folder / "one").write_text("2")
        assert (path / "one").read_text() == "1"
    os.close(descriptor)
    assert (path / "one").read_text() == "2"
    assert [entry.name for entry in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("split", ["../../x", ".hid", "a b", ""])
def test_a_split_that_is_no_name_is_refused(tmp_path: Path, split: str) -> None:
    rows = parquet(tmp_path / "rows.parquet", ROWS)
    recipe(tmp_path / "p")
    with pytest.raises(Mistake, match="is no name of a split"):
        teacherlm.open(tmp_path / "p", workspace=tmp_path / "w").build("d", source=rows, split=split)


def test_an_expression_is_one_expression(tmp_path: Path) -> None:
    parquet(tmp_path / "p" / "builders" / "rows.parquet", ROWS)
    target = tmp_path / "written.csv"
    recipe(tmp_path / "p", {"question": f"q) FROM source; COPY (SELECT 1) TO '{target}'; SELECT (1", "answer": "a"})
    with pytest.raises(Mistake) as caught:
        teacherlm.open(tmp_path / "p", workspace=tmp_path / "w").build("d")
    assert "is more than an expression" in str(caught.value)
    assert not target.exists()
