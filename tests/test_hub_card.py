"""The card: a portrait, and the front matter that the Hub and `datasets` read."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from hub_samples import REPORT, publication
from teacherlm.hub import card, manifest
from teacherlm.hub.content import compose
from teacherlm.hub.manifest import Manifest
from teacherlm.hub.publication import LicenceChecked, Publication

GOLDEN = Path(__file__).parent / "golden/hub_README.md"


def composed(folder: Path, *publications: Publication) -> Manifest:
    (folder / "new").mkdir()
    return compose(publications, folder / "new", Manifest()).manifest


def test_the_card_of_two_small_datasets(tmp_path: Path) -> None:
    licence = LicenceChecked(by="Ada", on="2026-01-02", basis="letter of the authors")
    made = composed(
        tmp_path,
        publication(tmp_path),
        publication(
            tmp_path,
            "ecqa",
            about=None,
            task="commonsense_qa",
            license="CDLA-Sharing-1.0",
            redistribution="share-alike",
            licence_checked=licence,
            citation="@inproceedings{ecqa,\n  title = {Explanations for CommonsenseQA},\n  year = {2021}\n}",
            source="local file",
            report={"passed": True},
        ),
        publication(tmp_path, "closed", license="unknown", redistribution="restricted", report={"passed": True}),
    )
    assert card.render(_sized(made)) == GOLDEN.read_text(encoding="utf-8")


def _sized(made: Manifest) -> Manifest:
    """With the same sizes whatever the version of the Parquet writer."""
    datasets = {}
    for name, entry in made.datasets.items():
        splits = {
            split: dataclasses.replace(
                facts,
                arrow_bytes=2_000,
                files=tuple(dataclasses.replace(file, bytes=1_000) for file in facts.files),
            )
            for split, facts in entry.splits.items()
        }
        datasets[name] = dataclasses.replace(entry, splits=splits)
    return dataclasses.replace(made, datasets=datasets)


def test_tables_align_and_every_line_is_one_cell_row(tmp_path: Path) -> None:
    report = {**REPORT, "rules": [{"rule": "odd", "reason": "has | bars,\nlines and <tags>", "findings": 1}]}
    text = card.render(composed(tmp_path, publication(tmp_path, report=report)))
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 7
    for table in tables:
        assert len({len(line) for line in table.splitlines()}) == 1
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "has \\| bars, lines and &lt;tags>" in text
    assert "\n\n\n" not in text


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["MIT", "mit"], {"license": "mit"}),
        (["CC-BY-SA-4.0"], {"license": "cc-by-sa-4.0"}),
        (["ODC-By-1.0"], {"license": "odc-by"}),
        (["MIT", "Apache-2.0"], {"license": "other", "license_name": "by-dataset"}),
        (["CC-BY, no version"], {"license": "other", "license_name": "cc-by-no-version"}),
    ],
)
def test_one_licence_stands_for_all_or_none(licences: list[str], expected: dict[str, str], tmp_path: Path) -> None:
    made = composed(
        tmp_path, *(publication(tmp_path, f"d{number}", license=name) for number, name in enumerate(licences))
    )
    front = card.front_matter(made)
    assert {key: front.get(key) for key in expected} == expected


def test_the_front_matter_is_yaml_that_the_hub_takes(tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard

    text = card.render(composed(tmp_path, publication(tmp_path, title='Odd: "title" # 1', task="nobody knows")))
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["pretty_name"] == 'Odd: "title" # 1, explained'
    assert front["task_categories"] == ["text-generation"]
    assert front["size_categories"] == ["n<1K"]
    assert "task_ids" not in front
    assert DatasetCard(text).data.get("configs") == front["configs"]


def test_counts_by_split_add_up_and_reasons_come_in_any_form(tmp_path: Path) -> None:
    counts = [
        {"dataset": "creak", "split": "train", "kind": "fundamentals", "asked": 5, "accepted": 4, "rejected": 1,
         "reasons": [{"reason": "short", "count": 1}]},
        {"dataset": "creak", "split": "validation", "kind": "fundamentals", "asked": 3, "accepted": 1, "rejected": 2,
         "reasons": [["short", 1], ["odd", 1]]},
        {"dataset": "other", "kind": "fundamentals", "asked": 1_000},
    ]  # fmt: skip
    # As a report has them: in its books.
    report = {"passed": True, "books": {"counts": counts}, "rules": [{"rule": "empty", "severity": "warn", "hits": 3}]}
    entry = composed(tmp_path, publication(tmp_path, report=report)).datasets["creak"]
    (found,) = entry.counts
    assert entry.rules[0].findings == 3
    assert (found.asked, found.accepted, found.rejected, found.failed) == (8, 5, 3, None)
    assert found.reasons == (("short", 2), ("odd", 1))


def test_the_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = composed(tmp_path, publication(tmp_path), publication(tmp_path, "ecqa", redistribution="unclear"))
    again = manifest.parse(made.dump(), "teacherlm.json")
    assert again == made
    assert again.dump() == made.dump()
