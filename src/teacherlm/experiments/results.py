"""What an experiment has found: a row for each cell, test and way, and one for each item; kept as Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from teacherlm.core.errors import MachineFailed
from teacherlm.core.files import replacing
from teacherlm.schemas.records import record

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
    train_gpu_seconds: float | None = None
    """Of all GPUs, 0 on a CPU; None: it was not measured."""
    test_seconds: float = 0.0
    test_cpu_seconds: float = 0.0
    test_gpu_seconds: float | None = None
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


def write_results(folder: Path, experiment: str, outcomes: Sequence[Outcome], items: Iterable[Item]) -> None:
    """Write both tables, each at once; their columns are those of `schemas/experiment_*.yaml`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [{**asdict(one), "factors": orjson.dumps(dict(one.factors)).decode()} for one in outcomes]
    asked = [{"experiment": experiment, **asdict(one)} for one in items]
    tables = {
        CELLS: pa.Table.from_pylist(cells, schema=record("experiment_cell").arrow()),
        ITEMS: pa.Table.from_pylist(asked, schema=record("experiment_item").arrow()),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        with replacing(folder / name) as temporary:
            pq.write_table(table, temporary, compression="zstd")


def read_results(folder: Path) -> Results | None:
    """What `write_results` wrote; None where nothing was run yet.

    Raises:
        MachineFailed: a file is damaged.
    """
    if not (folder / CELLS).is_file():
        return None
    outcomes = [Outcome(**{**row, "factors": orjson.loads(row["factors"])}) for row in _rows(folder / CELLS)]
    items: dict[tuple[str, str, str], list[Item]] = {}
    for row in _rows(folder / ITEMS):
        del row["experiment"]
        one = Item(**row)
        items.setdefault((one.cell, one.test, one.way), []).append(one)
    return Results(tuple(outcomes), {key: tuple(found) for key, found in items.items()})


def _rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (OSError, ValueError) as error:  # Arrow's errors are ValueErrors
        raise MachineFailed(
            f"cannot be read: {error}", "run the experiment again: the cells that were done are kept", str(path)
        ) from None
    return rows
