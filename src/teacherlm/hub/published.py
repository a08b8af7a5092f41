"""What a publish has done, or would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from teacherlm.hub import changes
from teacherlm.hub.content import Content
from teacherlm.hub.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a publish has done."""

    datasets: tuple[str, ...]
    files: tuple[str, ...]
    """Files that were put or replaced."""
    removed: tuple[str, ...]
    rows: int
    """Rows of the datasets published."""
    bytes: int
    """Size of their data files."""
    unchanged: tuple[str, ...]
    """Datasets that were there already, to the last byte."""
    put_bytes: int = 0
    """Size of the files that were put or replaced."""
    message: str = ""
    """What has changed, in counts, as the commit says it; empty where nothing has."""
    commit: str | None = None
    """The commit that the place is at now; None for a folder, and where a dry run would make the repository."""
    url: str | None = None
    pull_request: str | None = None
    tag: str | None = None
    dry_run: bool = False
    """Nothing was written: this is the plan."""
    verified: bool = False
    """Everything was read back and is what was sent."""


def describe(
    content: Content, before: Manifest, put: Sequence[str], removed: Sequence[str], staging: Path, *, dry_run: bool
) -> Published:
    """What a publish does that puts and removes these files.

    Args:
        staging: where the files to put lie.
    """
    entries = {name: content.manifest.datasets[name] for name in content.datasets}
    splits = [split for entry in entries.values() for split in entry.splits.values()]
    forms = [split for entry in entries.values() for form in entry.formats.values() for split in form.splits.values()]
    said = changes.message(before, content.manifest, content.datasets) if put or removed else ()
    return Published(
        datasets=content.datasets,
        files=tuple(put),
        removed=tuple(removed),
        rows=sum(split.rows for split in splits),
        bytes=sum(file.bytes for split in [*splits, *forms] for file in split.files),
        unchanged=tuple(
            name
            for name, entry in entries.items()
            if before.datasets.get(name) == entry and not set(entry.paths()) & set(put)
        ),
        put_bytes=sum((staging / path).stat().st_size for path in put),
        message="\n\n".join(filter(None, said)),
        dry_run=dry_run,
    )
