"""Small recipes and sources for the tests of the builders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from teacherlm.builders.build import Built, build
from teacherlm.builders.mapping import BoundRecipe
from teacherlm.builders.read import read_recipe
from teacherlm.builders.sources import open_source
from teacherlm.project.find import ProjectFiles

Rows = Sequence[Mapping[str, Any]]


def recipe(folder: Path, sample: Mapping[str, str] | None = None, name: str = "d", **entries: Any) -> BoundRecipe:
    """A recipe in a project of its own, read as any other."""
    declared = {
        "title": name.upper(),
        "source": {"files": "rows.parquet"},
        "license": "MIT",
        "redistribution": "allowed",
        "task": "test",
        "sample": dict(sample or {"question": "q", "answer": "a"}),
        **entries,
    }
    return written(folder, yaml.safe_dump(declared, sort_keys=False, width=1000), name)


def written(folder: Path, text: str, name: str = "d") -> BoundRecipe:
    """A recipe as its file is written."""
    (folder / "builders").mkdir(parents=True, exist_ok=True)
    (folder / "catalog.yaml").touch()
    (folder / "builders" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return read_recipe(ProjectFiles(folder), name)


def parquet(path: Path, rows: Rows, schema: pa.Schema | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), path)
    return path


def built(bound: BoundRecipe, source: Path, out: Path, *, split: str | None = None, force: bool = False) -> Built:
    opened = open_source(bound.recipe, bound.located.path.parent, source=source, split=split)
    return build(bound, opened, out, force=force)


def samples(out: Path, split: str = "train") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / split / "00000.parquet").to_pylist()
    return rows


def rejects(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "rejects.parquet").to_pylist()
    return rows


def column(rows: Iterable[Mapping[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]
