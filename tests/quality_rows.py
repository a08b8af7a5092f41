"""Samples and rationales for the tests of the quality room, in a real DuckDB."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from teacherlm.quality.judge import judge
from teacherlm.quality.metrics import load_metrics
from teacherlm.quality.rules import Rule, load_rules
from teacherlm.schemas.records import record

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

QUALITY = Path(__file__).parents[1] / "quality"
METRICS = load_metrics(QUALITY / "metrics")

Row = Mapping[str, Any]


def shipped_rules() -> tuple[Rule, ...]:
    return load_rules(QUALITY / "rules")


def sample(sample_id: str = "d/train/1", **columns: Any) -> dict[str, Any]:
    return {
        "sample_id": sample_id,
        "dataset": "d",
        "split": "train",
        "task": "test",
        "subject": None,
        "question": "Which metal rusts when it meets water and air for a long time?",
        "choices": ["gold", "iron"],
        "answer": "iron",
        "answer_index": 1,
        "human_rationale": None,
        **columns,
    }


def rationale(text: str = "", sample_id: str = "d/train/1", **columns: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(record("rationale").names),
        "sample_id": sample_id,
        "dataset": "d",
        "split": "train",
        "kind": "chain_of_thought",
        "repeat": 0,
        "text": text,
        "status": "ok",
        "attempts": 1,
        "teacher_model": "nano",
        "call_key": f"key of {sample_id}",
        "strategy": "explain",
        "created_at": 0,
        **columns,
    }


def connect(samples: Iterable[Row], rationales: Iterable[Row]) -> DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("set threads = 1")
    con.register("sample_rows", pa.Table.from_pylist(list(samples), schema=record("sample").arrow()))
    con.register("rationale_rows", pa.Table.from_pylist(list(rationales), schema=record("rationale").arrow()))
    con.execute("create table samples as from sample_rows; create table rationales as from rationale_rows")
    return con


def judged(
    samples: Iterable[Row], rationales: Iterable[Row], rules: Iterable[Rule] | None = None
) -> DuckDBPyConnection:
    con = connect(samples, rationales)
    judge(con, shipped_rules() if rules is None else rules, METRICS)
    return con


def flags_of(cases: Iterable[tuple[Row, str]]) -> list[list[str]]:
    """The rules that each text breaks, for its sample; all in one judgement."""
    samples, rationales = [], []
    for number, (of, text) in enumerate(cases):
        sample_id = f"d/train/{number:05}"
        samples.append({**of, "sample_id": sample_id})
        rationales.append(rationale(text, sample_id))
    con = judged(samples, rationales)
    return [list(row[0]) for row in con.execute("select flags from verdicts order by sample_id").fetchall()]
