"""What `evaluate/experiments/NAME.yaml` declares: a question, the data, a training with factors, tests, comparisons."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from teacherlm.project.bind import SPEC_CONFIG

Way = Literal["writing", "options", "votes", "exactness", "benchmark"]
"""How a model is asked: it writes and is read; each option's likelihood; the majority of several writings; a teacher's
texts beside the gold ones; as a benchmark of `evaluate/` says."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Made:
    """A dataset of the experiment: a recipe, built, explained and checked before the first cell runs."""

    recipe: str
    """A file of `builders/`."""
    families: tuple[str, ...] = ()
    """Of a procedural recipe; left out: the recipe's."""
    splits: dict[str, int] = Field(default_factory=dict)
    """Questions of each split of a procedural recipe; left out: the recipe's."""
    seed: int | None = None
    """Of a procedural recipe."""
    teacher: str | None = None
    """Explains it: a teacher of the catalogue. With neither this nor `trained` there are samples alone."""
    trained: str | None = None
    """Or: the declaration of a training; it is trained first, and the end of its last stage explains."""
    max_steps: int | None = None
    """Of that training: a teacher that learned less."""
    kinds: tuple[str, ...] = ()
    """Left out: all three."""
    limit: int | None = None
    """Samples that are explained."""
    augmentation: Literal["rationales", "paraphrases", "votes"] = "rationales"
    """What the teacher is asked for; see docs/experiments.md."""
    repeats: int = 1
    """Calls for each sample, of paraphrases and votes."""

    @model_validator(mode="after")
    def _one_teacher(self) -> Made:
        if self.teacher is not None and self.trained is not None:
            raise ValueError("a dataset has one teacher | name `teacher` or `trained`")
        return self


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Questions:
    """Questions of the curriculum."""

    families: tuple[str, ...] = ()
    split: str = "test"
    count: int
    seed: int


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Test:
    """What every model of the experiment is asked; exactly one of the first three keys."""

    procedural: Questions | None = None
    dataset: str | None = None
    """Samples of one of the experiment's datasets."""
    task: str | None = None
    """A benchmark of `evaluate/`, such as `creak`."""
    data: str | None = None
    """Of a task: local rows, a file or folder; left out: the Hub's."""
    split: str = "test"
    limit: int | None = None
    ways: tuple[Way, ...] = ()
    """Left out: `benchmark` for a task, else `writing` and `options`."""
    kinds: tuple[str, ...] = ()
    """That a teacher is asked for, of the way `exactness`; left out: all that it was trained to write."""
    max_new_tokens: int = 128
    votes: int = 5
    """Writings of each question, of the way `votes`."""
    about: str = ""

    @model_validator(mode="after")
    def _one_of(self) -> Test:
        if sum(value is not None for value in (self.procedural, self.dataset, self.task)) != 1:
            raise ValueError("a test is one of `procedural`, `dataset` and `task` | name one")
        if (self.task is None) == ("benchmark" in self.ways) and self.ways:
            raise ValueError("`benchmark` is the way of tasks, and their only one | leave `ways` out")
        return self

    @property
    def asked(self) -> tuple[Way, ...]:
        """The ways, the usual ones where none is declared."""
        return self.ways or (("benchmark",) if self.task is not None else ("writing", "options"))


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Side:
    """Cells of one side of a comparison."""

    levels: dict[str, str]
    """Factor -> level; factors left out are as in `defaults`."""
    way: Way | None = None

    @field_validator("levels", mode="before")
    @classmethod
    def _levels_are_names(cls, value: Any) -> Any:
        return _as_names(value)


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Comparison:
    """Planned before anything was run. Either `vary` with `baseline`, or `first` with `second`."""

    vary: str | None = None
    """A factor: each of its levels is set against ..."""
    baseline: str | None = None
    """... this one, wherever all other factors are equal."""
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Only these levels of other factors; left out: all that were run."""
    first: Side | None = None
    second: Side | None = None
    test: str
    way: Way = "writing"

    @field_validator("baseline", "where", mode="before")
    @classmethod
    def _levels_are_names(cls, value: Any) -> Any:
        return _as_names(value)

    @model_validator(mode="after")
    def _either(self) -> Comparison:
        varied, sides = (self.vary, self.baseline), (self.first, self.second)
        if not ((None not in varied and sides == (None, None)) or (None not in sides and varied == (None, None))):
            raise ValueError("a comparison has `vary` and `baseline`, or `first` and `second` | write one pair")
        return self


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Claim:
    """What the paper says on the question."""

    says: str
    source: str
    """Where, such as `arXiv 2310.19019, Table 5`."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Experiment:
    """One declaration: `evaluate/experiments/<name>.yaml`."""

    name: str
    """The file's name without `.yaml`."""
    question: str
    about: str = ""
    paper: tuple[Claim, ...] = ()
    datasets: dict[str, Made] = Field(default_factory=dict)
    rules: Literal["reject", "warn"] = "reject"
    """`warn`: rules flag rationales and reject none, so that a `where` over `quality` can choose what is read."""
    train: dict[str, Any]
    """A training declaration (train/*.yaml); `{factor}` in its texts stands for the factor's level."""
    factors: dict[str, dict[str, dict[str, Any] | None]] = Field(default_factory=dict)
    """Factor -> levels. A level lays its keys over `train`; one that is a name alone (`size: [96, 128]` or `small:`
    without keys) only fills `{size}`."""
    defaults: dict[str, str] = Field(default_factory=dict)
    """Level of the factors that a grid does not name; left out: each factor's first."""
    grids: tuple[dict[str, tuple[str, ...] | Literal["all"]], ...] = ()
    """Each crosses the factors it names; equal cells of several grids run once. Left out: one of all factors."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Of the weights and the order of the texts."""
    tests: dict[str, Test]
    comparisons: tuple[Comparison, ...] = ()
    level: float = 0.95
    extrapolate: bool = False
    """The report also tells what the paper's sizes would take at the rates that were measured."""
    keep_models: bool = False
    """Else a model's weights are removed when it has been tested."""

    @field_validator("defaults", "grids", mode="before")
    @classmethod
    def _levels_are_names(cls, value: Any) -> Any:
        return _as_names(value)

    @field_validator("factors", mode="before")
    @classmethod
    def _factors_are_mappings(cls, value: Any) -> Any:
        named = _as_names(value)
        if not isinstance(named, dict):
            return named
        return {factor: dict.fromkeys(of) if isinstance(of, tuple) else of for factor, of in named.items()}

    @model_validator(mode="after")
    def _what_is_named_is_there(self) -> Experiment:
        for factor, level in self.defaults.items():
            self._known(factor, (level,), "`defaults`")
        for grid in self.grids:
            for factor, levels in grid.items():
                self._known(factor, () if levels == "all" else tuple(levels), "a grid")
        for one in self.comparisons:
            if one.test not in self.tests:
                raise ValueError(f"a comparison names no test `{one.test}` | tests are {', '.join(self.tests)}")
            ways = {one.way} if one.first is None else {s.way or one.way for s in (one.first, one.second) if s}
            if lacking := ways.difference(self.tests[one.test].asked):
                raise ValueError(
                    f"test `{one.test}` is not asked by {', '.join(sorted(lacking))} | add it to its `ways`"
                )
            if one.vary is not None and one.baseline is not None:
                self._known(one.vary, (one.baseline,), "a comparison")
            for factor, levels in one.where.items():
                self._known(factor, levels, "a comparison's `where`")
            for side in (one.first, one.second):
                for factor, level in (side.levels if side else {}).items():
                    self._known(factor, (level,), "a comparison")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("`seeds` are different numbers, one at least | write  seeds: [1, 2, 3]")
        if not self.tests:
            raise ValueError("an experiment without a test answers nothing | declare `tests`")
        return self

    def levels(self, factor: str) -> tuple[str, ...]:
        """A factor's levels, in their order."""
        return tuple(self.factors[factor])

    def default(self, factor: str) -> str:
        """The level of a factor that nobody names."""
        return self.defaults.get(factor, self.levels(factor)[0])

    def _known(self, factor: str, levels: tuple[str, ...], who: str) -> None:
        if factor not in self.factors:
            raise ValueError(f"{who} names no factor `{factor}` | factors are {', '.join(self.factors) or 'none'}")
        for level in levels:
            if level not in self.factors[factor]:
                known = ", ".join(self.factors[factor])
                raise ValueError(f"{who} names no level `{level}` of `{factor}` | it has {known}")


def _as_names(value: Any) -> Any:
    """Levels as they are called, where YAML reads numbers: `samples: [350, 700]`; patches stay as they are.

    >>> _as_names({"samples": [350, 700], "size": {96: {"window": 256}}})
    {'samples': ('350', '700'), 'size': {'96': {'window': 256}}}
    """
    if isinstance(value, dict):
        return {name: _level_names(part) for name, part in value.items()}
    if isinstance(value, list):
        return tuple(_as_names(part) for part in value)
    return _text(value)


def _level_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(level): patch for level, patch in value.items()}
    if isinstance(value, list):
        return tuple(_text(level) for level in value)
    return _text(value)


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
