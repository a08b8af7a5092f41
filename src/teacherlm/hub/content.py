"""The content of a publication: every file it consists of, computed apart from the place where it is put."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from teacherlm.core.errors import GateFailed, Mistake
from teacherlm.core.keys import text_digest
from teacherlm.hub import card, manifest
from teacherlm.hub.formats import FORMATS, config_name, reads
from teacherlm.hub.gates import SecretScan, hold, hold_files
from teacherlm.hub.judged import judged
from teacherlm.hub.manifest import Counts, Entry, Form, Licence, Manifest, Rule, Split, Teacher
from teacherlm.hub.publication import CLOSED, Publication, first_of, rows_of
from teacherlm.hub.shards import write_split
from teacherlm.schemas.records import KINDS, Record

README = "README.md"
_REASONS = 3
"""Reasons against a kind's rationales that the card names."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a published place is to hold."""

    manifest: Manifest
    datasets: tuple[str, ...]
    """Those published now; others of the manifest were there before and stay."""
    configs: tuple[str, ...]
    """Names that `load_dataset` knows them by: their own, and one for each training format."""
    written: tuple[str, ...]
    """Files staged now, in the order in which to put them: README.md and the manifest last."""
    stale: tuple[str, ...]
    """Files of the place as it was before that no dataset has any more."""


def compose(publications: Sequence[Publication], staging: Path, before: Manifest, *, at: str | None = None) -> Content:
    """Write all files of the publications below `staging`, as they will lie in the published place.

    Args:
        before: what the place holds now; its other datasets stay.
        at: where the place will be found, for the card's examples.

    Raises:
        Refused: a gate forbids it, or the rows hold a secret.
        MachineFailed: a part is damaged; the disk is full.
    """
    publications = [_as_before(publication, before) for publication in publications]
    hold(publications)
    # A dataset that is published again gives up its old files before shared ones are placed.
    entries = {name: entry for name, entry in before.datasets.items() if name not in {p.dataset for p in publications}}
    for publication in publications:
        splits = _write_data(publication, staging)
        texts = _placed(publication.files, entries.values())
        for path, text in texts.items():
            (staging / path).parent.mkdir(parents=True, exist_ok=True)
            (staging / path).write_text(text, encoding="utf-8")
        digests = {path: text_digest(text) for path, text in sorted(texts.items())}
        forms = _write_formats(publication, before.datasets.get(publication.dataset), splits, staging)
        entries[publication.dataset] = _entry(publication, splits, forms, digests)
    _own_names(entries)
    after = Manifest(datasets=dict(sorted(entries.items())))
    (staging / README).write_text(card.render(after, at=at), encoding="utf-8")
    (staging / manifest.NAME).write_bytes(after.dump())
    # What people declared elsewhere, such as who checked a licence, stands in these two.
    hold_files({name: (staging / name).read_text(encoding="utf-8") for name in (README, manifest.NAME)})
    names = tuple(publication.dataset for publication in publications)
    paths = {path for name in names for path in after.datasets[name].paths()}
    return Content(
        manifest=after,
        datasets=names,
        configs=tuple(
            c for name in names for c in (name, *(config_name(name, f) for f in after.datasets[name].formats))
        ),
        written=(*sorted(paths), README, manifest.NAME),
        stale=tuple(sorted(before.paths() - after.paths())),
    )


def _as_before(publication: Publication, before: Manifest) -> Publication:
    """Whoever chose to leave the source's text out must not publish it by leaving out an option."""
    entry = before.datasets.get(publication.dataset)
    if publication.rationales_only is not None or entry is None or not entry.rationales_only:
        return publication
    by_licence = entry.licence.redistribution in CLOSED and entry.licence.checked is None
    return publication if by_licence else dataclasses.replace(publication, rationales_only=True)


def _write_data(publication: Publication, staging: Path) -> dict[str, Split]:
    name = publication.dataset
    scan = SecretScan(name)
    splits = {
        split: write_split(
            parts, staging, name, split, columns=publication.columns, alone=publication.alone, look=scan.look
        )
        for split, parts in publication.splits.items()
    }
    scan.hold()
    if not any(split.rows for split in splits.values()):
        raise GateFailed("there are no rows to publish", f"run `teacherlm build {name}` and look at its report", name)
    return splits


def _write_formats(
    publication: Publication, before: Entry | None, splits: Mapping[str, Split], staging: Path
) -> dict[str, Form]:
    """Write the training formats that are wanted; where nothing is said, those that the place has of the dataset.

    They are always of the rows that are published now: a format never outlives the rows that it was made of.
    """
    name, wanted = publication.dataset, publication.formats
    explained = any(split.explained for split in splits.values())
    if wanted and not explained:
        raise GateFailed(
            "no sample has an accepted rationale: there is nothing to put into a training format",
            f"leave --as out, or run `teacherlm augment {name}` and `teacherlm check {name}`",
            name,
        )
    if wanted is None:
        wanted = [form for form in FORMATS if before and form in before.formats] if explained else ()
        wanted = () if publication.alone else wanted
    forms: dict[str, Form] = {}
    for form in sorted(set(wanted)):
        format = FORMATS[form]
        folder, columns = config_name(name, form), format.columns
        forms[form] = Form(
            splits={
                split: write_split(parts, staging, folder, split, columns=columns, reads=reads(), shape=format.shape)
                for split, parts in publication.splits.items()
            },
            features=_features(columns),
        )
    return forms


