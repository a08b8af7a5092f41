"""A small workspace for questions in SQL: two datasets, two teachers, rules and scores of its own, judged for real.

`python tests/sql_workspace.py docs/sql.md` writes the rows that docs/sql.md shows, out of it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

import quality_rows
from teacherlm.api.evaluate_found import Found
from teacherlm.api.workspace import Workspace
from teacherlm.core.stored import to_json
from teacherlm.evaluate.documents import Item
from teacherlm.evaluate.filters import PLAIN
from teacherlm.evaluate.judge import judge as judge_answers
from teacherlm.evaluate.metrics import Metric
from teacherlm.evaluate.requests import Answers, Work
from teacherlm.evaluate.results import Settings
from teacherlm.evaluate.run import Done
from teacherlm.evaluate.scorer import About
from teacherlm.experiments.results import Item as Tested
from teacherlm.experiments.results import Outcome, write_results
from teacherlm.lm import nano
from teacherlm.quality.augmented import augment_view
from teacherlm.quality.books import close_books
from teacherlm.quality.gates import Gates, judge_gates
from teacherlm.quality.judge import judge
from teacherlm.quality.report import make_report
from teacherlm.quality.rules import load_rules
from teacherlm.schemas.records import KINDS, RecordName, record
from teacherlm.train.metrics import NAME as METRICS
from teacherlm.train.metrics import Line
from teacherlm.train.request import RECORD

TASKS = {"metals": "commonsense_qa", "sums": "math"}

SAMPLES: Mapping[str, Mapping[str, tuple[str, list[str], str, str | None]]] = {
    "metals": {
        "rust": (
            "Which metal rusts when it meets water and air for a long time?",
            ["gold", "iron", "silver"],
            "iron",
            "Iron reacts with water and oxygen of the air and becomes rust, which is an iron oxide.",
        ),
        "liquid": (
            "Which metal is liquid in a warm room?",
            ["mercury", "copper", "tin"],
            "mercury",
            "Mercury melts far below the temperature of a warm room.",
        ),
        "wires": (
            "Which metal are most electric wires made of?",
            ["lead", "copper", "zinc"],
            "copper",
            "Copper conducts electricity well and costs less than silver.",
        ),
    },
    "sums": {
        "apples": ("Ann has 3 apples and buys 4 more. How many has she?", [], "7", None),
        "train": ("A train runs 60 miles an hour for 2 hours. How far does it go?", [], "120", None),
        "half": ("What is half of 90?", [], "45", None),
    },
}

TEACHERS = {"lab": ("lab-70b", 0.00006), "nano": ("small-1b", 0.0)}
"""Each with its model and the price of a generated token; the first writes repeat 0, the second repeat 1."""

TEXTS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("lab", "rust"): (
        "Rust is iron oxide: it forms where iron meets water and the oxygen of the air.",
        "Gold and silver do not rust. Iron reacts with water and oxygen and becomes rust. The answer is (B).",
        "Some people choose silver, since it turns black with time; but that is no rust.",
    ),
    ("lab", "liquid"): (
        "Most metals melt at hundreds of degrees; mercury melts below the freezing point of water.",
        "Copper and tin are solid in a warm room. Mercury melts at minus 39 degrees. The answer is (A).",
        "Tin melts easily on a stove, and so people think of it first; a room is far too cold for that.",
    ),
    ("lab", "wires"): (
        "Copper conducts electricity well, bends easily and costs less than silver.",
        "A wire has to conduct electricity. Lead and zinc conduct worse than copper. The answer is (B).",
        "Lead is soft.",
    ),
    ("lab", "apples"): (
        "What is bought is added to what was there before.",
        "She has 3 apples and gets 4 more: 3 + 4 = 7. The answer is 7.",
        "People who read too fast take 4 for the sum of both and forget the first three.",
    ),
    ("lab", "train"): (
        "A distance is a speed times the time that it lasts.",
        "In one hour it runs 60 miles, in two hours 2 * 60 = 120. The answer is 120.",
        "Dividing 60 by 2 gives the half of the way of one hour.",
    ),
    ("lab", "half"): (
        "Half of a number is that number divided by two.",
        "Half of 90 is 90 / 2 = 45. The answer is 45.",
        "Taking half of the digits one by one goes wrong where a digit is odd, as the 9 is.",
    ),
    ("nano", "rust"): ("Iron.", "Silver. The answer is (C).", "Silver rusts."),
    ("nano", "liquid"): (
        "Mercury is liquid.",
        "Mercury melts at minus 39 degrees and is liquid. The answer is (A).",
        "Most metals melt at hundreds of degrees; mercury melts below the freezing point of ice.",
    ),
    ("nano", "wires"): (
        "Wires are made of metal, since metals conduct electricity.",
        "A wire is grey like lead. The answer is (A).",
        "Zinc is grey too, but copper is red and conducts better.",
    ),
    ("nano", "apples"): (
        "Adding up what is there and what is bought.",
        "3 + 4 = 8. The answer is 8.",
        "Taking away instead of adding up gives 1.",
    ),
    ("nano", "train"): (
        "Speed times time gives the way that something goes.",
        "60 + 60 = 120. The answer is 120.",
        "Dividing.",
    ),
    ("nano", "half"): ("Division by two.", "So 90 - 2 = 88. The answer is 88.", "Taking 2 away from 90."),
}

RULES = {
    "short": "-- severity: reject | kinds: all | reason: fewer than six words\n"
    "select sample_id, kind, repeat, format('{} words', words) as reason from metrics where words < 6\n",
    "wrong": "-- severity: reject | kinds: chain_of_thought | reason: reaches another answer\n"
    "select sample_id, kind, repeat, 'it says ' || stated_answer as reason from metrics where not states_gold\n",
    "copied": "-- severity: warn | kinds: all | reason: says what another text says\n"
    "select sample_id, kind, repeat, 'like ' || like_sample_id as reason from duplicates where kind is not null\n",
}

SCORED = """
update verdicts v set score = 1 / (1 + exp(-0.4 - 0.3 * (least(m.words, 20) - 10)))
from metrics m where m.sample_id = v.sample_id and m.kind = v.kind and m.repeat = v.repeat
"""
"""A score that likes long texts."""

DUPLICATES = [("metals/train/liquid", "metals", "common_mistakes", 1, "metals/train/liquid", "fundamentals", 0, 0.83)]

CONTAMINATION = [
    ("metals/train/rust", "metals", None, None, "mmlu", "chemistry/12", "which metal rusts when it meets water", 0.75),
    ("metals/train/rust", "metals", "fundamentals", 0, "mmlu", "chemistry/12", "rust is iron oxide it forms", 0.4),
    ("sums/train/half", "sums", None, None, "mmlu", "elementary/3", "what is half of 90", 1.0),
]


def fill(root: Path) -> Workspace:
    """Make the workspace."""
    workspace = Workspace(root)
    for dataset, samples in SAMPLES.items():
        rows = [_sample(dataset, name, *parts) for name, parts in samples.items()]
        _write(workspace.samples(dataset) / "train" / "00000.parquet", "sample", rows)
        answers = [row for number, teacher in enumerate(TEACHERS) for row in _answers(dataset, teacher, number)]
        for kind in KINDS:
            path = workspace.rationales(dataset) / "train" / kind / "00000001.parquet"
            _write(path, "rationale", [row for row in answers if row["kind"] == kind])
        for number, teacher in enumerate(TEACHERS):
            _record(workspace, dataset, teacher, number)
        _judge(workspace, dataset, rows, answers)
    _train(workspace)
    _experiment(workspace)
    _evaluation(workspace)
    return workspace


def _train(workspace: Workspace) -> None:
    """A finished training: the record of the teacher that ships, and steps of our own."""
    folder = workspace.root / "models" / "nano" / "teacher" / "explain"
    folder.mkdir(parents=True)
    shutil.copyfile(nano.FOLDER / RECORD, folder / RECORD)
    steps = [
        Line(
            step=step,
            tokens=600 * step,
            loss=2.0 / step,
            learning_rate=0.002,
            grad_norm=1.0,
            tokens_per_second=9000.0,
            seconds=0.1 * step,
            cpu_seconds=0.1 * step,
            peak_memory_mb=500.0,
        )
        for step in (1, 2, 3)
    ]
    (folder / METRICS).write_bytes(b"".join(orjson.dumps(step) + b"\n" for step in steps))


def _experiment(workspace: Workspace) -> None:
    """One model of an experiment, asked two questions in one way, and one that failed."""
    cell: dict[str, Any] = {"experiment": "does-it-help", "seed": 1, "test": "sums", "way": "options"}
    outcomes = [
        Outcome(
            **cell, cell="5f0c1b2a3d4e5f60", factors={"kinds": "chain"}, items=2, right=1, accuracy=0.5, chance=0.25,
            parameters=430_000, texts=100, tokens=9_000, steps=30, loss=0.5, train_seconds=3.0, train_cpu_seconds=3.0,
            test_seconds=0.5, test_cpu_seconds=0.5, calls=100, call_tokens=4_000,
        ),
        Outcome(
            **cell, cell="60f0c1b2a3d4e5f6", factors={"kinds": "none"}, status="failed", failure="the loss is no number"
        ),
    ]  # fmt: skip
    items = [
        Tested(
            cell="5f0c1b2a3d4e5f60", test="sums", way="options", sample_id=f"sums/test/{name}", cluster=name,
            predicted="4", answer=answer, correct=answer == "4", position=0, said=0, text="4",
        )
        for name, answer in (("one", "4"), ("two", "5"))
    ]  # fmt: skip
    write_results(workspace.root / "experiments" / "does-it-help", "does-it-help", outcomes, items)


def _evaluation(workspace: Workspace) -> None:
    """A model that was asked two questions, of which it knew one."""
    work = Work(
        name="metals", alias="metals", config={}, version=1, shots=0, options=True, documents=2, refused=0,
        delimiter=" ", generation={}, repeats=1, metrics=(Metric("acc"), Metric("acc_norm")), pipelines=PLAIN,
        items=tuple(
            Item(
                doc_id=number, doc={"question": question}, context=f"Q: {question} A:", choices=("iron", "gold"),
                gold=number, target=number,
            )
            for number, question in enumerate(("Which metal rusts?", "Which metal does not?"))
        ),
    )  # fmt: skip
    answers = Answers([[[(-1.0, True)], [(-2.0, False)]]] * 2, [0, 3])
    settings = Settings(model="nano", source="hf", seed=1, limit=None, batch_tokens=None, date=1_750_003_600.0)
    about = About(name="nano", fingerprint="5f0c1b2a")
    found = Found(workspace.root / "scores" / "nano", settings, about, [work], [], again=False)
    found.keep(Done(work, answers, judge_answers(work, answers), 0.5))


def _sample(dataset: str, name: str, question: str, choices: list[str], answer: str, why: str | None) -> dict[str, Any]:
    return quality_rows.sample(
        f"{dataset}/train/{name}",
        dataset=dataset,
        task=TASKS[dataset],
        question=question,
        choices=choices,
        answer=answer,
        answer_index=choices.index(answer) if choices else None,
        human_rationale=why,
    )


def _answers(dataset: str, teacher: str, number: int) -> list[dict[str, Any]]:
    return [
        quality_rows.rationale(
            text,
            f"{dataset}/train/{name}",
            dataset=dataset,
            kind=kind,
            repeat=number,
            teacher_model=TEACHERS[teacher][0],
            call_key=f"{dataset}/{name}/{kind}/{number}",
            prompt_tokens=40,
            generated_tokens=len(text) // 4,
            latency_ms=1000.0,
            finish_reason="eos_token",
            created_at=1_750_000_000_000_000 + number * 3_600_000_000 + 1_000_000,
        )
        for name in SAMPLES[dataset]
        for kind, text in zip(KINDS, TEXTS[teacher, name], strict=True)
    ]


def _record(workspace: Workspace, dataset: str, teacher: str, number: int) -> None:
    model, price = TEACHERS[teacher]
    started = f"2025-06-15T{15 + number}:06:40.000000+00:00"
    run = {
        "run": f"20250615T{15 + number}0640-{number:04}",
        "state": "done",
        "dataset": dataset,
        "teacher": teacher,
        "started_at": started,
        "ended_at": started.replace("06:40", "07:10"),
        "updated_at": started.replace("06:40", "07:10"),
        "seconds": 30.0,
        "planned": 9,
        "already": 0,
        "answered": 9,
        "requests": 9,
        "orders": [
            {
                "teacher": teacher,
                "model": model,
                "kinds": list(KINDS),
                "prompts": "paper",
                "strategy": "explain",
                "price_of_prompt_token": price / 2,
                "price_of_generated_token": price,
            }
        ],
    }
    path = workspace.run_record(dataset).parent / "runs" / f"{run['run']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(run))


def _judge(workspace: Workspace, dataset: str, samples: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
    from teacherlm.api.check import WRITTEN

    con = quality_rows.connect(samples, answers)
    found: tuple[tuple[str, RecordName, list[tuple[Any, ...]]], ...] = (
        ("duplicates", "duplicate", DUPLICATES),
        ("contamination", "contamination", CONTAMINATION),
    )
    for table, name, rows in found:
        contract = record(name)
        names = [column for column in contract.names if column != "split"]
        named = [{"split": "train", **dict(zip(names, row, strict=True))} for row in rows]
        table_of = pa.Table.from_pylist([row for row in named if row["dataset"] == dataset], schema=contract.arrow())
        con.register(f"{table}_rows", table_of)
        con.execute(f"create table {table} as from {table}_rows")
    with TemporaryDirectory() as folder:
        for rule, text in RULES.items():
            (Path(folder) / f"{rule}.sql").write_text(text)
        rules = load_rules(Path(folder))
        judge(con, rules, quality_rows.METRICS)
    con.execute(SCORED)
    workspace.verdicts(dataset).mkdir(parents=True)
    for table, query in WRITTEN.items():
        con.execute(f"COPY ({query}) TO '{workspace.verdicts(dataset) / table}.parquet' (FORMAT parquet)")
    augment_view(con)
    folder_of = workspace.augmented(dataset) / "train"
    folder_of.mkdir(parents=True)
    con.execute(f"COPY (FROM augmented) TO '{folder_of}/00000.parquet' (FORMAT parquet)")
    books = close_books(con)
    report = make_report(
        con,
        dataset,
        rules=rules,
        books=books,
        gates=judge_gates(books, Gates(max_rejected=0.3)),
        created_at="2025-06-15T18:00:00.000000+00:00",
    )
    workspace.report(dataset).write_bytes(to_json(report))


def _write(path: Path, name: RecordName, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=record(name).arrow()), path)


ROWS = re.compile(r"(<!-- rows: teacherlm (sql .+?) -->\n```text\n)(.*?)(```\n)", re.DOTALL)
"""A block of rows in docs/sql.md, under the command that shows them."""


EACH = """
import shlex, sys
from teacherlm.cli.main import main
for line in sys.stdin:
    try:
        main(shlex.split(line))
    except SystemExit as ended:
        assert not ended.code, line
    print(chr(30), flush=True)
"""


def shown(commands: Sequence[str], workspace: Path) -> list[str]:
    """What commands print about the workspace, in a terminal of 118 columns."""
    done = subprocess.run(
        [sys.executable, "-c", EACH],
        input="".join(f"{command} -w {shlex.quote(str(workspace))}\n" for command in commands),
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "118"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parts = done.stdout.split(chr(30))[: len(commands)]
    return ["".join(f"{line.rstrip()}\n" for line in part.strip("\n").splitlines()) for part in parts]


if __name__ == "__main__":
    page = Path(sys.argv[1])
    written = page.read_text(encoding="utf-8")
    with TemporaryDirectory() as made:
        root = fill(Path(made) / "workspace").root
        rows = iter(shown([found[2] for found in ROWS.finditer(written)], root))
    page.write_text(ROWS.sub(lambda block: block[1] + next(rows) + block[4], written), encoding="utf-8")
