"""The command `evaluate` and its method: what they read, say, refuse and leave behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

import teacherlm
from random_teacher import random_teacher
from serving import serving
from small_disk import small_disk_of
from teacherlm.api.evaluate_models import ModelOptions, open_scorer
from teacherlm.cli.main import app, main
from teacherlm.core.errors import Mistake, Mistakes
from training import project

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "140"}

OPTIONS = ModelOptions(device="cpu")

TASK = """
dataset_path: nobody/none
test_split: test
output_type: multiple_choice
target_delimiter: ""
doc_to_text: "Q: {{question}} (A) yes (B) no A: The answer is ("
doc_to_choice: [A, B]
doc_to_target: label
metric_list: [{metric: acc}]
"""

TASKS = {
    "rust": TASK,
    "tides": f"{TASK}task_alias: ebb\n",
    "said": """
dataset_path: nobody/none
test_split: test
doc_to_text: "Q: {{question}} A:"
doc_to_target: "{{label}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 6}
""",
    "missing": TASK.replace("{{question}}", "{{claim}}"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with benchmarks, and rows of them."""
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "catalog.yaml").touch()
    for name, text in TASKS.items():
        (tmp_path / "evaluate" / f"{name}.yaml").write_text(f"task: {name}{text}")
    group = "group: both\ntask: [rust, tides]\naggregate_metric_list: [{metric: acc}]\n"
    (tmp_path / "evaluate" / "both.yaml").write_text(group)
    rows = [{"question": f"Does iron number {n} rust?", "label": n % 2} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def arguments(folder: Path, tasks: str, *more: str, model: str | None = None) -> list[str]:
    data = [word for task in tasks.split(",") for word in ("--data", f"{task}={folder / 'rows.jsonl'}")]
    place = ["--project", str(folder), "--workspace", str(folder / "w"), "--device", "cpu"]
    return ["evaluate", model or random_teacher(), "--tasks", tasks, *data, *place, *more]


def run(given: list[str]) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON of a command in this process."""
    done = CliRunner().invoke(app, [*given, "--format", "json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, orjson.loads(done.stdout)


def files(folder: Path) -> list[str]:
    return sorted(path.name.rpartition("_")[0] for path in (folder / "w" / "scores").rglob("*_*.json*"))


def test_figures_are_printed_and_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments(folder, "both,said", "--limit", "30"))
    assert not ended.value.code
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["task", "both", "rust", "ebb", "said"]
    assert lines[0].split() == ["task", "shots", "metric", "value", "±", "95", "%", "chance", "documents"]
    assert lines[2].startswith("  rust") and lines[2].split()[-4:] == ["0.500", "30", "at", "chance"]
    assert lines[-1].startswith("in ") and Path(lines[-1].removeprefix("in ")).is_file()
    assert "3/3 tasks  90/90 documents (100%)" in said.err
    assert files(folder) == ["results", "samples_rust", "samples_said", "samples_tides"]
    opened = teacherlm.open(folder, workspace=folder / "w")
    rows = opened.sql("SELECT task, is_group, metric, documents, cut FROM scores ORDER BY task").pl().rows()
    assert rows == [
        ("both", True, "acc", 60, 0),
        ("rust", False, "acc", 30, 0),
        ("said", False, "exact_match", 30, 0),
        ("tides", False, "acc", 30, 0),
    ]
    query = """
        SELECT s.value = avg(p.correct::INT) AS agrees, count(*) AS n, any_value(p.answer) IN ('A', 'B') AS letters
        FROM scores s JOIN predictions p USING (model, task, num_fewshot) WHERE task = 'rust' GROUP BY s.value
    """
    assert opened.sql(query).pl().rows() == [(True, 30, True)]


def test_the_method_gives_the_same_figures(folder: Path) -> None:
    opened = teacherlm.open(folder, workspace=folder / "w")
    done = opened.evaluate(random_teacher(), tasks=["both"], data={"both": folder / "rows.jsonl"}, device="cpu")
    code, found = run(arguments(folder, "both", "--again"))
    assert code == 0 and found["ok"]
    (row,) = found["rows"]
    mine = json.loads(json.dumps(done.to_row()))
    assert [one["figures"] for one in row["tasks"]] == [one["figures"] for one in mine["tasks"]]
    assert row["groups"] == mine["groups"]
    assert done.figure("both").value == row["groups"][0]["figures"][0]["value"]
    with pytest.raises(KeyError):
        done.figure("rust", "acc_norm")


def test_what_was_answered_is_not_asked_again(folder: Path) -> None:
    first = run(arguments(folder, "rust,said"))[1]["rows"][0]
    second = run(arguments(folder, "rust,said"))[1]["rows"][0]
    assert [one["reused"] for one in second["tasks"]] == [True, True]
    assert second["results"] == first["results"] and len(files(folder)) == 3
    # Another metric of the same answers is judged anew, and written; the model is not asked.
    path = folder / "evaluate" / "rust.yaml"
    path.write_text(path.read_text().replace("{metric: acc}", "{metric: acc}, {metric: acc_norm}"))
    third = run(arguments(folder, "rust,said"))[1]["rows"][0]
    assert [one["reused"] for one in third["tasks"]] == [True, True] and third["results"] != first["results"]
    assert [one["metric"] for one in third["tasks"][0]["figures"]] == ["acc", "acc_norm"]
    # Other questions are other requests.
    fourth = run(arguments(folder, "rust,said", "--limit", "5"))[1]["rows"][0]
    assert not any(one["reused"] for one in fourth["tasks"])
    again = run(arguments(folder, "rust,said", "--again"))[1]["rows"][0]
    assert not any(one["reused"] for one in again["tasks"])
    assert [one["figures"] for one in again["tasks"]] == [one["figures"] for one in third["tasks"]]


def test_a_task_that_cannot_be_read_does_not_stop_the_others(folder: Path) -> None:
    code, found = run(arguments(folder, "missing,rust"))
    assert code == 2 and not found["ok"]
    (error,) = found["errors"]
    assert error["where"].startswith("evaluate/missing.yaml:") and "claim" in error["found"]
    assert [one["task"] for one in found["rows"][0]["tasks"]] == ["rust"] and found["rows"][0]["failed"] == ["missing"]
    assert files(folder) == ["results", "samples_rust"]


def test_a_model_whose_weights_are_no_numbers_is_named_with_a_remedy(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    broken = folder / "broken"
    shutil.copytree(random_teacher(), broken)
    model: Any = AutoModelForCausalLM.from_pretrained(broken)
    with torch.no_grad():
        model.lm_head.weight[:] = float("nan")
    model.save_pretrained(broken)
    code, found = run(arguments(folder, "rust,tides", model=str(broken)))
    assert code == 4
    (error,) = found["errors"]
    assert "rust and 1 more" in error["found"] and "nan" in error["found"] and "--dtype float32" in error["remedy"]
    assert found["rows"][0]["results"] is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_of(64, tmp_path) as disk:
        yield disk


def test_what_a_full_disk_does_not_take_is_told(
    folder: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small_disk / "scores").mkdir()
    (small_disk / "reserve").write_bytes(b"\0" * 60_000)
    given = arguments(folder, "rust", "--output", str(small_disk / "scores"))
    with pytest.raises(SystemExit) as ended:
        main(given)
    said = capsys.readouterr()
    assert ended.value.code == 4 and "the disk is full" in said.err and "nothing is lost" not in said.err
    assert "run the same command again: the model is asked again" in " ".join(said.err.split())
    assert said.out.splitlines()[-1] == "not written: rust" and not list(small_disk.rglob("*.json*"))
    (small_disk / "reserve").unlink()  # as the remedy says
    code, found = run(given)
    assert code == 0 and Path(found["rows"][0]["results"]).is_file() and not found["rows"][0]["tasks"][0]["reused"]


def test_results_are_not_written_into_a_file(folder: Path) -> None:
    for place in (folder / "rows.jsonl", folder / "rows.jsonl" / "scores"):
        code, found = run(arguments(folder, "rust", "--output", str(place)))
        (error,) = found["errors"]
        assert code == 2 and error["where"] == str(folder / "rows.jsonl") and "is a file" in error["found"]
        assert "name a folder" in error["remedy"]


def test_a_benchmark_of_any_folder_is_asked_by_its_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("mine.yaml", "elsewhere.yaml"):
        (folder / place).write_text(f"task: {Path(place).stem}{TASK}")
    monkeypatch.chdir(folder)
    given = arguments(folder, "mine,elsewhere")
    given[given.index("--tasks") + 1] = f"./mine.yaml,{folder / 'elsewhere.yaml'},{folder / 'evaluate' / 'rust.yaml'}"
    code, found = run([*given, "--data", f"rust={folder / 'rows.jsonl'}"])
    assert code == 0 and [one["task"] for one in found["rows"][0]["tasks"]] == ["mine", "elsewhere", "rust"]
    (folder / "nameless.yaml").write_text(TASK)
    with pytest.raises(Mistake, match="`task` is missing"):
        teacherlm_error(CliRunner().invoke(app, [*given, "--tasks", "nameless.yaml", "--format", "json"]))


@pytest.mark.parametrize(
    ("more", "where", "found"),
    [
        (["--tasks", "rusty"], "", "rusty"),
        (["--tasks", ","], "--tasks", "names no task"),
        (["--data", "rust"], "--data", 'is "rust"'),
        (["--data", "other=rows.jsonl"], "--data", "`other` is none of the tasks"),
        (["--data", "rust=a", "--data", "rust=b"], "--data", "twice"),
        (["--limit", "0"], "--limit", "is 0"),
        (["--num-fewshot", "-1"], "--num-fewshot", "is -1"),
        (["--batch-tokens", "many"], "--batch-tokens", "many"),
        (["--dtype", "int8"], "--dtype", "int8"),
    ],
)
def test_what_is_given_wrongly_is_told(folder: Path, more: list[str], where: str, found: str) -> None:
    given = arguments(folder, "rust")
    # Of an option that is given twice the last counts, and rows of `rust` are given already.
    if more[0] == "--data":
        given = [word for word in given if word != "--data" and not word.startswith("rust=")]
    with pytest.raises((Mistake, Mistakes)) as caught:
        teacherlm_error(CliRunner().invoke(app, [*given, *more, "--format", "json"]))
    problem = caught.value.problems[0]
    assert where in problem.where and found in problem.found and problem.edit
    assert not (folder / "w" / "scores").exists() or not files(folder)


def teacherlm_error(done: Any) -> None:
    """Raise what a command refused, whether it was kept for its JSON or not."""
    if isinstance(done.exception, SystemExit):
        (error, *_) = orjson.loads(done.stdout)["errors"]
        raise Mistake(error["found"], error["remedy"], error["where"])
    raise done.exception


def test_a_training_is_known_by_its_name(folder: Path) -> None:
    project(folder)
    opened = teacherlm.open(folder, workspace=folder / "w")
    with pytest.raises(Mistake, match="not trained yet up to its stage `second`"), open_scorer(opened, "tiny", OPTIONS):
        pass
    with pytest.raises(Mistake, match="no stage `third`"), open_scorer(opened, "tiny:third", OPTIONS):
        pass
    for stage in ("first", "second"):
        shutil.copytree(random_teacher(), folder / "w" / "models" / "tiny" / stage)
        (folder / "w" / "models" / "tiny" / stage / "training.json").write_text("{}")
    with open_scorer(opened, "tiny", OPTIONS) as scorer:
        assert scorer.about.name == "tiny" and scorer.about.sha
    with pytest.raises(Mistake, match="no model folder"), open_scorer(opened, "./absent", OPTIONS):
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as place:
        yield place


def test_a_served_model_gives_the_figures_of_the_same_one_loaded(folder: Path, url: str) -> None:
    opened = teacherlm.open(folder, workspace=folder / "w")
    rows = {"both": folder / "rows.jsonl", "said": folder / "rows.jsonl"}
    local = opened.evaluate(random_teacher(), tasks=["both", "said"], data=rows, limit=8, device="cpu")
    served = opened.evaluate(url, tasks=["both", "said"], data=rows, limit=8)
    assert served.figure("both") == local.figure("both")
    assert served.figure("said", "exact_match") == local.figure("said", "exact_match")
    with pytest.raises(Mistake, match="the server's to choose"):
        opened.evaluate(url, tasks=["both", "said"], data=rows, dtype="float32")


@pytest.mark.slow
def test_what_is_finished_is_kept_when_it_is_stopped(folder: Path) -> None:
    """Ctrl-C while the second task is asked."""
    long = [{"question": "Does iron rust? " * 60 + str(n), "label": n % 2} for n in range(2500)]
    (folder / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in long))
    given = arguments(folder, "rust", "--tasks", "rust,tides", "--data", f"tides={folder / 'long.jsonl'}")
    process = subprocess.Popen(
        [sys.executable, "-m", "teacherlm", *given],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    scores = folder / "w" / "scores"
    deadline = time.monotonic() + 90
    while not list(scores.rglob("results_*.json")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopped: the tasks that were done are kept" in err
    assert "rust" in out and "ebb" not in out
    assert files(folder) == ["results", "samples_rust"]
    found = json.loads(next(scores.rglob("results_*.json")).read_text())
    assert list(found["results"]) == ["rust"] and found["n-samples"]["rust"]["effective"] == 40
