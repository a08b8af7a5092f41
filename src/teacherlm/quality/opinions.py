"""Opinions of a judge on rationales: what an answer says, and how it agrees with labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from teacherlm.quality.calibration import auroc, interval, kappa

GOOD = 0.5
"""From this opinion on a text counts as good: 3 of 1 to 5."""


@dataclass(frozen=True, kw_only=True)
class JudgeAgreement:
    """How a judge agrees with the labels of one source, by one kind of label."""

    source: str
    label: str
    asked: int
    unreadable: int
    """Answers that say neither a number nor yes or no, and failed calls."""
    accuracy: float | None
    kappa: float | None
    """Cohen's."""
    auroc: float | None
    low: float | None
    high: float | None

    def to_row(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def opinion(answer: str) -> float | None:
    """What an answer says, from 0 (bad) to 1 (good); None where nothing can be read in it.

    >>> [opinion(text) for text in ("4", "Rating: 1/5", "Yes.", "no, because it is 5 words long", "hm")]
    [0.75, 0.0, 1.0, 0.0, None]
    """
    found = re.search(r"(?<![\d.])([1-5])(?![\d]|\.\d)|\b(yes|no)\b", answer, re.IGNORECASE)
    if found is None:
        return None
    return (int(found[1]) - 1) / 4 if found[1] else float(found[2].lower() == "yes")


def judge_agreement(
    labels: Sequence[Mapping[str, Any]], opinions: Mapping[tuple[str, int], float | None]
) -> list[JudgeAgreement]:
    """How opinions agree with labels, by kind of label and source.

    Args:
        labels: rows of the table `labels`.
        opinions: by sample and repeat; None where nothing could be read.
    """
    found = []
    for label, source in sorted({(row["label"], row["source"]) for row in labels}):
        mine = [row for row in labels if (row["label"], row["source"]) == (label, source)]
        asked = [row for row in mine if (row["sample_id"], row["repeat"]) in opinions]
        read = [row for row in asked if opinions[row["sample_id"], row["repeat"]] is not None]
        if not asked:
            continue
        good = np.array([row["good"] for row in read], dtype=bool)
        said = np.array([opinions[row["sample_id"], row["repeat"]] for row in read], dtype=float)
        value = auroc(good, said) if len(read) else None
        questions = np.array([row["question_key"] for row in read])
        low, high = interval(good, said, questions) if value is not None else (None, None)
        found.append(
            JudgeAgreement(
                source=source,
                label=label,
                asked=len(asked),
                unreadable=len(asked) - len(read),
                accuracy=float(((said >= GOOD) == good).mean()) if len(read) else None,
                kappa=kappa(said >= GOOD, good) if len(read) else None,
                auroc=value,
                low=low,
                high=high,
            )
        )
    return found
