"""The contract: what every expectation of the suites came to, as an object and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from teacherlm.core import stored
from teacherlm.quality.suites import Severity, Table

State = Literal["holds", "fails", "not run"]

EXAMPLES = 3
"""Samples that are named for each expectation that fails."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """One expectation, held against its table."""

    table: Table
    type: str
    about: str
    """What is expected, for people."""
    severity: Severity
    state: State
    """`not run`: the table lacks what the expectation speaks of; its columns or types fail as well."""
    where: str
    """The place that declares it."""
    unexpected: int | None = None
    """Rows that are not as expected; None where it holds, or is not about rows."""
    observed: str | None = None
    """What was found instead, where that is no number of rows."""
    examples: tuple[str, ...] = ()
    """The first sample ids, or what the query returned where it returned none."""

    def __str__(self) -> str:
        found = "was not looked at: its columns are not those of the schema" if self.state == "not run" else "fails"
        if self.unexpected is not None:
            found = f"{self.unexpected:,} row{'' if self.unexpected == 1 else 's'}"
        elif self.observed is not None:
            found = f"found {self.observed}"
        named = f", for example {', '.join(self.examples)}" if self.examples else ""
        return f"{self.table}: {self.about.rstrip('.')}: {found}{named}"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What the suites came to for one dataset."""

    dataset: str
    created_at: str
    """ISO 8601, UTC."""
    passed: bool
    """Whether every critical expectation holds."""
    expectations: tuple[Held, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints of what was looked at, by name."""

    @property
    def broken(self) -> Iterator[Held]:
        """Expectations that fail or could not be looked at, the critical ones first."""
        missed = (held for held in self.expectations if held.state != "holds")
        return iter(sorted(missed, key=lambda held: (held.severity != "critical", held.state != "fails")))

    @property
    def suites(self) -> int:
        return len({held.table for held in self.expectations})


def from_json(text: bytes | str) -> Contract:
    """The contract that `core.stored.to_json` wrote.

    Raises:
        MachineFailed: it was changed or cut.
    """
    return stored.from_json(Contract, text, "the contract's result")
