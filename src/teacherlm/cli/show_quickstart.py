"""How a quickstart looks: a line for each step while it runs, then a table, the claims and their limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.text import Text

from teacherlm.api.augment import Augmented
from teacherlm.api.quickstart import Quickstarted
from teacherlm.api.quickstart_claims import KIND_WORDS, claims, limits, signed
from teacherlm.api.quickstart_figures import ALL, COMPARED, Figures, Rate, Step
from teacherlm.cli.output import err, out, table
from teacherlm.cli.progress import augment_line, is_terminal

EVERY_S = 5.0
"""Between two lines where there is no terminal."""


class Follower:
    """Shows the steps of a run on stderr, as they come."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._said = 0.0
        self._number = 0

    def step(self, name: str, about: str) -> None:
        self._number += 1
        self._said = time.monotonic()
        err.print(f"[bold]{self._number}. {name}[/bold]: {about}")

    def done(self, step: Step) -> None:
        self._end()
        again = "" if step.done_now else ", nothing had changed"
        seconds = f"{step.seconds:.1f} s" if step.done_now else "0 s"
        err.print(f"   {step.did} ({seconds}{again})", markup=False)

    def note(self, text: str) -> None:
        if text:
            err.print(f"   {text}", style="dim", markup=False)

    def moment(self, text: str) -> None:
        if is_terminal():
            if self._live is None:
                self._live = Live(console=err, transient=True, auto_refresh=False, redirect_stdout=False)
                self._live.start()
            shown = Text(f"   {text}", no_wrap=True)
            shown.truncate(err.width, overflow="ellipsis")
            self._live.update(shown, refresh=True)
        elif time.monotonic() - self._said >= EVERY_S:
            self._said = time.monotonic()
            err.print(f"   {text}", markup=False)

    @contextmanager
    def augmenting(self) -> Iterator[Callable[[Augmented], None]]:
        if is_terminal():
            with augment_line() as line:
                yield line
            return

        def say(state: Augmented) -> None:
            rate = state.tally.settled / state.seconds if state.seconds else 0.0
            self.moment(f"{state.done:,} of {state.planned:,} texts, {rate:,.0f} a second")

        yield say

    def close(self) -> None:
        """Leave the terminal as it was, whatever happened."""
        self._end()

    def _end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def quickstarted(made: Quickstarted) -> None:
    """What a run found, and where to read on."""
    figures = made.figures
    out.print("\n[bold]the teacher[/bold]")
    _teacher(figures)
    out.print("\n[bold]the students[/bold]")
    _students(figures)
    out.print("\n[bold]what came out[/bold]")
    for claim in claims(figures):
        out.print(f"- {claim}", markup=False)
    out.print("\n[bold]what this does not show[/bold]")
    for limit in limits(figures):
        out.print(f"- {limit}", markup=False)
    out.print(f"\nall figures and {len(figures.examples)} examples: {made.page}", markup=False)
    out.print(f'the explained questions: datasets.load_dataset("{made.published}", ...)', markup=False)


def _teacher(figures: Figures) -> None:
    families = dict.fromkeys(row.family for row in figures.teacher.exactness)
    kinds = dict.fromkeys(row.kind for row in figures.teacher.exactness)
    found = {(row.family, row.kind): row.rate for row in figures.teacher.exactness}
    rows = [
        {"exact %": family}
        | {kind: f"{100 * found[family, kind].share:.1f}" for kind in kinds if (family, kind) in found}
        for family in families
    ]
    table(rows, ["exact %", *kinds])
    of = [f"{found[ALL, kind].of:,} {KIND_WORDS[kind]} on {found[ALL, kind].distinct:,} gold texts" for kind in kinds]
    out.print(f"all: {', '.join(of)}", markup=False)


def _students(figures: Figures) -> None:
    rows = [
        {
            "student": score.student,
            "asked by": score.way,
            "right": score.rate.right,
            "of": score.rate.of,
            "contents": score.rate.distinct,
            "%": f"{100 * score.rate.share:.1f}",
            "95 % interval": f"{100 * score.rate.low:.1f} to {100 * score.rate.high:.1f}",
            "no answer": score.unanswered,
        }
        for score in figures.scores
    ]
    rows += [
        _guessed("options, the question unseen", figures.control.rate),
        _guessed("best single rule on the options", figures.control.rule),
    ]
    table(rows, list(rows[0]))
    lines = []
    for pair in COMPARED:
        one = figures.difference(*pair)
        lines.append(
            {
                "difference": f"{one.second} by {one.second_way} - {one.first} by {one.first_way}",
                "points": signed(one.points),
                "95 % interval": f"{signed(one.low)} to {signed(one.high)}",
                "p": "< 0.001" if one.p_value < 0.001 else f"{one.p_value:.3f}",
            }
        )
    table(lines, list(lines[0]))


def _guessed(how: str, rate: Rate) -> dict[str, object]:
    return {
        "student": "none",
        "asked by": how,
        "right": rate.right,
        "of": rate.of,
        "contents": rate.distinct,
        "%": f"{100 * rate.share:.1f}",
        "95 % interval": f"{100 * rate.low:.1f} to {100 * rate.high:.1f}",
    }
