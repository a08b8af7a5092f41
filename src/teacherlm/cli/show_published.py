"""How a publication looks in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from teacherlm.cli.output import out, table

Rows = Sequence[dict[str, Any]]

FILES = 12
"""Files that a plan lists; more are counted."""


def published(rows: Rows) -> None:
    for row in rows:
        names, place = row["datasets"], row["to"]
        if row["dry_run"]:
            _plan(row)
            continue
        if not row["files"] and not row["removed"]:
            out.print(f"{place}: nothing has changed since it was published", markup=False)
        else:
            size = f"{row['rows']:,} rows, {row['bytes'] / 1e6:,.2f} MB"
            out.print(f"{escape(place)}: published {', '.join(names)}: {size}")
        if row["verified"]:
            out.print("  read back: everything is there, as it was sent")
        for what in ("pull_request", "tag", "commit"):
            if row[what]:
                out.print(f"  {what.replace('_', ' ')}: {row[what]}", markup=False)
        if row["removed"]:
            out.print(f"  removed: {', '.join(row['removed'])}", markup=False)
        out.print(f"  load it with  {_loading(row)}", markup=False)


def _loading(row: dict[str, Any]) -> str:
    """The line of Python that loads what was published."""
    place, name = row["to"], row["datasets"][0]
    if not row["url"]:
        return f'datasets.load_dataset("{place}", "{name}")'
    repository, _, branch = place.removeprefix("hf://datasets/").partition("@")
    # A pull request changes no branch.
    revision = row["tag"] or (row["commit"] if row["pull_request"] else branch)
    more = f', revision="{revision}"' if revision else ""
    return f'datasets.load_dataset("{repository}", "{name}"{more})'


def _plan(row: dict[str, Any]) -> None:
    """What would be done."""
    place = row["to"]
    if not row["files"] and not row["removed"]:
        out.print(f"{place}: nothing has changed; nothing would be sent", markup=False)
        return
    out.print(f"{place}: this would be done, and nothing was", markup=False)
    out.print(f"  {row['message']}\n".replace("\n\n", "\n").replace("\n", "\n  ").rstrip(), markup=False)
    lines = [{"": "put", "file": path} for path in row["files"]] + [{"": "remove", "file": p} for p in row["removed"]]
    table(lines[:FILES], ["", "file"])
    if len(lines) > FILES:
        out.print(f"and {len(lines) - FILES} more files")
    out.print(f"{row['put_bytes'] / 1e6:,.2f} MB in {len(row['files'])} files would be written")


def verified(rows: Rows) -> None:
    for row in rows:
        lines = [
            {**split, "MB": split["bytes"] / 1e6, "content": split["content"][:12]}
            | {"": "DIFFERS" if split["problems"] else "as published"}
            for split in row["splits"]
        ]
        table(lines, ["dataset", "split", "rows", "files", "MB", "content", ""])
        at = f" at {row['commit']}" if row["commit"] else ""
        if row["passed"]:
            out.print(f"\n{row['place']}{at}: everything is there, as it was published", markup=False)
