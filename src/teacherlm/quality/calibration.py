"""Calibration: how rules and scores agree with labels, by source and kind of label, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import duckdb

DRAWS = 400
"""Samples of a bootstrap."""

SEED = 20231019

BINS = 10
"""Bins of equal width that calibration is measured in."""

ALL_REJECT = "(all that reject)"
"""The name of the rejecting rules taken together."""


@dataclass(frozen=True, kw_only=True)
class RuleAgreement:
    """What a rule finds among labelled rationales of one source, by one kind of label."""

    rule: str
    severity: str
    source: str
    label: str
    rationales: int
    good: int
    hits: int
    bad_hits: int

    @property
    def precision(self) -> float | None:
        """Share of bad ones among those that it finds."""
        return self.bad_hits / self.hits if self.hits else None

    @property
    def recall(self) -> float | None:
        """Share of the bad ones that it finds."""
        bad = self.rationales - self.good
        return self.bad_hits / bad if bad else None

    @property
    def good_rejected(self) -> float | None:
        """Share of the good ones that it finds, wrongly."""
        return (self.hits - self.bad_hits) / self.good if self.good else None

    def to_row(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return counts | {"precision": self.precision, "recall": self.recall, "good_rejected": self.good_rejected}


@dataclass(frozen=True, kw_only=True)
class ScoreAgreement:
    """How well a score tells good from bad rationales of one source, by one kind of label."""

    source: str
    label: str
    people: str
    """`all`, or `unanimous`: rationales of which all who judged them say the same."""
    rationales: int
    good: int
    auroc: float | None
    """Share of pairs of a good and a bad one in which the good one has the higher score; None without both."""
    low: float | None
    high: float | None
    """Its 95 % interval: a bootstrap over questions, since texts about one question are no independent cases."""
    same_question: float | None
    """The same share of pairs about one question; None where there are fewer than 30."""
    brier: float
    """Mean squared distance of the score from 1 for good and 0 for bad."""
    ece: float
    """Expected calibration error: mean distance of the score from the share of good ones, over ten bins of it."""

    def to_row(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def rule_agreement(con: duckdb.DuckDBPyConnection, rules: Sequence[tuple[str, str]]) -> list[RuleAgreement]:
    """How each rule agrees with the table `labels`, and all that reject together; from the table `findings`.

    Args:
        rules: id and severity of each.
    """
    con.execute("create or replace temp table judging (rule varchar, severity varchar)")
    con.executemany("insert into judging values (?, ?)", [*rules, (ALL_REJECT, "reject")])
    found = con.execute(
        f"""
        with hits as (
            select distinct sample_id, repeat, rule from findings
            union all
            select distinct sample_id, repeat, '{ALL_REJECT}' from findings where severity = 'reject'
        ),
        sizes as (select source, label, count(*) as rationales, count_if(good) as good from labels group by all),
        counted as (
            select h.rule, l.source, l.label, count(*) as hits, count_if(not l.good) as bad_hits
            from hits h join labels l on l.sample_id = h.sample_id and l.repeat = h.repeat group by all
        )
        select
            j.rule, j.severity, s.source, s.label, s.rationales, s.good,
            coalesce(c.hits, 0) as hits, coalesce(c.bad_hits, 0) as bad_hits
        from judging j cross join sizes s
        left join counted c on c.rule = j.rule and c.source = s.source and c.label = s.label
        order by s.label, s.source, j.rule = '{ALL_REJECT}', j.severity, j.rule
        """
    )
    names = [name for name, *_ in found.description or ()]
    return [RuleAgreement(**dict(zip(names, row, strict=True))) for row in found.fetchall()]


def score_agreement(
    source: str, label: str, good: np.ndarray, score: np.ndarray, question: np.ndarray, people: str = "all"
) -> ScoreAgreement:
    """How a score agrees with the labels of one source.

    Args:
        good, score, question: shape (labels,); scores between 0 and 1.
    """
    value = auroc(good, score)
    low, high = interval(good, score, question) if value is not None else (None, None)
    bins = np.minimum((score * BINS).astype(int), BINS - 1)
    gaps = [
        abs(score[bins == number].mean() - good[bins == number].mean()) * (bins == number).mean()
        for number in np.unique(bins)
    ]
    return ScoreAgreement(
        source=source,
        label=label,
        people=people,
        rationales=len(good),
        good=int(good.sum()),
        auroc=value,
        low=low,
        high=high,
        same_question=within(good, score, question),
        brier=float(np.mean((score - good) ** 2)),
        ece=float(sum(gaps)),
    )


def auroc(good: np.ndarray, score: np.ndarray) -> float | None:
    """Area under the ROC curve, ties counting half; None without both good and bad ones.

    >>> auroc(np.array([True, True, False]), np.array([0.9, 0.5, 0.5]))
    0.75
    """
    if not 0 < good.sum() < len(good):
        return None
    return float(_weighted(good, score, np.ones((1, len(good))))[0])


def interval(good: np.ndarray, score: np.ndarray, question: np.ndarray) -> tuple[float | None, float | None]:
    """The 95 % interval of the AUROC, by drawing questions with replacement; the same input gives the same interval."""
    _, number = np.unique(question, return_inverse=True)
    count = int(number.max()) + 1
    drawn = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    areas = _weighted(good, score, drawn[:, number].astype(float))
    areas = areas[~np.isnan(areas)]
    if not len(areas):
        return None, None
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(low), float(high)


def within(good: np.ndarray, score: np.ndarray, question: np.ndarray, least: int = 30) -> float | None:
    """Share of pairs of a good and a bad text about one question in which the good one has the higher score."""
    right, pairs = 0.0, 0
    order = np.argsort(question, kind="stable")
    starts = np.flatnonzero(np.r_[True, question[order][1:] != question[order][:-1]])
    for chosen in np.split(order, starts[1:]):
        above = score[chosen][good[chosen]][:, None] - score[chosen][~good[chosen]][None, :]
        right += float((above > 0).sum() + 0.5 * (above == 0).sum())
        pairs += above.size
    return right / pairs if pairs >= least else None


def kappa(left: np.ndarray, right: np.ndarray) -> float | None:
    """Cohen's kappa of two lists of yes and no; None where chance alone agrees always.

    Source: Cohen 1960, A coefficient of agreement for nominal scales.
    """
    agree = float((left == right).mean())
    chance = float(left.mean() * right.mean() + (~left).mean() * (~right).mean())
    return (agree - chance) / (1 - chance) if chance < 1 else None


def _weighted(good: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Areas for several weightings; shape (weightings,); nan where a weighting leaves no good or no bad ones."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    positive = np.add.reduceat(weights[:, order] * good[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~good[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    with np.errstate(invalid="ignore"):
        areas: np.ndarray = (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))
    return areas
