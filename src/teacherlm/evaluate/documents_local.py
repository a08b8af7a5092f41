"""Rows of local files in place of a task's dataset: one file of documents, or a folder with files for its splits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.core.errors import Mistake
from teacherlm.evaluate.documents_files import FORMATS, Table, read_files, read_saved
from teacherlm.evaluate.documents_rows import Rows
from teacherlm.evaluate.documents_text import ENDS, with_truths
from teacherlm.evaluate.templates import Row

if TYPE_CHECKING:
    from teacherlm.evaluate.benchmarks import BoundTask

SUBJECT = "subject"
"""The column that tells the tasks of one file apart; `dataset_name` is its value."""

WHOLE = ("all", "default", "main")
"""Names of configurations that hold all rows."""

_SHARD = re.compile(r"(.+?)(?:-\d+-of-\d+)?")


def local_rows(bound: BoundTask, data: Path, examples: str | None) -> Rows:
    """The rows of a task from a file, or from a folder.

    A folder has a file or a folder for each split (`validation.parquet`, `test-00000-of-00002.parquet`, `train/…`),
    itself, in `data/`, or in a folder named like the task's `dataset_name`; or it was written by `save_to_disk`. Of a
    file the rows are documents, and examples are looked for in the file of their split beside it.

    Args:
        examples: the split that examples are taken from; None: there are none to read.

    Raises:
        Mistake: what is missing, empty or unreadable; says what is there.
    """
    task = bound.task
    if not data.exists():
        raise Mistake("there is no such file or folder", f"check --data {bound.name}=…", str(data))
    if data.is_file():
        documents, place = _table(bound, [data], data.parent), str(data)
    else:
        documents, place = _split(bound, data, task.split, "evaluated")
    if examples is None:
        return Rows(documents=documents.rows, columns=documents.columns, place=place)
    if data.is_file() and _stem(data) == examples:
        shown, shown_place = documents, place
    else:
        shown, shown_place = _split(bound, data if data.is_dir() else data.parent, examples, "for the examples")
    return Rows(
        documents=documents.rows,
        columns=documents.columns,
        examples=shown.rows,
        place=place,
        examples_place=shown_place,
    )


def _split(bound: BoundTask, folder: Path, split: str, use: str) -> tuple[Table, str]:
    saved = folder / split if (folder / "dataset_dict.json").is_file() else folder
    if (saved / "state.json").is_file():
        return _of_subject(bound, read_saved(saved), str(saved)), str(saved)
    there = _splits(bound, folder)
    if split not in there:
        found = f"the folder has no split `{split}`, which is {use}"
        told = f"the splits that are there are {', '.join(sorted(there))}" if there else f"it holds no {_known()} files"
        edit = f"name a file: --data {bound.name}={folder}/NAME; " if use == "evaluated" and there else ""
        raise Mistake(found, f"{edit}{told}", str(folder))
    files = there[split]
    return _table(bound, files, folder), str(files[0] if len(files) == 1 else files[0].parent)


def _splits(bound: BoundTask, folder: Path) -> dict[str, list[Path]]:
    """Files by split; those of the nearest folder that has any."""
    name = bound.task.dataset_name
    places = [folder / name] if name else []
    for place in [*places, folder / "data", folder]:
        if found := dict(_in(place)):
            return found
    return {}


def _in(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    if not folder.is_dir():
        return
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix.lower() in FORMATS:
            found.setdefault(_stem(path), []).append(path)
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in found:
            files = [one for one in sorted(path.iterdir()) if one.is_file() and one.suffix.lower() in FORMATS]
            # A folder of files that are splits themselves is another configuration.
            if files and len({_stem(one) for one in files} & _SPLITS) == 0:
                found[path.name] = files
    yield from found.items()


_SPLITS = {"train", "training", "validation", "valid", "dev", "test"}


def _stem(path: Path) -> str:
    match = _SHARD.fullmatch(path.name.removesuffix(path.suffix))
    return match.group(1) if match else path.stem


def _table(bound: BoundTask, files: Sequence[Path], folder: Path) -> Table:
    if files[0].suffix.lower() not in FORMATS:
        raise Mistake(f"is in no format that is read: {files[0].name}", f"give {_known()} files", str(files[0]))
    table = read_files(files)
    if files[0].suffix.lower() in ENDS:
        table = with_truths(bound, table)
    inside = bound.task.dataset_name is not None and (folder / bound.task.dataset_name) in files[0].parents
    return table if inside else _of_subject(bound, table, str(files[0]))


def _of_subject(bound: BoundTask, table: Table, place: str) -> Table:
    """The rows of the task's subject, where a file holds several."""
    name = bound.task.dataset_name
    if name is None or name in WHOLE or SUBJECT not in table.columns:
        return table
    rows: list[Row] = [row for row in table.rows if row[SUBJECT] == name]
    if not rows:
        there = sorted({str(row[SUBJECT]) for row in table.rows})
        shown = ", ".join(there[:8]) + (f" and {len(there) - 8} more" if len(there) > 8 else "")
        raise Mistake(
            f"no row has `{name}` in the column `{SUBJECT}`",
            f"give rows of it; the subjects that are there are {shown}",
            place,
        )
    return Table(rows, table.columns)


def _known() -> str:
    return ", ".join(FORMATS)
