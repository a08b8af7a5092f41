"""The options-only control: can the answers be told without the questions?

Two guessers see the options alone and learn from many questions of another split. One weighs all that can be seen of
four options (a conditional logit, McFadden 1974: the weights of an option's features, softmax over the four), the other
takes the one rule, such as "the second largest", that was right most often. Options that say nothing of the answer
leave both at one in four.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from teacherlm.core.errors import Mistake
from teacherlm.curriculum.question import Question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_SMOOTH = 4.0
"""Showings at chance that an option's record begins with."""
_RIDGE = 1.0
_STEPS = 400
_NUMBER = re.compile(r"(\d+):(\d\d)|(-?\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses:
    """How often a guesser was right who saw the options alone."""

    family: str
    """`all` for the questions of all families."""
    asked: int
    accuracy: float
    low: float
    """The interval of the accuracy, so wide that those of all families and both guessers hold at 95 % (Bonferroni)."""
    high: float
    rule: str
    """The single rule that was right most often where it was learned."""
    rule_accuracy: float
    rule_low: float
    rule_high: float
    chance: float
    """One by the number of options."""
    hits: tuple[bool, ...]
    """Of each question, in the order given, whether the guesser was right ..."""
    rule_hits: tuple[bool, ...]
    """... and whether the rule was."""

    @property
    def leaks(self) -> bool:
        """Whether a guesser is surely better than chance."""
        return self.low > self.chance or self.rule_low > self.chance


def options_only(train: Sequence[Question], test: Sequence[Question]) -> list[Guesses]:
    """What the options alone tell of the answers, for each family and, last, for all.

    Args:
        train: questions to learn from.
        test: questions to guess, of the same families and with as many options.

    Raises:
        Mistake: nothing to guess, a family without questions to learn from, or numbers of options that differ.
    """
    names = list(dict.fromkeys(question.family for question in test))
    missing = [name for name in names if all(question.family != name for question in train)]
    if not names or missing:
        found = f"no question of `{missing[0]}` to learn from" if missing else "no question to guess"
        raise Mistake(found, "give questions of the same families")
    if len({len(question.choices) for question in (*train, *test)}) > 1:
        raise Mistake("the numbers of options differ", "control questions of one form at a time")
    chance = 1 / len(test[0].choices)
    found_rules, right, right_by_rule = [], [], []
    for name in names:
        learned = [question for question in train if question.family == name]
        guessed = [question for question in test if question.family == name]
        hits, rule, rule_hits = _guess(learned, guessed)
        found_rules.append(rule)
        right.append(hits)
        right_by_rule.append(rule_hits)
    rows = []
    for name, rule, hits, rule_hits in [
        *zip(names, found_rules, right, right_by_rule, strict=True),
        ("all", "each family's", _in_order(test, names, right), _in_order(test, names, right_by_rule)),
    ]:
        low, high = wilson(sum(hits), len(hits), comparisons=2 * len(names))
        rule_low, rule_high = wilson(sum(rule_hits), len(hits), comparisons=2 * len(names))
        rows.append(
            Guesses(
                family=name,
                asked=len(hits),
                accuracy=sum(hits) / len(hits),
                low=low,
                high=high,
                rule=rule,
                rule_accuracy=sum(rule_hits) / len(hits),
                rule_low=rule_low,
                rule_high=rule_high,
                chance=chance,
                hits=tuple(map(bool, hits)),
                rule_hits=tuple(map(bool, rule_hits)),
            )
        )
    return rows


def _in_order(test: Sequence[Question], names: Sequence[str], hits: Sequence[Iterable[bool]]) -> list[bool]:
    """Hits that are given family by family, in the order of the questions."""
    left = {name: iter(of_family) for name, of_family in zip(names, hits, strict=True)}
    return [next(left[question.family]) for question in test]


def wilson(right: int, asked: int, *, comparisons: int = 1) -> tuple[float, float]:
    """The 95 % interval of a share, by the score test (Wilson 1927).

    Args:
        comparisons: how many such intervals are to hold all at once (Bonferroni).

    >>> low, high = wilson(50, 200)
    >>> round(low, 3), round(high, 3)
    (0.195, 0.314)
    """
    z = NormalDist().inv_cdf(1 - 0.025 / comparisons)
    share, weight = right / asked, 1 + z * z / asked
    middle = share + z * z / (2 * asked)
    half = z * ((share * (1 - share) + z * z / (4 * asked)) / asked) ** 0.5
    return (middle - half) / weight, (middle + half) / weight


def _guess(learned: Sequence[Question], guessed: Sequence[Question]) -> tuple[list[bool], str, list[bool]]:
    """Whether each is right, by the weighed features and by the best rule, and that rule's name."""
    import numpy as np

    records = Counter(question.answer for question in learned)
    shown = Counter(choice for question in learned for choice in question.choices)
    pairs = [_features(question, records, shown, itself=True) for question in learned]
    names = list(pairs[0][0])
    known = np.array([[list(option.values()) for option in row] for row in pairs], dtype=np.float64)
    other = np.array(
        [[list(option.values()) for option in _features(question, records, shown)] for question in guessed],
        dtype=np.float64,
    )
    gold = np.array([question.choices.index(question.answer) for question in learned])
    truth = np.array([question.choices.index(question.answer) for question in guessed])

    middle, spread = known.mean((0, 1)), known.std((0, 1))
    spread[spread == 0] = 1.0
    weights = _fit((known - middle) / spread, gold)
    hits = (((other - middle) / spread) @ weights).argmax(1) == truth

    signs = [(sign, place) for place in range(len(names)) for sign in (1, -1)]
    best = max(signs, key=lambda rule: float(((rule[0] * known[:, :, rule[1]]).argmax(1) == gold).mean()))
    rule = f"{'most' if best[0] > 0 else 'least'} {names[best[1]]}"
    rule_hits = (best[0] * other[:, :, best[1]]).argmax(1) == truth
    return [bool(hit) for hit in hits], rule, [bool(hit) for hit in rule_hits]


def _fit(features: Floats, gold: NDArray[np.intp]) -> Floats:
    """Weights of a conditional logit, by Newton's method with a ridge; features (questions, options, features)."""
    import numpy as np

    rows = np.arange(len(gold))
    weights = np.zeros(features.shape[2])
    for _ in range(_STEPS):
        scores = features @ weights
        shares = np.exp(scores - scores.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        slope = (features[rows, gold] - (shares[:, :, None] * features).sum(1)).sum(0) - _RIDGE * weights
        centred = features - (shares[:, :, None] * features).sum(1, keepdims=True)
        curve = np.einsum("qof,qo,qog->fg", centred, shares, centred, optimize=True) + _RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curve, slope)
        weights += step
        if float(np.abs(step).max()) < 1e-6:
            break
    return weights


def _features(
    question: Question, records: Counter[str], shown: Counter[str], *, itself: bool = False
) -> list[dict[str, float]]:
    """What can be seen of each option beside the others.

    Args:
        records: how often each text was the answer, among the questions learned from.
        shown: how often it was an option there.
        itself: this question is one of those; its own part is taken out of both, since it would tell its answer.
    """
    values = [_value(choice) for choice in question.choices]
    ordered = sorted(values)
    count = len(values)
    found = []
    for place, (choice, value) in enumerate(zip(question.choices, values, strict=True)):
        others = [abs(value - other) for at, other in enumerate(values) if at != place]
        was_right = records[choice] - (itself and choice == question.answer)
        was_shown = shown[choice] - itself
        units = int(value) % 10
        found.append(
            {
                **{f"in place {at + 1}": float(at == place) for at in range(count)},
                **{f"{at + 1}. by size": float(ordered[at] == value) for at in range(count)},
                "distance to the others": sum(others) / (1 + ordered[-1] - ordered[0]),
                "distance to the nearest": min(others) / (1 + ordered[-1] - ordered[0]),
                "large": value,
                "long": float(len(choice)),
                "even": float(int(value) % 2 == 0),
                **{f"ending in {digit}": float(units == digit) for digit in range(10)},
                "sharing its last digit": float(sum(int(other) % 10 == units for other in values)),
                "sharing its tens": float(sum(int(other) // 10 == int(value) // 10 for other in values)),
                "often right": float(was_right),
                "often right when shown": (was_right + _SMOOTH / count) / (was_shown + _SMOOTH),
            }
        )
    return found


def _value(choice: str) -> float:
    """The number that an option is; a time in minutes; for words a number that follows the alphabet."""
    match = _NUMBER.fullmatch(choice)
    if match is None:
        return float(int.from_bytes(choice[:6].ljust(6).encode("utf-8", "replace")[:6], "big"))
    return float(int(match[1]) * 60 + int(match[2]) if match[1] else int(match[3]))
