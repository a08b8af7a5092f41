"""What a teacher was asked for an experiment, and what became of it: every call ends in one place of the books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from teacherlm.core.errors import GateFailed
from teacherlm.schemas.records import KINDS, record


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answered call, as the ledger has it."""

    repeat: int
    text: str
    status: str
    """`ok`, `truncated` or `failed`."""
    call_key: str | None = None
    teacher_model: str | None = None
    teacher_revision: str | None = None
    strategy: str = "explain"


@dataclass
class Books:
    """asked = accepted + rejected + truncated + failed."""

    asked: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason."""
    truncated: int = 0
    failed: int = 0

    def close(self, wanted: int, name: str) -> None:
        """See that every call that was wanted has its place.

        Raises:
            GateFailed: one has none.
        """
        settled = self.accepted + self.rejected.total() + self.truncated + self.failed
        if not wanted == self.asked == settled:
            found = f"{wanted:,} calls were wanted, {self.asked:,} were answered and {settled:,} have a verdict"
            raise GateFailed(found, "run the same command again", name)

    def unusable(self, answer: Answer) -> bool:
        """Count a call; whether it gave no whole text."""
        self.asked += 1
        self.truncated += answer.status == "truncated"
        self.failed += answer.status == "failed"
        return answer.status != "ok"

    def refused(self) -> dict[str, int]:
        """Calls that gave nothing, by reason; the commonest first."""
        return dict((self.rejected + Counter(truncated=self.truncated, failed=self.failed)).most_common())

    def to_row(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "accepted": self.accepted,
            "rejected": dict(sorted(self.rejected.items())),
            "truncated": self.truncated,
            "failed": self.failed,
        }


def augmented(sample: Mapping[str, Any], **columns: Any) -> dict[str, Any]:
    """A sample as a row of the augmented table, without rationales but for those that `columns` bring."""
    empty: dict[str, Any] = dict.fromkeys(record("augmented").names)
    empty |= {"quality": dict.fromkeys(KINDS), "provenance": dict.fromkeys(KINDS)}
    return {**empty, **sample, **columns}
