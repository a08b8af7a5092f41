"""The card: README.md with the front matter that `datasets` and the Hub read, made from the manifest alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import yaml

from teacherlm.hub import tables
from teacherlm.hub.manifest import NAME, Entry, Manifest

_LICENCES = """
afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc0-1.0
cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0
cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1
lgpl-3.0 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 osl-3.0 pddl postgresql unknown unlicense wtfpl zlib
"""
HUB_LICENCES = frozenset(_LICENCES.split())
"""Licence ids of the Hub that a dataset can have."""

_SPDX = {"odc-by-1.0": "odc-by", "odbl-1.0": "odbl", "pddl-1.0": "pddl", "lppl-1.3": "lppl-1.3c"}
"""Where the Hub's id is not the SPDX id in small letters."""

TASKS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "closed_book_qa": (("question-answering",), ("open-domain-qa",)),
    "commonsense_qa": (("multiple-choice", "question-answering"), ("multiple-choice-qa",)),
    "coreference": (("multiple-choice",), ("multiple-choice-coreference-resolution",)),
    "fact_verification": (("text-classification",), ("fact-checking",)),
    "math": (("question-answering",), ()),
    "multi_hop_qa": (("question-answering",), ("closed-domain-qa",)),
    "nli": (("text-classification",), ("natural-language-inference",)),
    "paraphrase": (("text-classification",), ("semantic-similarity-classification",)),
    "reading_comprehension": (("question-answering",), ("closed-domain-qa",)),
    "reading_multiple_choice": (("multiple-choice", "question-answering"), ("multiple-choice-qa",)),
    "science_qa": (("multiple-choice", "question-answering"), ("multiple-choice-qa",)),
    "sentence_completion": (("multiple-choice",), ("multiple-choice-qa",)),
    "sentiment": (("text-classification",), ("sentiment-classification",)),
    "summarization": (("summarization",), ()),
    "topic_classification": (("text-classification",), ("topic-classification",)),
    "word_sense": (("text-classification",), ("semantic-similarity-classification",)),
}
"""Task categories and task ids of the Hub for our task families. Every dataset is for text generation besides."""

TAGS = ("teacherlm", "rationales", "chain-of-thought", "explanations", "fundamentals", "common-mistakes", "synthetic")

_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
"""The Hub's words for a number of rows, each ten times the one before."""

HERE = "path/to/this/folder"
"""Stands for the place in the examples of a card whose place is not known."""


def render(manifest: Manifest, *, at: str | None = None) -> str:
    """README.md of a published place.

    Args:
        at: where the place will be found, such as a path or the id of a repository on the Hub.
    """
    entries = manifest.datasets
    name, entry = next(iter(entries.items()))
    bibtex, links = _citations(entries)
    return _template().render(
        front=yaml.dump(
            front_matter(manifest), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1_000
        ).rstrip(),
        title=_title(entries),
        entries=entries,
        at=at or HERE,
        first=name,
        split=next(iter(entry.loadable)),
        rows=sum(entry.rows for entry in entries.values()),
        explained=sum(entry.explained for entry in entries.values()),
        alone=[name for name, entry in entries.items() if entry.rationales_only],
        ticked=tables.ticked,
        empty=[f"`{name}`/`{split}`" for name, e in entries.items() for split in e.splits if split not in e.loadable],
        datasets=tables.datasets_table(entries),
        licences=tables.licences_table(entries),
        counts=tables.counts_table(entries),
        rules=tables.rules_table(entries),
        costs=tables.costs_table(entries),
        teachers=tables.teachers_table(entries),
        columns=tables.columns_tables(entries),
        files=tables.files_list(entries),
        bibtex=bibtex,
        links=links,
        manifest=NAME,
    )


def front_matter(manifest: Manifest) -> dict[str, Any]:
    """What the Hub shows and `datasets` holds the data to: configs, types, and rows by split."""
    entries = manifest.datasets
    categories = _distinct(c for entry in entries.values() for c in TASKS.get(entry.task, ((), ()))[0])
    ids = _distinct(i for entry in entries.values() for i in TASKS.get(entry.task, ((), ()))[1])
    sources = _distinct(entry.source for entry in entries.values() if re.fullmatch(r"[\w.-]+/[\w.-]+", entry.source))
    front: dict[str, Any] = {
        "pretty_name": _title(entries),
        **_licence(entries.values()),
        "language": _distinct(language for entry in entries.values() for language in entry.languages),
        "task_categories": [*categories, "text-generation"],
        "task_ids": ids,
        "tags": list(TAGS),
        "annotations_creators": ["machine-generated"],
        "size_categories": [_size(sum(entry.rows for entry in entries.values()))],
        "source_datasets": sources,
        "configs": [_config(name, entry) for name, entry in entries.items()],
        "dataset_info": [_info(name, entry) for name, entry in entries.items()],
    }
    return {key: value for key, value in front.items() if value not in ([], None)}


def _config(name: str, entry: Entry) -> dict[str, Any]:
    # A split's name holds no dash, so that its glob finds no other split's files.
    files = [{"split": split, "path": f"data/{name}/{split}-*.parquet"} for split in entry.loadable]
    return {"config_name": name, "data_files": files}


def _info(name: str, entry: Entry) -> dict[str, Any]:
    splits = entry.loadable
    return {
        "config_name": name,
        "features": entry.features,
        "splits": [
            {"name": split, "num_bytes": facts.arrow_bytes, "num_examples": facts.rows}
            for split, facts in splits.items()
        ],
        "download_size": sum(file.bytes for facts in splits.values() for file in facts.files),
        "dataset_size": sum(facts.arrow_bytes for facts in splits.values()),
    }


def _licence(entries: Iterable[Entry]) -> dict[str, str]:
    """One licence of the Hub where it covers every row; else `other`, with the table of licences."""
    named = {"rationales alone" if e.rationales_only else e.licence.license.strip().lower() for e in entries}
    if len(named) > 1:
        return {"license": "other", "license_name": "by-dataset", "license_link": "README.md#licences"}
    (licence,) = named
    known = _SPDX.get(licence, licence)
    if known in HUB_LICENCES:
        return {"license": known}
    slug = re.sub(r"[^a-z0-9.]+", "-", licence)[:40].strip("-.")
    return {"license": "other", "license_name": slug or "see-the-card", "license_link": "README.md#licences"}


def _size(rows: int) -> str:
    """
    >>> _size(999), _size(1000)
    ('n<1K', '1K<n<10K')
    """
    return _SIZES[min(max(len(str(rows)) - 3, 0), len(_SIZES) - 1)]


def _title(entries: Mapping[str, Entry]) -> str:
    titles = [entry.title for entry in entries.values()]
    if len(titles) > 3:
        return f"{len(titles)} datasets, explained"
    return " and ".join([", ".join(titles[:-1]), titles[-1]] if len(titles) > 1 else titles) + ", explained"


def _citations(entries: Mapping[str, Entry]) -> tuple[list[str], list[str]]:
    """Citations of the sources: those in BibTeX, and the others with their titles."""
    bibtex = _distinct(entry.citation for entry in entries.values() if entry.citation.startswith("@"))
    links = (f"{e.title}: {e.citation}" for e in entries.values() if e.citation and e.citation not in bibtex)
    return bibtex, _distinct(links)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


class _Plain(yaml.SafeDumper):
    """YAML without anchors, with list items indented."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(files("teacherlm.hub").joinpath("card.md.jinja").read_text(encoding="utf-8"))
