"""What the data of a training has: counted in the workspace where it is built, else as recipes declare it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.api.session import connect, parquet
from teacherlm.api.tokens import PER_TOKEN
from teacherlm.api.train_names import members, shipped, unbuilt
from teacherlm.builders.collection import declared_splits
from teacherlm.builders.mixing import sizes
from teacherlm.core.errors import Mistake
from teacherlm.project.layouts import LEADS, Layout
from teacherlm.train.declaration import Data, Stage
from teacherlm.train.forecast import Read, estimated

if TYPE_CHECKING:
    from teacherlm.api.collections import OpenCollection
    from teacherlm.api.project import Project

LOOKED_AT = 200
"""Made questions that are drawn to measure their length."""


class Sizes:
    """Measures the sources of stages.

    Args:
        text_tokens: of one text, if the person who asks has said so.
    """

    def __init__(self, project: Project, layouts: Mapping[str, Layout], window: int, text_tokens: int | None) -> None:
        self._project, self._layouts, self._window, self._tokens = project, layouts, window, text_tokens
        self._opened: dict[str, OpenCollection] = {}

    def of(self, stage: Stage) -> list[Read]:
        """What each source of a stage gives in an epoch."""
        return [self._read(data) for data in stage.data]

    def _read(self, data: Data) -> Read:
        if data.procedural is not None:
            return self._made(data)
        if (files := self._built(data)) and self._tokens is None:
            return self._counted(data, files)
        return estimated(data, self._declared(data), self._layouts, self._window, self._tokens)

    def _built(self, data: Data) -> list[Path]:
        """Parquet files of all of a source; none where some of it is not built."""
        workspace = self._project.workspace
        if data.published is not None:
            return []
        if data.dataset is not None:
            return self._files([workspace.augmented(data.dataset), workspace.samples(data.dataset)], data)
        opened = self._collection(str(data.collection))
        found: list[Path] = []
        if unbuilt(opened, data):
            return []
        for name in members(opened, data):
            found += self._files([opened.workspace.augmented(name), opened.workspace.samples(name)], data)
        return found

    def _collection(self, name: str) -> OpenCollection:
        if name not in self._opened:
            own = self._project
            self._opened[name] = (own if name in own.collections else shipped(own)).collection(name)
        return self._opened[name]

    @staticmethod
    def _files(folders: Sequence[Path], data: Data) -> list[Path]:
        pattern = f"{data.split}{'*' if data.collection is not None else ''}/*.parquet"
        return next((files for folder in folders if (files := sorted(folder.glob(pattern)))), [])

    def _counted(self, data: Data, files: Sequence[Path]) -> Read:
        connection = connect()
        relation = parquet(files, "union_by_name = true")
        try:
            there = set(connection.sql(f"FROM {relation}").columns)
            kept = f"({data.where})" if data.where is not None else "true"
            records = int(connection.execute(f"SELECT count(*) FROM {relation} WHERE {kept}").fetchall()[0][0])
            tokens = 0
            for name in data.layouts:
                tokens += self._layout_tokens(connection, relation, kept, self._layouts[name], there)
                if data.fallback is not None and (kinds := self._layouts[name].kinds):
                    lacking = " OR ".join(f"{kind} IS NULL" if kind in there else "true" for kind in kinds)
                    fallback = self._layouts[data.fallback]
                    tokens += self._layout_tokens(connection, relation, f"{kept} AND ({lacking})", fallback, there)
        except Exception as error:
            import duckdb

            if not isinstance(error, duckdb.Error):
                raise
            found = f"`{data.dataset or data.collection}` cannot be counted: {str(error).splitlines()[0]}"
            raise Mistake(found, "look at `where`, or build and check the dataset again") from None
        share = min(data.at_most, records) / records if data.at_most and records else 1.0
        return Read(
            source=str(data.dataset or data.collection),
            records=round(records * share),
            tokens=round(tokens * share * data.weight),
            by=f"counted in the workspace, characters / {PER_TOKEN}",
        )

    def _layout_tokens(self, connection: object, relation: str, kept: str, layout: Layout, there: set[str]) -> int:
        """Tokens of the records that have a layout's kinds; the window's at most for each."""
        import duckdb

        assert isinstance(connection, duckdb.DuckDBPyConnection)
        parts, needed = [], [kept]
        for part in (*layout.prompt, *layout.response):
            lead = len(LEADS.get(part, "")) + 2
            if part == "question":
                choices = "coalesce(list_sum(list_transform(choices, lambda c: length(c) + 5)), 0)"
                parts.append(f"length(question) + {choices} + 6")
            elif part == "answer":
                parts.append(f"length(answer) + {lead}")
            elif part == "options":
                parts.append("coalesce(list_sum(list_transform(choices, lambda c: length(c) + 10)), 0) / 2")
            elif part not in there:
                return 0
            else:
                parts.append(f"length({part}) + {lead}")
                needed.append(f"{part} IS NOT NULL")
        each = f"least(ceil(({' + '.join(parts)}) / {PER_TOKEN}) + 1, {self._window})"
        query = f"SELECT coalesce(sum({each}), 0) FROM {relation} WHERE {' AND '.join(needed)}"
        return int(connection.execute(query).fetchall()[0][0])

    def _declared(self, data: Data) -> int | None:
        """Records as recipes declare them, about."""
        if data.published is not None:
            return None
        if data.collection is not None:
            return self._samples(self._collection(data.collection))
        name = str(data.dataset)
        project = self._project if name in self._project.datasets else shipped(self._project)
        if name not in project.datasets:
            return None
        source = project.recipe(name).recipe.source
        if data.split not in declared_splits(source):
            return None
        return (source.rows or {}).get(data.split)

    @staticmethod
    def _samples(opened: OpenCollection) -> int | None:
        """Samples of a collection, by the rows that its members' recipes declare."""
        rows = {member.dataset: member.rows for member in opened.members}
        if None in rows.values():
            return None
        known, declared = {name: count or 0 for name, count in rows.items()}, opened.declared
        return sum(sizes(known, declared.samples, at_most=declared.at_most, mixing=declared.mixing).values())

    def _made(self, data: Data) -> Read:
        from teacherlm.curriculum.draw import questions
        from teacherlm.curriculum.families import families
        from teacherlm.curriculum.records import record
        from teacherlm.project.layouts import render

        asked = data.procedural
        assert asked is not None
        wanted = families(asked.families)
        records = [record(one) for one in questions(wanted, asked.split, min(asked.count, LOOKED_AT), asked.seed)]
        tokens = 0.0
        for name in data.layouts:
            lengths = [
                min(-(-len(render(self._layouts[name], one).text) // PER_TOKEN) + 1, self._window) for one in records
            ]
            tokens += sum(lengths) / len(lengths)
        count = min(asked.count, data.at_most or asked.count)
        each = self._tokens * len(data.layouts) if self._tokens else tokens
        by = "the number given" if self._tokens else f"{len(records)} made questions, characters / {PER_TOKEN}"
        name = f"procedural, {len(wanted)} families"
        return Read(source=name, records=count, tokens=round(count * each * data.weight), by=by)
