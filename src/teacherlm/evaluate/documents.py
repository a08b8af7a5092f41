"""The documents of a task, as a model is asked them: context, options and gold answer.

Character by character what lm-evaluation-harness 0.4.13 builds (`fewshot_context` and `build_qa_turn` of
`lm_eval/api/task.py`), without chat templates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from teacherlm.evaluate.benchmarks import BoundTask
from teacherlm.evaluate.documents_examples import Examples
from teacherlm.evaluate.documents_hub import hub_rows
from teacherlm.evaluate.documents_local import local_rows
from teacherlm.evaluate.documents_rows import Rows
from teacherlm.evaluate.templates import Fields, Row, Unrenderable

SEED = 1234
"""Of the draw of examples, where nobody asks for another; the harness's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One document of a task, as a model is asked it."""

    doc_id: int
    """Position in the split."""
    doc: Mapping[str, Any]
    """The row."""
    context: str
    """Description, examples, question and how the answer begins."""
    choices: tuple[str, ...]
    """The options, without the delimiter before them; empty where text is generated and none are declared."""
    gold: Any
    """With options: the position of the right one, its text, or several positions. For generated text: what is
    compared with it, a text, or a list of texts of which any is right."""
    target: Any
    """`doc_to_target`, as the harness logs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A document that cannot be asked."""

    doc_id: int
    found: str


@dataclass(frozen=True, kw_only=True)
class Documents:
    """The documents of a task."""

    items: tuple[Item, ...]
    refused: tuple[Refused, ...]
    total: int
    """Rows of the split, without a limit."""
    shots: int
    """Examples before each question."""
    place: str = ""
    """Where the rows are, for people."""


def open_rows(bound: BoundTask, data: Path | None = None, *, num_fewshot: int | None = None) -> Rows:
    """The rows that a task reads: those of the evaluated split, and of the examples' where there are any.

    Args:
        data: a file, whose rows are evaluated, or a folder with a file for each split; None: the Hub's dataset.
        num_fewshot: examples before each question that somebody asked for.

    Raises:
        Mistake: a file or split that is missing, empty or unreadable; says which are there.
        RemoteFailed: the Hub cannot be reached, or has no such dataset for us.
    """
    task = bound.task
    examples = task.examples_split if task.shots(num_fewshot) else None
    return local_rows(bound, data, examples) if data is not None else hub_rows(bound, examples)


def items(
    bound: BoundTask, rows: Rows, *, num_fewshot: int | None = None, limit: int | float | None = None, seed: int = SEED
) -> Documents:
    """The documents of a task.

    A document that cannot be rendered is refused, and the others are asked.

    Args:
        rows: of `open_rows`, for the same number of examples.
        num_fewshot: examples before each question that somebody asked for; a task that declares 0 stays at 0.
        limit: the first so many documents, or, below 1, the first share of them; None: all.
        seed: of the draw of examples.

    Raises:
        Mistake: a field reads a column that the rows do not have; there are not enough examples.
    """
    shots = bound.task.shots(num_fewshot)
    prompts = _Prompts(bound, rows, shots, seed)
    total = len(rows.documents)
    count = total if not limit else min(total, math.ceil(total * limit) if limit < 1 else int(limit))
    made: list[Item] = []
    refused: list[Refused] = []
    for number, row in enumerate(islice(rows.documents, count)):
        try:
            made.append(prompts.item(number, row))
        except Unrenderable as error:
            refused.append(Refused(doc_id=number, found=str(error)))
    return Documents(items=tuple(made), refused=tuple(refused), total=total, shots=shots, place=rows.place)


