"""Small publications for the tests of the hub room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from teacherlm.hub.manifest import Asked, Contract, Made
from teacherlm.hub.publication import Publication
from teacherlm.schemas.records import KINDS, record

REPORT: Mapping[str, Any] = {
    "passed": True,
    "gates": [{"gate": "accepted_share", "passed": True}],
    "counts": [
        {
            "dataset": "creak",
            "kind": "chain_of_thought",
            "asked": 2_400,
            "accepted": 2_290,
            "rejected": 90,
            "truncated": 18,
            "failed": 2,
            "reasons": {
                "the text holds no words": 70,
                "the answer | differs": 20,
                "cut at the token limit": 18,
                "422": 2,
            },
        },
        {
            "dataset": "creak",
            "kind": "fundamentals",
            "asked": 2_400,
            "accepted": 2_400,
            "rejected": 0,
            "truncated": 0,
            "failed": 0,
            "reasons": {},
        },
    ],
    "rules": [
        {"rule": "empty", "severity": "reject", "hits": 70, "share": 70 / 4_780, "reason": "the text holds no words"},
        {"rule": "long", "severity": "warn", "hits": 0, "share": 0.0, "reason": "more than 400 words"},
    ],
    "scores": [{"kind": "chain_of_thought", "scored": 2_290, "mean": 0.8125, "median": 0.875}],
    "duplicates": {"chain_of_thought": 11, "question": 4},
    "contamination": [
        {"task": "mmlu", "state": "run", "items": 14_042, "samples": 3, "why": ""},
        {"task": "bbh", "state": "not run", "items": 0, "samples": 0, "why": "not read yet (--against bbh=PATH)"},
    ],
}

MADE = Made(
    version="0.1.0",
    source_revision="0123456789abcdef0123456789abcdef01234567",
    asked=(
        Asked(
            kind="fundamentals",
            strategy="explain",
            texts=2_400,
            model="teacher/one",
            revision="abc",
            prompts=("paper",),
            parameters={"do_sample": (False,), "max_new_tokens": (512,), "stop": (["Q: ", "\nQ:"],)},
        ),
        Asked(
            kind="chain_of_thought",
            strategy="star",
            texts=2_290,
            model="teacher/one",
            revision="abc",
            prompts=("paper",),
            parameters={
                "do_sample": (True,),
                "max_new_tokens": (512, 1024),
                "temperature": (0.7,),
                "top_p": (None, 0.9),
            },
            seeds=2_280,
            drawn_from=(7,),
        ),
    ),
)

COSTS: Mapping[str, float] = {
    "answers": 4_800,
    "requests": 4_903,
    "prompt_tokens": 1_204_100,
    "generated_tokens": 812_345,
    "hours": 1.254,
    "server_hours": 2.508,
}


def row(
    number: int, *, dataset: str = "creak", split: str = "train", strategy: str = "explain", **changes: Any
) -> dict[str, Any]:
    """One augmented row; odd ones have no chain of thought, and no row has common mistakes."""
    texts = {
        "fundamentals": f"Iron rusts in wet air; fact {number}.",
        "chain_of_thought": None if number % 2 else f"Step {number}. The answer is (B).",
        "common_mistakes": None,
    }
    given = {kind: text is not None for kind, text in texts.items()}
    made = {"call_key": f"k{number}", "teacher_model": "teacher/one", "teacher_revision": "abc", "strategy": strategy}
    return {
        "sample_id": f"{dataset}/{split}/{number}",
        "dataset": dataset,
        "split": split,
        "task": "fact_verification",
        "subject": None,
        "question": f"Does iron rust, case {number}?",
        "choices": ["False", "True"],
        "answer": "True",
        "answer_index": 1,
        "human_rationale": None,
        **texts,
        "quality": {kind: {"score": None, "flags": ["long"]} if given[kind] else None for kind in KINDS},
        "provenance": {kind: {**made, "repeat": 0} if given[kind] else None for kind in KINDS},
        **changes,
    }


def part(path: Path, rows: Sequence[Mapping[str, Any]], **options: Any) -> Path:
    """A Parquet part of the augmented record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=record("augmented").arrow()), path, **options)
    return path


def publication(folder: Path, dataset: str = "creak", train: int = 5, **changes: Any) -> Publication:
    """A dataset with `train` rows in two parts, three rows of validation, and what made them."""
    rows = [row(number, dataset=dataset) for number in range(train)]
    values: dict[str, Any] = {
        "dataset": dataset,
        "title": dataset.upper(),
        "about": "Claims about the world, to be judged.",
        "task": "fact_verification",
        "license": "MIT",
        "redistribution": "allowed",
        "citation": f"https://example.org/{dataset}",
        "source": f"example/{dataset}",
        "splits": {
            "train": [
                part(folder / dataset / "train/0.parquet", rows[:2]),
                part(folder / dataset / "train/1.parquet", rows[2:]),
            ],
            "validation": [
                part(
                    folder / dataset / "validation/0.parquet",
                    [row(n, dataset=dataset, split="validation") for n in range(3)],
                )
            ],
        },
        "report": REPORT,
        "teachers": [{"model": "teacher/one", "revision": "abc"}],
        "made": MADE,
        "costs": COSTS,
        "contract": Contract(expectations=113, hold=112, broken=("augmented: most rows have a chain of thought",)),
        "files": {
            f"recipes/{dataset}.yaml": f"name: {dataset}\n",
            "rules/empty.sql": "select sample_id from rationales where text = ''\n",
            "schemas/sample.yaml": "record: sample\n",
        },
        **changes,
    }
    return Publication(**values)
