"""What the search for contamination finds of planted leaks, and what it takes wrongly, on rows of real datasets.

    python benchmarks/contamination.py ROWS [--show 3]

ROWS is a folder with a copy of each dataset, named as its recipe with `_` for `-`: of the evaluation sets below, and of
those that are trained on. Planted: every item of a set, changed in one of the ways of CHANGES, stands as the question
of a training sample; found is what names that item. Clean: training rows of other datasets; what hits is shown, to be
judged by a person. Prints Markdown.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

import teacherlm
from teacherlm.api.references import ReferenceReader
from teacherlm.core.bundle import bundled
from teacherlm.core.errors import Mistake
from teacherlm.quality.contamination import Reference, find_contamination
from teacherlm.schemas.records import record

SETS = {
    "mmlu": "mmlu/validation.parquet",
    "creak": "creak/validation.parquet",
    "ecqa": "ecqa/test.parquet",
    "strategy-qa": "strategy_qa/validation.parquet",
}
TRAINED = ("anli", "boolq", "cos-e", "cosmos-qa", "creak", "dream", "esnli", "gsm8k", "openbookqa", "piqa", "qasc",
           "sciq", "social-i-qa", "strategy-qa", "winogrande")  # fmt: skip

Question = tuple[str, list[str]]
Change = Callable[[str, list[str], random.Random], Question]

WORDS = (
    "river",
    "metal",
    "often",
    "seven",
    "garden",
    "window",
    "justice",
    "yellow",
    "carry",
    "winter",
    "paper",
    "music",
)


def edited(number: int) -> Change:
    """Other words in the place of `number` words, drawn at random."""

    def change(question: str, choices: list[str], draw: random.Random) -> Question:
        words = question.split()
        for place in draw.sample(range(len(words)), min(number, len(words))):
            words[place] = draw.choice(WORDS)
        return " ".join(words), choices

    return change


def restyled(question: str, choices: list[str], draw: random.Random) -> Question:
    """Capitals, other punctuation, other blanks."""
    return question.upper().replace(".", " ;").replace(",", " -- ").replace("?", " ??"), [c.title() for c in choices]


def reordered(question: str, choices: list[str], draw: random.Random) -> Question:
    """The options in another order, and so the sentences; of one sentence its halves."""
    sentences = [part for part in question.replace("? ", "?|").replace(". ", ".|").split("|") if part.strip()]
    if len(sentences) < 2:
        words = question.split()
        sentences = [" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])]
    return " ".join(reversed(sentences)), draw.sample(choices, len(choices))


def wrapped(question: str, choices: list[str], draw: random.Random) -> Question:
    """Inside another prompt, its options in the text."""
    options = " ".join(f"({'ABCDEFGHIJ'[place % 10]}) {choice}" for place, choice in enumerate(choices))
    return f"You are a careful student. Read and answer.\n\nTask: {question}\nOptions: {options}\nSay why.", []


CHANGES: dict[str, Change] = {
    "exact": lambda question, choices, draw: (question, choices),
    "case and punctuation": restyled,
    "re-ordered": reordered,
    "in another prompt": wrapped,
    "one word changed": edited(1),
    "two words changed": edited(2),
}


def samples_of(rows: list[tuple[str, str, list[str]]]) -> pa.Table:
    whole = {**dict.fromkeys(record("sample").names), "dataset": "d", "split": "train", "task": "", "answer": ""}
    return pa.Table.from_pylist(
        [{**whole, "sample_id": key, "question": q, "choices": c} for key, q, c in rows],
        schema=record("sample").arrow(),
    )


def rationales_of(samples: pa.Table, texts: list[str]) -> pa.Table:
    row = {**dict.fromkeys(record("rationale").names), "dataset": "d", "split": "train", "kind": "chain_of_thought"}
    row |= {"repeat": 0, "status": "ok", "attempts": 0, "strategy": "human", "created_at": 0}
    return pa.Table.from_pylist(
        [
            {**row, "sample_id": key, "text": text}
            for key, text in zip(samples["sample_id"].to_pylist(), texts, strict=True)
        ],
        schema=record("rationale").arrow(),
    )


def hits(samples: pa.Table, texts: list[str], references: list[Reference]) -> Iterator[dict[str, Any]]:
    with duckdb.connect() as con:
        con.register("samples", samples)
        con.register("rationales", rationales_of(samples, texts))
        find_contamination(con, references)
        yield from con.sql("from contamination").to_arrow_table().to_pylist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--show", type=int, default=0, help="Hits on clean rows to print of each pair of datasets.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = teacherlm.open(bundled(), workspace=folder)
        reader = ReferenceReader(project.files, project.catalog.evaluation_sets, project.workspace)
        references = [reader.read(task, options.rows / path) for task, path in SETS.items()]
        planted(references)
        clean(project, references, options.rows, options.show)


def planted(references: list[Reference]) -> None:
    print("| planted |", " | ".join(f"{found.task} ({found.items:,})" for found in references), "|")
    print("| --- |" + " ---: |" * len(references))
    for name, change in CHANGES.items():
        shares = []
        for reference in references:
            draw = random.Random(7)
            items = duckdb.execute(f"select item, question, choices from '{reference.path}'").fetchall()
            rows = [(f"{place}", *change(q, list(c), draw)) for place, (_, q, c) in enumerate(items)]
            named = {(hit["sample_id"], hit["item"]) for hit in hits(samples_of(rows), [""] * len(rows), [reference])}
            found = sum((f"{place}", item) in named for place, (item, _, _) in enumerate(items))
            shares.append(f"{found / len(items):.1%}")
        print(f"| {name} |", " | ".join(shares), "|")
    print()


def clean(project: Any, references: list[Reference], folder: Path, show: int) -> None:
    print("| trained on | samples |", " | ".join(f"{found.task}: questions, rationales" for found in references), "|")
    print("| --- | ---: |" + " ---: |" * len(references))
    shown = []
    for name in TRAINED:
        try:
            source = next(p for n in (name, f"super_glue_{name}") if (p := folder / n.replace("-", "_")).is_dir())
            built = project.build(name, source=source)
        except (Mistake, StopIteration):
            continue
        split = next((part.split for part in built.splits if part.split.startswith("train")), built.splits[0].split)
        rows = project.sql(f"from samples where dataset = '{name}' and split = '{split}'").to_arrow_table()
        texts = [text or "" for text in rows["human_rationale"].to_pylist()]
        as_training = rows.set_column(rows.column_names.index("split"), "split", pa.array(["train"] * len(rows)))
        cells = []
        for reference in references:
            if reference.task == name and not split.startswith("train"):
                cells.append("itself")
                continue
            found = list(hits(as_training, texts, [reference]))
            by_kind = [len({hit["sample_id"] for hit in found if (hit["kind"] is None) is q}) for q in (True, False)]
            cells.append(f"{by_kind[0]:,}, {by_kind[1]:,}")
            questions = dict(
                zip(rows["sample_id"].to_pylist(), zip(rows["question"].to_pylist(), texts, strict=True), strict=True)
            )
            shown += [
                f"{name} {hit['kind'] or 'question'} {hit['share']:.2f} {reference.task} | {hit['shared'][:150]} | "
                + questions[hit["sample_id"]][hit["kind"] is not None][:200].replace("\n", " ")
                for hit in sorted(found, key=lambda hit: (hit["share"], hit["sample_id"]))[:show]
            ]
        print(f"| {name} {split} | {len(rows):,} |", " | ".join(cells), "|", flush=True)
    print(*([""] if shown else []), *shown, sep="\n")


if __name__ == "__main__":
    main()
