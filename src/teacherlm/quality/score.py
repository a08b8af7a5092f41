"""The score: how likely a rationale is good, estimated from its metrics by a small fitted model that runs as SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from teacherlm.core.errors import Mistake
from teacherlm.core.keys import digest

FOLDS = 5
"""Parts that the questions are dealt into by their hash; each is scored by a model that saw none of it."""

FOLD = f"(('0x' || left(l.question_key, 7))::bigint % {FOLDS})"
"""The part that the question of a row `l` of `labels` belongs to."""


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One number that a rationale is judged by."""

    name: str
    sql: str
    """An expression over the columns of `metrics`, and the lists of `given` as g.NAME; null counts as 0."""
    gold: bool = False
    """Whether it looks at the gold answer."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A logistic regression: log-odds are the intercept and, for each feature, its weight times its value."""

    intercept: float
    weights: Mapping[str, float]
    """By feature; a feature that is not named has none."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A form of question, and the models for it."""

    name: str
    when: str
    """A condition over the columns of `metrics`; the first part whose condition holds gives the score."""
    model: Model
    held_out: tuple[Model, ...] = ()
    """The models that were fitted without one of the parts of the questions, in their order: they tell how well the
    score does on questions that it has not seen."""


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Logistic regressions over features, as `quality/scorer.json` holds them."""

    about: str
    kinds: tuple[str, ...]
    """Kinds that it was fitted on; others have no score."""
    fitted_on: Mapping[str, int]
    """Labels by source."""
    given: Mapping[str, str]
    """Expressions over the columns of `metrics` that several features use."""
    features: tuple[Feature, ...]
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        known = {feature.name for feature in self.features}
        for part in self.parts:
            for model in (part.model, *part.held_out):
                if unknown := set(model.weights) - known:
                    raise ValueError(f"`{part.name}` weighs {sorted(unknown)[0]}, which is no feature")
            if part.held_out and len(part.held_out) != FOLDS:
                raise ValueError(f"`{part.name}` has {len(part.held_out)} held-out models; {FOLDS} are wanted")

    def sql(self, fold: str | None = None) -> str:
        """The score from 0 to 1 as an expression over one row of `metrics`; null for other kinds, and without words.

        Args:
            fold: an expression that gives the part of the questions that a row belongs to: the score then is that of
                the model which saw none of this part.

        Raises:
            Mistake: `fold` is given, and there are no such models.
        """
        kinds = ", ".join(f"'{kind}'" for kind in self.kinds)
        cases = " ".join(f"when {part.when} then {self._of(part, fold)}" for part in self.parts)
        given = ", ".join(f"'{name}': {sql}" for name, sql in (self.given or {"nothing": "0"}).items())
        # A list of one, so that what several features use is worked out once.
        scored = f"list_transform([{{{given}}}], lambda g: case {cases} end)[1]"
        return f"case when kind in ({kinds}) and words > 0 then {scored} end"

    def values(self) -> str:
        """The features as a list of doubles, in their order, as an expression over one row of `metrics`."""
        given = ", ".join(f"'{name}': {sql}" for name, sql in (self.given or {"nothing": "0"}).items())
        each = ", ".join(_value(feature) for feature in self.features)
        return f"list_transform([{{{given}}}], lambda g: [{each}])[1]"

    def _of(self, part: Part, fold: str | None) -> str:
        if fold is None:
            return self._odds(part.model)
        if not part.held_out:
            raise Mistake("the scorer has no held-out models", "fit it again: teacherlm calibrate TABLES --fit")
        models = " ".join(f"when {number} then {self._odds(model)}" for number, model in enumerate(part.held_out))
        return f"case {fold} {models} end"

    def _odds(self, model: Model) -> str:
        terms = "".join(
            f" + {model.weights[feature.name]!r}::double * {_value(feature)}"
            for feature in self.features
            if model.weights.get(feature.name)
        )
        return f"1 / (1 + exp(-({model.intercept!r}::double{terms})))"

    @property
    def fingerprint(self) -> str:
        return digest(TypeAdapter(Scorer).dump_python(self, mode="json"))


def _value(feature: Feature) -> str:
    return f"coalesce(({feature.sql})::double, 0)"


def load_scorer(path: Path) -> Scorer:
    """The scorer of a JSON file.

    Raises:
        Mistake: it cannot be read.
    """
    try:
        return TypeAdapter(Scorer).validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        first = str(error)
        if isinstance(error, ValidationError):
            found = error.errors()[0]
            first = f"{'.'.join(map(str, found['loc']))}: {found['msg']}"
        raise Mistake(f"cannot be read: {first}", "fit it again: teacherlm calibrate TABLES --fit", str(path)) from None


def scorer_text(scorer: Scorer) -> str:
    """The scorer as `load_scorer` reads it, for people too."""
    return json.dumps(TypeAdapter(Scorer).dump_python(scorer, mode="json"), indent=1, ensure_ascii=False) + "\n"
