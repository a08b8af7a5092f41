"""The records that training reads of a workspace or a published place: DuckDB over Parquet, one batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api.session import connect, parquet
from teacherlm.api.sql_published import PublishedSource
from teacherlm.api.train_names import members, some, unbuilt
from teacherlm.api.workspace import Workspace
from teacherlm.core.errors import Mistake
from teacherlm.core.keys import digest, file_digest
from teacherlm.quality.messages import short
from teacherlm.schemas.records import KINDS
from teacherlm.train.declaration import Data
from teacherlm.train.read import BoundTraining, read_layouts

if TYPE_CHECKING:
    import duckdb

    from teacherlm.api.project import Project

COLUMNS = ("sample_id", "dataset", "split", "task", "question", "choices", "answer")
ROWS = 4096
"""Of a batch."""


class Records:
    """Opens the data of a declaration; see `train.records.Opener`."""

    def __init__(self, project: Project, bound: BoundTraining) -> None:
        self._project, self._bound = project, bound
        self._layouts = read_layouts(project.files)
        self._digests: dict[Path, str] = {}
        self._published: dict[str, PublishedSource] = {}

    def __call__(self, data: Data) -> Iterator[Mapping[str, Any]]:
        """The records of one source, in the order of its files.

        Raises:
            Mistake: it is not there, `where` is no condition over its columns, or rationales alone were published.
        """
        connection = connect()
        query = self._query(connection, data)
        reader = self._run(connection, query, data).to_arrow_reader(ROWS)
        for batch in reader:
            yield from batch.to_pylist()

    def count(self, data: Data) -> int:
        """Records that `where` takes, of which `at_most` draws.

        Raises:
            Mistake: see `__call__`.
        """
        connection = connect()
        ((count,),) = self._run(connection, self._query(connection, data), data).aggregate("count(*)").fetchall()
        return int(count)

    def fingerprint(self, data: Data) -> str:
        """Equal exactly where the files are; the condition is no part of it."""
        if data.published is not None:
            return digest([self._source(data).fingerprint, list(data.configs), data.split])
        return digest([self._digest(path) for path in self._files(data)])

    def _query(self, connection: duckdb.DuckDBPyConnection, data: Data) -> str:
        if data.published is not None:
            self._source(data).create(connection, "augmented")
            kept = f"split = {_text(data.split)}"
            if data.configs:
                kept += f" AND dataset IN ({', '.join(map(_text, data.configs))})"
            relation = f"(FROM augmented WHERE {kept})"
        else:
            relation = parquet(self._files(data), "union_by_name = true")
        return f"FROM {relation}" + (f" WHERE ({data.where})" if data.where is not None else "")

    def _run(self, connection: duckdb.DuckDBPyConnection, query: str, data: Data) -> duckdb.DuckDBPyRelation:
        import duckdb

        place = self._place(data)
        try:
            relation = connection.sql(query)
        except duckdb.Error as error:
            if data.where is None:
                raise Mistake(f"cannot be read: {short(error)}", "build and check the dataset again", place) from None
            raise Mistake(
                f"`where` is no condition over the records: {short(error)}",
                "write a DuckDB condition, such as  quality.chain_of_thought.score > 0.8",
                self._place(data, "where"),
            ) from None
        there = set(relation.columns)
        kinds = [kind if kind in there else f"CAST(NULL AS VARCHAR) AS {kind}" for kind in KINDS]
        return relation.project(", ".join([*COLUMNS, *kinds]))

    def _files(self, data: Data) -> list[Path]:
        """The Parquet files of a dataset or a collection."""
        if data.collection is not None:
            from teacherlm.api.collections import open_collection

            opened = open_collection(self._project, data.collection)
            if lacking := unbuilt(opened, data):
                raise Mistake(
                    f"of `{data.collection}` {len(lacking):,} of {len(members(opened, data)):,} datasets have no split "
                    f"`{data.split}` in the workspace: {some(lacking)}",
                    f"build it first: teacherlm build {data.collection}; or name what is not to be had under "
                    "`leave_out` of the collection",
                    self._place(data),
                )
            found = [
                path for name in members(opened, data) for path in self._split(opened.workspace, name, data, False)
            ]
        else:
            assert data.dataset is not None
            found = self._split(self._project.workspace, data.dataset, data, True)
        if not found:
            name = data.dataset or data.collection
            raise Mistake(
                f"`{name}` has no split `{data.split}` in the workspace",
                f"build it first: teacherlm {'run' if self._kinds(data) and data.dataset else 'build'} {name}",
                self._place(data),
            )
        return found

    def _split(self, workspace: Workspace, name: str, data: Data, alone: bool) -> list[Path]:
        """The augmented table of a dataset's split; the samples where it has none and no layout needs a kind.

        Of a collection's dataset also the splits whose names begin so, such as `train_r1`: the collection takes them.
        """
        pattern = f"{data.split}{'' if alone else '*'}/*.parquet"
        augmented = sorted(workspace.augmented(name).glob(pattern))
        if augmented:
            return augmented
        samples = sorted(workspace.samples(name).glob(pattern))
        kinds = self._kinds(data)
        if samples and kinds and data.fallback is None:
            raise Mistake(
                f"`{name}` has samples but no rationales yet, and the layouts need {' and '.join(sorted(kinds))}",
                f"explain and check it first: teacherlm augment {name}, then teacherlm check {name}",
                self._place(data),
            )
        return samples

    def _kinds(self, data: Data) -> set[str]:
        """Those that the layouts need."""
        return {kind for layout in data.layouts if layout in self._layouts for kind in self._layouts[layout].kinds}

    def _source(self, data: Data) -> PublishedSource:
        given = str(data.published)
        if given not in self._published:
            here = self._project.files.root / given
            place = str(here) if "://" not in given and not Path(given).is_dir() and here.is_dir() else given
            try:
                source = PublishedSource(place)
            except Mistake as error:
                raise Mistake(error.found, error.remedy, self._place(data)) from None
            if unknown := [name for name in data.configs if name not in source.datasets]:
                known = ", ".join(source.datasets)
                place = self._place(data, "configs")
                raise Mistake(f"`{unknown[0]}` is not published there", f"it has {known}", place)
            self._published[given] = source
        return self._published[given]

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = file_digest(path)
        return self._digests[path]

    def _place(self, data: Data, key: str | None = None) -> str:
        for number, stage in enumerate(self._bound.training.stages):
            for place, one in enumerate(stage.data):
                if one == data:
                    loc: Sequence[str | int] = ("stages", number, "data", place, *([key] if key else []))
                    return self._bound.where(tuple(loc))
        return self._bound.where(("stages",))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
