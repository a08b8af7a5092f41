"""Rows that a task reads, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows that a task reads."""

    documents: Sequence[Mapping[str, Any]]
    """Of the split that is evaluated."""
    columns: tuple[str, ...]
    """Of these."""
    examples: Sequence[Mapping[str, Any]] | None = None
    """Of the split that examples are taken from; None: there are none, or the task declares them itself."""
    place: str = ""
    """Where the documents are, for people."""
    examples_place: str = ""
