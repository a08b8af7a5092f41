"""How many samples each dataset of a collection gives, when they are to be so many together."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

Mixing = Literal["capped", "proportional"]


def sizes(
    available: Mapping[str, int], target: int | None, *, at_most: int | None = None, mixing: Mixing = "capped"
) -> dict[str, int]:
    """Samples to take of each dataset.

    `capped` raises one level for all datasets until the target is reached: small ones give all they have, the others
    the same number each. `proportional` takes the same share of each. What a dataset's limit keeps it from giving, the
    others give. Shares that are no whole numbers are rounded by the largest remainder; of equal ones the first name.

    Args:
        available: samples that each dataset has.
        target: samples of all together; None: as many as the limits let through.
        at_most: samples of any one dataset.

    Returns:
        A size for each dataset. They sum up to the target, or, where the sources run short, to all that there is.

    >>> sizes({"a": 10, "b": 100, "c": 1000}, 90)
    {'a': 10, 'b': 40, 'c': 40}
    >>> sizes({"a": 10, "b": 100, "c": 1000}, 111, mixing="proportional")
    {'a': 1, 'b': 10, 'c': 100}
    """
    limits = {name: count if at_most is None else min(count, at_most) for name, count in available.items()}
    if target is None or sum(limits.values()) <= target:
        return limits
    weights = {name: 1 if mixing == "capped" else count for name, count in available.items() if limits[name]}
    taken = dict.fromkeys(available, 0)
    left, weight = target, sum(weights.values())
    rest = sorted(weights, key=lambda name: (Fraction(limits[name], weights[name]), name))
    # Those that reach their limit first give all of it; the first that does not is followed by none that does.
    while rest and limits[rest[0]] * weight <= left * weights[rest[0]]:
        name = rest.pop(0)
        taken[name] = limits[name]
        left, weight = left - limits[name], weight - weights[name]
    remainders = []
    for name in rest:
        taken[name], remainder = divmod(left * weights[name], weight)
        remainders.append((-remainder, name))
    over = left - sum(taken[name] for name in rest)
    for _, name in sorted(remainders)[:over]:
        taken[name] += 1
    return taken
