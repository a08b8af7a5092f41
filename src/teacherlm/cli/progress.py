"""Where a run stands: a live view in a terminal, one line a minute elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from teacherlm.api.augment import Augmented
from teacherlm.api.progress import Meter, Progress
from teacherlm.cli.output import err
from teacherlm.cli.progress_view import accepted, duration, ending, percent, rate, view

__all__ = ["AugmentLine", "augment_line", "duration", "line"]

State = TypeVar("State")

EVERY_S = 60.0
"""Between two lines where there is no terminal."""

A_SECOND = 2
"""Drawings of the view: each takes some 5 ms."""


class AugmentLine:
    """Shows the states of a run, one after the other."""

    def __init__(self, live: bool) -> None:
        self._live = live
        self._run: str | None = None
        self._meter = Meter()
        self._said_at = 0.0
        self.progress: Progress | None = None
        """The latest."""

    def __call__(self, state: Augmented) -> None:
        """Take note of a state; nothing here waits for the terminal."""
        self.progress = progress = self._meter.see(state)
        if not self._live and progress.seconds - self._said_at >= EVERY_S:
            self._said_at = progress.seconds
            err.print(line(progress), markup=False)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.progress is not None:
            # The console's own settings are for sentences, which may be wider than the terminal.
            options = options.update(no_wrap=False, overflow="fold")
            shown = view(self.progress, options.max_width, console.height, ascii_only=options.ascii_only)
            yield from console.render(shown, options)


@contextmanager
def augment_line() -> Iterator[AugmentLine]:
    """Show a run while the block lasts."""
    if not is_terminal():
        yield AugmentLine(live=False)
        return
    shown = AugmentLine(live=True)
    # Drawn by a thread of its own: a terminal that is slow, or held, holds up no answers.
    with Live(shown, console=err, refresh_per_second=A_SECOND, transient=True, redirect_stdout=False):
        yield shown


class LiveBar(Generic[State]):
    """A bar and a line of the latest state, drawn by whoever asks.

    Args:
        line: a state in words.
        done: how much of how much.
    """

    CELLS = 24

    def __init__(self, line: Callable[[State], str], done: Callable[[State], tuple[int, int]]) -> None:
        self._line, self._done = line, done
        self._state: State | None = None

    def see(self, state: State) -> None:
        """Take note of a state; nothing here waits for the terminal."""
        self._state = state

    def __rich__(self) -> Text:
        if self._state is None:
            return Text("")
        done, of = self._done(self._state)
        full = self.CELLS * done // max(1, of)
        whole, left = ("#", "-") if err.options.ascii_only else ("━", "─")
        bar = (whole * full, "green"), (left * (self.CELLS - full), "dim")
        shown = Text.assemble(*bar, "  ", self._line(self._state))
        shown.no_wrap = True
        shown.truncate(err.width, overflow="ellipsis")
        return shown


@contextmanager
def live_bar(
    line: Callable[[State], str], done: Callable[[State], tuple[int, int]], a_second: int
) -> Iterator[Callable[[State], None]]:
    """Draw a bar while the block lasts; see `LiveBar`."""
    bar = LiveBar(line, done)
    with Live(bar, console=err, refresh_per_second=a_second, transient=True, redirect_stdout=False):
        yield bar.see


def is_terminal() -> bool:
    """Whether lines on stderr can be drawn again, whatever $FORCE_COLOR says of colours."""
    return err.is_interactive and err.file.isatty()


def line(progress: Progress) -> str:
    """The hour, as `creak  4,812/10,176 (47.3%) | answered 4,655 … | 1,366 new tok/s | in flight 64 | 72 min left`."""
    parts = [
        f"{progress.dataset}  {progress.done:,}/{progress.wanted:,} ({percent(progress.done, progress.wanted, 1)})",
        f"answered {progress.answered:,} truncated {progress.truncated:,} failed {progress.failed:,}",
    ]
    if progress.looked_at:
        parts.append(f"{accepted(progress)} accepted, of {progress.looked_at:,} looked at")
    parts += [
        f"{rate(progress.calls_per_second)} calls/s",
        f"{progress.tokens_per_second:,.0f} new tok/s",
        f"in flight {progress.in_flight:,}",
    ]
    if progress.waiting:
        parts.append(f"waiting {progress.waiting:,}")
    if away := [one for one in progress.endpoints if one.away]:
        parts.append(f"away {len(away):,} of {len(progress.endpoints):,} servers")
    if progress.cost is not None:
        parts.append(f"cost {progress.cost:,.2f}")
    if progress.stopped_by:
        parts.append(ending(progress))
    elif progress.seconds_left is not None and progress.done < progress.wanted:
        parts.append(f"{duration(progress.seconds_left)} left")
    return " | ".join(parts)
