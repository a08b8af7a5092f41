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
from teacherlm.hub.formats import config_name

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
    share: float | None = None
    """Of the texts that it was asked of."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A model that wrote rationales."""

    model: str
    revision: str | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How accepted texts of one kind came about, those of them that came about alike."""

    kind: str
    strategy: str
    texts: int
    model: str | None = None
    """None: nobody was asked."""
    revision: str | None = None
    prompts: tuple[str, ...] = ()
    """Names of the prompt profiles."""
    parameters: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Every parameter but the seed, with its values, the most frequent first; None: it was not set."""
    seeds: int = 0
    """Different seeds; 0 where the teacher did not draw."""
    drawn_from: tuple[int, ...] = ()
    """Numbers that the seeds were made of, with sample, kind and repeat; empty: not known."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """How a dataset's texts were made."""

    version: str | None = None
    """teacherlm's; None: published before it was written down, as all else here."""
    source_revision: str | None = None
    """Revision of the source on the Hub, where the recipe names one."""
    asked: tuple[Asked, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Score:
    """Scores of the accepted texts of one kind."""

    kind: str
    scored: int
    mean: float
    median: float


@dataclass(frozen=True, kw_only=True)
class Against:
    """What became of the comparison with one evaluation set."""

    task: str
    is_run: bool
    items: int
    samples: int
    """Samples of training splits that share text with an item."""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What the expectations of the suites came to."""

    expectations: int
    hold: int
    broken: tuple[str, ...] = ()
    """Those that do not hold, in words; none of them is critical."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was found of a dataset beside its counts and rules."""

    scores: tuple[Score, ...] = ()
    duplicates: dict[str, int] = field(default_factory=dict)
    """Near-duplicates, by what they are: `question`, or a kind."""
    contamination: tuple[Against, ...] = ()
    contract: Contract | None = None
    """None: it was not written down."""


@dataclass(frozen=True, kw_only=True)
class Licence:
    """The licence of a source, and who has checked it."""

    license: str
    redistribution: str
    checked: str | None


@dataclass(frozen=True, kw_only=True)
class Form:
    """A dataset in a training format: a config of its own, made of the dataset's rows that have a rationale."""

    splits: dict[str, Split]
    features: list[dict[str, Any]]
    """Types of the columns, as the front matter of a card has them."""

    @property
    def rows(self) -> int:
        return sum(split.rows for split in self.splits.values())

    @property
    def loadable(self) -> dict[str, Split]:
        """Splits with rows: `datasets` fails on a whole config when one of its splits is empty."""
        return {name: split for name, split in self.splits.items() if split.rows}


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
    """What all answers took, those included that are not in the table; tokens and hours by name."""
    teachers: tuple[Teacher, ...]
    files: dict[str, str]
    """SHA-256 of every declaration, by the path where it was published."""
    formats: dict[str, Form] = field(default_factory=dict)
    """The same rows in training formats, by the name of the format."""
    made: Made = field(default_factory=Made)
    judged: Judged = field(default_factory=Judged)

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
        for splits in (self.splits, *(form.splits for form in self.formats.values())):
            yield from (file.path for split in splits.values() for file in split.files)
        yield from self.files


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All datasets of a published place, by name."""

    schema_version: int = VERSION
    datasets: dict[str, Entry] = field(default_factory=dict)

    def configs(self) -> Iterator[tuple[str, Entry | Form]]:
        """What `load_dataset` finds by a name: the datasets, and after them their training formats."""
        yield from self.datasets.items()
        for name, entry in self.datasets.items():
            yield from ((config_name(name, form), part) for form, part in entry.formats.items())

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
