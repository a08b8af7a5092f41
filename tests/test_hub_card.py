"""The card: a portrait, and the front matter that the Hub and `datasets` read."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from hub_samples import MADE, REPORT, publication
from teacherlm.hub import card, manifest, markdown
from teacherlm.hub.content import compose
from teacherlm.hub.manifest import Contract, Entry, Judged, Made, Manifest
from teacherlm.hub.publication import LicenceChecked, Publication
from teacherlm.schemas.records import record

OLD: dict[str, Any] = {"report": {"passed": True}, "made": Made(), "costs": {}, "contract": None}
"""What is known of a dataset that was published before more was written down."""

GOLDEN = Path(__file__).parent / "golden/hub_README.md"


def composed(folder: Path, *publications: Publication) -> Manifest:
    (folder / "new").mkdir()
    asked = [dataclasses.replace(p, files={**p.files, "prompts/paper.yaml": "name: paper\n"}) for p in publications]
    return compose(asked, folder / "new", Manifest()).manifest


def test_the_card_of_three_small_datasets(tmp_path: Path) -> None:
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
            **OLD,
        ),
        publication(tmp_path, "closed", license="unknown", redistribution="restricted"),
    )
    assert card.render(_sized(made), at="org/explained") == GOLDEN.read_text(encoding="utf-8")


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
    assert len(tables) == 9
    for table in tables:
        assert len({len(line) for line in table.splitlines()}) == 1
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "has \\| bars, lines and &lt;tags>" in text
    assert "\n\n\n" not in text


HOSTILE = (
    "a | b \\| c",
    "<script>alert(1)</script>",
    "<!-- and nothing after",
    "</details>\n\n# A heading of mine\n",
    "---\nlicense: mit\n---",
    "```\n~~~~\n````",
    "`one` ``two",
    "# One",
    "- 1. > two",
    "[x]: https://example.org",
    "a\x85b\u2028c\r\nd\\",
    "{{ title }} {% for x in y %}",
    "| --- | --- |\n| mine | mine |",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_people_wrote_cannot_break_the_page(text: str, tmp_path: Path) -> None:
    """The same page as with plain words: the same headings, tables, cells and blocks, and no tag of theirs."""
    shown = card.render(_written_by(text, tmp_path / "odd"))
    assert _shape(shown) == _shape(card.render(_written_by("words", tmp_path / "plain")))
    assert not _tags(shown[shown.index("\n# ") :])


@given(st.text(min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_no_cell_breaks_its_table(text: str) -> None:
    beside = ["what stands in the cell beside it" + 2 * number for number in ("1", "2")]
    made = markdown.table(("one", "two"), [(text, beside[0]), (markdown.code(text), beside[1])])
    (table,) = [token for token in _parsed(made) if token.type == "table_open"]
    assert table.map == [0, 4]
    assert [token.content for token in _parsed(made) if token.content in beside] == beside
    assert not _tags(made)


def _written_by(text: str, folder: Path) -> Manifest:
    folder.mkdir()
    reasons = [{"dataset": "creak", "kind": "fundamentals", "asked": 1, "rejected": 1, "reasons": {text: 1}}]
    rules = [{"rule": "empty", "severity": "warn", "hits": 1, "share": 1.0, "reason": text}]
    asked = dataclasses.replace(MADE.asked[0], parameters={"stop": ([text],)}, model="teacher/" + text)
    return composed(
        folder,
        publication(
            folder,
            title=text,
            about=text,
            license=text,
            citation=text,
            source=text,
            report={**REPORT, "counts": reasons, "rules": rules},
            made=dataclasses.replace(MADE, asked=(asked,)),
            contract=Contract(expectations=2, hold=1, broken=(text,)),
        ),
        publication(folder, "ecqa", citation="@misc{x,\n title = {" + text + "}\n}"),
    )


def _parsed(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def _tags(text: str) -> list[str]:
    return [
        token.content
        for block in _parsed(text)
        for token in (block, *(block.children or ()))
        if token.type in ("html_block", "html_inline")
    ]


def _shape(text: str) -> list[str]:
    """The page's blocks in their order; what stands before the first heading is not Markdown."""
    return [token.type for token in _parsed(text[text.index("\n# ") :])]


def test_the_card_of_65_datasets_stays_readable(tmp_path: Path) -> None:
    entry = composed(tmp_path, publication(tmp_path)).datasets["creak"]
    text = card.render(_sized(Manifest(datasets={f"dataset_{n:02d}": entry for n in range(65)})), at="org/all")
    page = text[text.index("\n# ") :]
    seen = re.sub(r"(?s)<details>.*?</details>", "", page)
    assert page.count("<details>") == page.count("</details>") == page.count("<summary>") == 7
    assert len(seen.splitlines()) < 400
    # One line for all that came about alike, and sums.
    assert "| `teacher/one` | `abc`    | `explain` | [paper](prompts/paper.yaml)" in seen
    assert re.search(r"\| `chain_of_thought` +\| +65 +\| +156,000 \|", seen)
    assert re.search(r"\| +\*\*all\*\* \| 312,000 ", seen)
    assert re.search(r"\[empty\]\(rules/empty.sql\) \| reject .*\| 4,550 \| +65 of 65 \|", seen)
    assert len(_tags(page)) == 14  # each part begins and ends as one


