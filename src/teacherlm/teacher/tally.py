"""Counts of a run that asks a teacher: whoever shows or reports it reads them while it goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class KindTally:
    """What became of the texts of one kind."""

    answered: int = 0
    truncated: int = 0
    refused: int = 0
    exhausted: int = 0

    @property
    def settled(self) -> int:
        return self.answered + self.truncated + self.refused + self.exhausted


@dataclass(slots=True)
class EndpointTally:
    """What one endpoint does."""

    url: str
    in_flight: int = 0
    places: int = 0
    """Requests that it may have in flight."""
    requests: int = 0
    answered: int = 0
    busy: int = 0
    faults: int = 0
    generated_tokens: int = 0
    away: str | None = None
    """Why nothing is sent there now."""


@dataclass(slots=True)
class Tally:
    """What happened so far, texts and requests apart."""

    answered: int = 0
    """Texts, as the next three."""
    truncated: int = 0
    refused: int = 0
    exhausted: int = 0
    followed: int = 0
    """Answers that settled nothing: another question followed."""
    requests: int = 0
    retries: int = 0
    busy: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    places: int = 0
    waiting: int = 0
    """Calls that wait for another attempt."""
    first_refusal: str | None = None
    """The words of the first refusal."""
    kinds: dict[str, KindTally] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    """Failed texts by reason, in few words: `422`, `no answer`, …"""
    faults: Counter[str] = field(default_factory=Counter)
    """Attempts that failed, by reason, whatever became of their calls."""
    endpoints: list[EndpointTally] = field(default_factory=list)

    @property
    def settled(self) -> int:
        return self.answered + self.truncated + self.refused + self.exhausted

    @classmethod
    def of_all(cls, tallies: Sequence[Tally]) -> Tally:
        """The sums over several teachers."""
        total = cls()
        for tally in tallies:
            for part in fields(cls):
                value = getattr(tally, part.name)
                if isinstance(value, int):
                    setattr(total, part.name, getattr(total, part.name) + value)
            for kind, counts in tally.kinds.items():
                mine = total.kinds.setdefault(kind, KindTally())
                for part in fields(KindTally):
                    setattr(mine, part.name, getattr(mine, part.name) + getattr(counts, part.name))
            total.failures.update(tally.failures)
            total.faults.update(tally.faults)
            total.endpoints += tally.endpoints
            total.first_refusal = total.first_refusal or tally.first_refusal
        return total

    def to_row(self) -> dict[str, Any]:
        """For reports: without what is only of the moment."""
        row = {part.name: getattr(self, part.name) for part in fields(self)}
        del row["in_flight"], row["waiting"]
        row["kinds"] = {kind: asdict(counts) for kind, counts in self.kinds.items()}
        row["failures"], row["faults"] = dict(self.failures), dict(self.faults)
        row["endpoints"] = [asdict(endpoint) for endpoint in self.endpoints]
        return row

    def settle(self, kind: str, outcome: str, failure: str | None) -> None:
        """Count a text.

        Args:
            outcome: `answered`, `truncated`, `refused` or `exhausted`.
            failure: the reason of a refusal or of giving up, in few words.
        """
        of_kind = self.kinds.get(kind)
        if of_kind is None:
            of_kind = self.kinds[kind] = KindTally()
        if outcome == "answered":  # as nearly all are
            of_kind.answered += 1
            self.answered += 1
        else:
            setattr(of_kind, outcome, getattr(of_kind, outcome) + 1)
            setattr(self, outcome, getattr(self, outcome) + 1)
        if failure is not None:
            self.failures[failure] += 1
