"""The score: how good a rationale is, estimated from its metrics by a small fitted model that runs as SQL."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from teacherlm.core.errors import Mistake
from teacherlm.core.keys import digest


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One number that a rationale is judged by."""

    name: str
    sql: str
    """An expression over the columns of `metrics`."""
    mean: float
    """Of the rationales that the scorer was fitted on; taken where the expression is null."""
    scale: float
    """Their standard deviation."""
    weight: float
    """What one standard deviation adds to the log-odds."""


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A logistic regression over features, as `quality/scorer.json` holds it."""

    about: str
    kinds: tuple[str, ...]
    """Kinds that it was fitted on; others have no score."""
    intercept: float
    features: tuple[Feature, ...]

    def sql(self) -> str:
        """The score from 0 to 1 as an expression over one row of `metrics`."""
        kinds = ", ".join(f"'{kind}'" for kind in self.kinds)
        terms = "".join(
            f" + {f.weight!r} * (coalesce(({f.sql})::double, {f.mean!r}) - {f.mean!r}) / {f.scale!r}"
            for f in self.features
        )
        return f"case when kind in ({kinds}) then 1 / (1 + exp(-({self.intercept!r}{terms}))) end"

    @property
    def fingerprint(self) -> str:
        return digest(TypeAdapter(Scorer).dump_python(self, mode="json"))


def load_scorer(path: Path) -> Scorer:
    """The scorer of a JSON file.

    Raises:
        Mistake: it cannot be read.
    """
    try:
        return TypeAdapter(Scorer).validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise Mistake(f"cannot be read: {first}", "fit it again: teacherlm calibrate … --fit", str(path)) from None