@pytest.mark.parametrize(
    ("licences", "name"),
    [
        (["MIT", "mit"], "mit"),
        (["CC-BY-SA-4.0"], "cc-by-sa-4.0"),
        (["ODC-By-1.0"], "odc-by"),
        (["MIT", "Apache-2.0"], "by-dataset"),
        (["CC-BY, no version"], "cc-by-no-version"),
    ],
)
def test_the_licence_is_other_and_named_where_all_sources_have_one(
    licences: list[str], name: str, tmp_path: Path
) -> None:
    made = composed(
        tmp_path, *(publication(tmp_path, f"d{number}", license=name) for number, name in enumerate(licences))
    )
    front = card.front_matter(made)
    assert (front["license"], front["license_name"], front["license_link"]) == ("other", name, "README.md#licences")


def test_the_front_matter_is_read_by_the_hub_s_own_loaders(tmp_path: Path) -> None:
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard, metadata_load

    made = composed(
        tmp_path,
        publication(tmp_path, title='Odd: "title" # 1\n---\n', task="nobody knows"),
        publication(tmp_path, "alone", redistribution="unclear"),
    )
    path = tmp_path / "README.md"
    path.write_text(card.render(made), encoding="utf-8")
    front = yaml.safe_load(path.read_text().split("---\n")[1])
    assert metadata_load(path) == front == card.front_matter(made)
    assert front["pretty_name"] == 'ALONE and Odd: "title" # 1 ---, explained'
    assert front["task_categories"] == ["text-classification", "text-generation"]
    assert front["size_categories"] == ["n<1K"]
    assert front["source_datasets"] == ["example/alone", "example/creak"]
    loaded = DatasetCard.load(path)
    assert loaded.text.lstrip().startswith("# ALONE and Odd")
    assert loaded.data.to_dict() == front
    assert MetadataConfigs.from_dataset_card_data(loaded.data).keys() == {"alone", "creak"}
    infos = DatasetInfosDict.from_dataset_card_data(loaded.data)
    assert infos["creak"].features == record("augmented").features()
    assert infos["alone"].splits["train"].num_examples == 5


def test_a_card_on_the_hub_tells_paths_that_the_hub_s_readers_take(tmp_path: Path) -> None:
    made = composed(tmp_path, publication(tmp_path), publication(tmp_path, "alone", redistribution="unclear"))
    text = card.render(made, at="org/explained")
    assert 'load_dataset("org/explained", "creak", split="train")' in text
    assert 'pl.read_parquet("hf://datasets/org/explained/data/creak/*.parquet")' in text
    assert "read_parquet('hf://datasets/org/explained/data/creak/*.parquet')" in text
    assert 'teacherlm.join("org/explained", "alone")' in text
    assert "teacherlm verify hf://datasets/org/explained\n" in text
    here = card.render(made)
    assert 'pl.read_parquet("path/to/this/folder/data/creak/*.parquet")' in here
    assert "hf://" not in here


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


def test_a_manifest_of_old_times_is_read(tmp_path: Path) -> None:
    made = composed(tmp_path, publication(tmp_path, **OLD))
    rows = orjson.loads(made.dump())
    entry = rows["datasets"]["creak"]
    for name in ("made", "judged", "formats"):
        del entry[name]
    entry["rules"] = [{"rule": "empty", "severity": "reject", "findings": 2, "reason": ""}]
    old = manifest.parse(orjson.dumps(rows), "teacherlm.json")
    assert (old.datasets["creak"].made, old.datasets["creak"].judged) == (Made(), Judged())
    text = card.render(old)
    assert "### Teachers\n" in text
    for unknown in ("### Teachers, prompts", "### Contract", "### Contamination", "### What it took", "Made with"):
        assert unknown not in text
    both = dataclasses.replace(made, datasets={**old.datasets, "new": replaced(tmp_path)})
    assert manifest.parse(both.dump(), "teacherlm.json") == both


def replaced(folder: Path) -> Entry:
    (folder / "second").mkdir()
    return composed(folder / "second", publication(folder / "second")).datasets["creak"]


def test_the_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = composed(tmp_path, publication(tmp_path), publication(tmp_path, "ecqa", redistribution="unclear"))
    again = manifest.parse(made.dump(), "teacherlm.json")
    assert again == made
    assert again.dump() == made.dump()
