"""How an evaluation looks: a live line in a terminal, one line a minute elsewhere, and a table of figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from teacherlm.cli.output import err, out, table
from teacherlm.cli.progress import EVERY_S, duration, is_terminal, live_bar
from teacherlm.evaluate.run import Progress

A_SECOND = 4
"""Drawings of the line."""


@contextmanager
def watching() -> Iterator[Callable[[Progress], None]]:
    """Show an evaluation while the block lasts."""
    if is_terminal():
        with live_bar(line, lambda progress: (progress.done, progress.documents), A_SECOND) as see:
            yield see
        return
    said = 0.0

    def say(progress: Progress) -> None:
        nonlocal said
        if progress.seconds - said >= EVERY_S or progress.done_tasks == progress.tasks:
            said = progress.seconds
            err.print(line(progress), markup=False)

    yield say


def line(progress: Progress) -> str:
    """The hour, as `mmlu_anatomy  12/57 tasks  1,280/14,042 documents (9%) | 31.4 documents/s | 7 min left`."""
    share = 100 * progress.done // max(1, progress.documents)
    parts = [
        f"{progress.task}  {progress.done_tasks:,}/{progress.tasks:,} tasks  "
        f"{progress.done:,}/{progress.documents:,} documents ({share}%)"
    ]
    if progress.rate is not None:
        parts.append(f"{progress.rate:,.1f} documents/s")
    if progress.seconds_left is not None and progress.done < progress.documents:
        parts.append(f"{duration(progress.seconds_left)} left")
    return " | ".join(parts)


def evaluated(rows: Sequence[dict[str, Any]]) -> None:
    """The figures of groups and tasks, and what is to be known of them."""
    for row in rows:
        lines = _lines(row)
        columns = ["task", "shots", "filter", "metric", "value", "±", "95 %", "chance", "documents", "cut", ""]
        table(lines, [name for name in columns if any(line[name] not in (None, "") for line in lines)])
        for one in row["tasks"]:
            for told in _told(one):
                out.print(f"{one['alias']}: {told}", markup=False)
        if row["results"]:
            reused = sum(one["reused"] for one in row["tasks"])
            told = f"; {reused:,} of {len(row['tasks']):,} tasks were answered before" if reused else ""
            out.print(f"in {row['results']}{told}", markup=False)
        # What has figures and failed all the same was judged, and then its files could not be written.
        if lost := [one["alias"] for one in row["tasks"] if one["task"] in row["failed"]]:
            out.print(f"not written: {', '.join(lost)}", markup=False)


def _lines(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Groups with their members below them, in the order of the declarations; tasks of no group at the end."""
    tasks = {one["task"]: one for one in row["tasks"]}
    groups = {one["group"]: one for one in row["groups"]}
    lines: list[dict[str, Any]] = []
    shown: set[str] = set()

    def show(name: str, depth: int) -> None:
        if name in shown or (name not in tasks and name not in groups):
            return
        shown.add(name)
        one = tasks.get(name) or groups[name]
        before = f"{'  ' * depth}{one['alias']}"
        of = _figures(before, one)
        # A group without figures is shown for the sake of its members.
        lines.extend(of or [_line(before, {}, {})])
        for member in one.get("members", ()):
            show(member, depth + 1)

    for name in [*groups, *tasks]:
        show(name, 0)
    return lines


def _figures(name: str, one: dict[str, Any]) -> list[dict[str, Any]]:
    return [_line(name if not number else "", one, figure) for number, figure in enumerate(one["figures"])]


def _line(name: str, one: dict[str, Any], figure: dict[str, Any]) -> dict[str, Any]:
    if not figure:
        return dict.fromkeys(("shots", "filter", "metric", "value", "±", "95 %", "chance", "documents", "cut", "")) | {
            "task": name
        }
    stderr, chance = figure["stderr"], figure["chance"]
    return {
        "task": name,
        "shots": one.get("num_fewshot") if name else None,
        "filter": None if figure["filter"] == "none" else figure["filter"],
        "metric": figure["metric"],
        "value": f"{figure['value']:.4f}",
        "±": None if stderr is None else f"{stderr:.4f}",
        "95 %": f"{figure['low']:.3f}-{figure['high']:.3f}",
        "chance": None if chance is None else f"{chance:.3f}",
        "documents": figure["documents"] if name else None,
        "cut": (one.get("cut") or None) if name else None,
        "": "at chance" if figure["within_chance"] else None,
    }


def _told(one: dict[str, Any]) -> Iterator[str]:
    if one["cut"]:
        yield f"{one['cut']:,} of {one['documents']:,} contexts are longer than the window and were cut on their left"
    if one["refused"]:
        yield f"{one['refused']:,} documents could not be asked and are not counted"
    if one["without_gold"]:
        yield f"{one['without_gold']:,} documents have no gold answer among their options and count as wrong"
