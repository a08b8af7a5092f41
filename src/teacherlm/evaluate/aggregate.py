"""From the documents of a task to its figures, and from the tasks of a group to the group's.

Means and standard errors are those of lm-evaluation-harness 0.4.13 (`lm_eval/api/metrics.py`, `lm_eval/api/group.py`);
intervals and levels of chance are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from teacherlm.evaluate.intervals import LEVEL, share


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A metric of a task or group, under one filter."""

    metric: str
    filter: str
    value: float
    stderr: float | None
    """None: of a single document there is none."""
    low: float
    high: float
    """Bounds of the 95 % interval."""
    documents: int
    higher_is_better: bool
    chance: float | None = None
    """Of answers by lot, where there are options; None where there are none."""

    @property
    def key(self) -> str:
        """As the harness names it: `acc,none`."""
        return f"{self.metric},{self.filter}"

    @property
    def stderr_key(self) -> str:
        return f"{self.metric}_stderr,{self.filter}"

    @property
    def within_chance(self) -> bool:
        """Whether answers by lot may well do as well."""
        return self.chance is not None and self.low <= self.chance <= self.high


def figure(
    metric: str, filter: str, values: Sequence[float], *, higher_is_better: bool = True, chance: float | None = None
) -> Figure:
    """The mean over documents, its standard error (sample deviation over the root of their number) and interval.

    Args:
        values: of each document, between 0 and 1.

    Raises:
        ValueError: no values.

    >>> one = figure("acc", "none", [1.0, 0.0, 1.0, 1.0], chance=0.25)
    >>> one.value, one.stderr, round(one.low, 3), round(one.high, 3), one.within_chance
    (0.75, 0.25, 0.301, 0.954, False)
    """
    count = len(values)
    if not count:
        raise ValueError("no documents to take the mean of")
    mean = sum(values) / count
    stderr = None
    if count > 1:
        stderr = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1)) / math.sqrt(count)
    low, high = interval(mean, count, stderr, all(value in (0, 1) for value in values))
    return Figure(
        metric=metric,
        filter=filter,
        value=mean,
        stderr=stderr,
        low=low,
        high=high,
        documents=count,
        higher_is_better=higher_is_better,
        chance=chance,
    )


def interval(value: float, documents: int, stderr: float | None, counts: bool) -> tuple[float, float]:
    """The 95 % interval: Wilson's where documents are right or wrong, else the normal one.

    Args:
        counts: whether the value is a share of documents.
    """
    if counts:
        found = share(round(value * documents), documents)
        return found.low, found.high
    if stderr is None:
        return 0.0, 1.0
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * stderr
    return max(0.0, value - half), min(1.0, value + half)


def by_lot(documents: Iterable[tuple[int, int]]) -> float | None:
    """The expected accuracy of answers by lot; None where a document has no options.

    Args:
        documents: of each its options, and how many of them are right.

    >>> by_lot([(4, 1), (2, 1)])
    0.375
    """
    found = list(documents)
    if not found or any(options < 1 for options, _ in found):
        return None
    return sum(right / options for options, right in found) / len(found)


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """A metric that a group takes from its tasks."""

    metric: str
    filters: tuple[str, ...] | None = None
    """None: all that its tasks have."""
    weight_by_size: bool = True


def of_group(aggregate: Aggregate, tasks: Mapping[str, Sequence[Figure]]) -> list[Figure]:
    """A group's figures, one for each filter.

    Args:
        tasks: the figures of each task of the group, of those below its groups too.

    >>> from functools import partial
    >>> acc = partial(figure, "acc", "none")
    >>> (one,) = of_group(Aggregate(metric="acc"), {"a": [acc([1.0, 1.0])], "b": [acc([0.0, 0.0, 1.0])]})
    >>> one.value, round(one.stderr, 3), one.documents
    (0.6, 0.258, 5)
    """
    named = sorted({one.filter for figures in tasks.values() for one in figures if one.metric == aggregate.metric})
    made = []
    for name in aggregate.filters if aggregate.filters is not None else named:
        parts = [
            one for figures in tasks.values() for one in figures if (one.metric, one.filter) == (aggregate.metric, name)
        ]
        if parts:
            made.append(_pooled(parts, aggregate.weight_by_size))
    return made


def _pooled(parts: Sequence[Figure], by_size: bool) -> Figure:
    sizes = [part.documents if by_size else 1 for part in parts]
    documents = sum(part.documents for part in parts)
    value = sum(part.value * size for part, size in zip(parts, sizes, strict=True)) / sum(sizes)
    stderr = _stderr(parts, by_size)
    # Documents are counted where each weighs the same; else only the standard error tells how sure the mean is.
    low, high = interval(value, documents, stderr, by_size)
    chances = [part.chance for part in parts if part.chance is not None]
    chance = None
    if len(chances) == len(parts):
        chance = sum(one * size for one, size in zip(chances, sizes, strict=True)) / sum(sizes)
    return Figure(
        metric=parts[0].metric,
        filter=parts[0].filter,
        value=value,
        stderr=stderr,
        low=low,
        high=high,
        documents=documents,
        higher_is_better=all(part.higher_is_better for part in parts),
        chance=chance,
    )


def _stderr(parts: Sequence[Figure], by_size: bool) -> float | None:
    """Of a mean by size from the pooled variance, of a plain mean from the sum of the tasks' variances."""
    errors = [part.stderr for part in parts if part.stderr is not None]
    if len(errors) < len(parts):
        return None
    if not by_size:
        return math.sqrt(sum(error**2 for error in errors)) / len(errors)
    sizes = [part.documents for part in parts]
    pooled = sum((size - 1) * error**2 * size for size, error in zip(sizes, errors, strict=True))
    return math.sqrt(pooled / (sum(sizes) - len(sizes)) / sum(sizes))
