"""A recipe proposed for a source: every guess with its reason, tried on the rows, with examples and what to fill in."""

from __future__ import annotations

import glob
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from teacherlm.builders.guess import Guessed, guess
from teacherlm.builders.guesses import Guess
from teacherlm.builders.mapping import given_table, mapped_query
from teacherlm.builders.recipe import TO_FILL_IN, Recipe, SampleExpressions, Source
from teacherlm.builders.survey import Survey

TRIED = 200_000
"""Rows of each split that a proposal is tried on."""

LONG = 400
"""Characters of a text in an example row; what is longer is cut where the answer does not depend on it."""

SHOWN = ("question", "choices", "answer", "answer_index", "subject", "human_rationale")
"""What an example says of its sample."""

ORDER = ("id", "question", "choices", "answer", "subject", "human_rationale", "where")


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A recipe to be read and mended by a person."""

    name: str
    survey: Survey
    guessed: Guessed
    source: dict[str, Any]
    """As it stands in the recipe."""
    missing: tuple[str, ...]
    """Expressions that a person has to write: the recipe does not run without them."""
    rows: int = 0
    """Rows that the proposal was tried on: all, unless the source is large."""
    samples: int = 0
    filtered: int = 0
    rejected: Mapping[str, int] | None = None
    """Reason -> rows; None where parts are missing and nothing could be tried."""
    given: Sequence[Mapping[str, Any]] = ()
    expect: Sequence[Mapping[str, Any]] = ()

    @property
    def parts(self) -> dict[str, Guess]:
        """The guesses by the name of their expression, in the order of the file."""
        answer = self.guessed.answer
        of_answer = {"choices": answer.choices, "answer": answer.answer}
        found = {name: of_answer[name] if name in of_answer else getattr(self.guessed, name) for name in ORDER}
        parts = {name: part for name, part in found.items() if part is not None}
        for name in self.missing:
            parts[name] = replace(parts[name], expression=TO_FILL_IN) if name in parts else self._open(name)
        return {name: parts[name] for name in ORDER if name in parts}

    def _open(self, name: str) -> Guess:
        return Guess(TO_FILL_IN, f"it may be {', '.join(self.guessed.candidates.get(name, ())) or 'no column'}")


def propose(name: str, survey: Survey, folder: Path, root: Path) -> Proposal:
    """Guess a recipe and try it.

    Args:
        folder: where the recipe will lie.
        root: of the project; files inside it are named relative to the recipe, others by their whole path.
    """
    guessed = guess(survey)
    answer = guessed.answer
    needed = {"question": guessed.question, "answer": answer.answer}
    missing = [part for part, found in needed.items() if found is None or found.expression == TO_FILL_IN]
    if answer.choices is not None and answer.choices.expression == TO_FILL_IN:
        missing.append("choices")
    used = guessed.columns
    source = _source(survey, used, folder, root)
    proposal = Proposal(name=name, survey=survey, guessed=guessed, source=source, missing=tuple(missing))
    return proposal if missing else _tried(proposal)


def _source(survey: Survey, used: Sequence[str], folder: Path, root: Path) -> dict[str, Any]:
    hub = survey.hub
    source: dict[str, Any] = {}
    if hub is not None:
        source["hub"] = hub.id
        if hub.config:
            source["config"] = hub.config
        source["splits"] = {part.split: part.split for part in survey.opened.splits}
    else:
        source["files"] = {
            part.split: _patterns(part.split, survey.files(part), folder, root) for part in survey.opened.splits
        }
    columns = {name: survey.column(name) for name in used}
    if columns:
        source["columns"] = {name: column.type for name, column in columns.items()}
    if hub is not None and (labels := {name: list(column.labels) for name, column in columns.items() if column.labels}):
        source["labels"] = labels
    return source


def _patterns(split: str, files: Sequence[Path], folder: Path, root: Path) -> str | list[str]:
    """Files as a recipe names them: shards by one pattern, others one by one."""
    parent, suffix = files[0].parent, files[0].suffix
    shards = f"{glob.escape(split)}-*-of-*{suffix}"
    if len(files) > 1 and sorted(parent.glob(shards)) == sorted(files):
        return _named(parent, folder, root) + "/" + shards
    named = [_named(file, folder, root) for file in files]
    return named[0] if len(named) == 1 else named


def _named(path: Path, folder: Path, root: Path) -> str:
    inside = path.is_relative_to(root.resolve())
    shown = os.path.relpath(path, folder.resolve()) if inside else str(path)
    return glob.escape(Path(shown).as_posix())


def recipe_of(proposal: Proposal, given: Sequence[Mapping[str, Any]] = ()) -> Recipe:
    """The proposal as a recipe, for trying it."""
    parts = {name: part.expression for name, part in proposal.parts.items()}
    rows = tuple(dict(row) for row in given)
    return Recipe(
        name=proposal.name,
        title=proposal.name,
        source=Source(files="any", columns=proposal.source.get("columns")),
        sample=SampleExpressions(**parts),
        license="unknown",
        redistribution="unclear",
        task=proposal.guessed.task,
        given=rows,
        expect=tuple({} for _ in rows),
    )


def _tried(proposal: Proposal) -> Proposal:
    survey, recipe = proposal.survey, recipe_of(proposal)
    rows = samples = kept = 0
    rejected: Counter[str] = Counter()
    for split, relation in survey.parts:
        some = f"(SELECT * FROM {relation} LIMIT {TRIED})"
        mapped = mapped_query(recipe, split, some)
        counts = survey.connection.execute(
            f"SELECT reason, count(*), count(DISTINCT sample_id) FROM ({mapped}) GROUP BY reason"
        ).fetchall()
        rows += int(survey.one(f"SELECT count(*) FROM {some}"))
        for reason, count, distinct in counts:
            kept += count
            if reason is None:
                samples += distinct
                if count > distinct:
                    rejected["duplicate id"] += count - distinct
            else:
                rejected[reason] += count
    tried = replace(proposal, rows=rows, samples=samples, filtered=rows - kept, rejected=dict(sorted(rejected.items())))
    given, expect = _examples(tried)
    return replace(tried, given=given, expect=expect)


def _examples(proposal: Proposal) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Two good rows of the source and what they become: the first short ones, with different answers if there are."""
    rows, answers = next(filter(lambda found: found[0], map(partial(_good, proposal), proposal.survey.parts)), ([], []))
    short = [n for n, row in enumerate(rows) if _size(row) <= 3 * LONG]
    order = short + [n for n in range(len(rows)) if n not in short]
    if not order:
        return [], []
    first = order[0]
    second = next((n for n in order if answers[n] != answers[first]), next(iter(order[1:]), None))
    chosen = [rows[first]] + ([rows[second]] if second is not None else [])
    for given in ([_cut(proposal, row) for row in chosen], chosen):
        if expect := _expected(proposal, given):
            return given, expect
    return [], []


