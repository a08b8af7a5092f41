"""Workspaces for the tests of pages: any number of samples with rationales, verdicts and findings, the same each time.

The texts are ours, from templates, and read like what teachers write; the files are laid out as `build`, `augment` and
`check` lay them out.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from teacherlm.core.stored import to_json
from teacherlm.quality.books import Books, Count
from teacherlm.quality.gates import Gates, judge_gates
from teacherlm.quality.report import Report, RuleLine
from teacherlm.schemas.records import KINDS, RecordName, record

TOPICS = [
    ("a steel spoon left in hot soup", "the handle", "gets warm", "metals conduct heat along their length", "physics"),
    ("a loaf of bread in a closed box", "the crust", "turns soft", "water moves from the crumb to the crust", "food"),
    ("a bicycle pump used quickly", "the barrel", "gets hot", "air that is pressed together warms up", "physics"),
    ("a wet towel hung in the wind", "the cloth", "dries", "moving air carries the vapour away", "household"),
    (
        "a green banana beside ripe apples",
        "the banana",
        "ripens",
        "apples give off ethylene, which ripens fruit",
        "food",
    ),
    ("an iron gate near the sea", "the paint", "blisters", "salt water speeds up rust under the paint", "chemistry"),
    ("a candle under a glass", "the flame", "goes out", "the oxygen in the glass is used up", "chemistry"),
    ("a river that reaches a lake", "the sand", "sinks", "slow water cannot carry what fast water can", "geography"),
]
WHERE = [
    "in a kitchen",
    "on a farm",
    "at school",
    "in a workshop",
    "on a boat",
    "in the garden",
    "at a market",
    "in winter",
]
PADS = [
    "This holds whatever the size of it.",
    "One can try this at home with a cup and a thermometer.",
    "The other options name things that happen more slowly, or not at all.",
    "It is a common observation, and it follows from the same principle.",
    "We only need to compare the state before with the state after.",
]
RULES = {
    "wrong_answer": ("reject", "states another answer than the gold one"),
    "repeats_itself": ("reject", "the same four words come 6 times"),
    "too_short": ("reject", "{} words; at least 8 explain something"),
    "too_long": ("warn", "{} words are many for so simple a case"),
    "runs_on": ("reject", "another question begins after the answer"),
}
REACHED = re.compile(r"\([A-D]\)(?=\.$)")
"""The letter that a chain of thought ends with."""

MODEL = ("lab/teacher-7b", "4f1c2d9e")


def _sample(dataset: str, number: int, rng: random.Random) -> dict[str, Any]:
    thing, part, does, _, subject = TOPICS[number % len(TOPICS)]
    free = number % 9 == 0
    others = [f"{part} stays as it is", f"{part} breaks", "nothing can be said about it"]
    choices = [f"{part} {does}", *others]
    rng.shuffle(choices)
    gold = choices.index(f"{part} {does}")
    return {
        "sample_id": f"{dataset}/{'train' if number % 10 else 'validation'}/{number:06}",
        "dataset": dataset,
        "split": "train" if number % 10 else "validation",
        "task": "everyday_science",
        "subject": subject,
        "question": f"Case {number}: someone watches {thing} {rng.choice(WHERE)}. What happens to {part} in the end?",
        "choices": [] if free else choices,
        "answer": f"{part} {does}",
        "answer_index": None if free else gold,
        "human_rationale": f"{TOPICS[number % len(TOPICS)][3].capitalize()}." if number % 3 == 0 else None,
    }


def _text(kind: str, sample: Mapping[str, Any], number: int, rng: random.Random) -> str:
    thing, part, does, why, _ = TOPICS[number % len(TOPICS)]
    pads = " ".join(rng.sample(PADS, rng.randint(0, 4)))
    if kind == "fundamentals":
        return f"To answer this one has to know that {why}. Here it concerns {thing}. {pads}".strip()
    if kind == "common_mistakes":
        return (
            f"People often think that {part} stays as it is, because nothing seems to act on it. "
            f"They forget that {why}. {pads}".strip()
        )
    gold = sample["answer_index"]
    reached = f"({'ABCD'[gold]})" if gold is not None else sample["answer"]
    return (
        f"First we look at what is given: {thing}.\nThen we recall that {why}. {pads}\n"
        f"It follows that {part} {does}. So the answer is {reached}."
    )


def make_rows(
    dataset: str, count: int, *, seed: int = 7
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Samples, rationales, verdicts and findings; about one rationale in seven is not accepted."""
    rng = random.Random(seed)
    samples, rationales, verdicts, findings = [], [], [], []
    for number in range(count):
        sample = _sample(dataset, number, rng)
        samples.append(sample)
        for kind in KINDS:
            for repeat in range(3 if kind == "chain_of_thought" and number % 8 == 0 else 1):
                text, status, failure, verdict, flags = _text(kind, sample, number, rng), "ok", None, "accepted", []
                luck = rng.random()
                if luck < 0.01:
                    text, status, verdict, failure = "", "failed", "failed", "exhausted: 503 after 6 attempts"
                elif luck < 0.03:
                    text, status, verdict = text[: len(text) // 2], "truncated", "truncated"
                elif luck < 0.14:
                    rule = rng.choice(
                        [
                            "repeats_itself",
                            "too_short",
                            "runs_on",
                            "wrong_answer" if REACHED.search(text) else "runs_on",
                        ]
                    )
                    flags, verdict = [rule], "rejected"
                    if rule == "too_short":
                        text = "It just is."
                    elif rule == "repeats_itself":
                        text = (
                            f"{text} It follows from the same principle." + " It follows from the same principle." * 5
                        )
                    elif rule == "wrong_answer":
                        text = REACHED.sub(lambda found: "(A)" if found[0] != "(A)" else "(B)", text)
                    elif rule == "runs_on":
                        text = f"{text} Q: What is the next case? (A) the same (B) another"
                elif luck < 0.2:
                    flags = ["too_long"]
                shared = {
                    "sample_id": sample["sample_id"],
                    "dataset": dataset,
                    "split": sample["split"],
                    "kind": kind,
                    "repeat": repeat,
                    "call_key": f"{number}-{kind}-{repeat}",
                }
                rationales.append(
                    {
                        **dict.fromkeys(record("rationale").names),
                        **shared,
                        "text": text,
                        "status": status,
                        "failure": failure,
                        "finish_reason": {"truncated": "length", "ok": "eos_token"}.get(status),
                        "prompt_tokens": 60 + number % 40,
                        "generated_tokens": len(text) // 4 if text else None,
                        "attempts": 1,
                        "teacher_model": MODEL[0],
                        "teacher_revision": MODEL[1],
                        "strategy": "explain",
                        "created_at": 0,
                    }
                )
                base = 0.78 if verdict == "accepted" else 0.4
                score = min(1.0, max(0.0, rng.gauss(base, 0.13))) if status == "ok" else None
                verdicts.append({**shared, "verdict": verdict, "score": score, "flags": flags})
                for rule in flags:
                    severity, reason = RULES[rule]
                    said = reason.format(len(text.split()))
                    findings.append({**shared, "rule": rule, "severity": severity, "reason": said})
    return samples, rationales, verdicts, findings


def _write(path: Path, name: RecordName, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=record(name).arrow()), path)


