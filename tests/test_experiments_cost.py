"""What experiments cost: sums over records on disk, rates, and the paper's sizes; all worked out by hand here."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import experiments
import teacherlm
from teacherlm.api.experiment_clock import Clock
from teacherlm.api.experiment_cost import cost, paper
from teacherlm.api.experiments import run
from teacherlm.builders.build import Built, SplitCounts
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.experiments.cost import CostReport, Rate, Spending, Table
from teacherlm.experiments.cost_paper import Assumed, Sized, extrapolated
from teacherlm.experiments.results import Outcome, write_results
from teacherlm.experiments.words import UNKNOWN

DECLARED = experiments.SMALL + "datasets: {lessons: {recipe: curriculum, trained: tiny, kinds: [chain_of_thought]}}\n"
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?|[×÷+]")

TEACHER, STUDENT = 1_000, 2_000
"""Parameters."""


def test_what_the_records_say_is_summed_by_step(tmp_path: Path) -> None:
    found = cost(recorded(tmp_path), "small", extrapolate=False)
    spent = {one.step: one for one in found.spent if one.step != "test"}
    assert list(spent) == ["build", "train a teacher", "explain", "check", "train"]
    assert times(spent["build"]) == (2.0, 1.5, None)
    assert times(spent["train a teacher"]) == (10.0, 9.0, 0.0)
    assert times(spent["explain"]) == (6.0 + 4.0, 8.0, None)  # of a run that was killed and the one after it
    assert times(spent["check"]) == (4.0, 3.5, None)
    assert times(spent["train"]) == (3.0 + 5.0, 2.5 + 4.5, None)  # the cell of two combinations once, the failed not
    explain = spent["explain"]
    assert (explain.calls, explain.read, explain.written) == (60 + 50, 600 + 500, 1_200 + 900)
    assert explain.flops == 2 * TEACHER * 3_200
    assert explain.what == "lessons, rationales by tiny"  # no folder of this machine
    assert spent["train a teacher"].flops == 6 * TEACHER * 5_000
    assert (spent["train"].read, spent["train"].flops) == (7_000, 6 * STUDENT * 7_000)
    tests = [one for one in found.spent if one.step == "test"]
    assert [(one.rows, *times(one)) for one in tests] == [(40, 2.5, 2.3, None), (40, 1.0, 0.8, None)]

    last = found.tables[0].rows[-1]
    assert last == ("in all", "", "37.5", "32.1", "0.0", "110", "13,100", "2,100", "1.2e+08")
    said = " ".join(found.tables[0].notes)
    assert "1 cell failed" in said
    assert "GPU-seconds of: build, explain, check, train, test." in said
    assert "CPU-seconds of" not in said  # all are recorded


def test_rates_are_of_those_who_tell_size_tokens_and_time(tmp_path: Path) -> None:
    training, explaining = cost(recorded(tmp_path), "small", extrapolate=False).rates
    assert (training.unit, training.seconds, training.tokens) == ("CPU", 9.0 + 7.0, 5_000 + 7_000)
    assert training.flops == 6 * TEACHER * 5_000 + 6 * STUDENT * 7_000
    assert dict(training.to_rows())["training: tokens a CPU-second"] == "12,000 ÷ 16 = 750"
    assert (explaining.unit, explaining.seconds, explaining.calls) == ("CPU", 8.0, 110)
    assert explaining.flops == 2 * TEACHER * 3_200


def test_seconds_of_a_gpu_go_before_those_of_its_processor(tmp_path: Path) -> None:
    opened = recorded(tmp_path)
    record = next((tmp_path / "w").rglob("training.json"))
    record.write_text(json.dumps({**json.loads(record.read_bytes()), "gpu_seconds": 4.0}))
    mixed = cost(opened, "small", extrapolate=False)
    assert mixed.rates[0].unit == "CPU"  # the students' records say nothing of a GPU
    (tmp_path / "w/experiments/small/cells.parquet").unlink()
    alone = cost(opened, "small", extrapolate=False).rates[0]
    assert (alone.unit, alone.seconds, alone.tokens) == ("GPU", 4.0, 5_000)


def test_records_that_lack_something_give_no_number(tmp_path: Path) -> None:
    """Before any time was kept, and with a teacher elsewhere whose size nobody knows."""
    opened = recorded(tmp_path, DECLARED.replace("trained: tiny", "teacher: lab"), kept={})
    next((tmp_path / "w").rglob("training.json")).unlink()
    found = cost(opened, "small", extrapolate=False)
    spent = {one.step: one for one in found.spent}
    assert times(spent["build"]) == times(spent["check"]) == (None, None, None)
    assert times(spent["explain"]) == (10.0, None, None)
    assert spent["explain"].flops is None
    assert [rate.name for rate in found.rates] == ["training"]
    assert "wall clock of: build, check." in " ".join(found.notes)


def test_what_was_not_run_costs_nothing_that_is_known(tmp_path: Path) -> None:
    opened = teacherlm.open(experiments.project(tmp_path / "p", DECLARED), workspace=tmp_path / "w")
    with pytest.raises(Mistake) as caught:
        cost(opened, "small")
    assert "teacherlm experiment run small" in str(caught.value)
    recorded(tmp_path)
    (tmp_path / "w/experiments/small/cells.parquet").write_bytes(b"torn")
    with pytest.raises(MachineFailed) as damaged:
        cost(opened, "small")
    assert "cells.parquet" in str(damaged.value)


def test_the_papers_sizes_are_products_of_what_is_shown() -> None:
    teachers = [Sized(name="T", parameters=10**9, tokens={"one": 10**6, "two": 10**6}, by="counted")]
    students = [Sized(name="S", parameters=10**8, tokens={"student": 10**6}, by="counted")]
    rates = [
        Rate(name="training", flops=1.2e8, seconds=16.0, unit="CPU", tokens=12_000),
        Rate(name="explaining", flops=6e6, seconds=8.0, unit="wall-clock", tokens=3_200, calls=100),
    ]
    spent = [Spending(step="build", what="d", rows=100, seconds=2.0), Spending(step="check", what="d", rows=300)]
    assumed = Assumed(tflops=100.0, training=0.5, explaining=0.1, prompt_tokens=120, written_tokens=80)
    sizes, training, explaining, of_students, rows, left = extrapolated(
        teachers, students, spent, rates, 160_000, assumed
    )

    # 6 × 1e9 × 2e6 = 1.2e16 FLOPs: 1e8 times 1.2e8, so 1e8 × 16 s; or 1.2e16 ÷ (1e14 × 0.5) = 240 s of the GPU.
    assert results(training) == [("T", 1.2e16, 1e8, 1e8 * 16 / 3600, 240 / 3600)]
    # 2 × 1e9 × 6e6 calls × 200 tokens = 2.4e18: 4e11 times 6e6, so 4e11 × 8 s; or 2.4e18 ÷ 1e13 = 240,000 s.
    # 58 × 3,000 × 3 = 522,000 calls: 0.087 of that.
    assert results(explaining) == [
        ("TeacherData-2M, by T", 2.4e18, 4e11, 4e11 * 8 / 3600, 240_000 / 3600),
        ("P3-Sense-3K, by T", 0.087 * 2.4e18, 0.087 * 4e11, 0.087 * 4e11 * 8 / 3600, 0.087 * 240_000 / 3600),
    ]
    assert results(of_students) == [("S", 6e14, 5e6, 5e6 * 16 / 3600, 12 / 3600)]
    # 2 s for 100 samples: 40,000 s for 2,000,000. Of checking no time is known.
    assert [value(row[1]) for row in rows.rows] == [close(40_000 / 3600), None]
    quantities = {name: (value(text), by) for name, text, by in sizes.rows}
    assert quantities["calls, TeacherData-2M"][0] == 6_000_000
    assert quantities["calls, P3-Sense-3K"][0] == 522_000
    assert "160,000 samples" in quantities["calls, P3-Sense-3K"][1]
    assert "measured here: 32," in quantities["tokens a call"][1]
    assert len(left.rows) > 5
    for table in (sizes, training, explaining, of_students, rows):
        assert_arithmetic_holds(table)


def test_without_a_measured_rate_its_columns_are_empty() -> None:
    teachers = [Sized(name="T", parameters=10**9, tokens={"one": 10**6}, by="counted")]
    _, training, *_ = extrapolated(teachers, [], [], [])
    assert training.rows[0][2:4] == (UNKNOWN, UNKNOWN)
    assert "Nothing of the kind was measured whole" in training.notes[0]


def test_a_clock_adds_to_what_earlier_runs_took() -> None:
    clock = Clock({"build": 100.0}, {"build": 50.0})
    with clock.step("build"):
        subprocess.run([sys.executable, "-c", "sum(range(2_000_000))"], check=True)
    with pytest.raises(ZeroDivisionError), clock.step("check"):
        _ = 1 / 0
    assert 100.0 < clock.seconds["build"] < 160.0
    assert 50.01 <= clock.cpu_seconds["build"] < 110.0  # the time of a process that it waited for
    assert clock.seconds.keys() == {"build", "check"}


def test_markdown_holds_every_cell(tmp_path: Path) -> None:
    found = cost(recorded(tmp_path), "small", extrapolate=False)
    text = found.to_markdown()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == sum(len(table.rows) + 2 for table in found.tables)
    assert "| 6 × 1,000 × 5,000 = 3e+07 |" in text
    assert json.loads(json.dumps(found.to_row()))["spent"][1]["flops"] == 6 * TEACHER * 5_000
    assert Table(title="t", columns=("a|b",), rows=()).to_markdown().splitlines()[2] == "| a\\|b |"


@pytest.mark.slow
def test_the_papers_declarations_are_read() -> None:
    teachers, students, samples = paper(teacherlm.open(Path(__file__).parent.parent))
    assert [one.parameters for one in teachers] == sorted(one.parameters for one in teachers)
    assert {one.name for one in teachers} >= {"TeacherLM-560M", "TeacherLM-7.1B", "TeacherLM-176B"}
    assert dict(zip([one.name for one in teachers], [one.parameters for one in teachers], strict=True))[
        "TeacherLM-7.1B"
    ] == 7_069_016_064  # fmt: skip
    assert len({tuple(one.tokens.items()) for one in teachers}) == 1
    assert len(students) == 14
    assert samples is not None and 100_000 < samples <= 58 * 3_000
    plain, augmented = students[0], students[7]
    assert (plain.parameters, augmented.parameters) == (559_214_592, 559_214_592)
    assert plain.read < augmented.read


@pytest.mark.slow
def test_an_experiment_that_was_run_has_its_cost(tmp_path: Path) -> None:
    text = (
        experiments.SMALL
        + "datasets: {lessons: {recipe: curriculum, families: [add], splits: {train: 20}, seed: 3, teacher: nano}}\n"
    )
    folder = experiments.project(tmp_path / "p", text)
    shutil.copyfile(bundled() / "builders" / "curriculum.yaml", folder / "builders" / "curriculum.yaml")
    opened = teacherlm.open(folder, workspace=tmp_path / "w")
    ran = run(opened, "small", workers=1)
    found = cost(opened, "small")
    assert {one.step for one in found.spent} >= {"build", "explain", "check", "train", "test"}
    explain = next(one for one in found.spent if one.step == "explain")
    assert (explain.parameters, explain.calls) == (726_400, sum(ran.spent["lessons"].calls.values()))
    assert explain.written == sum(ran.spent["lessons"].tokens.values())
    cells = {one.cell: one for one in ran.results.outcomes}.values()
    train = next(one for one in found.spent if one.step == "train")
    assert train.read == sum(one.tokens for one in cells)
    assert train.seconds == pytest.approx(sum(one.train_seconds for one in cells))
    assert [rate.name for rate in found.rates] == ["training", "explaining"]
    for table in found.tables:
        assert_arithmetic_holds(table)


def recorded(folder: Path, text: str = DECLARED, kept: dict[str, Any] | None = None) -> teacherlm.Project:
    """A project with an experiment, and the records that its runs would have left."""
    opened = teacherlm.open(experiments.project(folder / "p", text), workspace=folder / "w")
    home = folder / "w" / "experiments" / "small"
    timed = {
        "seconds": {"build": 2.0, "explain": 99.0, "check": 4.0},  # a run's own record goes before
        "cpu_seconds": {"build": 1.5, "explain": 8.0, "check": 3.5},
    }
    spent = {"samples": 100, "calls": {"chain_of_thought": 100}, "tokens": {"chain_of_thought": 2_000}}
    write(home / "datasets.json", {"lessons": {**spent, "accepted": 0.9, **(timed if kept is None else kept)}})
    split = SplitCounts(split="train", rows=100, samples=100, filtered=0, rejected={})
    built = Built(dataset="lessons", place="made", fingerprint="0" * 16, splits=(split,))
    write(home / "samples" / "lessons" / "manifest.json", {k: v for k, v in asdict(built).items() if k != "reused"})
    write(home / "reports" / "lessons" / "report.json", {})
    for hour, state, seconds, requests, prompts, written in (
        (1, "running", 6.0, 60, 600, 1_200),  # killed
        (2, "done", 4.0, 50, 500, 900),
    ):
        at = f"2026-01-01T0{hour}:00:00.000000Z"
        write(
            home / "reports" / "lessons" / "runs" / f"{hour}.json",
            {"run": str(hour), "state": state, "started_at": at, "updated_at": at, "teacher": "t", "model": "lab/t"}
            | {"seconds": seconds, "requests": requests, "prompt_tokens": prompts, "generated_tokens": written},
        )
    write(
        home / "models" / "tiny" / "student" / "training.json",
        {"training": "tiny", "stage": "student", "settings": {}, "parameters": TEACHER, "tokens": 5_000}
        | {"seconds": 10.0, "cpu_seconds": 9.0, "gpu_seconds": 0.0, "device": "CPU", "data": {"texts": 24}},
    )
    # A cell whose model was kept: its training is in the table of cells already.
    write(home / "models" / "cells" / "0" / "student" / "training.json", {"training": "cells/0", "stage": "student"})
    a: dict[str, Any] = {
        "cell": "a",
        "factors": {"epochs": "one"},
        "tokens": 3_000,
        "train_seconds": 3.0,
        "train_cpu_seconds": 2.5,
    }
    b: dict[str, Any] = {
        "cell": "b",
        "factors": {"epochs": "two"},
        "tokens": 4_000,
        "train_seconds": 5.0,
        "train_cpu_seconds": 4.5,
    }
    same = {**b, "factors": {"epochs": "2"}}
    common: dict[str, Any] = {"experiment": "small", "seed": 1, "test": "sums"}
    outcomes = [
        Outcome(**common, **cell, way=way, items=20, parameters=STUDENT, test_seconds=wall, test_cpu_seconds=cpu)
        for cell, tests in (
            (a, {"writing": (1.0, 0.9), "options": (0.5, 0.4)}),
            (b, {"writing": (1.5, 1.4), "options": (0.5, 0.4)}),
            (same, {"writing": (1.5, 1.4), "options": (0.5, 0.4)}),
        )
        for way, (wall, cpu) in tests.items()
    ]
    lost = Outcome(cell="c", factors={"epochs": "half"}, way="writing", status="failed", failure="it broke", **common)
    outcomes.append(lost)
    write_results(home, "small", outcomes, [])
    return opened


def write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")


def times(one: Spending) -> tuple[float | None, ...]:
    return one.seconds, one.cpu_seconds, one.gpu_seconds


def results(table: Table) -> list[tuple[Any, ...]]:
    """What each row comes to, to three digits."""
    return [(name, *(close(value(text)) for text in rest)) for name, *rest in table.rows]


def close(number: float | None) -> Any:
    return None if number is None else pytest.approx(number, rel=0.006)


def value(text: str) -> float | None:
    return None if text == UNKNOWN else float(text.rsplit("= ", 1)[1].replace(",", ""))


def assert_arithmetic_holds(table: Table) -> None:
    """The left side of every `… = …` comes to the right one, within what three digits of its factors allow."""
    for text in (cell for row in table.rows for cell in row if " = " in cell):
        left, right = text.rsplit(" = ", 1)
        total, sign, product = 0.0, "", math.nan
        for part in NUMBER.findall(re.sub(r"\([^)]*\)", "", left)):
            if part in "×÷+":
                sign = part
                continue
            number = float(part.replace(",", ""))
            if sign in ("", "+"):
                total, product = total + (0.0 if math.isnan(product) else product), number
            else:
                product = product * number if sign == "×" else product / number
        assert total + product == pytest.approx(float(right.replace(",", "")), rel=0.02), text


def test_the_reading_of_arithmetic_can_fail() -> None:
    wrong = Table(title="t", columns=("a",), rows=(("2 × 3 + 4 ÷ 2 = 8",), ("2,000 × 1.5e+03 = 3e+05",)))
    with pytest.raises(AssertionError, match="2,000"):
        assert_arithmetic_holds(wrong)


def test_a_report_of_nothing_has_no_rates() -> None:
    assert CostReport(experiment="e", spent=(), rates=()).tables[0].rows == ()
