"""The answers of a model to a task, judged: a line for each document, and the figures of the task.

Lines have the keys and values of lm-evaluation-harness 0.4.13 (`lm_eval/evaluator.py`, `lm_eval/loggers`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from teacherlm.core.errors import Mistake
from teacherlm.core.keys import text_digest
from teacherlm.evaluate.aggregate import Figure, by_lot, figure
from teacherlm.evaluate.documents import Item
from teacherlm.evaluate.filters import Pipeline
from teacherlm.evaluate.metrics import Value, of_options, of_text
from teacherlm.evaluate.requests import Answer, Answers, Work

OF_OPTIONS = ("acc", "acc_norm", "acc_bytes")
"""Metrics that answers by lot reach a known share of."""


@dataclass(frozen=True)
class Judged:
    """A task's figures, and what its lines come to."""

    figures: tuple[Figure, ...]
    lines: list[dict[str, Any]]
    """One for each filter and document."""
    fingerprint: str
    """The harness's `task_hash`, over documents, prompts and gold answers."""
    without_gold: int = 0
    """Documents whose gold answer is none of their options; they count as wrong, as in the harness."""


def judge(work: Work, answers: Answers) -> Judged:
    """Judge all documents of a task.

    Raises:
        Mistake: the documents have no gold answers.
    """
    lines: list[dict[str, Any]] = []
    figures: list[Figure] = []
    chance = by_lot(_options(work))
    shared = [_shared(work, item) for item in work.items]
    for pipeline in work.pipelines:
        values: dict[str, list[Value]] = {}
        for item, own, of in zip(work.items, shared, answers.of, strict=True):
            filtered = [pipeline.apply(repeats) for repeats in of]
            metrics = _metrics(work, item, filtered)
            lines.append(_line(own, of, filtered, pipeline, metrics))
            for name, value in metrics.items():
                values.setdefault(name, []).append(value)
        better = {metric.name: metric.higher_is_better for metric in work.metrics}
        for name, column in values.items():
            by = chance if name in OF_OPTIONS or not work.options else None
            figures.append(figure(name, pipeline.name, column, higher_is_better=better[name], chance=by))
    lacking = sum(not _has_gold(item) for item in work.items) if work.options else 0
    if lacking == len(work.items):
        raise Mistake(
            "no document has a gold answer among its options",
            "correct doc_to_target, or name a split that has answers",
            work.name,
        )
    return Judged(tuple(figures), lines, fingerprint(lines), lacking)


def fingerprint(lines: list[dict[str, Any]]) -> str:
    """Of the documents, prompts and gold answers of all lines."""
    return text_digest("".join(line["doc_hash"] + line["prompt_hash"] + line["target_hash"] for line in lines))


def _options(work: Work) -> Iterator[tuple[int, int]]:
    for item in work.items:
        yield len(item.choices), len(set(item.gold)) if isinstance(item.gold, list) else 1


def _metrics(work: Work, item: Item, filtered: list[Any]) -> dict[str, Value]:
    if not work.options:
        return of_text(work.metrics, filtered[0], item.gold)
    likelihoods, greedy = [one[0] for one in filtered], [one[1] for one in filtered]
    return of_options(work.metrics, likelihoods, greedy, item.choices, item.gold)


def _has_gold(item: Item) -> bool:
    if isinstance(item.gold, str):
        return item.gold in item.choices
    places = item.gold if isinstance(item.gold, list) else [item.gold]
    return any(0 <= place < len(item.choices) for place in places)


def _shared(work: Work, item: Item) -> dict[str, Any]:
    """The part of a line that all filters have in common."""
    arguments = work.arguments(item)
    text = json.dumps(item.doc, indent=2, default=plain, ensure_ascii=False)
    return {
        "doc_id": item.doc_id,
        "doc": item.doc,
        "target": str(item.target),
        "arguments": {
            f"gen_args_{number}": {f"arg_{place}": part for place, part in enumerate(one)}
            for number, one in enumerate(arguments)
        },
        "doc_hash": text_digest(text),
        "prompt_hash": text_digest(arguments[0][0]),
        "target_hash": text_digest(str(item.target)),
    }


def _line(
    shared: Mapping[str, Any],
    of: list[list[Answer]],
    filtered: list[Any],
    pipeline: Pipeline,
    metrics: Mapping[str, Value],
) -> dict[str, Any]:
    return {
        **{name: shared[name] for name in ("doc_id", "doc", "target", "arguments")},
        "resps": texts(of),
        "filtered_resps": texts(filtered),
        "filter": pipeline.name,
        "metrics": list(metrics),
        **{name: shared[name] for name in ("doc_hash", "prompt_hash", "target_hash")},
        **metrics,
    }


def texts(value: Any) -> Any:
    """All numbers and truth values of nested lists as text, so that `datasets` reads the lines of any task.

    >>> texts([[(-1.5, True)]])
    [[['-1.5', 'True']]]
    """
    return [texts(one) for one in value] if isinstance(value, list | tuple) else str(value)


def plain(value: Any) -> Any:
    """What JSON has no form for, as the harness writes it."""
    if isinstance(value, set):
        return list(value)
    item = getattr(value, "item", None)
    # A single number of numpy's.
    if callable(item) and getattr(value, "ndim", None) == 0:
        return item()
    return str(value)


def answers_of(work: Work, lines: list[dict[str, Any]]) -> list[list[list[Answer]]] | None:
    """The answers that the lines of an earlier run hold; None where they do not fit the task."""
    first = lines[0]["filter"] if lines else None
    told = {line["doc_id"]: line["resps"] for line in lines if line["filter"] == first}
    if set(told) != {item.doc_id for item in work.items}:
        return None
    found: list[list[list[Answer]]] = []
    for item in work.items:
        given = told[item.doc_id]
        if not work.options:
            found.append(given)
        elif len(given) == len(item.choices):
            found.append([[(float(value), greedy == "True") for value, greedy in one] for one in given])
        else:
            return None
    return found
