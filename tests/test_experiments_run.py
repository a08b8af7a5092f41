"""Experiments that run: trained in processes, tested, kept, gone on with after a kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

import experiments
import teacherlm
from teacherlm.api.experiment_data import Spent, spent_on
from teacherlm.api.experiment_project import lay_out
from teacherlm.api.experiment_report import overlaps, write_report
from teacherlm.api.experiments import Progress, run
from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.experiments.read import read_experiment
from teacherlm.experiments.results import read_results
from teacherlm.train.declaration import Data

FAILING = experiments.SMALL.replace("    two:", "    half: {precision: float16}\n    two:")


def command(*words: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run([sys.executable, "-m", "teacherlm", *words], capture_output=True, check=False)
    return done.returncode, orjson.loads(done.stdout)


def test_a_cell_that_fails_is_named_and_stops_no_other(tmp_path: Path) -> None:
    opened = teacherlm.open(experiments.project(tmp_path / "p", FAILING), workspace=tmp_path / "w")
    ran = run(opened, "small", workers=3)
    assert {one.factors["epochs"] for one in ran.failed} == {"half"}
    assert "float16 is trained on GPUs only" in str(ran.failed[0].failure)
    assert {one.factors["epochs"] for one in ran.results.outcomes if one.status == "done"} == {"one", "two"}
    table = pq.read_table(ran.folder / "cells.parquet").to_pylist()
    assert [row["factors"] for row in table if row["accuracy"] is None] == ['{"epochs":"half"}'] * 2
    query = "SELECT factors->>'epochs', count(*) FROM experiment_cells WHERE status = 'done' GROUP BY ALL ORDER BY 1"
    assert opened.sql(query).fetchall() == [("one", 2), ("two", 2)]
    query = "SELECT count(*) FILTER (correct), count(*) FROM experiment_items"
    assert opened.sql(query).fetchall()[0][1] == 2 * 2 * 20


def test_a_run_finds_each_cell_once(tmp_path: Path) -> None:
    opened = teacherlm.open(experiments.project(tmp_path / "p"), workspace=tmp_path / "w")
    seen: list[tuple[int, int]] = []

    def watch(progress: Progress) -> None:
        seen.append((progress.done, progress.failed))

    ran = run(opened, "small", workers=2, watch=watch)
    assert seen[0] == (0, 0)
    assert seen[-1] == (2, 0)
    by_level = {(one.factors["epochs"], one.way): one for one in ran.results.outcomes}
    assert set(by_level) == {(level, way) for level in ("one", "two") for way in ("writing", "options")}
    one, two = by_level["one", "options"], by_level["two", "options"]
    assert two.tokens == 2 * one.tokens > 0
    assert one.chance == pytest.approx(0.25)
    assert one.parameters > 1000
    items = ran.results.of(one)
    assert len(items) == one.items == 20
    assert sum(item.correct for item in items) == one.right
    assert [item.sample_id for item in items] == [item.sample_id for item in ran.results.of(two)]
    assert not list((tmp_path / "w/experiments/small/models").glob("cells/*/student"))  # tested, and not kept

    before = {path.name: path.read_bytes() for path in ran.folder.glob("*.parquet")}
    again = run(opened, "small")
    assert again.already == 2
    assert {path.name: path.read_bytes() for path in ran.folder.glob("*.parquet")} == before

    written = write_report(opened, "small", tmp_path / "out")
    page, text = written.page.read_text(), written.markdown.read_text()
    for sign in ("Does a second epoch help?", "It does.", "not significant", "teacherlm experiment run small"):
        assert sign in page, sign
        assert sign in text, sign
    assert {one.name for one in written.signatures} >= {"chance level"}
    assert overlaps(opened, read_experiment(opened.files, "small"))["sums"].shared == 0


@pytest.mark.slow
def test_what_was_found_before_a_restart_counts_for_nothing(tmp_path: Path) -> None:
    opened = teacherlm.open(experiments.project(tmp_path / "p"), workspace=tmp_path / "w")
    ran = run(opened, "small", workers=2)
    # A cell whose file is damaged is found again, and so are all with `restart`, whatever comes of it.
    found = ran.folder / "found"
    damaged, kept = sorted(found.iterdir())
    damaged.write_bytes(kept.read_bytes()[:15])

    def stop(progress: Progress) -> None:
        if progress.running or progress.here:
            raise KeyboardInterrupt

    assert run(opened, "small").already == 1
    with pytest.raises(KeyboardInterrupt):
        run(opened, "small", restart=True, watch=stop)
    assert not list(found.iterdir()) and len(list((ran.folder / "found.before").iterdir())) == 2
    assert run(opened, "small").already == 0


@pytest.mark.slow
def test_a_model_that_was_left_of_other_data_gives_way(tmp_path: Path) -> None:
    text = experiments.SMALL.replace("seeds: [1]", "seeds: [1]\nkeep_models: true")
    layout = "mine: {{response: [{}], gold: text}}\n"
    folder = experiments.project(tmp_path / "p", text)
    (folder / "train" / "tiny.yaml").write_text(experiments.BASE.replace("plain-text", "mine"))
    (folder / "train" / "layouts.yaml").write_text(layout.format("answer"))
    opened = teacherlm.open(folder, workspace=tmp_path / "w")
    first = run(opened, "small")
    (folder / "train" / "layouts.yaml").write_text(layout.format("chain_of_thought, answer"))
    again = run(teacherlm.open(folder, workspace=tmp_path / "w"), "small")
    assert not again.failed
    assert again.results.outcomes[0].tokens > first.results.outcomes[0].tokens


def test_a_test_that_was_trained_on_is_found(tmp_path: Path) -> None:
    text = experiments.SMALL.replace(
        "families: [add], count: 20, seed: 7", "families: [add], split: train, count: 6, seed: 1"
    )
    opened = teacherlm.open(experiments.project(tmp_path / "p", text), workspace=tmp_path / "w")
    bound = read_experiment(opened.files, "small")
    lay_out(opened, bound, bound.cells(opened.files))
    found = overlaps(opened, bound)["sums"]
    assert (found.questions, found.shared) == (6, 0)  # the training reads the split of teachers
    trained = experiments.BASE.replace("count: 24, seed: 1", "split: train, count: 24, seed: 1")
    (tmp_path / "p" / "train" / "tiny.yaml").write_text(trained)
    lay_out(opened, bound, bound.cells(opened.files))
    found = overlaps(opened, bound)["sums"]
    assert (found.questions, found.shared) == (6, 6)


def test_the_command_lists_and_says_what_was_not_run(tmp_path: Path) -> None:
    folder = experiments.project(tmp_path / "p", experiments.SMALL.replace("epochs: 2", "epochs: two"), "broken")
    experiments.project(tmp_path / "p")
    where = ["--project", str(folder), "--workspace", str(tmp_path / "w"), "--format", "json"]
    code, listed = command("experiment", "list", *where)
    rows = {row["experiment"]: row for row in listed["rows"]}
    assert (rows["small"]["cells"], rows["small"]["done"]) == (2, 0)
    assert "ablation-nano" in rows  # those that ship are there as well
    code, said = command("experiment", "report", "small", *where)
    assert code == 2
    assert said["errors"][0]["remedy"] == "run it: teacherlm experiment run small"


@pytest.mark.slow
def test_a_run_that_was_killed_keeps_the_cells_that_were_done(tmp_path: Path) -> None:
    folder, workspace = experiments.project(tmp_path / "p"), tmp_path / "w"
    home = workspace / "experiments" / "small"
    experiments.killed_when(experiments.started(folder, workspace), home / "found" / "*.json")
    (first,) = (home / "found").glob("*.json")
    stamp, kept = first.stat().st_mtime_ns, first.read_bytes()
    ran = run(teacherlm.open(folder, workspace=workspace), "small", workers=1)
    assert ran.already == 1
    assert (first.stat().st_mtime_ns, first.read_bytes()) == (stamp, kept)
    undisturbed = run(teacherlm.open(folder, workspace=tmp_path / "other"), "small", workers=1)
    assert ran.results.items == undisturbed.results.items


def test_declarations_are_looked_through_before_anything_runs(tmp_path: Path) -> None:
    text = experiments.SMALL.replace("epochs: 2", "epoch: 2")
    opened = teacherlm.open(experiments.project(tmp_path / "p", text), workspace=tmp_path / "w")
    with pytest.raises(Mistakes) as caught:
        run(opened, "small")
    assert "epochs=two" in str(caught.value)
    place = next(number for number, line in enumerate(text.splitlines(), 1) if line == "    two:")
    assert f"evaluate/experiments/small.yaml:{place}:" in str(caught.value), "the level, not the training below it"
    assert not list((tmp_path / "w").glob("experiments/small/models/**/*.safetensors"))


def test_a_dataset_whose_questions_cannot_be_chosen_is_refused(tmp_path: Path) -> None:
    text = experiments.SMALL + "datasets: {mine: {recipe: rows, splits: {train: 5}}}\n"
    folder = experiments.project(tmp_path / "p", text)
    (folder / "builders" / "rows.yaml").write_text("source: {files: {train: rows.jsonl}}\n")
    with pytest.raises(Mistake) as caught:
        run(teacherlm.open(folder, workspace=tmp_path / "w"), "small")
    assert "splits cannot be chosen" in str(caught.value)


@pytest.mark.parametrize(
    ("at_most", "kinds", "calls"),
    [
        (None, {"chain_of_thought"}, 800),
        (100, {"chain_of_thought"}, 200),
        (900, {"chain_of_thought"}, 800),
        (100, set(), 0),
    ],
)
def test_who_reads_chosen_texts_is_charged_with_those_that_were_not_chosen(
    at_most: int | None, kinds: set[str], calls: int
) -> None:
    """800 questions were explained, and 400 of the texts are good enough."""
    spent = Spent(samples=800, calls={"chain_of_thought": 800, "fundamentals": 800},
                  tokens={"chain_of_thought": 8_000, "fundamentals": 1_600})  # fmt: skip
    data = Data(
        dataset="lessons", layouts=("answer-last-chain",), where="quality.chain_of_thought.score > 0.5", at_most=at_most
    )
    made = {"lessons": spent}
    assert spent_on(made, [(data, kinds)], lambda _: 400) == (calls, 10 * calls)
    assert spent_on({}, [(data, kinds)], lambda _: 400) == (0, 0)
    # Two stages that read the same were asked for once, and never more than all.
    assert spent_on(made, [(data, kinds)] * 9, lambda _: 400)[0] == min(9 * calls, 800)


def test_nothing_was_run_yet(tmp_path: Path) -> None:
    assert read_results(tmp_path) is None
