"""Markdown that texts of people and machines cannot break: tables, code, prose, folded parts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


class Ready(str):
    """Markdown that is as it should be; any other text is taken for words."""

    __slots__ = ()


def prose(text: str) -> str:
    """Words on one line, of which none begins a tag.

    >>> prose("a <b>\\n\\n# c")
    'a &lt;b> # c'
    """
    return re.sub(r"\s+", " ", text).strip().replace("<", "&lt;")


def code(text: str) -> Ready:
    """Text as it is, on one line.

    >>> print(code("creak"), code("a `b`"))
    `creak` `` a `b` ``
    """
    text = re.sub(r"\s+", " ", text).strip()
    if "`" not in text:
        return Ready(f"`{text}`" if text else "")
    ticks = "`" * (_longest_ticks(text) + 1)
    return Ready(f"{ticks} {text} {ticks}")


def ticked(names: Iterable[str]) -> Ready:
    return Ready(", ".join(map(code, names)))


def some(names: Sequence[str], most: int = 8) -> Ready:
    """Names; of many the first ones, and how many more there are.

    >>> print(some(["a", "b", "c"], most=1))
    `a` and 2 more
    """
    if len(names) <= most + 1:
        return ticked(names)
    return Ready(f"{ticked(names[:most])} and {len(names) - most} more")


def fenced(texts: Sequence[str], language: str) -> str:
    """Texts in a block of code that ends where they end; empty where there are none."""
    if not texts:
        return ""
    ticks = "`" * max(3, *(_longest_ticks(text) + 1 for text in texts))
    return f"{ticks}{language}\n" + "\n\n".join(texts) + f"\n{ticks}"


def folded(summary: str, markdown: str) -> str:
    """A part that opens at a click."""
    return f"<details>\n<summary>{prose(summary)}</summary>\n\n{markdown}\n\n</details>" if markdown else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a heading that ends in `>` sets its column to the right. Empty columns are left out.

    >>> print(table(("rule", "found>"), [(code("empty"), "12")]))
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
    text = re.sub(r"\s+", " ", text).strip() if isinstance(text, Ready) else prose(text)
    # A bar is escaped by one backslash; those that stand before it would be taken for its own.
    return re.sub(r"(\\*)\|", lambda found: 2 * found[1] + r"\|", text)


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall(r"`+", text)), default=0)
