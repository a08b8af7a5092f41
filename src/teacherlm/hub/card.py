"""The card: README.md with the front matter that `datasets` and the Hub read, made from the manifest alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import yaml

from teacherlm.hub import making, tables
from teacherlm.hub.address import SCHEME
from teacherlm.hub.manifest import NAME, Entry, Form, Manifest
from teacherlm.hub.markdown import code, fenced, prose, some

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
        at: the id of the repository on the Hub, `ORG/REPO`; None: a folder.
    """
    entries = manifest.datasets
    alone = [name for name, entry in entries.items() if entry.rationales_only]
    name = next((name for name in entries if name not in alone), next(iter(entries)))
    bibtex, links = _citations(entries)
    front = yaml.dump(front_matter(manifest), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=1_000)
    return _template().render(
        front=front.rstrip(),
        title=prose(_title(entries)),
        entries=entries,
        abouts=_abouts(entries),
        at=at or HERE,
        hub=at is not None,
        url=f"{SCHEME}datasets/{at}" if at else HERE,
        first=name,
        split=next(iter(entries[name].loadable)),
        rows=sum(entry.rows for entry in entries.values()),
        explained=sum(entry.explained for entry in entries.values()),
        formats=making.fold(entries, "Training formats, by dataset", tables.formats_table(entries)),
        format_example=next((name for name, part in manifest.configs() if isinstance(part, Form)), None),
        alone=alone,
        some=some,
        empty=[f"`{name}`/`{split}`" for name, e in entries.items() for split in e.splits if split not in e.loadable],
        datasets=tables.datasets_table(entries),
        licences=tables.licences_table(entries),
        versions=_distinct(code(entry.made.version) for entry in entries.values() if entry.made.version),
        ways=making.ways_table(entries),
        strategies=making.strategies(entries),
        several=any(len(v) > 1 for e in entries.values() for a in e.made.asked for v in a.parameters.values()),
        counts=making.counts_table(entries),
        scored=any(entry.judged.scores for entry in entries.values()),
        rules=making.rules_table(entries),
        contract=making.contract_words(entries),
        duplicates=making.duplicates_table(entries),
        contamination=making.contamination_table(entries),
        uncompared=_uncompared(entries),
        costs=making.costs_table(entries),
        server_hours=any("server_hours" in entry.costs for entry in entries.values()),
        teachers=making.teachers_table(entries),
        columns=tables.columns_tables(entries),
        files=tables.files_list(entries),
        bibtex=making.fold(entries, "Sources, in BibTeX", fenced(bibtex, "bibtex")),
        links=making.fold(entries, "Sources, by name", "\n".join(f"- {link}" for link in links)),
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
        "configs": [_config(name, part) for name, part in manifest.configs()],
        "dataset_info": [_info(name, part) for name, part in manifest.configs()],
    }
    return {key: value for key, value in front.items() if value not in ([], None)}


def _config(name: str, entry: Entry | Form) -> dict[str, Any]:
    # A split's name holds no dash, so that its glob finds no other split's files.
    files = [{"split": split, "path": f"data/{name}/{split}-*.parquet"} for split in entry.loadable]
    return {"config_name": name, "data_files": files}


def _info(name: str, entry: Entry | Form) -> dict[str, Any]:
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
    """No licence of the Hub covers samples of the source and texts of a teacher: the table says what holds for which.

    The name is the licence of the sources, where all have the same one.
    """
    named = {"rationales alone" if e.rationales_only else e.licence.license.strip().lower() for e in entries}
    name = _SPDX.get(only := named.pop(), only) if len(named) == 1 else "by-dataset"
    slug = re.sub(r"[^a-z0-9.]+", "-", name)[:40].strip("-.")
    return {"license": "other", "license_name": slug or "see-the-card", "license_link": "README.md#licences"}


def _size(rows: int) -> str:
    """
    >>> _size(999), _size(1000)
    ('n<1K', '1K<n<10K')
    """
    return _SIZES[min(max(len(str(rows)) - 3, 0), len(_SIZES) - 1)]


def _title(entries: Mapping[str, Entry]) -> str:
    titles = [" ".join(entry.title.split()) for entry in entries.values()]
    if len(titles) > 3:
        return f"{len(titles)} datasets, explained"
    return " and ".join([", ".join(titles[:-1]), titles[-1]] if len(titles) > 1 else titles) + ", explained"


def _abouts(entries: Mapping[str, Entry]) -> str:
    said = {name: prose(entry.about) for name, entry in entries.items() if entry.about}
    lines = [f"**{prose(entries[name].title)}** ({code(name)}): {about}" for name, about in said.items()]
    return making.fold(entries, "What the datasets are about", "\n\n".join(lines))


def _uncompared(entries: Mapping[str, Entry]) -> str:
    """Datasets of which no evaluation set is known to have been looked at; nothing is said of those of old times."""
    names = [
        name
        for name, entry in entries.items()
        if entry.made.version and not any(against.is_run for against in entry.judged.contamination)
    ]
    return "" if not names else "any of the datasets" if len(names) == len(entries) > 1 else some(names)


def _citations(entries: Mapping[str, Entry]) -> tuple[list[str], list[str]]:
    """Citations of the sources: those in BibTeX, and the others with their titles, as Markdown."""
    bibtex = _distinct(entry.citation for entry in entries.values() if entry.citation.startswith("@"))
    others = (entry for entry in entries.values() if entry.citation and entry.citation not in bibtex)
    # In bold type, so that no title begins a heading or a list.
    links = (f"**{prose(entry.title)}**: {prose(entry.citation)}" for entry in others)
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
