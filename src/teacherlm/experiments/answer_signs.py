"""Signs that an evaluation does not mean what its accuracy says; they need the answers alone, of any evaluation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from teacherlm.experiments.words import counted, p_value, percent

Severity = Literal["problem", "warning", "note"]
"""The figures mean nothing as they stand; they mean less than they seem to; good to know."""

SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")
"""The gravest first."""

UNANSWERED = 0.05
"""Share of writings without an answer, or of prompts that were cut, above which it is said."""

P = 0.01
"""Below it a departure is not taken for chance."""

LEAN = 0.05
"""Above chance: what answering always alike must gain before the balance of gold answers is worth a word."""

ALWAYS = 0.6
"""Share of one place among a model's answers above which it is said to prefer it ..."""

BEYOND_GOLD = 0.2
"""... where gold answers stand there less often by this much."""

FEWEST = 20
"""Answers below which none of this is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A sign that something failed, or that a figure is not what it seems."""

    name: str
    severity: Severity
    about: str
    """What it means, for those who never met it."""
    found: str
    """What was seen here, with figures."""
    remedy: str
    where: tuple[str, ...] = ()
    """Tests, cells or datasets; all of them, however many."""


def letter(place: int) -> str:
    """`(A)` for the first."""
    return f"({chr(ord('A') + place)})" if place < 26 else f"option {place + 1}"


def unbalanced(positions: Sequence[int | None], options: Sequence[int] | int | None, *, where: str) -> Signature | None:
    """Gold answers that stand in some places more often than others.

    Args:
        positions: place of each gold answer among its options, from 0; None is passed over.
        options: how many options each question has, or all have.
            None: not known, and nothing is found.

    Raises:
        ValueError: not one number of options for each position.

    Source: Pearson's chi-square test; expected is each place as often as the questions that have it, over their
    options.
    """
    if options is None:
        return None
    counts = [options] * len(positions) if isinstance(options, int) else options
    if len(counts) != len(positions):
        raise ValueError(f"{len(positions)} positions and {len(counts)} numbers of options do not match")
    known = [(place, of) for place, of in zip(positions, counts, strict=True) if place is not None and of > 1]
    if len(known) < FEWEST:
        return None
    places = max(of for _, of in known)
    expected = [sum(1 / of for _, of in known if of > place) for place in range(places)]
    seen = Counter(place for place, _ in known)
    if min(expected) < 5:
        return None  # too few for the test's approximation
    statistic = sum((seen[place] - most) ** 2 / most for place, most in enumerate(expected))
    p = chi_square(statistic, places - 1)
    most, often = seen.most_common(1)[0]
    chance = sum(1 / of for _, of in known) / len(known)
    if p >= P or often / len(known) - chance <= LEAN:
        return None
    shares = ", ".join(f"{letter(place)} {percent(seen[place] / len(known))}" for place in range(places))
    return Signature(
        name="unbalanced answers",
        severity="warning",
        about="A model that always says one letter beats guessing where gold answers prefer that letter.",
        found=f"{where}: gold answers stand at {shares} (chi-square, {p_value(p)}); always saying {letter(most)} is "
        f"right in {percent(often / len(known))}, guessing in {percent(chance)}",
        remedy="shuffle the options of each question, or read the accuracy beside that of the most frequent letter",
        where=(where,),
    )


def one_letter(said: Sequence[int | None], positions: Sequence[int | None], *, where: str) -> Signature | None:
    """A model that answers with one place among the options far more often than gold answers stand there.

    Args:
        said: place of each predicted answer, from 0; None: none was stated, or it is no option.
        positions: of the gold answers.
    """
    answers = [place for place in said if place is not None]
    gold = [place for place in positions if place is not None]
    if len(answers) < FEWEST or not gold:
        return None
    place, often = Counter(answers).most_common(1)[0]
    share, right = often / len(answers), gold.count(place) / len(gold)
    if share < ALWAYS or share - right < BEYOND_GOLD:
        return None
    return Signature(
        name="one letter",
        severity="warning",
        about="A model that prefers a place among the options did not read them; its accuracy is that place's share.",
        found=f"{where}: {percent(share)} of {counted(len(answers), 'answer')} are {letter(place)}, "
        f"where {percent(right)} of the gold answers stand",
        remedy="look at what it writes; ask by writing, or by the options' texts in place of letters; train longer",
        where=(where,),
    )


def unanswered(count: int, total: int, *, where: str) -> Signature | None:
    """Writings in which no answer was found; they count as wrong."""
    if not total or count / total <= UNANSWERED:
        return None
    return Signature(
        name="unanswered",
        severity="problem" if count / total > 0.5 else "warning",
        about="A writing that states no answer counts as wrong, whatever the model may know.",
        found=f"{where}: no answer in {percent(count / total)} of {counted(total, 'writing')}",
        remedy="raise max_new_tokens where writings end in the middle; else look at what is written, and train longer",
        where=(where,),
    )


def cut(count: int, total: int, *, where: str) -> Signature | None:
    """Prompts that lost their beginning because the window is too small."""
    if not total or count / total <= UNANSWERED:
        return None
    return Signature(
        name="cut prompts",
        severity="warning",
        about="A prompt that does not fit into the window loses its beginning, often the question itself.",
        found=f"{where}: {percent(count / total)} of {counted(total, 'prompt')} were cut",
        remedy="give the model a larger window, ask for fewer new tokens, or leave long questions out",
        where=(where,),
    )


def beside_chance(low: float, high: float, chance: float | None) -> Literal["above", "at", "below", "unknown"]:
    """Where an accuracy's interval lies.

    >>> beside_chance(0.23, 0.28, 0.25), beside_chance(0.1, 0.2, 0.25), beside_chance(0.3, 0.4, None)
    ('at', 'below', 'unknown')
    """
    if chance is None or math.isnan(low):
        return "unknown"
    return "above" if low > chance else "below" if high < chance else "at"


def chi_square(statistic: float, freedom: int) -> float:
    """How likely a chi-square so large or larger is.

    >>> round(chi_square(7.815, 3), 3), round(chi_square(5.991, 2), 3)
    (0.05, 0.05)
    """
    from scipy.special import chdtrc

    return float(chdtrc(freedom, max(0.0, statistic)))
