"""Which examples stand before a question: the harness's samplers and draws (`lm_eval/api/samplers.py`, 0.4.13)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from teacherlm.core.errors import Mistake
from teacherlm.evaluate.documents_rows import Rows
from teacherlm.evaluate.templates import Row

if TYPE_CHECKING:
    from teacherlm.evaluate.benchmarks import BoundTask


class Examples:
    """The examples of a task, drawn question by question: the order of the questions decides the draws."""

    def __init__(self, bound: BoundTask, rows: Rows, seed: int) -> None:
        """
        Raises:
            Mistake: no rows to take examples from.
        """
        few = bound.task.fewshot
        # A split comes before declared samples.
        declared = few.samples if few.split is None else None
        self.pool: list[tuple[int, Row]] = list(enumerate(declared if declared is not None else rows.examples or ()))
        self.first = few.sampler == "first_n"
        # The question itself is no example of its own split. The harness compares the names as they are declared,
        # so that two names left out are the same too.
        self.same = few.split == bound.task.test_split
        self.random = random.Random(seed)
        self.place = rows.examples_place or rows.place
        self.where = bound.where(("num_fewshot",))
        if not self.pool:
            raise Mistake("there are no examples to show", "give rows of their split, or --num-fewshot 0", self.place)

    def of(self, row: Row, count: int) -> list[tuple[int, Row]]:
        """The examples of the next question, each with its position in their split.

        Raises:
            Mistake: there are not enough.
        """
        pool, own = self.pool, row if self.same else None
        if self.first:
            pool = pool if own is None else [one for one in pool if one[1] != own]
            if count > len(pool):
                raise self._too_few(count, len(pool))
            return pool[:count]
        drawn = count + 1 if own else count
        if drawn > len(pool):
            raise self._too_few(count, len(pool) - (drawn - count))
        found = self.random.sample(pool, drawn)
        if own:
            found = [one for one in found if one[1] != own][:count]
        if len(found) < count:
            # The question stands several times in the split, and was drawn more than once.
            rest = [one for one in pool if one[1] != own]
            if count > len(rest):
                raise self._too_few(count, len(rest))
            found = self.random.sample(rest, count)
        return found

    def _too_few(self, count: int, there: int) -> Mistake:
        return Mistake(
            f"{count} examples are asked for, and {self.place or 'their split'} has {there} to choose from",
            f"ask for --num-fewshot {max(there, 0)}, or give more rows",
            self.where,
        )