def _own_names(entries: Mapping[str, Entry]) -> None:
    """
    Raises:
        Mistake: a dataset is called as another one in a training format is.
    """
    for name, entry in entries.items():
        for form in entry.formats:
            if (config := config_name(name, form)) in entries:
                found = f"`{config}` is a dataset, and the name of `{name}` as {form}"
                raise Mistake(found, "publish one of them to another place, or leave the format out", config)


def _placed(files: Mapping[str, str], others: Iterable[Entry]) -> dict[str, str]:
    """Paths for a dataset's declarations beside those of the others.

    Two datasets that were made with different versions of one rule both keep theirs: the later goes beside the first.
    """
    taken = {path: sha256 for entry in others for path, sha256 in entry.files.items()}
    placed = {}
    for path, text in files.items():
        sha256 = text_digest(text)
        if taken.get(path, sha256) != sha256:
            pure = PurePosixPath(path)
            path = str(pure.with_name(f"{pure.stem}-{sha256[:8]}{pure.suffix}"))
        placed[path] = text
    return placed


def _entry(publication: Publication, splits: dict[str, Split], forms: dict[str, Form], files: dict[str, str]) -> Entry:
    checked = publication.licence_checked
    report = publication.report
    return Entry(
        title=publication.title,
        about=publication.about,
        task=publication.task,
        licence=Licence(
            license=publication.license,
            redistribution=publication.redistribution,
            checked=f"{checked.by}, {_day(checked.on)}: {checked.basis}" if checked else None,
        ),
        citation=publication.citation.strip(),
        languages=tuple(publication.languages),
        source=publication.source,
        rationales_only=publication.alone,
        splits=splits,
        features=_features(publication.columns),
        columns=publication.columns.markdown(),
        counts=_counts(publication.dataset, report),
        rules=tuple(
            Rule(
                rule=str(first_of(row, "rule", "id", "name") or ""),
                severity=str(row.get("severity") or ""),
                findings=_number(row, "hits", "findings", "count"),
                reason=str(row.get("reason") or ""),
                share=row.get("share"),
            )
            for row in rows_of(report, "rules")
        ),
        costs=dict(publication.costs),
        teachers=tuple(
            Teacher(model=str(teacher.get("model") or "unnamed"), revision=teacher.get("revision"))
            for teacher in publication.teachers
        ),
        files=files,
        formats=forms,
        made=publication.made,
        judged=judged(report, publication.contract),
    )


def _features(columns: Record) -> list[dict[str, Any]]:
    from datasets import DatasetInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    data = DatasetCardData()
    DatasetInfosDict({"default": DatasetInfo(features=columns.features())}).to_dataset_card_data(data)
    features: list[dict[str, Any]] = data["dataset_info"]["features"]
    return features


def _counts(dataset: str, report: Mapping[str, Any]) -> tuple[Counts, ...]:
    """The report's counts by kind; rows by split are added up."""
    rows = [row for row in rows_of(report, "counts") if row.get("dataset", dataset) == dataset]
    kinds = sorted({str(row["kind"]) for row in rows if row.get("kind")}, key=lambda kind: (*KINDS, kind).index(kind))
    counts = []
    for kind in kinds:
        of_kind = [row for row in rows if row.get("kind") == kind]
        reasons: Counter[str] = Counter()
        for row in of_kind:
            reasons.update(_reasons(row.get("reasons")))
        numbers = {
            column: sum(int(row[column]) for row in of_kind if row.get(column) is not None)
            if any(row.get(column) is not None for row in of_kind)
            else None
            for column in ("asked", "accepted", "rejected", "truncated", "failed")
        }
        top = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:_REASONS]
        counts.append(Counts(kind=kind, reasons=tuple(top), **numbers))
    return tuple(counts)


def _reasons(value: Any) -> dict[str, int]:
    """Reasons with their number: a mapping, rows of reason and count, or pairs."""
    if isinstance(value, Mapping):
        return {str(reason): int(count) for reason, count in value.items() if isinstance(count, int)}
    found: dict[str, int] = {}
    for row in value if isinstance(value, Sequence) and not isinstance(value, str) else ():
        if isinstance(row, Mapping):
            reason, count = first_of(row, "reason", "rule", "name"), _number(row, "count", "n")
        elif isinstance(row, Sequence) and not isinstance(row, str) and len(row) == 2:
            reason, count = row
        else:
            continue
        if reason is not None and isinstance(count, int):
            found[str(reason)] = found.get(str(reason), 0) + count
    return found


def _number(row: Mapping[str, Any], *keys: str) -> int | None:
    value = first_of(row, *keys)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _day(on: str | datetime.date) -> str:
    return on.isoformat() if isinstance(on, datetime.date) else on
