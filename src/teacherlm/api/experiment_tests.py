"""The tests of an experiment: the questions, and what a model of one cell answers to them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import Mistake
from teacherlm.experiments.declaration import Test, Way
from teacherlm.experiments.results import Item
from teacherlm.project.layouts import Layout
from teacherlm.text.normalise import one_line
from teacherlm.train.read import read_layouts, read_training

if TYPE_CHECKING:
    from teacherlm.api.project import Project
    from teacherlm.evaluate.answers import Prediction
    from teacherlm.lm.load import LoadedModel

CLUSTER = "cluster"
"""Beside a record's columns: what it asks, whatever its names and wording."""

Tested = dict[str, Any]
"""Columns of an `Outcome` that a test decides."""


class Asker:
    """Asks the model of one cell."""

    def __init__(self, project: Project, training: str, folder: Path, cell: str, seed: int) -> None:
        self._project, self._folder, self._cell, self._seed = project, folder, cell, seed
        known = read_layouts(project.files)
        stages = read_training(project.files, training).training.stages
        read = [[name for data in stage.data for name in data.layouts] for stage in stages]
        self._layout: Layout = known[read[-1][0]]
        """What students are asked in."""
        self._teaching = [known[name] for name in dict.fromkeys(chain.from_iterable(read)) if known[name].asks]
        self._loaded: LoadedModel | None = None

    def ask(self, name: str, test: Test, way: Way) -> tuple[Tested, list[Item]]:
        """One test in one way.

        Raises:
            Mistake: the test's questions cannot be had, or not be asked so.
        """
        if way == "benchmark":
            from teacherlm.api.experiment_benchmark import ask_benchmark

            return ask_benchmark(self._project, self._folder, self._cell, name, test)
        records = questions(self._project, test)
        if way == "exactness":
            return self._exactness(name, records, test)
        predictions = self._predictions(records, test, way)
        items = [self._item(name, way, record, one) for record, one in zip(records, predictions, strict=True)]
        right = sum(item.correct for item in items)
        counted = all(len(record["choices"]) > 1 for record in records)
        return {
            "items": len(items),
            "right": right,
            "accuracy": right / len(items),
            "chance": sum(1 / len(record["choices"]) for record in records) / len(items) if counted else None,
            "unanswered": sum(one.predicted is None for one in predictions),
            "cut": sum(one.cut > 0 for one in predictions),
        }, items

    def _predictions(self, records: Sequence[Mapping[str, Any]], test: Test, way: Way) -> Sequence[Prediction]:
        from teacherlm.evaluate.answers import by_generation, by_likelihood

        layout = self._layout
        if way == "options":
            return by_likelihood(self._model, layout, records)
        if way == "writing":
            return by_generation(self._model, layout, records, max_new_tokens=test.max_new_tokens)
        from teacherlm.evaluate.votes import by_votes

        return by_votes(
            self._model, layout, records, votes=test.votes, max_new_tokens=test.max_new_tokens, seed=self._seed
        )

    def _exactness(self, name: str, records: Sequence[Mapping[str, Any]], test: Test) -> tuple[Tested, list[Item]]:
        """A teacher's texts of each kind that it was trained to write, beside the gold ones."""
        from teacherlm.lm.generate import Request, generate
        from teacherlm.lm.tokens import Tokens
        from teacherlm.project.layouts import prompt_for

        tokens = Tokens(self._model.tokenizer)
        layouts = [one for one in self._teaching if not test.kinds or one.response[0] in test.kinds]
        asked = [(layout, record) for layout in layouts for record in records]
        if not asked:
            raise Mistake("the training reads no layout of a teacher, such as teach-chain", "ask by `writing`", name)
        requests = [
            Request(prompt_ids=tuple(tokens.encode(prompt_for(layout, record))), max_new_tokens=test.max_new_tokens)
            for layout, record in asked
        ]
        written: dict[int, str] = {place: row.text for place, row in generate(self._model, requests, batch_size=128)}
        items = []
        for place, (layout, record) in enumerate(asked):
            kind = str(layout.response[0])
            text, gold = one_line(written[place]), one_line(record[kind] or "")
            items.append(
                Item(
                    cell=self._cell,
                    test=name,
                    way="exactness",
                    sample_id=f"{record['sample_id']}#{kind}",
                    cluster=gold,
                    predicted=text,
                    answer=gold,
                    correct=text == gold,
                )
            )
        right = sum(item.correct for item in items)
        return {"items": len(items), "right": right, "accuracy": right / len(items)}, items

    def _item(self, name: str, way: Way, record: Mapping[str, Any], one: Prediction) -> Item:
        choices = list(record["choices"])
        return Item(
            cell=self._cell,
            test=name,
            way=way,
            sample_id=record["sample_id"],
            cluster=record[CLUSTER],
            predicted=one.predicted,
            answer=record["answer"],
            correct=one.correct,
            position=choices.index(record["answer"]) if record["answer"] in choices else None,
            said=choices.index(one.predicted) if one.predicted in choices else None,
            text=one.text,
        )

    @property
    def _model(self) -> LoadedModel:
        from teacherlm.lm.load import load

        if self._loaded is None:
            self._loaded = load(str(self._folder))
        return self._loaded


def questions(project: Project, test: Test) -> list[dict[str, Any]]:
    """The samples of a test, with what each asks.

    Raises:
        Mistake: a dataset that is not built, or none of whose samples are of that split.
    """
    if test.procedural is not None:
        from teacherlm.curriculum.draw import questions as draw
        from teacherlm.curriculum.families import families
        from teacherlm.curriculum.records import record

        asked = test.procedural
        made = draw(families(asked.families), asked.split, asked.count, asked.seed)
        found = [{**record(one, asked.split), CLUSTER: f"{one.family} {one.core}"} for one in made]
    else:
        found = _samples(project, str(test.dataset), test.split)
    found = found[: test.limit]
    if not found:
        raise Mistake(f"the split `{test.split}` of `{test.dataset}` holds no samples", "name another split")
    return found


def _samples(project: Project, dataset: str, split: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    files = project.workspace.sample_files(dataset)
    if split not in files:
        known = ", ".join(files)
        raise Mistake(f"`{dataset}` has no split `{split}`", f"it has {known}")
    rows = [row for path in files[split] for row in pq.read_table(path).to_pylist()]
    return [{**row, "choices": list(row["choices"] or ()), CLUSTER: _asked(row["question"])} for row in rows]


def _asked(question: str) -> str:
    """Equal for questions that differ in case and blanks alone."""
    return re.sub(r"\W+", " ", question.lower()).strip()
