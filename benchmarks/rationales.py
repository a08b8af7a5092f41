"""A project with any number of rationales, the same ones every time, and a known share of each defect.

    python benchmarks/rationales.py FOLDER --rationales 1000000

Texts are drawn from 20,000 words whose frequencies fall as those of a language do (Zipf), the commonest of them
English; they have 40 to 120 words in sentences, and chains end with an answer. What was planted where stands in
`planted.parquet`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import teacherlm
from teacherlm.core.keys import digest
from teacherlm.schemas.records import KINDS, record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

CHUNK = 20_000
"""Samples that are made at once: a segment of the ledger for each kind."""

WORDS = 20_000
COMMON = (
    "the of and to a in is that it was for on are as with they be at one have this from by hot but some what there "
    "we can out other were all your when up use word how said an each she which do their time if will way about "
    "many then them would write like so these her long make thing see him two has look more day could go come did "
    "my sound no most who over know water than call first people may down side been now find any new work part take "
    "get place made live where after back little only round man year came show every good me give our under name "
    "very through just form much great think say help low line before turn cause same mean differ move right boy "
    "old too does tell sentence set three want "
)

DEFECTS: dict[str, float] = {
    "empty": 0.004,
    "too short": 0.004,
    "too long": 0.002,
    "loop": 0.008,
    "copied": 0.006,
    "artefact": 0.006,
    "runs on": 0.008,
    "wrong language": 0.006,
    "unfinished": 0.010,
    "duplicate": 0.008,
    "near-duplicate": 0.008,
    "other answer": 0.012,
    "arithmetic": 0.006,
    "truncated": 0.010,
    "failed": 0.004,
}
"""Share of the rationales; `other answer` and `arithmetic` only in chains of thought, three times as often there."""

RECIPE = """
title: Benchmark
source: {files: bench.parquet}
license: CC0-1.0
redistribution: allowed
task: bench
sample: {id: id, question: question, choices: choices, answer: answer, human_rationale: human}
gates: {max_rejected: 1.0, max_truncated: 1.0, max_failed: 1.0}
"""

ARTEFACTS = ("As an AI language model, I cannot be sure. ", "<think>Let me see. </think>", "### Response: ")
STARTS = (
    "To answer this question, one has to know the following.",
    "Let's think step by step.",
    "A common mistake is to look at the words alone.",
)
PLAIN, CAPITAL, COMMA, END, ALONE = range(5)
"""The forms that a word has: as it is, at the start of a sentence, before a comma, at the end, all by itself."""

CYRILLIC = str.maketrans("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопйрстуввхйз")


class Words:
    """The vocabulary, in all forms, and passages drawn from it."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        syllables = [c + v + e for c in "bcdfglmnprstv" for v in "aeiou" for e in ("", "n", "r", "s")]
        words = dict.fromkeys(COMMON.split())
        while len(words) < WORDS:
            words["".join(draw.choice(syllables, size=draw.integers(2, 4)))] = None
        base = list(words)
        forms = [base, [w.capitalize() for w in base], [w + "," for w in base], [w + "." for w in base]]
        forms.append([w.capitalize() + "." for w in base])
        self._forms = pa.array([word for form in forms for word in form], pa.string())
        weights = 1 / (np.arange(WORDS) + 2.7)
        self._share = np.cumsum(weights / weights.sum())

    def passages(self, draw: np.random.Generator, lengths: Numbers, stop: str = "") -> pa.Array:
        """Texts of so many words each, in sentences of 15 words or so; with `stop`, one sentence that ends with it."""
        bounds = np.concatenate(([0], np.cumsum(lengths)))
        total = int(bounds[-1])
        word = np.minimum(np.searchsorted(self._share, draw.random(total, dtype=np.float32)), WORDS - 1)
        end = np.zeros(total, bool) if stop else draw.random(total, dtype=np.float32) < 1 / 15
        start = np.zeros(total, bool)
        start[1:] = end[:-1]
        start[bounds[:-1]] = True
        if not stop:
            end[bounds[1:] - 1] = True
        form = np.where(start & end, ALONE, np.where(end, END, np.where(start, CAPITAL, PLAIN)))
        form[(form == PLAIN) & (draw.random(total, dtype=np.float32) < 0.06)] = COMMA
        if stop:
            form[(form == COMMA)] = PLAIN
        taken = self._forms.take(pa.array(word + WORDS * form))
        joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), taken), " ")
        return pc.binary_join_element_wise(joined, stop, "") if stop else joined


