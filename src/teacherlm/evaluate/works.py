"""From a declared task and its documents to what is asked; from a declared group to what is told of it."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from teacherlm.core.errors import Mistake
from teacherlm.evaluate.aggregate import Aggregate
from teacherlm.evaluate.benchmarks import BoundGroup, BoundTask
from teacherlm.evaluate.documents import Documents
from teacherlm.evaluate.filters import read_filters
from teacherlm.evaluate.metrics import read_metrics
from teacherlm.evaluate.requests import Work, generation
from teacherlm.evaluate.results import Grouped
from teacherlm.evaluate.task import Fewshot, Task

_PYTHON = ("process_docs", "fewshot_indices")
"""Of the harness's few-shot settings those that declarations here do not have; it writes them as null."""


def check(bound: BoundTask) -> None:
    """Look at a task's metrics, filters and settings before any row is read.

    Raises:
        Mistake: one that is unknown; says where.
    """
    _parts(bound)


def make_work(bound: BoundTask, documents: Documents) -> Work:
    """A task with its documents.

    Raises:
        Mistake: it has none, or something that it declares is unknown; says where.
    """
    task = bound.task
    if not documents.items:
        raise Mistake(*_empty(documents), bound.where(("task",)))
    metrics, pipelines, written = _parts(bound)
    return Work(
        name=task.task,
        alias=task.task_alias or task.task,
        config=config(task, documents.shots, written) | {"metadata": _metadata(bound)},
        version=task.version,
        shots=documents.shots,
        options=task.output_type == "multiple_choice",
        items=documents.items,
        documents=documents.total,
        refused=len(documents.refused),
        delimiter=task.target_delimiter,
        generation=written,
        repeats=task.repeats,
        metrics=metrics,
        pipelines=pipelines,
    )


def _empty(documents: Documents) -> tuple[str, str]:
    if not documents.refused:
        return "its split has no rows", "name another split, or other --data"
    first = documents.refused[0]
    of = f" of {documents.place}" if documents.place else ""
    return f"no document{of} can be asked; the first, {first.doc_id}: {first.found}", "correct the task or its data"


def _parts(bound: BoundTask) -> tuple[Any, Any, dict[str, Any]]:
    task = bound.task
    options = task.output_type == "multiple_choice"
    metrics = read_metrics(task.output_type, task.metric_list, bound.where)
    pipelines = read_filters(task.filter_list, task.repeats, bound.where, of_text=not options)
    written = {} if options else generation(task.generation_kwargs, task.fewshot_delimiter, bound.where)
    return metrics, pipelines, written


def config(task: Task, shots: int, written: dict[str, Any]) -> dict[str, Any]:
    """A task as the harness writes it into its results: with its defaults, without what is null.

    Args:
        shots: examples before each question.
        written: `generation_kwargs` with their defaults; empty where options are compared.

    Source: `lm_eval/config/task.py` (`TaskConfig.to_dict`).
    """
    few = {field.name: _plain(getattr(task.fewshot, field.name)) for field in fields(Fewshot)}
    # Tags are gone by then: they only name tasks.
    found = {name: _plain(value) for name, value in asdict(task).items() if name != "tag"}
    found |= {
        "fewshot_config": few | dict.fromkeys(_PYTHON),
        "num_fewshot": shots,
        "generation_kwargs": written or None,
        "unsafe_code": False,
    }
    return {name: value for name, value in found.items() if value is not None}


def _metadata(bound: BoundTask) -> dict[str, Any]:
    return {**(bound.task.metadata or {}), "config_source": bound.located.shown}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def make_group(bound: BoundGroup) -> Grouped:
    """A group, without figures."""
    return Grouped(
        name=bound.name,
        alias=bound.group.group_alias or bound.name,
        version=bound.group.version,
        members=tuple(one.name for one in bound.members),
        tasks=tuple(one.name for one in bound.tasks),
        aggregates=tuple(
            Aggregate(metric=one.metric, filters=one.filters, weight_by_size=one.weight_by_size)
            for one in bound.group.aggregates
        ),
    )
