"""What is handed in to be published: one checked dataset, its licence, and what made it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from teacherlm.core.errors import Mistake, Problem
from teacherlm.hub.formats import FORMAT_NAMES, FormatName
from teacherlm.hub.manifest import Contract, Made
from teacherlm.schemas.records import KINDS, Record, record

Redistribution = Literal["allowed", "share-alike", "non-commercial", "restricted", "unclear"]

CLOSED: tuple[Redistribution, ...] = ("restricted", "unclear")
"""Sources whose text may not be passed on unless a person has checked their licence."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SPLIT = re.compile(r"\w+(\.\w+)*")  # what `datasets` takes as the name of a split
_FOLDERS = ("recipes", "prompts", "rules", "schemas", "expectations")


@dataclass(frozen=True, kw_only=True)
class LicenceChecked:
    """A person's word that a source may be passed on; from `licences:` in catalog.yaml."""

    by: str
    on: str
    """Date, as YYYY-MM-DD."""
    basis: str


@dataclass(frozen=True, kw_only=True)
class Publication:
    """One checked dataset, ready to be published.

    Raises:
        Mistake: a name, a path or the licence class cannot be published as it is.
    """

    dataset: str
    """Its name; the config in `load_dataset(folder, name)`."""
    title: str
    about: str | None = None
    task: str
    """Task family, such as `math` or `nli`."""
    license: str
    """Licence of the source: SPDX id where there is one, else words."""
    redistribution: Redistribution
    licence_checked: LicenceChecked | None = None
    citation: str
    """URL or BibTeX of the source."""
    languages: Sequence[str] = ("en",)
    source: str
    """Hub id of the source, or `local file`."""
    splits: Mapping[str, Sequence[Path]]
    """Parquet parts of the augmented record by split, in order."""
    report: Mapping[str, Any]
    """What `check` found: `passed`, `gates`, `counts`, `rules`; parts that are missing stay out of the card."""
    teachers: Sequence[Mapping[str, str | None]] = ()
    """`model` and `revision` of every teacher that wrote a rationale."""
    made: Made = field(default_factory=Made)
    """How the texts were made."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """What all answers took, by name: tokens, hours."""
    contract: Contract | None = None
    """What the expectations came to."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Text of every declaration that made the rows, by path, such as `recipes/creak.yaml`."""
    changed: Sequence[str] = ()
    """Inputs and outputs of the check whose fingerprint has changed since; any of them refuses the publication."""
    broken: Sequence[Problem] = ()
    """What the contract of the table says against it; any of them refuses the publication."""
    rationales_only: bool | None = None
    """Leave the source's text out. None: as the licence asks."""
    formats: Sequence[FormatName] | None = None
    """Training formats to publish besides. None: those in which the place has the dataset already."""

    def __post_init__(self) -> None:
        where = f"publish {self.dataset}"
        if not _NAME.fullmatch(self.dataset):
            raise Mistake(f"`{self.dataset}` is no name for a dataset", "use letters, digits, `_`, `-` and `.`", where)
        if self.redistribution not in get_args(Redistribution):
            found = f"`redistribution` is `{self.redistribution}`"
            raise Mistake(found, f"use one of {', '.join(get_args(Redistribution))}", where)
        for split in self.splits:
            if not _SPLIT.fullmatch(split):
                raise Mistake(f"`{split}` is no name for a split", "use letters, digits and `_`", where)
        if unknown := sorted(set(self.formats or ()) - set(FORMAT_NAMES)):
            found = f"`{unknown[0]}` is no training format"
            raise Mistake(found, f"use one of {', '.join(FORMAT_NAMES)}", where)
        for path in self.files:
            parts = PurePosixPath(path).parts
            if len(parts) < 2 or parts[0] not in _FOLDERS or ".." in parts:
                found = f"the file `{path}` has no place in a publication"
                raise Mistake(found, f"put it into one of {', '.join(_FOLDERS)}", where)

    @property
    def closed(self) -> bool:
        """Nobody has said yet that the source's text may be passed on."""
        return self.redistribution in CLOSED and self.licence_checked is None

    @property
    def alone(self) -> bool:
        """The rationales are published alone, keyed by sample, without the source's text."""
        return self.closed if self.rationales_only is None else self.rationales_only

    @property
    def columns(self) -> Record:
        """The contract of the published table."""
        augmented = record("augmented")
        if not self.alone:
            return augmented
        kept = ("sample_id", *KINDS, "quality", "provenance")
        about = "The accepted rationales of a sample, without the sample."
        return Record("rationales alone", about, tuple(column for column in augmented if column.name in kept))


def given_once(publications: Sequence[Publication]) -> None:
    """
    Raises:
        Mistake: no dataset is given, or one twice.
    """
    if not publications:
        raise Mistake("no dataset is given", "name at least one dataset", "publish")
    twice = [name for name, count in Counter(p.dataset for p in publications).items() if count > 1]
    if twice:
        raise Mistake(f"{', '.join(twice)} is given twice", "name every dataset once", "publish")


def rows_of(report: Mapping[str, Any], part: str) -> Iterator[dict[str, Any]]:
    """The rows of a part of a report, or of its books: a list, or rows by name; none where the part is missing.

    >>> list(rows_of({"gates": {"explained": {"passed": True}}}, "gates"))
    [{'name': 'explained', 'passed': True}]
    """
    books = report.get("books")
    value = report.get(part, books.get(part) if isinstance(books, Mapping) else None)
    if isinstance(value, Mapping):
        value = [{"name": name, **row} for name, row in value.items() if isinstance(row, Mapping)]
    for row in value if isinstance(value, Sequence) and not isinstance(value, str) else ():
        if isinstance(row, Mapping):
            yield dict(row)


def first_of(row: Mapping[str, Any], *keys: str) -> Any:
    """The value of the first key that the row has; None where it has none of them."""
    return next((row[key] for key in keys if row.get(key) is not None), None)
