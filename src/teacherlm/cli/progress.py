"""One line tells the hour: redrawn in a terminal, once a minute elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.text import Text

from teacherlm.api.augment import Augmented
from teacherlm.cli.output import err

EVERY_S = 60.0


class AugmentLine:
    """The state of a run as one line on stderr."""

    def __init__(self, live: Live | None) -> None:
        self._live = live
        self._last = time.monotonic()

    def __call__(self, state: Augmented) -> None:
        if self._live is not None:
            self._live.update(Text(line(state), no_wrap=True, overflow="ellipsis"))
        elif time.monotonic() - self._last >= EVERY_S:
            self._last = time.monotonic()
            err.print(line(state), markup=False)


@contextmanager
def augment_line() -> Iterator[AugmentLine]:
    """Show a run while the block lasts."""
    if not err.is_terminal:
        yield AugmentLine(None)
        return
    with Live(console=err, refresh_per_second=5, transient=True) as live:
        yield AugmentLine(live)


def line(state: Augmented) -> str:
    """The hour, as `creak  4,812/10,176 (47.3%) | answered 4,655 … | 1,366 new tok/s | in flight 64 | 72 min left`."""
    tally = state.tally
    share = f"{100 * state.done / state.planned:.1f}%" if state.planned else "-"
    speed = tally.generated_tokens / state.seconds if state.seconds else 0.0
    calls = tally.settled / state.seconds if state.seconds else 0.0
    parts = [
        f"{state.dataset}  {state.done:,}/{state.planned:,} ({share})",
        f"answered {tally.answered:,} truncated {tally.truncated:,} failed {tally.refused + tally.exhausted:,}",
        f"{speed:,.0f} new tok/s",
        f"in flight {tally.in_flight}",
    ]
    if tally.waiting:
        parts.append(f"waiting {tally.waiting}")
    if state.stopped_by:
        parts.append("finishing what is in flight; Ctrl-C again leaves now")
    elif calls and state.done < state.planned:
        parts.append(f"{duration((state.planned - state.done) / calls)} left")
    return " | ".join(parts)


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
