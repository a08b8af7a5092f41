"""A workspace with a little of each collection of the paper, and tiny models of its families in place of the large."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipes import parquet

os.environ.setdefault("OMP_NUM_THREADS", "1")

COLLECTIONS = ("p3-sense-3k", "muffin-3w", "teacherdata-2m")
ALONE = ("creak", "ecqa", "strategy-qa")
ROWS = 24

CATALOG = "collections:\n" + "".join(f"  {name}: {{datasets: [sums], seed: 1}}\n" for name in COLLECTIONS)
RECIPE = """\
title: Sums
source: {files: {train: sums.jsonl}, rows: {train: 24}}
license: CC0-1.0
redistribution: allowed
task: test
sample: {question: q, choices: c, answer: a}
"""

CONFIGS: dict[str, dict[str, Any]] = {
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "opt": {
        **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64},
        **{"word_embed_proj_dim": 32, "max_position_embeddings": 2048},
    },
}


def rows() -> Iterator[dict[str, Any]]:
    """Samples with their accepted rationales; every fourth has no mistakes, every sixth no rationale at all."""
    for n in range(ROWS):
        explained = n % 6 != 0
        yield {
            "sample_id": f"sums/train/{n}",
            "dataset": "sums",
            "split": "train",
            "task": "test",
            "question": f"What is {n} + 3?",
            "choices": [f"{n + 3}", f"{n + 2}", f"{n + 4}"],
            "answer": f"{n + 3}",
            "fundamentals": "Adding three is counting on three times." if explained else None,
            "chain_of_thought": f"From {n} we count {n + 1}, {n + 2}, {n + 3}." if explained else None,
            "common_mistakes": "Counting from the first number itself." if explained and n % 4 else None,
        }


def lay_out(folder: Path) -> Path:
    """A project and its workspace, with what `build`, `augment` and `check` leave there."""
    import teacherlm

    (folder / "builders").mkdir(parents=True)
    (folder / "catalog.yaml").write_text(CATALOG)
    (folder / "builders" / "sums.yaml").write_text(RECIPE)
    lines = [json.dumps({"q": row["question"], "c": row["choices"], "a": row["answer"]}) for row in rows()]
    (folder / "builders" / "sums.jsonl").write_text("\n".join(lines))
    project = teacherlm.open(folder, workspace=folder / "workspace")
    made = list(rows())
    for name in COLLECTIONS:
        opened = project.collection(name)
        opened.build()
        parquet(opened.workspace.augmented("sums") / "train" / "00000.parquet", made)
    for name in ALONE:
        parquet(project.workspace.augmented(name) / "train" / "00000.parquet", made)
        (folder / "builders" / f"{name}.yaml").write_text(RECIPE)
    return folder


def tiny_model(folder: Path, family: str) -> Path:
    """A folder of `save_pretrained`, with a tokenizer that is trained here."""
    import torch
    import transformers

    from teacherlm.train.declaration import TokenizerSpec
    from teacherlm.train.tokenizers import train_tokenizer

    texts = [f"{row['question']} {row['chain_of_thought']} Let's think step by step." for row in rows()]
    tokenizer: Any = train_tokenizer(TokenizerSpec(vocabulary=400), texts)
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = transformers.AutoConfig.for_model(family, vocab_size=len(tokenizer), **CONFIGS[family], **ends)
    torch.manual_seed(0)
    models: Any = transformers.AutoModelForCausalLM
    models.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def in_miniature(project: Path, declared: str, model: Path, steps: str = "") -> str:
    """Declare a paper's training on a tiny model; its name.

    What differs from the paper's is the base and, by `steps`, what is laid over the stages.
    """
    name = declared.replace("paper/", "miniature/")
    path = project / "train" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"extends: {declared}\nbase: {{model: {model}}}\n{steps}")
    return name
