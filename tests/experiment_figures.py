"""A small experiment and what it came to, made up: what a report is drawn from, without a training and statistics."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import asin, nan, sqrt
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from teacherlm.experiments.answer_signs import Signature
from teacherlm.experiments.comparing import Compared, Estimate, Verdict
from teacherlm.experiments.declaration import Experiment
from teacherlm.experiments.estimates import Row
from teacherlm.experiments.grid import combinations
from teacherlm.experiments.report import Report, Setting, report
from teacherlm.experiments.results import Outcome, Results

FAILURE = "out of memory at step 12: 1 | 2 GiB"

SHARES = {("none", "0.4M"): 0.26, ("chain", "0.4M"): 0.79, ("mistakes", "0.4M"): 0.28, ("chain", "0.2M"): 0.61,
          ("none", "0.2M"): 0.25, ("none", "1M"): 0.25, ("chain", "1M"): 0.8}  # fmt: skip
"""Accuracy by kinds and size."""

PARAMETERS = {"0.2M": 212_000, "0.4M": 434_000, "1M": 1_012_000}
TOKENS = {"none": 420_000, "chain": 760_000, "mistakes": 690_000}
CALLS = {"none": 0, "chain": 1_500, "mistakes": 1_500}


@dataclass(frozen=True)
class Spent:
    samples: int = 1_500
    calls: Mapping[str, int] = field(default_factory=lambda: {"chain_of_thought": 1_500, "common_mistakes": 1_500})
    tokens: Mapping[str, int] = field(default_factory=lambda: {"chain_of_thought": 61_200, "common_mistakes": 48_000})
    accepted: float | None = 0.987


@dataclass(frozen=True)
class Tables:
    title: str = "Time"
    columns: Sequence[str] = ("step", "rows", "wall clock")
    rows: Sequence[Sequence[str]] = (("build", "1,500", "2.1 s"), ("train", "13,500", "21 min 10 s"))
    notes: Sequence[str] = ("Two cells ran side by side.",)


def experiment(text: str = "", **keys: Any) -> Experiment:
    """Two factors, one test and the comparisons of both.

    Args:
        text: stands in all that a declaration says in words.
        keys: laid over it.
    """
    size: dict[str, Any] = {level: {"base": {}} for level in ("0.4M", "0.2M", "1M")}
    whole = {
        "name": "made-up",
        "question": f"Do rationales help a small student?{text}",
        "about": f"Students read chains or mistakes before the answer.{text}",
        "paper": [{"says": f"They bring significant benefits.{text}", "source": f"arXiv 2310.19019, abstract{text}"}],
        "datasets": {f"lessons{text}": {"recipe": f"curriculum{text}", "splits": {"train": 1500}, "teacher": "nano"}},
        "train": {"extends": f"nano/student-plain{text}"},
        "factors": {"kinds": ["none", "chain", "mistakes"], "size": size, f"order{text}": [f"last{text}"]},
        "grids": [{"kinds": "all"}, {"kinds": ["none", "chain"], "size": "all"}],
        "tests": {"sums": {"procedural": {"count": 600, "seed": 7}, "ways": ["writing"], "about": f"Unseen.{text}"}},
        "comparisons": [
            {"vary": "kinds", "baseline": "none", "test": "sums"},
            {"vary": "size", "baseline": "0.4M", "test": "sums"},
        ],
        **keys,
    }
    return TypeAdapter(Experiment).validate_json(json.dumps(whole))


def estimate(mean: float, half: float = 0.04, seeds: int = 3) -> Estimate:
    runs = tuple(round(mean + 0.01 * (place - (seeds - 1) / 2), 4) for place in range(seeds))
    return Estimate(mean=mean, low=max(0.0, mean - half), high=min(1.0, mean + half), runs=runs)


NONE = Estimate(mean=nan, low=nan, high=nan, runs=())


def cell(kinds: str, size: str, seed: int) -> str:
    return f"{kinds}-{size}-{seed}"


def compared(
    vary: str, levels: tuple[str, str], fixed: Mapping[str, str], first: Estimate, second: Estimate, **keys: Any
) -> Compared:
    """A comparison with an interval of eight points; what is below six points is not significant."""
    level, baseline = levels
    difference = first.mean - second.mean
    surely = abs(difference) > 0.06
    verdict: Verdict = "not significant" if not surely else "better" if difference > 0 else "worse"
    p = 0.0001 if surely else 0.31
    sides = [{**fixed, vary: one} for one in levels]
    cells = [tuple(cell(side["kinds"], side["size"], seed) for seed in (1, 2, 3)) for side in sides]
    whole: dict[str, Any] = {
        **{"vary": vary, "level": level, "baseline": baseline, "fixed": fixed, "test": "sums", "way": "writing"},
        **{"baseline_way": "writing", "seeds": (1, 2, 3), "questions": 600, "clusters": 317, "first": first},
        **{"second": second, "difference": difference, "low": difference - 0.04, "high": difference + 0.04},
        **{"p": p, "p_adjusted": min(1.0, 5 * p), "p_of_models": min(1.0, 5 * p)},
        **{"verdict": verdict, "detectable": 0.065},
        "effect": 2 * asin(sqrt(first.mean)) - 2 * asin(sqrt(second.mean)) if first.runs and second.runs else nan,
        **{"cells": cells[0], "baseline_cells": cells[1]},
    }
    return Compared(**{**whole, **keys})


@dataclass(frozen=True)
class Figures:
    """All that `report` is told."""

    experiment: Experiment
    results: Results
    compared: tuple[Compared, ...]
    estimates: tuple[Row, ...]
    signatures: tuple[Signature, ...]
    notes: tuple[str, ...]
    setting: Setting
    tables: tuple[Tables, ...] = ()

    def report(self) -> Report:
        return report(
            self.experiment, self.results, self.compared, self.estimates, self.signatures, self.notes, self.setting,
            self.tables,
        )  # fmt: skip

    def golden(self) -> dict[str, str]:
        """Texts of the golden files, by name; the page's without its styles, which are looked at in a browser."""
        made = self.report()
        body = re.sub(r"<style>.*?</style>|sha256-[^']*", "", made.html.decode(), flags=re.DOTALL)
        return {"experiment.md": made.markdown, "experiment.html": body}


