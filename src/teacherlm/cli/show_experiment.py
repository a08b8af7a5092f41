"""How an experiment looks: one line for each cell that runs, then estimates, conclusions and where to read on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.live import Live
from rich.text import Text

from teacherlm.api.experiments import Progress
from teacherlm.cli.output import err, out, table
from teacherlm.cli.progress import is_terminal
from teacherlm.cli.progress_view import duration

EVERY_S = 15.0
"""Between two lines where there is no terminal."""
SIGNS = 4
"""Of failures that are told here, the gravest first."""


@contextmanager
def watching() -> Iterator[tuple[Callable[[Progress], None], Callable[[str], None]]]:
    """Shows how far a run is on stderr: a few lines that change on a terminal, else one now and then."""
    live: Live | None = None
    last, done = 0.0, -1

    def watch(progress: Progress) -> None:
        nonlocal live, last, done
        if is_terminal():
            if live is None:
                live = Live(console=err, transient=True, auto_refresh=False, redirect_stdout=False)
                live.start()
            lines = [line(progress), *(f"   {label}: {what}" for label, what in progress.running.items())]
            shown = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
            live.update(shown, refresh=True)
        elif time.monotonic() - last >= EVERY_S or progress.done + progress.failed != done:
            last, done = time.monotonic(), progress.done + progress.failed
            err.print(line(progress), markup=False)

    def tell(text: str) -> None:
        if text:
            err.print(text, style="dim", markup=False)

    try:
        yield watch, tell
    finally:
        if live is not None:
            live.stop()


def line(progress: Progress) -> str:
    """`12 of 48 cells | 1 failed | 2 run | 9 min left`."""
    parts = [f"{progress.done:,} of {progress.cells:,} cells"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.running:
        parts.append(f"{len(progress.running)} run")
    if (left := progress.seconds_left) is not None and progress.done < progress.cells:
        parts.append(f"{duration(left)} left")
    return " | ".join(parts)


def declared(rows: Sequence[dict[str, Any]]) -> None:
    """The experiments of a project."""
    table(rows, ["experiment", "question", "cells", "trainings", "done"])


def found(rows: Sequence[dict[str, Any]]) -> None:
    """What came out: the table of accuracies, the conclusions, what went wrong, and the report's place."""
    for row in rows:
        out.print(f"\n[bold]{row['experiment']}[/bold]: {row['question']}".replace("[/bold]: ", "[/bold]\n"))
        estimates = [one for one in row["estimates"] if one["planned"]] or row["estimates"]
        lines = [
            {**one, "accuracy %": _percent(one, "mean"), "from": _percent(one, "low"), "to": _percent(one, "high")}
            for one in estimates
        ]
        table(lines, ["setting", "test", "way", "accuracy %", "from", "to", "seeds", "tokens", "calls"])
        if more := len(row["estimates"]) - len(lines):
            out.print(f"{more} more accuracies, which nothing is compared in, are in the report", markup=False)
        out.print()
        for sentence in row["conclusions"]:
            out.print(f"- {sentence}", markup=False)
        signs = row["signatures"]
        for sign in signs[:SIGNS]:
            out.print(f"! {sign}", markup=False)
        if len(signs) > SIGNS:
            out.print(f"! {len(signs) - SIGNS} more signs are in the report", markup=False)
        out.print(f"\nthe report: {row['page']}  (as text: {row['markdown']})", markup=False)


def _percent(row: dict[str, Any], name: str) -> float | None:
    return round(100 * row[name], 1) if name in row else None
