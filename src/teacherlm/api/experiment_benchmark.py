"""A benchmark as the test of an experiment: asked as `teacherlm evaluate` asks it, its documents as items."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson

from teacherlm.core.errors import MachineFailed
from teacherlm.experiments.declaration import Test
from teacherlm.experiments.results import Item

if TYPE_CHECKING:
    from teacherlm.api.project import Project

METRICS = ("acc", "exact_match")
"""What tells of each document whether its answer is right; the first that a task has."""


def ask_benchmark(project: Project, model: Path, cell: str, name: str, test: Test) -> tuple[dict[str, Any], list[Item]]:
    """Ask a model the documents of a benchmark, or of a group of them.

    Returns:
        The columns of an outcome, and an item for each document; of several filters the last, the most lenient one.

    Raises:
        Mistake: there is no such benchmark, or no metric that counts right answers.
        TeacherlmError: why one of its tasks failed.
    """
    from teacherlm.api.evaluate import evaluate

    assert test.task is not None
    with TemporaryDirectory(prefix="teacherlm-") as folder:
        data = {test.task: test.data} if test.data is not None else None
        found = evaluate(project, str(model), tasks=[test.task], data=data, limit=test.limit, output=folder)
        for _, failure in found.failures:
            raise failure
        items: list[Item] = []
        chances: list[float | None] = []
        cut = 0
        for task in found.tasks:
            figure = [one for one in task.figures if one.metric in METRICS][-1:]
            if not figure:
                raise MachineFailed(
                    f"`{task.name}` has no metric of {' and '.join(METRICS)}", "add acc to its metric_list"
                )
            chances += [figure[0].chance] * figure[0].documents
            cut += len(task.cuts)
            for line in (Path(folder) / task.samples).read_bytes().splitlines():
                sample = orjson.loads(line)
                if sample["filter"] == figure[0].filter:
                    items.append(_item(cell, name, task.name, sample, figure[0].metric))
    right = sum(item.correct for item in items)
    known = [chance for chance in chances if chance is not None]
    return {
        "items": len(items),
        "right": right,
        "accuracy": right / len(items),
        "chance": sum(known) / len(known) if len(known) == len(chances) else None,
        "unanswered": sum(item.predicted is None for item in items),
        "cut": cut,
    }, items


def _item(cell: str, name: str, task: str, sample: dict[str, Any], metric: str) -> Item:
    said = sample["filtered_resps"]
    position = None
    predicted: str | None
    place: int | None = None
    if metric == "acc" and isinstance(said, list) and len(said) > 1:
        scores = [float(one[0]) for one in said]
        place = scores.index(max(scores))
        predicted = str(place)
        position = sample["target"] if isinstance(sample["target"], int) else None
    else:
        text = said[0] if isinstance(said, list) else said
        predicted = None if text == "[invalid]" else str(text)
    return Item(
        cell=cell,
        test=name,
        way="benchmark",
        sample_id=f"{task}/{sample['doc_id']}",
        cluster=f"{task}/{sample['doc_hash']}",
        predicted=predicted,
        answer=str(sample["target"]),
        correct=float(sample[metric]) >= 1.0,
        position=position,
        said=place,
    )
