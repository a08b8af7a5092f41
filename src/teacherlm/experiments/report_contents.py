"""What a report says, before it has a form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from teacherlm.experiments.answer_signs import Signature
from teacherlm.experiments.comparing import Compared
from teacherlm.experiments.conclusions import Conclusions
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.estimates import Row
from teacherlm.experiments.report_facts import Facts, Setting
from teacherlm.experiments.report_groups import Group

_FIGURE = re.compile(r"[+−–<~≈]? ?(\d|$)")


class Tabled(Protocol):
    """Texts in rows, such as what a run took."""

    @property
    def title(self) -> str: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def rows(self) -> Sequence[Sequence[str]]: ...
    @property
    def notes(self) -> Sequence[str]: ...


def numeric(table: Tabled) -> list[int]:
    """Columns of figures alone; they stand on the right."""
    return [
        place
        for place in range(1, len(table.columns))
        if all(not row[place] or _FIGURE.match(row[place]) for row in table.rows)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """A signature, wherever it was found."""

    name: str
    severity: str
    about: str
    remedy: str
    found: tuple[tuple[str, tuple[str, ...]], ...]
    """What was seen, and where."""


def merged(signatures: Sequence[Signature]) -> tuple[Sign, ...]:
    """Those of one kind and severity together, in the order of their first."""
    alike: dict[tuple[str, str, str, str], list[tuple[str, tuple[str, ...]]]] = {}
    for one in signatures:
        where = () if len(one.where) == 1 and one.where[0] in one.found else one.where
        alike.setdefault((one.name, one.severity, one.about, one.remedy), []).append((one.found, where))
    return tuple(
        Sign(name=name, severity=severity, about=about, remedy=remedy, found=tuple(found))
        for (name, severity, about, remedy), found in alike.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All of a report."""

    experiment: Experiment
    conclusions: Conclusions
    groups: tuple[Group, ...]
    rows: tuple[Row, ...]
    signatures: tuple[Sign, ...]
    notes: tuple[str, ...]
    setting: Setting
    facts: Facts
    tables: tuple[Tabled, ...]
    statistics: tuple[str, ...]

    @property
    def compared(self) -> list[Compared]:
        return [one for group in self.groups for one in group.compared]

    @property
    def concluded(self) -> list[Group]:
        """Groups that have a conclusion."""
        return [group for group in self.groups if group.said]

    @property
    def asked(self) -> list[tuple[str, str, Sequence[Row]]]:
        """Test, way and their rows."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            found.setdefault((row.test, row.way), []).append(row)
        return [(test, way, rows) for (test, way), rows in found.items()]