class _Prompts:
    """Writes the documents of one task."""

    def __init__(self, bound: BoundTask, rows: Rows, shots: int, seed: int) -> None:
        self.task = bound.task
        self.shots = shots
        self.few = bound.task.fewshot
        self.fields = Fields(rows.columns, bound.where)
        self.examples = Examples(bound, rows, seed) if shots else None
        self.written: dict[int, str] = {}
        """Examples by their position."""
        own = bound.task.fewshot_config
        # Where a field of the examples is declared: of their own, or the task's.
        self.loc = {
            name: ("fewshot_config", name) if own is not None and getattr(own, name) is not None else (name,)
            for name in ("doc_to_text", "doc_to_choice", "doc_to_target", "gen_prefix")
        }

    def item(self, number: int, row: Row) -> Item:
        # In the harness's order, so that examples are drawn alike even where a document is refused.
        before = self._examples(row)
        task, options = self.task, self.task.doc_to_choice is not None
        prefix = self.fields.value(task.gen_prefix, row, ("gen_prefix",)) if task.gen_prefix is not None else None
        description = self._described(row)
        question = self.fields.text(task.doc_to_text, row, options=options, loc=("doc_to_text",))
        choices = self.fields.choices(task.doc_to_choice, row, ("doc_to_choice",)) if options else []
        target = self.fields.target(task.doc_to_target, row, options=options, loc=("doc_to_target",))
        context = description + before + turn(question, None, prefix, task.target_delimiter, "")
        gold = self._gold(target, choices)
        return Item(doc_id=number, doc=row, context=context, choices=tuple(choices), gold=gold, target=target)

    def _described(self, row: Row) -> str:
        return str(self.fields.value(self.task.description, row, ("description",), list(row)) or "")

    def _gold(self, target: Any, choices: list[str]) -> Any:
        if self.task.output_type == "multiple_choice":
            if isinstance(target, int | str) or (
                isinstance(target, list) and all(isinstance(one, int) for one in target)
            ):
                return target
            raise Unrenderable(f"`doc_to_target` gives {target!r}, which is neither a position nor an option's text")
        if choices:
            if not isinstance(target, int) or not -len(choices) <= target < len(choices):
                raise Unrenderable(f"`doc_to_target` gives {target!r}; with doc_to_choice it must be a position")
            return choices[target]
        return [str(one) for one in target] if isinstance(target, list) else str(target)

    def _examples(self, row: Row) -> str:
        if self.examples is None:
            return ""
        found = []
        for position, one in self.examples.of(row, self.shots):
            if position not in self.written:
                self.written[position] = self._example(position, one)
            found.append(self.written[position])
        return "".join(found)

    def _example(self, position: int, row: Row) -> str:
        few, loc = self.few, self.loc
        options = self.task.doc_to_choice is not None
        try:
            question = self.fields.text(
                few.doc_to_text or self.task.doc_to_text, row, options=options, loc=loc["doc_to_text"]
            )
            choices = self.fields.choices(few.doc_to_choice, row, loc["doc_to_choice"]) if few.doc_to_choice else None
            stated = self.task.doc_to_target if few.doc_to_target is None else few.doc_to_target
            target = self.fields.target(stated, row, options=options, loc=loc["doc_to_target"])
            prefix = self.fields.value(few.gen_prefix, row, loc["gen_prefix"], list(row)) if few.gen_prefix else None
            answer = _answer(target, choices)
        except Unrenderable as error:
            raise Unrenderable(f"its example, row {position}: {error}") from None
        return turn(question, answer, prefix, str(few.target_delimiter), str(few.fewshot_delimiter))


def _answer(target: Any, choices: list[str] | None) -> str:
    """A gold answer as an example states it."""
    if choices and isinstance(target, int):
        if not -len(choices) <= target < len(choices):
            raise Unrenderable(f"its answer is option {target} of {len(choices)}")
        return choices[target]
    if isinstance(target, list) and target:
        target = target[0]
    if not isinstance(target, str):
        raise Unrenderable(f"its answer is {target!r}, which is no text")
    return target


def turn(question: str, answer: str | None, prefix: str | None, delimiter: str, after: str) -> str:
    """A question, with its answer or with how the answer begins.

    Args:
        answer: None or empty: left to the model.
        prefix: how the answer begins.
        delimiter: between question and answer.
        after: the answer.

    >>> turn("Q: 2 + 2?\\nA:", "4", None, " ", "\\n\\n"), turn("Q: 2 + 2?", None, "A: The answer is", "\\n", "")
    ('Q: 2 + 2?\\nA: 4\\n\\n', 'Q: 2 + 2?\\nA: The answer is')
    """
    if not answer:
        return question + (delimiter if prefix and question and _meet(question, prefix) else "") + (prefix or "")
    if not prefix:
        return question + delimiter + answer + after
    between = delimiter if question and _meet(question, prefix) else ""
    return question + between + prefix + (" " if _meet(prefix, answer) else "") + answer + after


def _meet(left: str, right: str) -> bool:
    """Whether two texts would touch without a blank between."""
    return not (left[-1].isspace() or right[0].isspace())
