"""All families of questions, by name."""

from __future__ import annotations

from collections.abc import Sequence

from teacherlm.core.errors import Mistake
from teacherlm.curriculum import arithmetic, calendar, directions, measures, purchases, stories
from teacherlm.curriculum.family import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        arithmetic.Add(),
        arithmetic.Subtract(),
        arithmetic.Sequence(),
        purchases.Shop(),
        purchases.Change(),
        stories.Story(),
        stories.Compare(),
        stories.Share(),
        stories.Age(),
        calendar.Week(),
        calendar.Clock(),
        directions.Turn(),
        measures.Convert(),
        measures.Fence(),
    )
}


def families(names: Sequence[str] = ()) -> list[Family]:
    """The families of these names; all where none is named.

    Raises:
        Mistake: there is no such family.
    """
    if unknown := [name for name in names if name not in FAMILIES]:
        raise Mistake(f"there is no family `{unknown[0]}`", f"name some of {', '.join(FAMILIES)}")
    return [FAMILIES[name] for name in names or FAMILIES]
