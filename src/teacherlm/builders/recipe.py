"""What a recipe declares: where rows come from and how they become samples."""

from __future__ import annotations

import difflib
import re
from typing import Any, Literal

from pydantic import ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from teacherlm.curriculum.draw import SHARES, shortage
from teacherlm.curriculum.families import FAMILIES, families
from teacherlm.project.bind import SPEC_CONFIG
from teacherlm.schemas.records import KINDS

Kind = Literal["fundamentals", "chain_of_thought", "common_mistakes"]
TO_FILL_IN = "???"
"""Stands in a proposed recipe for an expression that a person has to write."""

Redistribution = Literal["allowed", "share-alike", "non-commercial", "restricted", "unclear"]


SPLIT = re.compile(r"\w+(\.\w+)*")
"""What a split can be called: it names folders, and `datasets` takes no other."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Procedural:
    """Questions that are made, with gold answers and gold rationales (docs/curriculum.md)."""

    families: tuple[str, ...] = ()
    """Left out: all."""
    seed: int
    """Another seed gives other questions of the same splits."""
    splits: dict[str, int]
    """Split of the curriculum -> how many questions, the families in turn."""

    @field_validator("families")
    @classmethod
    def _known_families(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in FAMILIES]:
            near = difflib.get_close_matches(unknown[0], FAMILIES, n=1)
            edit = f"write  {near[0]}" if near else f"name some of {', '.join(FAMILIES)}"
            raise ValueError(f'there is no family "{unknown[0]}" | {edit}')
        if len(set(names)) != len(names):
            raise ValueError("a family stands twice | name each family once")
        return names

    @field_validator("splits")
    @classmethod
    def _counted_splits(cls, splits: dict[str, int]) -> dict[str, int]:
        if not splits:
            raise ValueError("`splits` is empty | write  splits: {train: 3000}")
        for name, count in splits.items():
            if name not in SHARES:
                raise ValueError(f'the curriculum has no split "{name}" | name some of {", ".join(SHARES)}')
            if count < 1:
                raise ValueError(f"`{name}` has {count} questions | write a number of 1 or more")
        return splits

    @model_validator(mode="after")
    def _so_many_there_are(self) -> Procedural:
        for name, count in self.splits.items():
            if short := shortage(families(self.families), name, count):
                raise ValueError(f"{short} | ask for fewer, or name more families")
        return self


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Source:
    """Where the raw rows are: a Hub dataset, local files, or a curriculum that is made."""

    hub: str | None = None
    """Hub dataset id, such as `openai/gsm8k`."""
    config: str | None = None
    """The Hub dataset's configuration (subset)."""
    revision: str | None = None
    """Branch, tag or commit. A commit never moves."""
    files: str | dict[str, str | tuple[str, ...]] | None = None
    """Local files, relative to the recipe: one path or pattern (split `train`), or one or several for each split."""
    procedural: Procedural | None = None
    """Made questions; no files are read."""
    splits: dict[str, str] | None = None
    """Our split -> the source's name for it. With `files` as a mapping, its keys are the splits."""
    rows: dict[str, int] | None = None
    """Our split -> its rows, as its publisher counts them; about, for people who plan. No build depends on it."""
    columns: dict[str, str] | None = None
    """Column -> DuckDB type, for columns that the recipe relies on; gives the `given` rows their types."""

    labels: dict[str, tuple[str, ...]] | None = None
    """Column of label numbers -> their names, 0 first. A source whose labels have other names is refused."""

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if sum(value is not None for value in (self.hub, self.files, self.procedural)) != 1:
            found = "a source is one of `hub`, `files` and `procedural`"
            raise ValueError(f"{found} | write  hub: ORG/NAME  or  files: NAME.jsonl")
        if self.procedural is not None and self.splits:
            raise ValueError("a procedural source has its splits under `procedural` | move `splits` there")
        if self.hub is not None and self.hub.count("/") != 1:
            raise ValueError(f'`hub` holds "{self.hub}", which is no Hub id | write  hub: ORG/NAME')
        if self.hub is not None and not self.splits:
            raise ValueError("a Hub source declares its splits | add  splits: {train: train}")
        named = [*(self.splits or ()), *(self.files if isinstance(self.files, dict) else ())]
        if wrong := [name for name in named if not SPLIT.fullmatch(name)]:
            raise ValueError(f'"{wrong[0]}" is no name of a split | use letters, digits and `_`')
        return self

    @property
    def counted(self) -> dict[str, int] | None:
        """Our split -> its rows, as far as they are known before a build."""
        return self.procedural.splits if self.procedural else self.rows

    @property
    def place(self) -> str:
        """What the rows are taken from, for people."""
        return self.hub or ("made questions" if self.procedural else "local files")


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class SampleExpressions:
    """DuckDB expressions over one source row."""

    question: str
    """VARCHAR; a row whose question is NULL or empty is rejected."""
    answer: str
    """VARCHAR; one of the choices if there are any."""
    choices: str | None = None
    """VARCHAR[]; left out for free text."""
    id: str | None = None
    """VARCHAR, unique within a split; left out: a hash of question, choices and answer."""
    where: str | None = None
    """BOOLEAN; the rows to keep."""
    subject: str | None = None
    """VARCHAR or NULL."""
    human_rationale: str | None = None
    """VARCHAR or NULL."""

    @field_validator("question", "answer", "choices", "id", "where", "subject", "human_rationale")
    @classmethod
    def _is_written(cls, expression: str | None, info: ValidationInfo) -> str | None:
        if expression is not None and expression.strip() == TO_FILL_IN:
            raise ValueError(f"`{info.field_name}` is still to be written | {TO_FILL_IN} marks what was not guessed")
        return expression


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Recipe:
    """One dataset, as written in `builders/<name>.yaml`."""

    name: str
    """The file's name; datasets are known by it."""
    title: str
    source: Source
    sample: SampleExpressions
    license: str
    """SPDX id of the source's licence; `other` or `unknown` where there is none."""
    redistribution: Redistribution
    """What the licence lets one publish."""
    task: str
    """Task family, such as `math`."""
    muffin: bool = False
    """Belongs to Muffin, the mixture of FLAN's tasks, as far as it was reconstructed (docs/catalogue.md)."""
    about: str = ""
    language: str = "en"
    license_note: str | None = None
    citation: str | None = None
    """Where the dataset is described."""
    kinds: tuple[Kind, ...] = ("fundamentals", "chain_of_thought", "common_mistakes")
    """Rationale kinds, in asking order."""
    prompts: str | None = None
    """Prompt profile (`builders/prompts/<name>.yaml`); left out: the teacher's own, else `paper`."""
    strategy: Literal["explain", "star"] = "explain"
    """How a chain of thought is asked for: `explain` shows the answer; `star` asks without it, and hints at it where no
    draw reaches it. `--strategy` comes first."""
    human: Kind | None = None
    """The kind that a sample's `human_rationale` is taken for, where it has one; the teacher is asked for the rest."""
    max_new_tokens: int = 512
    """Per rationale, in teacher tokens. Part of the call key: a change asks again."""
    gates: dict[str, float] | None = None
    """Gates of this dataset, over those of `catalog.yaml`."""
    verify: tuple[str, ...] = ()
    """What is uncertain about the source; `plan` prints it."""
    given: tuple[dict[str, Any], ...] = ()
    """Source rows, written by ourselves, ..."""
    expect: tuple[dict[str, Any], ...] = ()
    """... and of each the sample that it becomes: the columns named; `{rejected: reason}` for a row that is refused;
    `{filtered: true}` for one that `where` leaves out."""

    @field_validator("kinds")
    @classmethod
    def _some_kinds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if not kinds:
            raise ValueError("`kinds` is empty | write  kinds: [chain_of_thought]")
        if len(set(kinds)) != len(kinds):
            raise ValueError("`kinds` names a kind twice | name each kind once")
        return tuple(kind for kind in KINDS if kind in kinds)

    @field_validator("max_new_tokens")
    @classmethod
    def _some_tokens(cls, tokens: int) -> int:
        if tokens < 1:
            raise ValueError(f"`max_new_tokens` is {tokens} | write a number of 1 or more")
        return tokens

    @model_validator(mode="after")
    def _kinds_that_are_there(self) -> Recipe:
        if self.strategy == "star" and "chain_of_thought" not in self.kinds:
            raise ValueError("`strategy: star` draws chains of thought, which `kinds` lacks | add it, or take this out")
        if self.human is not None and self.human not in self.kinds:
            raise ValueError(f"`human` has {self.human}, which `kinds` lacks | add it, or take this out")
        if self.human is not None and self.sample.human_rationale is None:
            raise ValueError("`human` takes `human_rationale`, which `sample` lacks | add it under `sample:`")
        return self

    @model_validator(mode="after")
    def _pairs(self) -> Recipe:
        if len(self.given) != len(self.expect):
            raise ValueError(
                f"{len(self.given)} `given` rows and {len(self.expect)} `expect` rows"
                " | write one `expect` row for each `given` row"
            )
        return self
