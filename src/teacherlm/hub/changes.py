"""What a publish changes, in counts: the message of its commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from teacherlm.hub.manifest import Entry, Manifest

TITLE = 72
"""Letters of a commit's first line."""


def message(before: Manifest, after: Manifest, datasets: Iterable[str]) -> tuple[str, str]:
    """First line and body of the commit that leads from one manifest to the other.

    Args:
        datasets: those that were published now.
    """
    changed = [name for name in datasets if before.datasets.get(name) != after.datasets[name]]
    gone = sorted(set(before.datasets) - set(after.datasets))
    lines = [f"{name}: {_of(before.datasets.get(name), after.datasets[name])}" for name in changed]
    lines += [f"{name}: removed" for name in gone]
    if not lines:
        return "Write the files again", ""
    if len(lines) == 1 and len(lines[0]) <= TITLE:
        return lines[0], ""
    rows = sum(after.datasets[name].rows for name in changed)
    title = f"{len(lines)} datasets, {rows:,} samples: {', '.join([*changed, *gone])}"
    if len(lines) == 1:
        title = changed[0] if changed else gone[0]
    return (title if len(title) <= TITLE else title[: TITLE - 1] + "…"), "\n".join(lines)


def _of(before: Entry | None, after: Entry) -> str:
    return ", ".join(_parts(before, after))


def _parts(before: Entry | None, after: Entry) -> Iterator[str]:
    if before is None:
        yield "new"
    yield _count(after.rows, before.rows if before else None, "samples")
    yield _count(after.explained, before.explained if before else None, "explained")
    accepted = _accepted(after)
    if accepted is not None:
        yield _count(accepted, _accepted(before) if before else None, "rationales")
    forms = before.formats if before else {}
    yield from (f"{form} added" for form in after.formats if form not in forms)
    yield from (f"{form} removed" for form in forms if form not in after.formats)
    if before and (before.rows, before.explained, _accepted(before)) == (after.rows, after.explained, accepted):
        data = {name: split.content for name, split in before.splits.items()}
        same = data == {name: split.content for name, split in after.splits.items()}
        if not same or forms.keys() == after.formats.keys():
            yield "declarations or card" if same else "texts"


def _accepted(entry: Entry) -> int | None:
    found = [counts.accepted for counts in entry.counts if counts.accepted is not None]
    return sum(found) if found else None


def _count(number: int, before: int | None, what: str) -> str:
    if before is None or before == number:
        return f"{number:,} {what}"
    return f"{number:,} {what} ({number - before:+,})"
