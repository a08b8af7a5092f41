"""What stays in the workspace: where the teacher listens is nobody's business who reads a published dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hub_samples
import teacherlm
from recipes import parquet, recipe
from scripted import sensible
from teacherlm.hub.folder import publish_folder
from teacherlm.schemas.records import Column, record
from teacherlm.teacher.client import Retry
from unkind import DROP, Asked, Reply, fails, says, unkind_in_a_thread

OF_THE_WORKSPACE = {"endpoint", "parameters", "latency_ms", "failure", "attempts", "prompt_sha256", "created_at"}
"""Columns of the ledger that are not published; a call's key stands for its parameters."""

ROWS: list[dict[str, Any]] = [
    {"q": "Which metal rusts when it is wet?", "a": "iron"},
    {"q": "Which animal gives us wool for warm coats?", "a": "sheep"},
    {"q": "What breaks the connection?", "a": "a reset"},
    {"q": "What is too long?", "a": "this"},
]


def names(columns: tuple[Column, ...]) -> Iterator[str]:
    for column in columns:
        yield column.name
        yield from names(column.fields)


def test_the_published_record_has_no_column_of_the_workspace() -> None:
    ledger = set(record("rationale").names)
    assert ledger >= OF_THE_WORKSPACE
    assert not set(names(record("augmented").columns)) & OF_THE_WORKSPACE


def everything(folder: Path) -> str:
    """All that a reader of a published folder can see, the cells of its tables too."""
    parts = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    for path in folder.rglob("*"):
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            parts += [str(table.schema), str(table.to_pylist())]
        elif path.is_file():
            parts.append(path.read_text(encoding="utf-8"))
    return "\n".join(parts)


def test_the_teachers_address_is_nowhere_in_what_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "delay", lambda self, failures: 0.0)

    def answer(asked: Asked) -> Reply:
        if "connection" in asked.prompt:
            return DROP
        if "too long" in asked.prompt:
            return fails(422, f"too long for {server.url}", "validation")
        return says(sensible(asked.prompt))

    parquet(tmp_path / "p" / "builders" / "rows.parquet", ROWS)
    recipe(tmp_path / "p", gates={"max_failed": 1.0})
    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    with unkind_in_a_thread(answer) as server:
        project.run("d", teacher=server.url, to=tmp_path / "published")
    kept = project.sql("SELECT DISTINCT endpoint FROM rationales").fetchall()
    assert kept == [(server.url,)]
    assert project.sql("SELECT count(*) FROM rationales WHERE status = 'failed'").fetchall() == [(6,)]
    seen = everything(tmp_path / "published")
    assert "Which metal rusts" in seen
    assert "unkind/teacher" in seen
    assert "127.0.0.1" not in seen
    assert server.url.rpartition(":")[2] not in seen.split()


@pytest.mark.parametrize("alone", [False, True])
def test_a_part_with_more_columns_is_published_without_them(tmp_path: Path, alone: bool) -> None:
    publication = hub_samples.publication(tmp_path / "parts", rationales_only=alone)
    for paths in publication.splits.values():
        for path in paths:
            table = pq.read_table(path)
            url = pa.array(["http://teacher.internal:8080"] * len(table))
            pq.write_table(table.append_column("endpoint", url).append_column("parameters", url), path)
    publish_folder([publication], tmp_path / "published")
    assert "teacher.internal" not in everything(tmp_path / "published")
