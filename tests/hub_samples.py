"""Small publications for the tests of the hub room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
        {"rule": "empty", "severity": "reject", "findings": 70, "reason": "the text holds no words"},
        {"rule": "long", "severity": "warn", "findings": 0, "reason": "more than 400 words"},
    ],
    "costs": {"calls": 4_800, "generated_tokens": 812_345},
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
        "files": {
            f"recipes/{dataset}.yaml": f"name: {dataset}\n",
            "rules/empty.sql": "select sample_id from rationales where text = ''\n",
            "schemas/sample.yaml": "record: sample\n",
        },
        **changes,
    }
    return Publication(**values)
