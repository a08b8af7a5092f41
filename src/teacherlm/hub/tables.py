"""The tables of a card about datasets, columns, licences and files: from the manifest's entries to Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping

from teacherlm.hub.formats import config_name
from teacherlm.hub.manifest import Entry
from teacherlm.hub.markdown import Ready, align, code, some, table, ticked


def datasets_table(entries: Mapping[str, Entry]) -> str:
    rows = [
        (
            code(name),
            entry.title,
            entry.task.replace("_", " "),
            ", ".join(f"{split} {facts.rows:,}" for split, facts in entry.splits.items()),
            _share(entry.explained, entry.rows),
            entry.licence.license,
            _source(entry),
        )
        for name, entry in entries.items()
    ]
    return table(("dataset", "title", "task", "samples", "explained>", "licence", "source"), rows)


def licences_table(entries: Mapping[str, Entry]) -> str:
    rows = [
        (
            code(name),
            entry.licence.license,
            entry.licence.redistribution,
            "rationales alone" if entry.rationales_only else "samples and rationales",
            entry.licence.checked or "",
        )
        for name, entry in entries.items()
    ]
    return table(("dataset", "licence of the source", "passing it on", "published here", "checked by"), rows)


def columns_tables(entries: Mapping[str, Entry]) -> list[tuple[str, str]]:
    """The tables of columns, each with the datasets that it holds for."""
    holders: dict[str, list[str]] = {}
    for name, entry in entries.items():
        holders.setdefault(entry.columns, []).append(name)
    return [(some(names), align(columns)) for columns, names in holders.items()]


def formats_table(entries: Mapping[str, Entry]) -> str:
    rows = [
        (
            code(config_name(name, form)),
            code(name),
            ticked(str(feature["name"]) for feature in part.features),
            f"{part.rows:,}",
            f"{entry.rows - part.rows:,}",
        )
        for name, entry in entries.items()
        for form, part in entry.formats.items()
    ]
    return table(("config", "made of", "columns", "rows>", "left out>"), rows)


def files_list(entries: Mapping[str, Entry]) -> str:
    """The declarations that made the rows, as a list by folder."""
    folders: dict[str, list[str]] = {}
    for path in sorted({path for entry in entries.values() for path in entry.files}):
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(f"[{name}]({path})")
    return "\n".join(f"- `{folder}/`: {', '.join(links)}" for folder, links in folders.items())


def _source(entry: Entry) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", entry.source):
        return entry.source
    place = f"https://huggingface.co/datasets/{entry.source}"
    revision = entry.made.source_revision
    if revision is None or not re.fullmatch(r"[\w./-]+", revision):
        return Ready(f"[{entry.source}]({place})")
    shown = revision[:8] if re.fullmatch(r"[0-9a-f]{40}", revision) else revision
    return Ready(f"[{entry.source}]({place}/tree/{revision}) at {code(shown)}")


def _share(part: int, whole: int) -> str:
    """
    >>> _share(999, 1000), _share(0, 0)
    ('99.9%', '')
    """
    return f"{100 * part / whole:.1f}%" if whole else ""