def make_project(root: Path, rationales: int, seed: int = 0) -> Path:
    """Make a project with the dataset `bench`, build its samples and write its ledger; gives the workspace."""
    words, samples = Words(), -(-rationales // len(KINDS))
    (root / "builders").mkdir(parents=True)
    (root / "catalog.yaml").write_text("teachers: {}\n")
    (root / "builders" / "bench.yaml").write_text(RECIPE)
    chunks = [(first, min(CHUNK, samples - first)) for first in range(0, samples, CHUNK)]
    workspace = root / "workspace"
    planted: list[pa.Table] = []
    source: pq.ParquetWriter | None = None
    for number, (first, count) in enumerate(chunks):
        rows = _samples(words, np.random.default_rng([seed, number]), first, count)
        source = source or pq.ParquetWriter(root / "builders" / "bench.parquet", rows.schema, compression="zstd")
        source.write_table(rows)
        for place, kind in enumerate(KINDS):
            table, defects = _rationales(words, np.random.default_rng([seed, number, place + 1]), rows, kind)
            folder = workspace / "rationales" / "bench" / "train" / kind
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, folder / f"{number + 1:08}.parquet", compression="zstd")
            planted.append(defects)
    assert source is not None
    source.close()
    pq.write_table(pa.concat_tables(planted), root / "planted.parquet", compression="zstd")
    teacherlm.open(root, workspace=workspace).build("bench")
    return workspace


def _samples(words: Words, draw: np.random.Generator, first: int, count: int) -> pa.Table:
    """Rows of the source: three in four with four options, the others with a number as answer."""
    numbers = np.arange(first, first + count)
    question = words.passages(draw, draw.integers(12, 35, count), stop="?")
    options = words.passages(draw, draw.integers(1, 5, 4 * count), stop=" ").to_pylist()
    sums = draw.integers(2, 2000, count)
    gold = draw.integers(0, 4, count)
    human = words.passages(draw, draw.integers(15, 40, count)).to_pylist()
    choices = [
        [] if n % 4 == 0 else [o.strip() for o in options[4 * i : 4 * i + 4]] for i, n in enumerate(numbers.tolist())
    ]
    answer = [of[g] if of else str(s) for of, g, s in zip(choices, gold.tolist(), sums.tolist(), strict=True)]
    return pa.table(
        {
            "id": [f"q{n:07}" for n in numbers.tolist()],
            "question": question,
            "choices": pa.array(choices, pa.list_(pa.string())),
            "answer": answer,
            "human": [text if n % 3 == 0 else None for n, text in zip(numbers.tolist(), human, strict=True)],
            "gold": gold,
            "sum": sums,
        }
    )


