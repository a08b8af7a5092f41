"""The teacher that ships: made by its declaration, and as exact as docs/nano.md says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

import teacherlm
from teacherlm.core.errors import Mistake
from teacherlm.curriculum.draw import questions
from teacherlm.curriculum.families import FAMILIES
from teacherlm.curriculum.records import record
from teacherlm.evaluate.exactness import Exactness, Written, exactness
from teacherlm.lm import nano
from teacherlm.lm.generate import Request, generate
from teacherlm.lm.load import load
from teacherlm.lm.tokens import Tokens
from teacherlm.project.layouts import render
from teacherlm.schemas.records import KINDS
from teacherlm.train.read import read_layouts

ROOT = Path(__file__).parents[1]
ASKS = {"fundamentals": "teach-fundamentals", "chain_of_thought": "teach-chain", "common_mistakes": "teach-mistakes"}


def written(each: int, seed: int) -> Iterator[Written]:
    """What the teacher writes of so many test questions of each family."""
    loaded = load(nano.NANO, device="cpu", dtype="float32")
    tokens, layouts = Tokens(loaded.tokenizer), read_layouts(teacherlm.open(ROOT).files)
    families = list(FAMILIES.values())
    made = list(questions(families, "test", each * len(families), seed))
    asked = [(question, kind) for question in made for kind in KINDS]
    prompts = [render(layouts[ASKS[kind]], record(question, "test")).prompt_text for question, kind in asked]
    requests = [Request(prompt_ids=tuple(tokens.encode(prompt)), max_new_tokens=96) for prompt in prompts]
    for place, row in generate(loaded, requests, batch_size=64):
        question, kind = asked[place]
        text = row.text.strip()
        yield Written(family=question.family, kind=kind, text=text, gold=getattr(question, kind))


def of_kind(found: list[Exactness], kind: str) -> dict[str, float]:
    return {one.family: one.exact.share for one in found if one.kind == kind and one.family is not None}


def test_it_was_trained_by_its_declaration() -> None:
    declared: Mapping[str, Any] = yaml.safe_load((ROOT / "train" / "nano" / "teacher.yaml").read_text())
    card = (nano.FOLDER / "README.md").read_text()
    block = re.search(r"```yaml\n(.*)```", card, re.DOTALL)
    assert block is not None
    assert yaml.safe_load(block[1]) == declared
    run = orjson.loads((nano.FOLDER / "training.json").read_bytes())
    assert run["partial"] is False
    assert run["tokens"] >= declared["stages"][0]["tokens"]
    assert sum(path.stat().st_size for path in nano.FOLDER.iterdir()) < 5_000_000


def test_it_explains_questions_that_it_never_saw() -> None:
    found = exactness(written(4, seed=11))
    for kind, least in (("fundamentals", 0.93), ("chain_of_thought", 0.85), ("common_mistakes", 0.85)):
        shares = of_kind(found, kind)
        assert sum(shares.values()) / len(shares) >= least, (kind, shares)


@pytest.mark.slow
def test_it_is_as_exact_as_is_said() -> None:
    found = exactness(written(60, seed=20261125))
    means = {}
    for kind in KINDS:
        shares = of_kind(found, kind)
        means[kind] = sum(shares.values()) / len(shares)
    chains = of_kind(found, "chain_of_thought")
    assert sum(share >= 0.95 for share in chains.values()) >= 5, chains
    assert means["chain_of_thought"] >= 0.9, chains
    assert means["fundamentals"] >= 0.98
    assert means["common_mistakes"] >= 0.85


def test_weights_that_are_cut_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(nano.FOLDER, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(Mistake) as caught:
        load(str(folder))
    assert "weights are cut or damaged" in str(caught.value)
