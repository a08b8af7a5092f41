"""The time of day, in one form."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """The present moment as ISO 8601 in UTC with microseconds, as ledger lines and manifests write it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