def figures(text: str = "") -> Figures:
    """Chains help, mistakes do not to be told, a smaller student is worse, a larger one failed with all seeds.

    Args:
        text: stands in all that comes from people or from what failed.
    """
    made = experiment(text)
    failed = FAILURE + text
    outcomes, rows = [], []
    for levels in combinations(made):
        kinds, size = levels["kinds"], levels["size"]
        whole: dict[str, Any] = {"experiment": made.name, "factors": levels, "test": "sums", "way": "writing"}
        fails = (kinds, size) == ("chain", "1M")
        mean = SHARES[kinds, size]
        cost: dict[str, Any] = {
            **{"parameters": PARAMETERS[size], "texts": 1_500, "tokens": TOKENS[kinds], "steps": 620, "loss": 0.4},
            **{"train_seconds": 61.0, "train_cpu_seconds": 60.0, "test_seconds": 9.0, "test_cpu_seconds": 8.5},
            **{"calls": CALLS[kinds], "call_tokens": 41 * CALLS[kinds], "chance": 0.25},
        }
        for seed in made.seeds:
            of: dict[str, Any] = {**whole, "cell": cell(kinds, size, seed), "seed": seed}
            if fails:
                outcomes.append(Outcome(**of, status="failed", failure=failed))
            else:
                outcomes.append(Outcome(**of, items=600, right=round(600 * mean), accuracy=mean, **cost))
        rows.append(
            Row(factors=levels, test="sums", way="writing", estimate=None, spread=None, failed=made.seeds)
            if fails
            else Row(
                factors=levels, test="sums", way="writing", estimate=estimate(mean), spread=None, seeds=made.seeds,
                cells=tuple(cell(kinds, size, seed) for seed in made.seeds), questions=600, clusters=317,
                answers=1_800, unanswered=4, **cost,
            )
        )  # fmt: skip
    order = {f"order{text}": f"last{text}"}
    shares = {key: estimate(share) for key, share in SHARES.items()}
    untested: dict[str, Any] = {
        **{"verdict": "not tested", "why": f"chain, 1M failed with seeds 1, 2, 3: {failed}", "seeds": (), "p": 1.0},
        **{"p_adjusted": 1.0, "difference": nan, "low": nan, "high": nan, "detectable": None, "cells": ()},
    }
    none, chain = {"kinds": "none", **order}, {"kinds": "chain", **order}
    usual = {"size": "0.4M", **order}
    several = (
        compared("kinds", ("chain", "none"), usual, shares["chain", "0.4M"], shares["none", "0.4M"]),
        compared("kinds", ("mistakes", "none"), usual, shares["mistakes", "0.4M"], shares["none", "0.4M"]),
        compared("size", ("0.2M", "0.4M"), none, shares["none", "0.2M"], shares["none", "0.4M"]),
        compared("size", ("0.2M", "0.4M"), chain, shares["chain", "0.2M"], shares["chain", "0.4M"]),
        compared("size", ("1M", "0.4M"), none, shares["none", "1M"], shares["none", "0.4M"]),
        compared("size", ("1M", "0.4M"), chain, NONE, shares["chain", "0.4M"], **untested),
    )
    signs = (
        Signature(
            name="failed cells", severity="problem", about=f"A cell that failed has no figures.{text}",
            found=f"3 of 21 cells failed{text}", remedy=f"run the same command again{text}",
            where=(f"chain, 1M{text}",),
        ),
        Signature(
            name="chance level", severity="note", about="An accuracy that guessing explains says nothing.",
            found="sums, by writing: 4 of 6 settings at chance (25.0 %)", remedy="ask them as they were trained",
            where=(f"none{text}", "mistakes", "none, 0.2M", "none, 1M"),
        ),
    )  # fmt: skip
    return Figures(
        experiment=made,
        results=Results(tuple(outcomes)),
        compared=several,
        estimates=tuple(rows),
        signatures=signs,
        notes=(f"Two cells ran at a time.{text}",),
        setting=Setting(
            command=f"teacherlm experiment run made-up{text}",
            machine=f"2 cores, no GPU{text}",
            seconds=1_270.0,
            spent={f"lessons{text}": Spent()},
        ),
        tables=(Tables(notes=(f"Two cells ran side by side.{text}",)),),
    )


def nothing_run() -> Figures:
    """The same before its first cell."""
    made = figures()
    rows = tuple(
        Row(factors=levels, test="sums", way="writing", estimate=None, spread=None, absent=(1, 2, 3))
        for levels in combinations(made.experiment)
    )
    return replace(made, results=Results(()), compared=(), estimates=rows, signatures=(), notes=(), tables=())


if __name__ == "__main__":
    for name, text in figures().golden().items():
        (Path(__file__).parent / "golden" / name).write_text(text, encoding="utf-8")
