"""Filters of generated answers: from what a model wrote to what is compared with the gold answer.

Names, options and defaults are those of lm-evaluation-harness 0.4.13 (`lm_eval/filters/`). A pipeline of filters sees
all answers to one question, one for each repeat.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from teacherlm.core.errors import Mistake

Step = Callable[[Any], Any]
"""From the answers to one question to what is made of them: as many texts, fewer, or one."""

Where = Callable[[tuple[str | int, ...]], str]
"""The place of a field of a declaration, as `file:line:column`."""

NUMBER = r"#### (\-?[0-9\.\,]+)"
"""What `regex` looks for where it is not told: the answers of GSM8K."""

INVALID = "[invalid]"
"""What `regex` gives where nothing matches."""


@dataclass(frozen=True)
class Pipeline:
    """Filters in their order, under the name that results carry."""

    name: str
    steps: tuple[Step, ...]

    def apply(self, answers: Sequence[Any]) -> Any:
        """What the filters make of all answers to one question."""
        found: Any = list(answers)
        for step in self.steps:
            found = step(found)
        return found


def _first(answers: Any) -> Any:
    return answers[0]


PLAIN = (Pipeline("none", (_first,)),)
"""Where a task declares none: the first answer as it is."""


def read_filters(
    declared: Sequence[Mapping[str, Any]] | None, repeats: int, where: Where, *, of_text: bool = True
) -> tuple[Pipeline, ...]:
    """The pipelines of a task's `filter_list`.

    Args:
        declared: `{name, filter: [{function, …}]}` each; None: the first answer as it is.
        repeats: answers to each question.
        where: place of a field, from its path in the task.
        of_text: whether answers are texts; the likelihoods of options are taken as they are.

    Raises:
        Mistake: a filter that is unknown, or cannot be built with its options; says where.
    """
    if declared is None:
        return PLAIN
    if not of_text and any([step.get("function") for step in one["filter"]] != ["take_first"] for one in declared):
        raise Mistake(
            "filters change texts, and options are compared by their likelihood",
            "leave filter_list out, or set output_type: generate_until",
            where(("filter_list",)),
        )
    return tuple(
        Pipeline(
            str(one["name"]),
            tuple(
                _step(step, repeats, where(("filter_list", number, "filter", place)))
                for place, step in enumerate(one["filter"])
            ),
        )
        for number, one in enumerate(declared)
    )


def _step(declared: Mapping[str, Any], repeats: int, where: str) -> Step:
    name = declared.get("function")
    options = {key: value for key, value in declared.items() if key != "function"}
    if name not in _MAKE:
        raise Mistake(f"filter `{name}` is unknown", f"use one of {', '.join(sorted(_MAKE))}", where)
    known = _OPTIONS.get(str(name), ())
    if strange := [key for key in options if key not in known]:
        told = f"it takes {', '.join(known)}" if known else "it takes none"
        raise Mistake(f"filter `{name}` has no option `{strange[0]}`", told, where)
    return _MAKE[str(name)](options, repeats, where)


def _regex(options: Mapping[str, Any], repeats: int, where: str) -> Step:
    try:
        pattern = re.compile(options.get("regex_pattern", NUMBER))
    except re.error as error:
        raise Mistake(f"regex_pattern is no regular expression: {error}", "mend it", where) from None
    chosen, fallback = options.get("group_select", 0), options.get("fallback", INVALID)

    def find(text: Any) -> str:
        found = pattern.findall(text) if isinstance(text, str) else []
        # One that has fewer matches than `group_select` asks for has none.
        if not -len(found) <= chosen < len(found):
            return str(fallback)
        match = found[chosen]
        if isinstance(match, tuple):
            match = next((group for group in match if group), fallback)
        return str(match).strip()

    return lambda answers: [find(answer) for answer in answers]


def _take_k(options: Mapping[str, Any], repeats: int, where: str) -> Step:
    count = options.get("k")
    if not isinstance(count, int) or count < 1:
        raise Mistake("`take_first_k` needs `k`, a number of 1 or more", "add  k: 8", where)
    if count > repeats:
        raise Mistake(
            f"k is {count}, and there are {repeats} answers to each question", f"set  repeats: {count}", where
        )
    return lambda answers: answers[:count]


def _majority(options: Mapping[str, Any], repeats: int, where: str) -> Step:
    # Of several as frequent ones the first.
    return lambda answers: [Counter(answers).most_common(1)[0][0]]


def _map(options: Mapping[str, Any], repeats: int, where: str) -> Step:
    table = options.get("mapping_dict") or {}
    if not isinstance(table, Mapping):
        raise Mistake("mapping_dict is no mapping", "write  mapping_dict: {A: 0, B: 1}", where)
    other = options.get("default_value")
    return lambda answers: [table.get(answer, other) for answer in answers]


def _each(change: Callable[[str], str]) -> Callable[[Mapping[str, Any], int, str], Step]:
    return lambda options, repeats, where: lambda answers: [change(answer) for answer in answers]


_MAKE: Mapping[str, Callable[[Mapping[str, Any], int, str], Step]] = {
    "take_first": lambda options, repeats, where: _first,
    "take_first_k": _take_k,
    "majority_vote": _majority,
    "regex": _regex,
    "remove_whitespace": _each(str.strip),
    "lowercase": _each(str.lower),
    "uppercase": _each(str.upper),
    "map": _map,
}

_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "take_first_k": ("k",),
    "regex": ("regex_pattern", "group_select", "fallback"),
    "map": ("mapping_dict", "default_value"),
}