def write_workspace(
    root: Path,
    dataset: str,
    samples: Sequence[Mapping[str, Any]],
    rationales: Sequence[Mapping[str, Any]],
    verdicts: Sequence[Mapping[str, Any]] | None = None,
    findings: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Lay rows out as a workspace; without verdicts as one that was not checked."""
    for split in sorted({row["split"] for row in samples}):
        own = [row for row in samples if row["split"] == split]
        _write(root / "samples" / dataset / split / "00000.parquet", "sample", own)
    for split, kind in sorted({(row["split"], row["kind"]) for row in rationales}):
        own = [row for row in rationales if (row["split"], row["kind"]) == (split, kind)]
        _write(root / "rationales" / dataset / split / kind / "00001.parquet", "rationale", own)
    if verdicts is None:
        return root
    _write(root / "verdicts" / dataset / "verdicts.parquet", "verdict", verdicts)
    _write(root / "verdicts" / dataset / "findings.parquet", "finding", findings)
    report = _report(dataset, verdicts, findings)
    (root / "reports" / dataset).mkdir(parents=True, exist_ok=True)
    (root / "reports" / dataset / "report.json").write_bytes(to_json(report))
    return root


def _report(dataset: str, verdicts: Sequence[Mapping[str, Any]], findings: Sequence[Mapping[str, Any]]) -> Report:
    counts = []
    for kind in sorted({row["kind"] for row in verdicts}):
        found = Counter(row["verdict"] for row in verdicts if row["kind"] == kind)
        counts.append(
            Count(
                dataset=dataset,
                kind=kind,
                asked=sum(found.values()),
                accepted=found["accepted"],
                rejected=found["rejected"],
                truncated=found["truncated"],
                failed=found["failed"],
                reasons={},
            )
        )
    books = Books(tuple(counts), ())
    hits = Counter((row["rule"], row["severity"]) for row in findings)
    rules = tuple(
        RuleLine(rule=rule, severity=severity, kinds=KINDS, hits=count, share=count / len(verdicts), examples=())
        for (rule, severity), count in sorted(hits.items())
    )
    gates = judge_gates(books, Gates(max_rejected=0.5, max_failed=0.005))
    return Report(
        dataset=dataset,
        created_at="2026-01-02T03:04:05Z",
        passed=all(gate.passed for gate in gates),
        books=books,
        rules=rules,
        gates=gates,
    )


def workspace_of(root: Path, dataset: str, count: int, *, seed: int = 7) -> Path:
    """A checked workspace of `count` samples."""
    return write_workspace(root, dataset, *make_rows(dataset, count, seed=seed))
