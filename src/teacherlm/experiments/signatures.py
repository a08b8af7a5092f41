"""Failure signatures of an experiment: what went wrong, or makes its figures mean less than they seem to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from teacherlm.experiments.answer_signs import SEVERITIES, Signature
from teacherlm.experiments.comparing import Compared
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.estimates import Row, estimates
from teacherlm.experiments.results import Results
from teacherlm.experiments.row_signs import HARMFUL, INACCURATE, answers, beside_chance, inaccurate, seeds
from teacherlm.experiments.words import bounds, counted, percent, signed

__all__ = ["Overlap", "Signature", "signatures"]

MANY_SHARED = 0.01
"""Share of a test's questions that training has, above which the test is worth nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Questions of a test that stand in what was trained on."""

    questions: int
    """Of the test."""
    shared: int
    data: str
    """Where: names of datasets."""


def signatures(
    experiment: Experiment,
    results: Results,
    compared: Sequence[Compared],
    *,
    rows: Sequence[Row] | None = None,
    accepted: Mapping[str, float | None] | None = None,
    overlap: Mapping[str, Overlap] | None = None,
) -> list[Signature]:
    """All that are found, the gravest first.

    Args:
        rows: as `estimates` gives them; None: worked out here.
        accepted: dataset -> share of its teacher's texts that the rules let pass; None: nothing was asked.
        overlap: by test.
    """
    rows = estimates(experiment, results) if rows is None else rows
    found = [
        *_failed(rows),
        *_losses(results),
        *_contaminated(overlap or {}),
        *_no_gain(results, compared),
        *inaccurate(rows, results),
        *_rejected(accepted or {}),
        *beside_chance(rows),
        *answers(rows, results),
        *seeds(rows),
    ]
    return sorted(found, key=lambda one: SEVERITIES.index(one.severity))


def _failed(rows: Sequence[Row]) -> Iterator[Signature]:
    cells = {f"{row.setting}, seed {seed}": None for row in rows for seed in row.failed}
    whole = {f"{row.setting}, seed {seed}": None for row in rows for seed in (*row.seeds, *row.failed)}
    if cells:
        yield Signature(
            name="failed cells",
            severity="problem",
            about="A cell that failed has no figures; what is compared with it rests on fewer seeds, or on none.",
            found=f"{len(cells)} of {counted(len(whole), 'cell')} failed",
            remedy="the table of cells says why; mend it and run the same command again: finished cells are kept",
            where=tuple(cells),
        )


def _losses(results: Results) -> Iterator[Signature]:
    found: dict[str, None] = {}
    for one in results.outcomes:
        if one.status == "done" and one.steps and (one.loss is None or not math.isfinite(one.loss)):
            setting = ", ".join(f"{factor}={level}" for factor, level in one.factors.items())
            found[f"{setting}{', ' if setting else ''}seed {one.seed}"] = None
    if found:
        yield Signature(
            name="loss is no number",
            severity="problem",
            about="A training whose loss is no number has destroyed its weights: the model answers nothing.",
            found=f"{counted(len(found), 'cell')} ended without a finite loss",
            remedy="lower the learning rate, lengthen the warm-up, or train in float32",
            where=tuple(found),
        )


def _contaminated(overlap: Mapping[str, Overlap]) -> Iterator[Signature]:
    for test, one in overlap.items():
        if one.shared:
            yield Signature(
                name="contaminated test",
                severity="problem" if one.shared > MANY_SHARED * one.questions else "warning",
                about="A model may know by heart what it was trained on; such questions measure memory.",
                found=f"{one.shared:,} of the {counted(one.questions, 'question')} of {test} stand in {one.data}",
                remedy="take them out of the training data (teacherlm check --against finds them), or out of the test",
                where=(test,),
            )


def _no_gain(results: Results, compared: Sequence[Compared]) -> Iterator[Signature]:
    """Sides whose data took more teacher calls than the baseline's, and that are no better for it."""
    calls = {one.cell: one.calls for one in results.outcomes}
    groups: dict[tuple[str, ...], list[Compared]] = {}
    for one in compared:
        sides = [[calls.get(cell, 0) for cell in cells] for cells in (one.cells, one.baseline_cells)]
        if one.verdict != "not tested" and all(sides) and fmean(sides[0]) > fmean(sides[1]):
            groups.setdefault((one.vary, one.baseline, one.test, one.way), []).append(one)
    for (vary, baseline, test, way), group in groups.items():
        # Where the interval alone lies above 0, too few seeds or too many comparisons are what is lacking.
        without = [one for one in group if one.verdict != "better" and one.low <= 0]
        if not without:
            continue
        worse = [one for one in without if one.verdict == "worse"]
        most = max(without, key=lambda one: one.high)
        yield Signature(
            name="no gain",
            severity="problem" if len(without) == len(group) else "warning",
            about="Students that read what a teacher was asked for should be better than those that did not.",
            found=f"{test}, by {way}: {len(without)} of {counted(len(group), 'comparison')} of {vary} with {baseline} "
            f"show no gain ({len(worse)} a loss); the one that reaches highest: {signed(most.difference)} points "
            f"({bounds(most.low, most.high)})",
            remedy="see whether rationales are right, whether students read them before they answer, and whether they "
            "are asked as they were trained; more seeds and questions show smaller gains",
            where=tuple(f"{vary}={one.level}{''.join(f', {f}={v}' for f, v in one.fixed.items())}" for one in without),
        )


def _rejected(accepted: Mapping[str, float | None]) -> Iterator[Signature]:
    for name, share in accepted.items():
        if share is not None and share < INACCURATE:
            yield Signature(
                name="inaccurate rationales",
                severity="problem" if share < HARMFUL else "warning",
                about="Students learn the mistakes of a teacher whose rationales are wrong.",
                found=f"{name}: the rules let {percent(share)} of the teacher's texts pass",
                remedy="`findings` says which rules reject what; a better teacher, or another prompt, is asked anew",
                where=(name,),
            )
