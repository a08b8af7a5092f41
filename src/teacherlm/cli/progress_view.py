"""How progress looks in a terminal: some aligned lines, which depend on the numbers and the terminal's size alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from teacherlm.api.progress import EndpointProgress, KindProgress, Progress

SERVERS = 6
"""Servers that are shown one by one; of more, the rest in one line."""

SHORTEST, LONGEST = 4, 24
"""Cells of a bar; with less room there is none."""

AWAY = "away"

GAP = "  "
"""Between two columns."""

WRONG, FINE, QUIET, WARN = "red", "green", "dim", "yellow"


def view(progress: Progress, width: int, height: int = 24, *, ascii_only: bool = False) -> RenderableType:
    """The whole view.

    Args:
        width: columns of the terminal, none of which is exceeded.
        height: its lines: with few of them fewer servers are shown.
    """
    parts: list[RenderableType] = [_title(progress, width), _rates(progress, width), Text("")]
    parts.append(_kinds(progress.kinds, width, ascii_only))
    notes = [_cut(note, width) for note in _notes(progress)]
    if len(progress.endpoints) > 1 or any(one.away for one in progress.endpoints):
        others = 3 + 1 + len(progress.kinds) + 3 + (1 + len(notes) if notes else 0) + 1  # the last for the cursor
        parts += [Text(""), _servers(progress.endpoints, max(1, min(SERVERS, height - others)), width)]
    if notes:
        parts += [Text(""), *notes]
    return Group(*parts)


def _title(progress: Progress, width: int) -> Text:
    """Who is asked about what, and how long it takes."""
    who = progress.teacher if progress.model in (None, progress.teacher) else f"{progress.teacher}  {progress.model}"
    time = f"{duration(progress.seconds)} so far"
    if progress.seconds_left is not None and progress.done < progress.wanted:
        time += f", {duration(progress.seconds_left)} left"
    elif progress.done < progress.wanted and not progress.stopped_by:
        time += ", time left unknown"
    title = Text.assemble((progress.dataset, "bold"), "  ", who)
    title = _cut(title, max(0, width - len(time) - 2))
    title.append(" " * (width - title.cell_len - len(time)))
    return _cut(title.append(time), width)


def _rates(progress: Progress, width: int) -> Text:
    """The numbers of the whole run; where they do not fit, the last of them are left out."""
    parts = [
        f"{progress.done:,} of {progress.wanted:,} texts",
        f"{rate(progress.calls_per_second)} calls/s",
        f"{progress.tokens_per_second:,.0f} tokens/s",
    ]
    if progress.cost is not None:
        parts.append(f"cost {progress.cost:,.2f}")
        if progress.cost_in_all is not None and progress.done < progress.wanted:
            parts[-1] += f" of ~{progress.cost_in_all:,.2f}"
    parts.append(f"{progress.in_flight:,} in flight")
    while len(parts) > 1 and len(GAP.join(parts)) > width:
        parts.pop()
    return _cut(Text(GAP.join(parts)), width)


COLUMNS = ("kind", "done", "", "answered", "truncated", "failed", "accepted")


def _kinds(kinds: Sequence[KindProgress], width: int, ascii_only: bool) -> Table:
    """A row for each kind. In a narrow terminal the bars give way, then how many are wanted, then the answered ones."""
    for without in ((), ("/",), ("/", "answered")):
        heads = [name for name in COLUMNS if name not in without]
        rows = [_cells(kind, heads, wanted="/" not in without) for kind in kinds]
        room = width - sum(max(map(len, column)) + len(GAP) for column in zip(heads, *rows, strict=True))
        if room >= -len(GAP):
            break
    cells = min(LONGEST, room) if room >= SHORTEST else 0
    shown = _table()
    for place, head in enumerate(heads):
        shown.add_column(head, justify="right" if place else "left", no_wrap=True)
        if place == 1 and cells:
            shown.add_column("")
    for kind, row in zip(kinds, rows, strict=True):
        bar = [_bar(kind, cells, ascii_only)] if cells else []
        *others, failed, passed = row[2:]
        shown.add_row(*row[:2], *bar, *others, Text(failed, WRONG if kind.failed else ""), passed)
    return shown


def _cells(kind: KindProgress, columns: Sequence[str], *, wanted: bool) -> tuple[str, ...]:
    whole = f"{kind.wanted:,}"
    done = f"{kind.done:>{len(whole)},}"  # as wide as it will be, so that nothing moves when it grows
    cells = {
        "kind": kind.kind,
        "done": f"{done}/{whole}" if wanted else done,
        "": f"{percent(kind.done, kind.wanted):>4}",
        "answered": f"{kind.answered:>{len(whole)},}",
        "truncated": f"{kind.truncated:,}",
        "failed": f"{kind.failed:,}",
        "accepted": accepted(kind),
    }
    return tuple(cells[name] for name in columns)


def _bar(kind: KindProgress, cells: int, ascii_only: bool) -> Text:
    full, half = divmod(2 * cells * min(kind.done, kind.wanted) // max(1, kind.wanted), 2)
    whole, part, left = ("#", "", "-") if ascii_only else ("━", "╸" * half, "─")
    done = whole * full + part
    return Text.assemble((done, FINE), (left * (cells - len(done)), QUIET))


def _servers(endpoints: Sequence[EndpointProgress], most: int, width: int) -> Table:
    """A row for each server, or for the busiest; who is away comes first, and all stand in their own order."""
    first = sorted(endpoints, key=lambda one: (one.away is None, -one.answered))[:most]
    rows = [_server(one) for one in endpoints if one in first]
    if rest := [one for one in endpoints if one not in first]:
        rows.append(_server(_sum(f"and {len(rest):,} more", rest)))
    heads = ("server", "in flight", "calls/s", "answered", "busy", "faults")
    shown = _table()
    for place, head in enumerate(heads):
        shown.add_column(head, justify="right" if place else "left", no_wrap=True)
    columns = list(zip(heads, *rows, strict=True))
    room = width - sum(max(map(len, column)) + len(GAP) for column in columns[1:])
    for url, taken, *counts, faults in rows:
        styled = Text(taken, WARN if taken == AWAY else "")
        shown.add_row(_middle(url, room), styled, *counts, Text(faults, WRONG if faults != "0" else ""))
    return shown


def _server(one: EndpointProgress) -> tuple[str, ...]:
    return (
        _short(one.url),
        AWAY if one.away else f"{one.in_flight:,}/{one.places:,}",
        rate(one.calls_per_second),
        f"{one.answered:,}",
        f"{one.busy:,}",
        f"{one.faults:,}",
    )


def _sum(name: str, many: Sequence[EndpointProgress]) -> EndpointProgress:
    names = ("in_flight", "places", "answered", "calls_per_second", "busy", "faults")
    sums = {part: sum(getattr(one, part) for one in many) for part in names}
    return replace(many[0], url=name, away=None, **sums)


def _away(endpoints: Sequence[EndpointProgress]) -> list[Text]:
    """Why servers are away: in one line where it is the same for all."""
    reasons: dict[str, list[str]] = {}
    for one in endpoints:
        if one.away:
            reasons.setdefault(one.away.replace(f" at {one.url}", ""), []).append(_short(one.url))
    found = [
        f"away: {urls[0]}{f' and {len(urls) - 1:,} more' if urls[1:] else ''}: {why}" for why, urls in reasons.items()
    ]
    if len(found) > 2:
        found[1:] = [f"away: {len(found) - 1:,} more for other reasons"]
    return [Text(words, WARN) for words in found]


def _notes(progress: Progress) -> list[Text]:
    """What is only said where it is so."""
    notes = _away(progress.endpoints)
    if progress.failures:
        notes.append(Text(f"failed texts: {_counted(progress.failures)}", WRONG))
    if progress.faults:
        notes.append(Text(f"failed attempts: {_counted(progress.faults)}"))
    if progress.waiting:
        notes.append(Text(f"{progress.waiting:,} calls wait for another attempt"))
    if progress.not_judged:
        notes.append(Text(f"no estimate of what is accepted: {progress.not_judged}", WARN))
    elif progress.looked_at:
        words = f"accepted: an estimate, {progress.looked_at:,} answers were looked at; `teacherlm check` judges all"
        notes.append(Text(words, QUIET))
    if progress.stopped_by:
        notes.append(Text(ending(progress), f"bold {WARN}"))
    return notes


def ending(progress: Progress) -> str:
    """What a run that was stopped does now."""
    doing = "finishing what is in flight; Ctrl-C again leaves now"
    if progress.stopped_by in (None, "interrupt"):
        return doing
    return f"--{str(progress.stopped_by).replace('_', '-')} is reached: {doing}"


def briefly(row: Mapping[str, Any]) -> str:
    """How far a run is, of its record's `progress`, such as `augmenting, 47%, 35 min left`."""
    left = f", {duration(row['seconds_left'])} left" if row["seconds_left"] is not None else ""
    return f"augmenting, {percent(row['done'], row['wanted'])}{left}"


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{why} ({count:,})" for why, count in sorted(reasons.items(), key=lambda found: -found[1]))


