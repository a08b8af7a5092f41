"""What gates are held against beside the books: scores, and the share of samples that an evaluation set has too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

TRAINING = "starts_with(split, 'train')"
"""Whether a split is one that models are trained on, as SQL: the evaluation set may well share text with itself."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """The scores of the accepted rationales of one kind."""

    kind: str
    scored: int
    """Rationales that have a score."""
    mean: float
    median: float


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Measures of one judgement."""

    scores: tuple[Score, ...] = ()
    """One for each kind with any score."""
    trained_on: int = 0
    """Samples of training splits."""
    contaminated: int = 0
    """Of them those whose question, or one of whose rationales, shares text with an evaluation set. Whatever the rule
    `contaminated` makes of it."""
    by_task: Mapping[str, int] | None = None
    """Samples of training splits that share text with each evaluation set; None: no set was looked at."""

    @property
    def mean_score(self) -> float | None:
        """Over all kinds; None where nothing has a score."""
        scored = sum(score.scored for score in self.scores)
        return sum(score.scored * score.mean for score in self.scores) / scored if scored else None

    @property
    def contaminated_share(self) -> float:
        return self.contaminated / self.trained_on if self.trained_on else 0.0


def measure(con: duckdb.DuckDBPyConnection) -> Measures:
    """Measure a judgement; `con` has `samples`, and its tables `verdicts` and `contamination`."""
    scores = con.execute(
        "select kind, count(*), avg(score), median(score) from verdicts "
        "where verdict = 'accepted' and score is not null group by kind order by kind"
    ).fetchall()
    ((trained_on,),) = con.execute(f"select count(*) from samples where {TRAINING}").fetchall()
    ((contaminated,),) = con.execute(f"select count(distinct sample_id) from contamination where {TRAINING}").fetchall()
    by_task = con.execute(
        f"select task, count(distinct sample_id) from contamination where {TRAINING} group by task order by task"
    ).fetchall()
    return Measures(
        scores=tuple(Score(kind=kind, scored=count, mean=mean, median=median) for kind, count, mean, median in scores),
        trained_on=trained_on,
        contaminated=contaminated,
        by_task=dict(by_task),
    )
