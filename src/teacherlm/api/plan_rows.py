"""The samples that a plan shows and counts: built ones, else those of a local source's first rows, else `given`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from teacherlm.api.human import COLUMN, has_human
from teacherlm.api.samples import ASKED_COLUMNS, count_samples, sample_batches
from teacherlm.api.workspace import Workspace
from teacherlm.builders.build import read_manifest
from teacherlm.builders.mapping import BoundRecipe, check_expressions, connect, given_table, mapped_query
from teacherlm.builders.sources import OpenSource, open_source
from teacherlm.core.errors import Mistake, Mistakes

LOOKED_AT = 1000
"""Samples whose prompts are counted."""


@dataclass(frozen=True)
class PlanRows:
    """Samples for a plan, and how many there will be."""

    origin: str
    """`samples`, `source` or `given`."""
    samples: list[dict[str, Any]]
    """The first ones."""
    number: int | None
    """Samples in all; exact only where they are built."""
    rows: int | None = None
    """Rows of a source that is not built."""

    @property
    def explained(self) -> float:
        """Share of the samples that have a human rationale."""
        return sum(map(has_human, self.samples)) / len(self.samples) if self.samples else 0.0


def plan_rows(workspace: Workspace, bound: BoundRecipe) -> PlanRows:
    """Find the samples of a plan; nothing is built, and no Hub is asked.

    Raises:
        Mistakes: expressions that do not fit the local source.
    """
    if read_manifest(workspace.samples(bound.name)):
        files = workspace.sample_files(bound.name)
        batches = sample_batches(files, LOOKED_AT, (*ASKED_COLUMNS, COLUMN))
        return PlanRows("samples", [row for batch in batches for row in batch], count_samples(files, None), None)
    if bound.recipe.source.files is not None:
        try:
            opened = open_source(bound.recipe, bound.located.path.parent)
        except Mistake:
            opened = None  # `build` will say what is wrong with the files; the recipe can be looked at without them
        if opened is not None:
            return _of_source(bound, opened)
    declared = bound.recipe.source.counted
    number = sum(declared.values()) if declared else None
    return PlanRows("given", _of_given(bound), number, number)


def _of_source(bound: BoundRecipe, opened: OpenSource) -> PlanRows:
    samples: list[dict[str, Any]] = []
    rows = looked_at = good = 0
    connection = connect(threads=1)
    for part in opened.splits:
        part.register(connection)
        if problems := check_expressions(bound, connection):
            raise Mistakes(problems)
        count = int(connection.execute("SELECT count(*) FROM source").fetchall()[0][0])
        first = f"(SELECT * FROM source LIMIT {LOOKED_AT})"
        mapped = mapped_query(bound.recipe, part.split, first)
        found = connection.sql(f"FROM ({mapped}) WHERE reason IS NULL ORDER BY row").to_arrow_table().to_pylist()
        rows, looked_at, good = rows + count, looked_at + min(count, LOOKED_AT), good + len(found)
        samples += found[: LOOKED_AT - len(samples)]
    return PlanRows("source", samples, round(rows * good / looked_at) if looked_at else 0, rows)


def _of_given(bound: BoundRecipe) -> list[dict[str, Any]]:
    if not bound.recipe.given:
        return []
    connection = connect(threads=1)
    connection.register("given", given_table(bound.recipe, connection))
    query = f"FROM ({mapped_query(bound.recipe, 'given', 'given')}) WHERE reason IS NULL ORDER BY row"
    rows: list[dict[str, Any]] = connection.sql(query).to_arrow_table().to_pylist()
    return rows