def accepted(counts: KindProgress | Progress) -> str:
    """An estimated share, as `~93 %`; nothing where nobody has looked."""
    return f"~{100 * counts.accepted / counts.looked_at:.0f} %" if counts.looked_at else ""


def percent(part: int, whole: int, digits: int = 0) -> str:
    """A share that never says more than is done."""
    scale = 10**digits
    return f"{100 * scale * part // whole / scale:.{digits}f}%" if whole else "-"


def rate(a_second: float) -> str:
    return f"{a_second:,.0f}" if a_second >= 100 else f"{a_second:,.1f}"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), header_style=QUIET)


def _short(url: str) -> str:
    return _plain(url.removeprefix("http://"))


def _plain(words: str) -> str:
    """Without what would steer the terminal: some words are a server's."""
    return "".join(sign if sign.isprintable() else "?" for sign in words)


def _middle(name: str, room: int) -> str:
    """A name without its middle where there is no room for it: servers differ at both ends."""
    left = max(0, room - 3)
    return name if len(name) <= room else f"{name[: left - left // 2]}...{name[len(name) - left // 2 :]}"


def _cut(text: Text, width: int) -> Text:
    text.plain = _plain(text.plain)
    text.truncate(width, overflow="ellipsis")
    text.no_wrap = True
    return text
