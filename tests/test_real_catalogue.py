"""Every recipe whose dataset has real rows beside the checkout builds them: what is rejected can be explained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import teacherlm
from teacherlm.core.bundle import bundled

# Real rows, where a checkout has them beside it. Some folders have another name than the recipe.
ROWS = Path(__file__).resolve().parents[2].joinpath("shared", "data")
FOLDERS = {
    "ag-news": "ag_news",
    "anli": "anli",
    "aqua-rat": "aqua_rat",
    "arc-challenge": "ai2_arc",
    "boolq": "super_glue_boolq",
    "cb": "super_glue_cb",
    "copa": "super_glue_copa",
    "cos-e": "cos_e",
    "cosmos-qa": "cosmos_qa",
    "creak": "creak",
    "dbpedia-14": "dbpedia_14",
    "dream": "dream",
    "ecqa": "ecqa",
    "esnli": "esnli",
    "gsm8k": "gsm8k",
    "hellaswag": "hellaswag",
    "imdb": "imdb",
    "openbookqa": "openbookqa",
    "piqa": "piqa",
    "qasc": "qasc",
    "rotten-tomatoes": "rotten_tomatoes",
    "rte": "super_glue_rte",
    "sciq": "sciq",
    "social-i-qa": "social_i_qa",
    "strategy-qa": "strategy_qa",
    "trec": "trec",
    "wic": "super_glue_wic",
    "winogrande": "winogrande",
    "wsc": "super_glue_wsc",
}
FLAWS = {"answer twice among the choices", "duplicate id"}
"""What is wrong with some rows of the sources themselves."""

pytestmark = pytest.mark.skipif(not ROWS.is_dir(), reason="no folder of real rows is beside this checkout")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_recipe_fits_the_real_rows_of_its_dataset(name: str, tmp_path: Path) -> None:
    source = ROWS / FOLDERS[name]
    if name == "openbookqa":  # these rows have the split names of another configuration
        source = tmp_path / "rows"
        source.mkdir()
        for split in ("train", "validation"):
            shutil.copy(ROWS / "openbookqa" / f"additional_{split}.parquet", source / f"{split}.parquet")
    made = teacherlm.open(bundled(), workspace=tmp_path / "w").build(name, source=source)
    rows = sum(part.rows for part in made.splits)
    reasons = {reason for part in made.splits for reason in part.rejected}
    assert rows >= 100
    assert reasons <= FLAWS
    assert made.rejected <= 0.012 * rows
    assert made.samples == rows - made.rejected  # nothing is filtered: these files hold labelled rows alone
