"""The tables of a card: from the manifest's entries to aligned Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from teacherlm.hub.manifest import Entry


def datasets_table(entries: Mapping[str, Entry]) -> str:
    rows = [
        (
            f"`{name}`",
            entry.title,
            entry.task.replace("_", " "),
            ", ".join(f"{split} {facts.rows:,}" for split, facts in entry.splits.items()),
            _share(entry.explained, entry.rows),
            entry.licence.license,
            _source(entry.source),
        )
        for name, entry in entries.items()
    ]
    return table(("dataset", "title", "task", "samples", "explained>", "licence", "source"), rows)


def licences_table(entries: Mapping[str, Entry]) -> str:
    rows = [
        (
            f"`{name}`",
            entry.licence.license,
            entry.licence.redistribution,
            "rationales alone" if entry.rationales_only else "samples and rationales",
            entry.licence.checked or "",
        )
        for name, entry in entries.items()
    ]
    return table(("dataset", "licence of the source", "passing it on", "published here", "checked by"), rows)


def counts_table(entries: Mapping[str, Entry]) -> str:
    header = ("dataset", "kind", "asked>", "accepted>", "rejected>", "truncated>", "failed>", "most frequent reasons")
    rows = [
        (
            f"`{name}`",
            f"`{counts.kind}`",
            *map(_count, (counts.asked, counts.accepted, counts.rejected, counts.truncated, counts.failed)),
            "; ".join(f"{reason} ({number:,})" for reason, number in counts.reasons),
        )
        for name, entry in entries.items()
        for counts in entry.counts
    ]
    return table(header, rows)


def rules_table(entries: Mapping[str, Entry]) -> str:
    rows = [
        (f"`{name}`", f"`{rule.rule}`", rule.severity, _count(rule.findings), rule.reason)
        for name, entry in entries.items()
        for rule in entry.rules
    ]
    return table(("dataset", "rule", "severity", "found>", "what it finds"), rows)


def costs_table(entries: Mapping[str, Entry]) -> str:
    rows = [
        (f"`{name}`", what.replace("_", " "), f"{value:,.2f}".removesuffix(".00"))
        for name, entry in entries.items()
        for what, value in entry.costs.items()
    ]
    return table(("dataset", "cost", "amount>"), rows)


def teachers_table(entries: Mapping[str, Entry]) -> str:
    rows = [
        (f"`{name}`", f"`{teacher.model}`", f"`{teacher.revision}`" if teacher.revision else "")
        for name, entry in entries.items()
        for teacher in entry.teachers
    ]
    return table(("dataset", "model", "revision"), rows)


def columns_tables(entries: Mapping[str, Entry]) -> list[tuple[str, str]]:
    """The tables of columns, each with the datasets that it holds for."""
    holders: dict[str, list[str]] = {}
    for name, entry in entries.items():
        holders.setdefault(entry.columns, []).append(name)
    return [(ticked(names), align(columns)) for columns, names in holders.items()]


def files_list(entries: Mapping[str, Entry]) -> str:
    """The declarations that made the rows, as a list by folder."""
    folders: dict[str, list[str]] = {}
    for path in sorted({path for entry in entries.values() for path in entry.files}):
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(f"[{name}]({path})")
    return "\n".join(f"- `{folder}/`: {', '.join(links)}" for folder, links in folders.items())


def ticked(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _source(source: str) -> str:
    if re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        return f"[{source}](https://huggingface.co/datasets/{source})"
    return source


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _share(part: int, whole: int) -> str:
    """
    >>> _share(999, 1000), _share(0, 0)
    ('99.9%', '')
    """
    return f"{100 * part / whole:.1f}%" if whole else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a heading that ends in `>` sets its column to the right. Empty columns are left out.

    >>> print(table(("rule", "found>"), [("`empty`", "12")]))
    | rule    | found |
    | ------- | ----: |
    | `empty` |    12 |
    """
    if not rows:
        return ""
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    lines = [[header[i].removesuffix(">") for i in kept], ["--:" if header[i].endswith(">") else "---" for i in kept]]
    lines += [[_cell(row[i]) for i in kept] for row in rows]
    return align("\n".join("| " + " | ".join(line) + " |" for line in lines))


def align(markdown: str) -> str:
    """Pad the cells of a Markdown table so that its columns align as plain text too."""
    lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in markdown.splitlines()]
    rules = lines.pop(1)
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(rules))]
    right = [rule.endswith(":") for rule in rules]
    padded = [
        [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        for line in lines
    ]
    padded.insert(1, ["-" * (width - 1) + ":" if r else "-" * width for width, r in zip(widths, right, strict=True)])
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def _cell(text: str) -> str:
    """Text that can break neither its table nor its page."""
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|").replace("<", "&lt;")
