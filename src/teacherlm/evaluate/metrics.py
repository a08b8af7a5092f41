"""Metrics of one document: is its answer right? Names and rules are those of lm-evaluation-harness 0.4.13.

Source: `lm_eval/api/task.py` (`process_results`), `lm_eval/api/metrics.py`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from teacherlm.core.errors import Mistake
from teacherlm.evaluate.filters import Where

DEFAULT: Mapping[str, tuple[str, ...]] = {"multiple_choice": ("acc", "acc_norm"), "generate_until": ("exact_match",)}
"""Metrics where a task declares none, by `output_type`."""

KNOWN: Mapping[str, tuple[str, ...]] = {
    "multiple_choice": ("acc", "acc_norm", "acc_bytes", "exact_match"),
    "generate_until": ("exact_match",),
}

OPTIONS = ("regexes_to_ignore", "ignore_case", "ignore_punctuation", "ignore_numbers")
"""Of `exact_match` over generated text."""

NO_OPTION = -100
"""A gold answer that is none of the options; no prediction is equal to it."""

Value = float | int


@dataclass(frozen=True)
class Metric:
    """One figure for each document; a task's is their mean."""

    name: str
    higher_is_better: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


def read_metrics(output_type: str, declared: Sequence[Mapping[str, Any]] | None, where: Where) -> tuple[Metric, ...]:
    """The metrics of a task's `metric_list`.

    Args:
        output_type: `multiple_choice` or `generate_until`.
        declared: `{metric, aggregation, higher_is_better, …}` each; None: those of `DEFAULT`.
        where: place of a field, from its path in the task.

    Raises:
        Mistake: a metric, an aggregation or an option that is unknown; says where.
    """
    if declared is None:
        return tuple(Metric(name) for name in DEFAULT[output_type])
    return tuple(_metric(output_type, one, where(("metric_list", number))) for number, one in enumerate(declared))


def _metric(output_type: str, declared: Mapping[str, Any], where: str) -> Metric:
    rest = dict(declared)
    name, aggregation = rest.pop("metric", None), rest.pop("aggregation", "mean")
    better = rest.pop("higher_is_better", True)
    known = KNOWN[output_type]
    if name not in known:
        raise Mistake(f"metric `{name}` is unknown for {output_type}", f"use one of {', '.join(known)}", where)
    if aggregation != "mean":
        raise Mistake(f"aggregation `{aggregation}` is unknown", "write  aggregation: mean", where)
    # Over options it takes none, and the harness passes over them as well.
    if output_type == "generate_until" and (strange := [key for key in rest if key not in OPTIONS]):
        raise Mistake(f"metric `{name}` has no option `{strange[0]}`", f"it takes {', '.join(OPTIONS)}", where)
    for pattern in rest.get("regexes_to_ignore") or ():
        try:
            re.compile(pattern)
        except re.error as error:
            raise Mistake(f'"{pattern}" is no regular expression: {error}', "mend it", where) from None
    return Metric(str(name), bool(better), rest)


def of_options(
    metrics: Sequence[Metric],
    likelihoods: Sequence[float],
    greedy: Sequence[bool],
    choices: Sequence[str],
    gold: int | str | Sequence[int],
) -> dict[str, Value]:
    """The metrics of a question with options.

    Args:
        likelihoods, greedy: of each option, after the context.
        choices: the options as declared, without the blank before them: `acc_norm` divides by their characters.
        gold: position, text, or several positions of which any is right.

    >>> of_options([Metric("acc"), Metric("acc_norm")], [-4.0, -6.0], [False, False], ["no", "maybe"], 1)
    {'acc': 0.0, 'acc_norm': 1.0}
    """
    right = _positions(choices, gold)

    def hit(lengths: Sequence[int] | None) -> float:
        if lengths is None:
            return float(best(likelihoods) in right)
        per = [value / length if length else float("-inf") for value, length in zip(likelihoods, lengths, strict=True)]
        return float(best(per) in right)

    found: dict[str, Value] = {
        "acc": hit(None),
        "acc_norm": hit([len(choice) for choice in choices]),
        "acc_bytes": hit([len(choice.encode()) for choice in choices]),
        "exact_match": int(any(greedy[place] for place in right if place != NO_OPTION)),
    }
    # In this order, whatever the declaration's is, since the harness does so.
    named = {metric.name for metric in metrics}
    return {name: value for name, value in found.items() if name in named}


def best(values: Sequence[float]) -> int:
    """The position of the highest value; of equal ones the first."""
    return max(range(len(values)), key=values.__getitem__)


def _positions(choices: Sequence[str], gold: int | str | Sequence[int]) -> list[int]:
    if isinstance(gold, str):
        return [choices.index(gold) if gold in choices else NO_OPTION]
    given = [gold] if isinstance(gold, int) else list(gold)
    return [place if place < len(choices) else NO_OPTION for place in given]


def of_text(metrics: Sequence[Metric], answer: Any, gold: Any) -> dict[str, Value]:
    """The metrics of a generated answer.

    Args:
        answer: what the filters gave; of several texts, the mean of theirs counts.
        gold: the gold answer, or several of which any is right.

    >>> ignoring = Metric("exact_match", options={"regexes_to_ignore": [","], "ignore_case": True})
    >>> of_text([ignoring], "1,234", "1234"), of_text([Metric("exact_match")], "Yes", ["yes", "Yes"])
    ({'exact_match': 1.0}, {'exact_match': 1.0})
    """
    golds = [str(one) for one in gold] if isinstance(gold, list | tuple) else [str(gold)]
    answers = answer if isinstance(answer, list) else [answer]
    found: dict[str, Value] = {}
    for metric in metrics:
        wanted = {bare(one, metric.options) for one in golds}
        hits = [bare(str(one), metric.options) in wanted for one in answers]
        found[metric.name] = sum(hits) / len(hits)
    return found


def bare(text: str, options: Mapping[str, Any]) -> str:
    """A text without what `exact_match` is told to ignore."""
    for pattern in options.get("regexes_to_ignore") or ():
        text = re.sub(pattern, "", text)
    if options.get("ignore_case"):
        text = text.lower()
    if options.get("ignore_punctuation"):
        text = text.translate(_PUNCTUATION)
    if options.get("ignore_numbers"):
        text = text.translate(_DIGITS)
    return text


_PUNCTUATION = str.maketrans("", "", string.punctuation)
_DIGITS = str.maketrans("", "", string.digits)
