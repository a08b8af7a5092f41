"""`teacherlm.join`: rationales that were published alone, and the source that their reader has, are the whole again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import teacherlm
from hub_project import CLOSED, Command, copied, rows
from loopback_hub import TOKEN, environment, shared_hub
from pushing import processes
from recipes import parquet
from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.schemas.records import KINDS, record


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copied(tmp_path)


@pytest.fixture
def published(root: Path) -> Path:
    project = teacherlm.open(root, workspace=root / "workspace")
    project.publish(CLOSED, to=root / "alone")
    project.publish("metals", to=root / "alone", rationales_only=True)
    return root / "alone"


def augmented(root: Path, name: str, split: str) -> list[dict[str, Any]]:
    """What `check` has written, without the texts that were taken from the source itself."""
    found: list[dict[str, Any]] = pa.concat_tables(
        [pq.read_table(path) for path in sorted((root / "workspace/augmented" / name / split).glob("*.parquet"))]
    ).to_pylist()
    for row in found:
        for kind in KINDS:
            if row["provenance"][kind] and row["provenance"][kind]["strategy"] == "human":
                row[kind] = row["quality"][kind] = row["provenance"][kind] = None
    return found


def test_the_round_trip_through_a_folder(root: Path, published: Path) -> None:
    table = pq.read_table(published / f"data/{CLOSED}/train-00000-of-00001.parquet")
    assert table.column_names == ["sample_id", *KINDS, "quality", "provenance"]
    texts = "\n".join(str(value) for value in table.to_pylist())
    assert "People who know" not in texts  # a human rationale is the source's own text
    for name in (CLOSED, "metals"):
        joined = teacherlm.join(published, name, source=root / f"sources/{name}")
        assert isinstance(joined, datasets.DatasetDict)
        assert {split: len(part) for split, part in joined.items()} == {"train": 8, "validation": 4}
        for split, part in joined.items():
            assert part.features == record("augmented").features()
            assert list(part) == augmented(root, name, str(split))
    train = teacherlm.join(published, CLOSED, split="train", source=root / f"sources/{CLOSED}")
    assert isinstance(train, datasets.Dataset)
    # What the source itself says stands where it belongs.
    assert train[1]["human_rationale"].startswith("People who know") and train[1]["common_mistakes"] is None
    assert train[0]["common_mistakes"]


def test_a_source_that_is_not_what_it_was(root: Path, published: Path) -> None:
    source = root / f"sources/{CLOSED}"
    fewer = rows(CLOSED, "train", 8)[:6]
    parquet(root / "fewer/train.parquet", fewer)
    parquet(root / "fewer/validation.parquet", rows(CLOSED, "validation", 4))
    with pytest.warns(UserWarning, match="train: 2 of 8 published rows have no sample in the source"):
        joined = teacherlm.join(published, CLOSED, source=root / "fewer")
    assert len(joined["train"]) == 6
    parquet(root / "others/train.parquet", [{**row, "n": f"x{row['n']}"} for row in fewer])
    with pytest.raises(Mistake, match="none of the 8 published rows of `train` has a sample"):
        teacherlm.join(published, CLOSED, split="train", source=root / "others")
    parquet(root / "columns/train.parquet", [{"text": "nothing that the recipe knows"}])
    with pytest.raises(Mistakes) as mistakes:
        teacherlm.join(published, CLOSED, source=root / "columns")
    assert "question" in str(mistakes.value) or '"q"' in str(mistakes.value)
    with pytest.raises(Mistake, match="holds no dataset `open`") as mistake:
        teacherlm.join(published, "open", source=source)
    assert mistake.value.remedy == "it holds closed, metals"
    with pytest.raises(Mistake, match="`closed` has no split `test`"):
        teacherlm.join(published, CLOSED, split="test", source=source)
    with pytest.raises(Mistake, match="not a published folder"):
        teacherlm.join(root, CLOSED, source=source)


JOIN = """
import sys, teacherlm
place, source = sys.argv[1:]
first = teacherlm.join(place, "closed", source=source, split="validation", revision="v1")
print(first[0]["question"], first[0]["fundamentals"] is not None, len(first))
both = teacherlm.join(f"hf://datasets/{place}@v1", "closed", source=source)
print({name: len(rows) for name, rows in both.items()})
try:
    teacherlm.join(place, "metals", source=source, revision="v1")
except teacherlm.core.errors.Mistake as error:
    print(error.found)
"""


def test_the_round_trip_through_a_hub(root: Path, tmp_path: Path) -> None:
    hub = shared_hub()
    hub.clear()
    run = Command(processes(hub.url), root)
    to = "hf://datasets/org/alone"
    run("publish", CLOSED, "--no-verify", "--to", to, "--tag", "v1", token=TOKEN)
    run("publish", "metals", "--rationales-only", "--no-verify", "--to", to, token=TOKEN)
    everything = b"".join(file.content for file in hub.repository("org/alone").head().files.values())
    assert b"Which of these is found in" not in everything
    done = subprocess.run(
        [sys.executable, "-c", JOIN, "org/alone", str(root / f"sources/{CLOSED}")],
        env=environment(hub, tmp_path / "fresh"),
        capture_output=True,
        text=True,
        check=False,
    )
    question = augmented(root, CLOSED, "validation")[0]["question"]
    expected = [f"{question} True 4", "{'train': 8, 'validation': 4}", "holds no dataset `metals`"]
    assert done.stdout.splitlines() == expected, done.stderr