def _good(proposal: Proposal, part: tuple[str, str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The first rows of a split that become samples, and their answers."""
    (split, relation), survey, columns = part, proposal.survey, proposal.guessed.columns
    good = f"""
        SELECT row, answer FROM ({mapped_query(recipe_of(proposal), split, relation)})
        WHERE reason IS NULL ORDER BY row LIMIT 50"""
    listed = ", ".join(f"numbered.{survey.column(name).sql}" for name in columns)
    query = f"""
        SELECT good.answer AS answer_text, {listed}
        FROM ({good}) AS good JOIN (SELECT row_number() OVER () AS row, * FROM {relation}) AS numbered USING (row)
        ORDER BY row"""
    found = [row for row in survey.connection.execute(query).fetchall() if all(map(_is_finite, row))]
    return [dict(zip(columns, row[1:], strict=True)) for row in found], [row[0] for row in found]


def _expected(proposal: Proposal, given: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    recipe = recipe_of(proposal, given)
    connection = proposal.survey.connection
    connection.register("given", given_table(recipe, connection))
    cursor = connection.execute(f"SELECT * FROM ({mapped_query(recipe, 'given', 'given')}) ORDER BY row")
    names = [entry[0] for entry in cursor.description or ()]
    samples = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    if len(samples) < len(given) or any(sample["reason"] for sample in samples):
        return []
    return [{name: sample[name] for name in SHOWN if sample[name] not in (None, [])} for sample in samples]


def _cut(proposal: Proposal, row: dict[str, Any]) -> dict[str, Any]:
    """A row with its long texts cut, where only question, subject or rationale use them."""
    exact = {
        name
        for part, found in proposal.parts.items()
        if part in ("id", "choices", "answer", "where")
        for name in found.columns
    }
    return {
        name: value[:LONG].rsplit(None, 1)[0] + " …"
        if isinstance(value, str) and len(value) > LONG and name not in exact
        else value
        for name, value in row.items()
    }


def _size(row: Mapping[str, Any]) -> int:
    return len(orjson.dumps(row, default=str))


def _is_finite(value: Any) -> bool:
    """Whether a YAML file of ours can hold a value."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return all(map(_is_finite, value)) if isinstance(value, list) else True
