"""`teacherlm.json`: what a published place holds. The card is made from it alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from pathlib import PurePosixPath
from typing import Any

import pydantic
from pydantic.dataclasses import dataclass

from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.core.keys import digest

NAME = "teacherlm.json"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One Parquet file, by its path in the published place."""

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """What was written for one split."""

    files: tuple[DataFile, ...]
    rows: int
    arrow_bytes: int
    """Size once it is loaded."""
    explained: int
    """Rows that have a rationale of at least one kind."""

    @property
    def content(self) -> str:
        """Hash of the split's bytes."""
        return digest([file.sha256 for file in self.files])


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of the rationales of one kind."""

    kind: str
    asked: int | None
    accepted: int | None
    rejected: int | None
    truncated: int | None
    failed: int | None
    reasons: tuple[tuple[str, int], ...]
    """The most frequent reasons against a rationale, with their number."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What one rule found."""

    rule: str
    severity: str
    findings: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A model that wrote rationales."""

    model: str
    revision: str | None


@dataclass(frozen=True, kw_only=True)
class Licence:
    """The licence of a source, and who has checked it."""

    license: str
    redistribution: str
    checked: str | None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Everything that the card says of one dataset."""

    title: str
    about: str | None
    task: str
    licence: Licence
    citation: str
    languages: tuple[str, ...]
    source: str
    rationales_only: bool
    splits: dict[str, Split]
    features: list[dict[str, Any]]
    """Types of the columns, as the front matter of a card has them."""
    columns: str
    """Table of the columns, in Markdown."""
    counts: tuple[Counts, ...]
    rules: tuple[Rule, ...]
    costs: dict[str, float]
    teachers: tuple[Teacher, ...]
    files: dict[str, str]
    """SHA-256 of every declaration, by the path where it was published."""

    @property
    def rows(self) -> int:
        return sum(split.rows for split in self.splits.values())

    @property
    def explained(self) -> int:
        return sum(split.explained for split in self.splits.values())

    @property
    def loadable(self) -> dict[str, Split]:
        """Splits with rows: `datasets` fails on a whole config when one of its splits is empty."""
        return {name: split for name, split in self.splits.items() if split.rows}

    def paths(self) -> Iterator[str]:
        """Every file of the dataset."""
        for split in self.splits.values():
            yield from (file.path for file in split.files)
        yield from self.files


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All datasets of a published place, by name."""

    schema_version: int = VERSION
    datasets: dict[str, Entry] = field(default_factory=dict)

    def paths(self) -> set[str]:
        return {path for entry in self.datasets.values() for path in entry.paths()}

    def dump(self) -> bytes:
        return _MANIFEST.dump_json(self, indent=2) + b"\n"


_MANIFEST = pydantic.TypeAdapter(Manifest)


def parse(text: bytes, where: str) -> Manifest:
    """Read a manifest.

    Raises:
        Mistake: a newer teacherlm wrote it.
        MachineFailed: it is damaged.
    """
    try:
        version = pydantic.TypeAdapter(dict[str, Any]).validate_json(text).get("schema_version")
        if isinstance(version, int) and version > VERSION:
            found = f"was written by a newer teacherlm (version {version} of its form; this one knows {VERSION})"
            raise Mistake(found, "pip install --upgrade teacherlm", where)
        manifest = _MANIFEST.validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        found = f"is damaged: {first['msg']} at {'.'.join(map(str, first['loc'])) or 'its start'}"
        raise MachineFailed(found, "restore the file, or publish to a new folder", where) from error
    # Its paths are replaced and removed by the next publish: none may lead out of the folder.
    for path in sorted(manifest.paths()):
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise MachineFailed(f"is damaged: `{path}` leads out of the folder", "publish to a new folder", where)
    return manifest
