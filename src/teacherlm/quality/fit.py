"""Fitting the scorer: logistic regressions on labelled rationales, checked on questions that they did not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from teacherlm.core.errors import MissingExtra, Mistake
from teacherlm.quality.messages import short
from teacherlm.quality.score import FOLD, FOLDS, Feature, Model, Part, Scorer

if TYPE_CHECKING:
    import duckdb

C = 0.1
"""Inverse strength of the regularisation, of features scaled to a standard deviation of 1."""

JUDGED = 3.0
"""How much more a judgement of people weighs than an answer known to be right or wrong: there are fewer of them, and a
wrong answer is what rules find too."""

LEAST = 50
"""Labels of one part, at least."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """What a scorer may look at, as `quality/features.yaml` declares it."""

    kinds: tuple[str, ...]
    parts: Mapping[str, str]
    """Conditions by name, in the order in which they are tried."""
    given: Mapping[str, str]
    features: tuple[Feature, ...]

    def without_gold(self) -> Design:
        """The same without the features that look at the gold answer."""
        return replace(self, features=tuple(feature for feature in self.features if not feature.gold))


@dataclass(frozen=True)
class Labelled:
    """Labels with the features of their rationales; arrays of one length."""

    values: np.ndarray
    """Shape (labels, features)."""
    good: np.ndarray
    source: np.ndarray
    label: np.ndarray
    fold: np.ndarray
    """The part of the questions that a label's question belongs to."""
    question_key: np.ndarray
    part: np.ndarray
    """Number of the design's part; -1 where none holds."""

    def __len__(self) -> int:
        return len(self.good)

    def __getitem__(self, chosen: np.ndarray) -> Labelled:
        return Labelled(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def read_design(con: duckdb.DuckDBPyConnection, design: Design) -> Labelled:
    """The labels of the table `labels`, with the features of the table `metrics`, sorted by their keys.

    Raises:
        Mistake: a feature or a part whose SQL cannot be run.
    """
    import duckdb

    empty = _scorer(design, {}, ())
    cases = " ".join(f"when {when} then {number}" for number, when in enumerate(design.parts.values()))
    try:
        found = con.execute(
            f"""
            select
                {empty.values()} as features, l.good, l.source, l.label,
                {FOLD} as fold, l.question_key, coalesce(case {cases} end, -1) as part
            from metrics m
            join labels l
            on l.sample_id = m.sample_id and l.repeat = m.repeat
            order by l.sample_id, l.repeat, l.label
            """
        ).fetchnumpy()
    except duckdb.Error as error:
        raise Mistake(f"the features cannot be run: {short(error)}", "mend the SQL", "quality/features.yaml") from None
    rows = [list(row) for row in found["features"]]
    return Labelled(
        np.array(rows, dtype=float).reshape(len(rows), len(design.features)),
        *(np.array(found[name]) for name in ("good", "source", "label", "fold", "question_key", "part")),
    )


def fit(design: Design, labelled: Labelled) -> Scorer:
    """A scorer with its held-out models; the same labels give the same one.

    Raises:
        MissingExtra: scikit-learn is not installed.
        Mistake: too few labels of a part, or of good and bad ones.
    """
    parts = []
    for number, (name, when) in enumerate(design.parts.items()):
        mine = labelled[labelled.part == number]
        if not len(mine):
            continue
        if len(mine) < LEAST or min(mine.good.sum(), (~mine.good).sum()) < LEAST // 5:
            raise Mistake(
                f"{len(mine)} labels with {name}, of which {int(mine.good.sum())} are good",
                f"give tables with {LEAST} or more, of which {LEAST // 5} or more are good and as many are bad",
                "--fit",
            )
        held_out = tuple(_model(design, mine[mine.fold != fold]) for fold in range(FOLDS))
        parts.append(Part(name=name, when=when, model=_model(design, mine), held_out=held_out))
    if not parts:
        raise Mistake("there are no labels", "give tables with labelled rationales", "--fit")
    sources, counts = np.unique(labelled.source, return_counts=True)
    return _scorer(design, dict(zip(sources.tolist(), counts.tolist(), strict=True)), parts)


def left_out(design: Design, labelled: Labelled) -> Iterator[tuple[str, np.ndarray]]:
    """For each source the scores that its labels get from all other sources and other questions, in their order.

    Nothing is given for a source where the others hold too few labels of a part that it has.
    """
    for source in np.unique(labelled.source):
        inside = labelled.source == source
        mine = labelled[inside]
        others = labelled[~inside & ~np.isin(labelled.question_key, mine.question_key)]
        scores = np.full(len(mine), np.nan)
        for part in range(len(design.parts)):
            tested, fitted = mine.part == part, others[others.part == part]
            if tested.any() and len(fitted) >= LEAST and 0 < fitted.good.sum() < len(fitted):
                scores[tested] = predict(design, _model(design, fitted), mine.values[tested])
        if not np.isnan(scores).any():
            yield str(source), scores


def held_out_scores(scorer: Scorer, design: Design, labelled: Labelled) -> np.ndarray:
    """The score of each label by the model that did not see its question; what the SQL gives, for other features."""
    scores = np.full(len(labelled), np.nan)
    names = list(design.parts)
    for part in scorer.parts:
        for fold, model in enumerate(part.held_out):
            chosen = (labelled.part == names.index(part.name)) & (labelled.fold == fold)
            scores[chosen] = predict(design, model, labelled.values[chosen])
    return scores


def predict(design: Design, model: Model, values: np.ndarray) -> np.ndarray:
    """Scores of rows of features; shape (rows,)."""
    weights = np.array([model.weights.get(feature.name, 0.0) for feature in design.features])
    scores: np.ndarray = 1 / (1 + np.exp(-(model.intercept + values @ weights)))
    return scores


def pipeline(labelled: Labelled, columns: np.ndarray) -> Any:
    """scikit-learn's fitted model of the labels: a scaler and a logistic regression, calibrated on held-out questions.

    Returns:
        An object with `predict_proba(values[:, columns])`.
    """
    sklearn = load_sklearn()
    values = labelled.values[:, columns]
    weights = source_weights(labelled)

    def fitted(chosen: np.ndarray) -> Any:
        made = sklearn.pipeline.make_pipeline(
            sklearn.preprocessing.StandardScaler(), sklearn.linear_model.LogisticRegression(C=C, max_iter=5000)
        )
        return made.fit(values[chosen], labelled.good[chosen], logisticregression__sample_weight=weights[chosen])

    everything = np.ones(len(labelled), dtype=bool)
    whole = fitted(everything)
    odds = np.full(len(labelled), np.nan)
    for fold in np.unique(labelled.fold):
        seen = labelled.fold != fold
        if 0 < labelled.good[seen].sum() < seen.sum():
            odds[~seen] = fitted(seen).decision_function(values[~seen])
    known = ~np.isnan(odds)
    platt = sklearn.linear_model.LogisticRegression(C=1e6, max_iter=5000)
    slope, shift = 1.0, 0.0
    if 0 < labelled.good[known].sum() < known.sum():
        platt.fit(odds[known, None], labelled.good[known], sample_weight=weights[known])
        slope, shift = max(float(platt.coef_[0, 0]), 0.05), float(platt.intercept_[0])
    # Platt's line is worked into the regression, so that it stays one regression.
    regression = whole[-1]
    regression.coef_, regression.intercept_ = slope * regression.coef_, slope * regression.intercept_ + shift
    return whole


def source_weights(labelled: Labelled) -> np.ndarray:
    """Weights of the labels: a source counts by the square root of its labels, judgements more than known answers."""
    groups = np.char.add(np.char.add(labelled.source.astype(str), "\n"), labelled.label.astype(str))
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights = counts[inverse] ** -0.5 * np.where(labelled.label == "judgement", JUDGED, 1.0)
    scaled: np.ndarray = weights / weights.mean()
    return scaled


def load_sklearn() -> Any:
    """scikit-learn.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        for part in ("linear_model", "pipeline", "preprocessing"):
            import_module(f"sklearn.{part}")
        return import_module("sklearn")
    except ImportError:
        raise MissingExtra("fitting a scorer", "fit") from None


def _model(design: Design, labelled: Labelled) -> Model:
    """The regression in the features' own units; features that never differ have no weight."""
    load_sklearn()
    columns = np.flatnonzero(labelled.values.std(axis=0) > 1e-12)
    # Problems this small are slowed down many times by threads that wait for each other.
    with import_module("threadpoolctl").threadpool_limits(1):
        scaler, regression = pipeline(labelled, columns)
    weights = regression.coef_[0] / scaler.scale_
    intercept = float(regression.intercept_[0] - (weights * scaler.mean_).sum())
    names: Sequence[str] = [design.features[column].name for column in columns]
    return Model(intercept=intercept, weights=dict(zip(names, weights.tolist(), strict=True)))


def _scorer(design: Design, fitted_on: Mapping[str, int], parts: Sequence[Part]) -> Scorer:
    return Scorer(
        about="Logistic regressions over metrics, made by `teacherlm calibrate --fit`; see docs/quality.md.",
        kinds=design.kinds,
        fitted_on=fitted_on,
        given=design.given,
        features=design.features,
        parts=tuple(parts),
    )