def _rationales(words: Words, draw: np.random.Generator, rows: pa.Table, kind: str) -> tuple[pa.Table, pa.Table]:
    """The answers about some samples, as a sealed segment holds them, and what was planted in which."""
    count = rows.num_rows
    chain = kind == "chain_of_thought"
    lengths = draw.integers(40, 121, count)
    texts = pc.binary_join_element_wise(STARTS[KINDS.index(kind)], words.passages(draw, lengths), " ").to_pylist()
    names = list(DEFECTS)
    of_chains = ("other answer", "arithmetic")
    shares = np.array([(3 if chain else 0) * s if n in of_chains else s for n, s in DEFECTS.items()])
    drawn = np.searchsorted(np.cumsum(shares), draw.random(count), side="right").tolist()
    defects = [names[place] if place < len(names) else None for place in drawn]
    questions, choices, golds, sums = (rows[name].to_pylist() for name in ("question", "choices", "gold", "sum"))
    if chain:
        parts = draw.integers(1, 2000, count).tolist()
        for i, defect in enumerate(defects):
            texts[i] += _conclusion(defect, choices[i], golds[i], sums[i], parts[i])
    whole = list(texts)
    for i, defect in enumerate(defects):
        if defect in SPOILED:
            other = whole[i - 1 if i else -1]
            texts[i] = SPOILED[defect](whole[i], questions[i], other)
    ids = [f"bench/train/{name}" for name in rows["id"].to_pylist()]
    tokens = (lengths * 4 // 3).tolist()
    columns: dict[str, Any] = {
        "sample_id": ids,
        "dataset": ["bench"] * count,
        "split": ["train"] * count,
        "kind": [kind] * count,
        "repeat": [0] * count,
        "text": texts,
        "status": [defect if defect in ("truncated", "failed") else "ok" for defect in defects],
        "failure": ["exhausted: 503 after 6 requests" if defect == "failed" else None for defect in defects],
        "finish_reason": ["length" if d == "truncated" else None if d == "failed" else "eos_token" for d in defects],
        "prompt_tokens": (60 + draw.integers(0, 40, count)).tolist(),
        "generated_tokens": tokens,
        "latency_ms": (draw.random(count) * 4000).round(1).tolist(),
        "attempts": [1] * count,
        "teacher_model": ["bench-7b"] * count,
        "teacher_revision": ["0123456789abcdef"] * count,
        "endpoint": ["http://127.0.0.1:8080"] * count,
        "parameters": ['{"do_sample":false,"max_new_tokens":512}'] * count,
        "prompt_sha256": [digest(["prompt", kind, name]) for name in ids],
        "call_key": [digest(["call", kind, name]) for name in ids],
        "strategy": ["explain"] * count,
        "predicted_answer": [None] * count,
        "created_at": [1_700_000_000_000_000 + 1000 * i for i in range(count)],
    }
    schema = record("rationale").arrow()
    arrays = [
        pa.array(columns[field.name], pa.int64() if pa.types.is_timestamp(field.type) else field.type).cast(field.type)
        for field in schema
    ]
    table = pa.Table.from_arrays(arrays, schema=schema)
    hit = [i for i, defect in enumerate(defects) if defect]
    named = {"sample_id": [ids[i] for i in hit], "kind": [kind] * len(hit), "defect": [defects[i] for i in hit]}
    return table, pa.table(named, schema=pa.schema([(name, pa.string()) for name in named]))


def _conclusion(defect: str | None, choices: Sequence[str], gold: int, total: int, part: int) -> str:
    """The last sentences of a chain: a step where the answer is a number, and the answer."""
    slip = 1 if defect == "arithmetic" else 0
    step = f" Now {total - part} + {part} = {total + slip}." if total > part else f" Now {total} * 1 = {total + slip}."
    if not choices:
        return f"{step} The answer is {total + 7 if defect == 'other answer' else total}."
    chosen = (gold + 1) % 4 if defect == "other answer" else gold
    return f"{step if slip else ''} So the answer is ({'ABCD'[chosen]})."


def _loop(text: str, question: str, other: str) -> str:
    sentence = text.partition(". ")[2].partition(".")[0] + ". "
    return text[:60] + " " + sentence * max(8, 500 // len(sentence))


SPOILED: dict[str | None, Callable[[str, str, str], str]] = {
    "empty": lambda text, question, other: " " if len(text) % 2 else "...",
    "too short": lambda text, question, other: " ".join(text.split()[-3:]),
    "too long": lambda text, question, other: (
        text + "".join(f" Then {number * 7919} is {text[number : number + 30].strip()}." for number in range(120))
    ),
    "loop": _loop,
    "copied": lambda text, question, other: f"{question} Yes.",
    "artefact": lambda text, question, other: ARTEFACTS[len(text) % 3] + text,
    "runs on": lambda text, question, other: f"{text}\n\nQ: {question} A: the first one.",
    "wrong language": lambda text, question, other: text.lower().translate(CYRILLIC),
    "unfinished": lambda text, question, other: text[: len(text) * 2 // 3].rstrip(" .,!?") + " and",
    "duplicate": lambda text, question, other: other,
    "near-duplicate": lambda text, question, other: other.replace(" the ", " a ", 1),
    "failed": lambda text, question, other: "",
    "truncated": lambda text, question, other: text[:-9],
}
"""What becomes of a text, given the question and the text of the row before."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rationales", type=int, default=1_000_000)
    given = parser.parse_args()
    started = time.perf_counter()
    workspace = make_project(given.folder, given.rationales)
    size = sum(path.stat().st_size for path in workspace.rglob("*.parquet")) / 1e6
    print(f"{given.rationales:,} rationales, {size:,.0f} MB of Parquet, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
