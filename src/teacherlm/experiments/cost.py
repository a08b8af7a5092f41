"""What an experiment took, step by step, and the rates that this gives; as tables for a page or Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from teacherlm.experiments.words import UNKNOWN

Step = Literal["build", "train a teacher", "explain", "check", "train", "test"]
"""`train a teacher`: one that explains a dataset; `train`: the models of the cells."""

STEPS: tuple[Step, ...] = ("build", "train a teacher", "explain", "check", "train", "test")
TRAINING: tuple[Step, ...] = ("train a teacher", "train")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Texts in rows, and what has to be said beneath."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """Title, table and notes."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        shown = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        notes = ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join([f"### {self.title}", "", *shown, *notes])


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What one step took, as its records say; None: no record says it."""

    step: Step
    what: str
    rows: int | None = None
    """Samples, texts or questions, each counted as often as it was read."""
    seconds: float | None = None
    """Wall clock, summed over processes that ran side by side."""
    cpu_seconds: float | None = None
    gpu_seconds: float | None = None
    calls: int | None = None
    """Of a teacher."""
    read: int | None = None
    """Tokens: of training, over all epochs; of a teacher, of its prompts."""
    written: int | None = None
    """Tokens that a teacher generated."""
    parameters: int | None = None
    """Of the model that worked."""

    @property
    def flops(self) -> float | None:
        """Of the model: 6 N for a token of training, 2 N for one that a teacher reads or writes."""
        if self.parameters is None or self.read is None:
            return None
        return 6.0 * self.parameters * self.read if self.step in TRAINING else 2.0 * self.parameters * self._tokens

    @property
    def arithmetic(self) -> str:
        """Its FLOPs with their factors."""
        if self.flops is None or self.parameters is None or self.read is None:
            return UNKNOWN
        factor, tokens = (6, self.read) if self.step in TRAINING else (2, self._tokens)
        return f"{factor} × {self.parameters:,} × {tokens:,} = {figure(self.flops)}"

    @property
    def _tokens(self) -> int:
        return (self.read or 0) + (self.written or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What training, or a teacher that explains, did in its time."""

    name: Literal["training", "explaining"]
    flops: float
    seconds: float
    """Of the kind that `unit` says."""
    unit: Literal["GPU", "CPU", "wall-clock"]
    tokens: int
    calls: int | None = None

    def to_rows(self) -> Iterator[tuple[str, str]]:
        """What it is, and its arithmetic."""
        per, seconds = "second" if self.unit == "wall-clock" else f"{self.unit}-second", lasted(self.seconds)
        yield f"{self.name}: tokens a {per}", f"{self.tokens:,} ÷ {seconds} = {figure(self.tokens / self.seconds)}"
        yield f"{self.name}: FLOPs a {per}", f"{figure(self.flops)} ÷ {seconds} = {figure(self.flops / self.seconds)}"
        if self.calls:
            yield f"{self.name}: calls a {per}", f"{self.calls:,} ÷ {seconds} = {figure(self.calls / self.seconds)}"
            yield (
                "tokens a call, read and written",
                f"{self.tokens:,} ÷ {self.calls:,} = {figure(self.tokens / self.calls)}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """What an experiment took, and what the paper's sizes would."""

    experiment: str
    spent: tuple[Spending, ...]
    rates: tuple[Rate, ...]
    """Of training and of explaining, where all that they need is recorded."""
    extrapolated: tuple[Table, ...] = ()
    """See cost_paper.py."""
    notes: tuple[str, ...] = ()
    """What is not in the records."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """All, in the order in which they are read."""
        measured = Table(title="What was measured", columns=COLUMNS, rows=tuple(_rows(self.spent)), notes=self.notes)
        rates = Table(
            title="The rates that this gives",
            columns=("rate", "arithmetic"),
            rows=tuple(row for rate in self.rates for row in rate.to_rows()),
        )
        return (measured, *([rates] if self.rates else []), *self.extrapolated)

    def to_markdown(self) -> str:
        """All tables, under headings of the third level."""
        return "\n\n".join(table.to_markdown() for table in self.tables) + "\n"

    def to_row(self) -> dict[str, Any]:
        """As JSON."""
        spent = [{**asdict(one), "flops": one.flops} for one in self.spent]
        tables = [asdict(table) for table in self.extrapolated]
        rates = [asdict(rate) for rate in self.rates]
        return {
            "experiment": self.experiment,
            "spent": spent,
            "rates": rates,
            "extrapolated": tables,
            "notes": list(self.notes),
        }


COLUMNS = ("step", "of", "wall clock, s", "CPU, s", "GPU, s", "calls", "tokens read", "tokens written", "FLOPs")


def report(
    experiment: str,
    spent: Sequence[Spending],
    extrapolated: Callable[[Sequence[Spending], Sequence[Rate]], Sequence[Table]] = lambda *_: (),
    notes: Sequence[str] = (),
) -> CostReport:
    """Put together what the records say.

    Args:
        extrapolated: makes tables of what was spent and of the rates.
        notes: on what the records lack.
    """
    ordered = sorted(spent, key=lambda one: STEPS.index(one.step))
    made = [rate for rate in (_rate("training", ordered), _rate("explaining", ordered)) if rate is not None]
    return CostReport(
        experiment=experiment,
        spent=tuple(ordered),
        rates=tuple(made),
        extrapolated=tuple(extrapolated(ordered, made)),
        notes=(*_said(ordered), *notes),
    )


def figure(value: float) -> str:
    """Three digits: what arithmetic is shown in.

    >>> figure(7069016064 * 6.0), figure(1575290.0), figure(78.25), figure(0.012345)
    ('4.24e+10', '1,580,000', '78.2', '0.0123')
    """
    return f"{float(f'{value:.3g}'):,.0f}" if 1e3 <= abs(value) < 1e7 else f"{value:.3g}"


def lasted(seconds: float) -> str:
    """Seconds with a tenth, and short ones with three digits, so that what is shown can be worked out again.

    >>> lasted(1234.56), lasted(0.6012)
    ('1,234.6', '0.601')
    """
    return f"{seconds:,.1f}" if seconds >= 100 else figure(seconds)


def _rate(name: Literal["training", "explaining"], spent: Sequence[Spending]) -> Rate | None:
    """Over all records that tell a model's size, its tokens and a time; None where there is none."""
    wanted = TRAINING if name == "training" else ("explain",)
    found = [one for one in spent if one.step in wanted and one.flops]
    unit: Literal["GPU", "CPU", "wall-clock"]
    for unit, times in (
        ("GPU", [one.gpu_seconds for one in found]),
        ("CPU", [one.cpu_seconds for one in found]),
        ("wall-clock", [one.seconds for one in found]),
    ):
        if found and all(times):  # neither None nor 0
            return Rate(
                name=name,
                flops=sum(one.flops or 0.0 for one in found),
                seconds=sum(time or 0.0 for time in times),
                unit=unit,
                tokens=sum((one.read or 0) + (one.written or 0) for one in found),
                calls=sum(one.calls or 0 for one in found) or None,
            )
    return None


def _rows(spent: Sequence[Spending]) -> Iterator[tuple[str, ...]]:
    for one in spent:
        times = [
            UNKNOWN if time is None else f"{time:,.1f}" for time in (one.seconds, one.cpu_seconds, one.gpu_seconds)
        ]
        counts = [UNKNOWN if count is None else f"{count:,}" for count in (one.calls, one.read, one.written)]
        yield one.step, one.what, *times, *counts, one.arithmetic
    if spent:
        sums = [_sum([getattr(one, name) for one in spent], 1) for name in ("seconds", "cpu_seconds", "gpu_seconds")]
        counted = [_sum([getattr(one, name) for one in spent], 0) for name in ("calls", "read", "written")]
        yield "in all", "", *sums, *counted, figure(sum(one.flops or 0.0 for one in spent))


def _sum(values: Sequence[float | None], digits: int) -> str:
    there = [value for value in values if value is not None]
    return f"{sum(there):,.{digits}f}" if there else UNKNOWN


def _said(spent: Sequence[Spending]) -> Iterator[str]:
    """What the table cannot show."""
    yield "Wall clock is summed over processes; those that ran side by side took less time together."
    yield "FLOPs are 6 N for each token of training, 2 N for each that a teacher reads or writes; N: parameters."
    for name, times in (
        ("wall clock", [one.seconds for one in spent]),
        ("CPU-seconds", [one.cpu_seconds for one in spent]),
        ("GPU-seconds", [one.gpu_seconds for one in spent]),
    ):
        if lacking := list(dict.fromkeys(one.step for one, time in zip(spent, times, strict=True) if time is None)):
            yield f"No record says the {name} of: {', '.join(lacking)}. The sums leave them out."
