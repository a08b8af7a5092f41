"""What an experiment has found: a row for each cell, test and way, and one for each item; kept as Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from teacherlm.core.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

CELLS, ITEMS = "cells.parquet", "items.parquet"
"""In the experiment's folder of the workspace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a model of one cell did in one test, asked in one way."""

    experiment: str
    cell: str
    """16 hex digits: equal exactly where training, data and tests are."""
    factors: Mapping[str, str]
    """Factor -> level, every factor of the experiment."""
    seed: int
    test: str
    way: str
    status: Literal["done", "failed"] = "done"
    failure: str | None = None
    """What failed and what to do; the numbers are then 0 or None."""
    items: int = 0
    right: int = 0
    accuracy: float | None = None
    """From 0 to 1."""
    chance: float | None = None
    """Accuracy of guessing; None for free text."""
    unanswered: int = 0
    """Writings in which no answer was found."""
    cut: int = 0
    """Prompts of which a part did not fit into the window."""
    parameters: int = 0
    texts: int = 0
    """That training read, each once."""
    tokens: int = 0
    """That training read, over all epochs; padding not counted."""
    steps: int = 0
    loss: float | None = None
    """Mean of the last tenth of the steps."""
    train_seconds: float = 0.0
    train_cpu_seconds: float = 0.0
    test_seconds: float = 0.0
    test_cpu_seconds: float = 0.0
    calls: int = 0
    """Teacher calls that its training data took."""
    call_tokens: int = 0
    """Tokens that the teacher generated for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question of a test, as a model answered it."""

    cell: str
    test: str
    way: str
    sample_id: str
    cluster: str
    """What it asks; questions of one content are no independent ones."""
    predicted: str | None
    answer: str
    correct: bool
    position: int | None = None
    """Of the gold answer among the options, from 0."""
    said: int | None = None
    """Of the predicted one."""
    text: str | None = None
    """What was written."""


@dataclass(frozen=True, slots=True)
class Results:
    """All of an experiment."""

    outcomes: tuple[Outcome, ...]
    items: Mapping[tuple[str, str, str], tuple[Item, ...]] = field(default_factory=dict)
    """By cell, test and way, in the order of the test's questions: equal over cells."""

    def of(self, outcome: Outcome) -> tuple[Item, ...]:
        """The items behind an outcome; empty where it failed."""
        return self.items.get((outcome.cell, outcome.test, outcome.way), ())


def write_results(folder: Path, outcomes: Sequence[Outcome], items: Iterable[Item]) -> None:
    """Write both tables, each at once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{**asdict(one), "factors": list(one.factors.items())} for one in outcomes]
    tables = {
        CELLS: pa.Table.from_pylist(rows, schema=cells_schema()),
        ITEMS: pa.Table.from_pylist([asdict(one) for one in items], schema=items_schema()),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        with replacing(folder / name) as temporary:
            pq.write_table(table, temporary, compression="zstd")


def read_results(folder: Path) -> Results | None:
    """What `write_results` wrote; None where nothing was run yet."""
    import pyarrow.parquet as pq

    if not (folder / CELLS).is_file():
        return None
    outcomes = [
        Outcome(**{**row, "factors": dict(row["factors"])}) for row in pq.read_table(folder / CELLS).to_pylist()
    ]
    items: dict[tuple[str, str, str], list[Item]] = {}
    for row in pq.read_table(folder / ITEMS).to_pylist():
        one = Item(**row)
        items.setdefault((one.cell, one.test, one.way), []).append(one)
    return Results(tuple(outcomes), {key: tuple(found) for key, found in items.items()})


def cells_schema() -> pa.Schema:
    """Of `cells.parquet`; `factors` is a map, so that SQL says `factors['kinds']`."""
    import pyarrow as pa

    types: dict[str, Any] = {"factors": pa.map_(pa.string(), pa.string())}
    return _schema(Outcome, types)


def items_schema() -> pa.Schema:
    """Of `items.parquet`."""
    return _schema(Item, {})


def _schema(kind: type, types: Mapping[str, Any]) -> pa.Schema:
    import pyarrow as pa

    by_name = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    return pa.schema(
        [(one.name, types.get(one.name, by_name.get(str(one.type).split(" ")[0], pa.string()))) for one in fields(kind)]
    )
