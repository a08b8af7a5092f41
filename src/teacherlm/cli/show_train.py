"""How a training looks: a live line in a terminal, one line a minute elsewhere, and a table of its stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from teacherlm.cli.output import err, out, table
from teacherlm.cli.progress import EVERY_S, duration, is_terminal, live_bar
from teacherlm.train.progress import Progress

A_SECOND = 2
"""Drawings of the line."""


@contextmanager
def watching(speaks: bool = True) -> Iterator[Callable[[Progress], None]]:
    """Show a training while the block lasts.

    Args:
        speaks: of several processes only the first one does.
    """
    if not speaks:
        yield lambda _: None
        return
    if is_terminal():
        with live_bar(line, lambda progress: (progress.step, progress.steps), A_SECOND) as see:
            yield see
        return
    said: dict[str, float] = {}

    def say(progress: Progress) -> None:
        if progress.seconds - said.setdefault(progress.stage, 0.0) >= EVERY_S or progress.step == progress.steps:
            said[progress.stage] = progress.seconds
            err.print(line(progress), markup=False)

    yield say


def line(progress: Progress) -> str:
    """The hour, as `multi-task 1/3  step 400/852 (46%) | loss 0.412 | 18,211 tok/s | 24 s left`."""
    parts = [f"{progress.stage} {progress.number}/{progress.stages}  step {progress.step:,}/{progress.steps:,}"]
    parts[0] += f" ({100 * progress.step // max(1, progress.steps)}%)"
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    parts.append(f"{progress.tokens_per_second:,.0f} tok/s")
    if progress.seconds_left is not None and progress.step < progress.steps:
        parts.append(f"{duration(progress.seconds_left)} left")
    return " | ".join(parts)


def trained(rows: Sequence[dict[str, Any]]) -> None:
    """The stages of a training, and what to do next."""
    for row in rows:
        lines = [
            {
                "stage": one["stage"],
                "steps": one["steps_run"],
                "tokens": one["tokens"],
                "texts": one["data"].get("texts"),
                "final loss": round(one["final_loss"], 4),
                "time": duration(one["seconds"]),
                "tok/s": round(one["tokens"] / one["seconds"]) if one["seconds"] else None,
                "": "finished before" if one["already"] else "partial: a trial" if one["partial"] else "trained",
            }
            for one in row["stages"]
        ]
        table(lines, list(lines[0]) if lines else [])
        for one in row["stages"]:
            if told := _left_out(one["data"]):
                out.print(f"{one['stage']}: {told}", markup=False)
        last = row["stages"][-1]["stage"] if row["stages"] else ""
        out.print(f"in {row['folder']}; to ask it: teacherlm serve {row['folder']}/{last}", markup=False)


def _left_out(counts: dict[str, Any]) -> str:
    """Texts and records that were not trained on as they are."""
    named = {
        "lacking": "renderings left out for lack of a kind",
        "too_long": "texts longer than the window dropped",
        "cut": "texts cut at the window",
        "split": "texts split at the window",
    }
    return "; ".join(f"{counts[name]:,} {words}" for name, words in named.items() if counts.get(name))
