"""Verifying a publication: what lies there is what its manifest says, and what was sent, to the last byte.

Every file is read back: from a folder in place, from the Hub one by one into a fresh cache. Then `datasets` loads every
config in a process of its own, whose cache is fresh too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.core.errors import Mistake
from teacherlm.core.files import disk_errors
from teacherlm.core.keys import digest, file_digest
from teacherlm.hub import card, manifest
from teacherlm.hub.content import README
from teacherlm.hub.loading import load_problems, parts
from teacherlm.hub.manifest import DataFile, Entry, Form, Manifest, Split
from teacherlm.hub.place import Place, Tell, silent
from teacherlm.hub.repository import Repository

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found of one split."""

    dataset: str
    """The config: a dataset, or a dataset in a training format."""
    split: str
    rows: int
    """Rows that its files hold."""
    files: int
    bytes: int
    content: str
    """Hash of its files, in order."""
    problems: tuple[str, ...]
    """What is not as it should be; empty where all is."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found of a published place."""

    place: str
    commit: str | None
    """The commit that was read; None for a folder."""
    splits: tuple[Checked, ...]
    problems: tuple[str, ...]
    """What concerns no split alone: files that are missing, a card that cannot be read."""

    @property
    def passed(self) -> bool:
        return not self.problems and not any(split.problems for split in self.splits)

    @property
    def found(self) -> list[str]:
        """All problems, those of splits with their place."""
        return [*self.problems, *(f"{s.dataset}, {s.split}: {p}" for s in self.splits for p in s.problems)]


def verify_folder(
    folder: Path, expected: Manifest | None = None, *, load: bool = True, tell: Tell = silent
) -> Verified:
    """Verify a published folder.

    Args:
        expected: what was sent; None: what the folder's own manifest says.
        load: also load every config with `datasets`.
        tell: called now and then with how far it has come.

    Raises:
        Mistake: nothing was published there.
        MachineFailed: its manifest is damaged.
    """
    path = folder / manifest.NAME
    if not path.is_file():
        raise Mistake(f"has no {manifest.NAME}: it is not a published folder", "name one", str(folder))
    with disk_errors(path):
        found = manifest.parse(path.read_bytes(), str(path))
    place = Place(name=str(folder), folder=folder, tell=tell)
    # Whole, since a relative path could be taken for the id of a repository.
    return _verify(place, found, expected, str(folder.resolve()) if load else None)


def verify_hub(
    repository: Repository,
    expected: Manifest | None = None,
    *,
    load: bool = True,
    fetch: Collection[str] | None = None,
    tell: Tell = silent,
) -> Verified:
    """Verify a repository on the Hub at its address's revision.

    Args:
        expected: what was sent; None: what the repository's own manifest says.
        load: also load every config with `datasets`.
        fetch: files to read back, and to load configs of; of the others the Hub's word is taken. None: all.
        tell: called now and then with how far it has come.

    Raises:
        Mistake: there is no such repository or revision that one may see; nothing was published there.
        RemoteFailed: the Hub fails.
        MachineFailed: its manifest is damaged; the disk is full.
    """
    address = repository.address
    commit = repository.head()
    if commit is None:
        found = "the Hub has no such repository or revision that you may see"
        edit = "look at the name; for a private one log in with  hf auth login  or set HF_TOKEN"
        raise Mistake(found, edit, str(address))
    said = repository.manifest(commit)
    if said is None:
        raise Mistake(f"has no {manifest.NAME}: teacherlm published nothing there", "name another one", str(address))
    there = repository.files(commit)
    place = Place(
        name=str(address),
        repository=repository,
        commit=commit,
        there=there,
        known=set() if fetch is None else set(there) - set(fetch),
        tell=tell,
    )
    return _verify(place, said, expected, address.repository if load else None)


def _verify(place: Place, found: Manifest, expected: Manifest | None, load_from: str | None) -> Verified:
    wanted = expected or found
    configs = parts(wanted)
    declared = sorted({path for entry in wanted.datasets.values() for path in entry.files})
    place.total = 1 + len(wanted.paths())
    problems = [*_differences(found, wanted), *_strays(place, wanted, configs), *_card_problems(place, found)]
    for name in declared:
        problems += _file_problems(place, name, wanted)
    splits = [
        _checked(place, config, name, split, part)
        for config, part in configs.items()
        for name, split in part.splits.items()
    ]
    if load_from and not problems and not any(split.problems for split in splits):
        fresh = {name: part for name, part in configs.items() if not place.known >= _paths(part)}
        some = fresh or dict(list(configs.items())[:1])  # the card is new, though no data is
        problems += load_problems(load_from, place.commit, some, lambda config: place.say(f"{config} loads"))
    return Verified(place=place.name, commit=place.commit, splits=tuple(splits), problems=tuple(problems))


def _paths(part: Entry | Form) -> set[str]:
    return {file.path for split in part.splits.values() for file in split.files}


def _differences(found: Manifest, wanted: Manifest) -> Iterator[str]:
    """Datasets of which the place says something else than what was sent, or than it says itself elsewhere."""
    for name, entry in wanted.datasets.items():
        if found.datasets.get(name) != entry:
            yield f"{name}: its entry in {manifest.NAME} is not the one that was sent"
    for config, part in parts(wanted).items():
        for split, held in part.splits.items():
            if held.rows != (rows := sum(file.rows for file in held.files)):
                yield f"{config}, {split}: {manifest.NAME} counts {held.rows:,} rows, and {rows:,} in its files"


def _strays(place: Place, wanted: Manifest, configs: dict[str, Entry | Form]) -> Iterator[str]:
    """Parquet files that the card's globs would read and nobody has published."""
    folders = {f"data/{config}" for config in configs}
    for path in sorted(place.files() - wanted.paths()):
        if path.endswith(".parquet") and path.rpartition("/")[0] in folders:
            yield f"{path} is there, and was not published"


def _card_problems(place: Place, found: Manifest) -> Iterator[str]:
    """What the card says to `datasets` and the Hub, where it is not what the manifest says."""
    import yaml

    with place.opened(README) as path:
        text = path.read_text(encoding="utf-8", errors="replace") if path else None
    if text is None:
        yield f"{README} is missing"
        return
    try:
        front = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else None
    except (yaml.YAMLError, IndexError):
        front = None
    if not isinstance(front, dict):
        yield f"{README} has no front matter that can be read: `datasets` does not find the configs"
        return
    should = card.front_matter(found)
    for part, words in (("configs", "files"), ("dataset_info", "columns and counts")):
        said = {entry.get("config_name"): entry for entry in front.get(part) or () if isinstance(entry, dict)}
        for entry in should[part]:
            if said.pop(name := entry["config_name"], None) != entry:
                yield f"{README} says something else than {manifest.NAME} of the {words} of {name}"
        for name in said:
            yield f"{README} has a config {name} that was not published"


def _file_problems(place: Place, name: str, wanted: Manifest) -> Iterator[str]:
    """A declaration: that it is there, as it was published."""
    digests = {entry.files[name] for entry in wanted.datasets.values() if name in entry.files}
    if name in place.known:
        return
    with place.opened(name) as path:
        if path is None:
            yield f"{name} is missing"
        elif digests != {file_digest(path)}:
            yield f"{name} is not the file that was published"


def _checked(place: Place, config: str, name: str, split: Split, part: Entry | Form) -> Checked:
    """Read every file of a split back."""
    problems: list[str] = []
    digests: list[str] = []
    rows = size = 0
    for file in split.files:
        if place.known_hash(file.path) == file.sha256:
            digests.append(file.sha256)
            rows, size = rows + file.rows, size + file.bytes
            continue
        with place.opened(file.path) as path:
            if path is None:
                problems.append(f"{file.path} is missing")
                continue
            digests.append(file_digest(path))
            size += path.stat().st_size
            schema, count = _read(path, file, problems)
            rows += count
            if digests[-1] != file.sha256:
                problems.append(f"{file.path} is not the file that was published ({path.stat().st_size:,} bytes)")
                problems += _columns(schema, file, part)
    if rows != split.rows:
        problems.append(f"it has {rows:,} rows where {split.rows:,} were published")
    return Checked(
        dataset=config,
        split=name,
        rows=rows,
        files=len(split.files),
        bytes=size,
        content=digest(digests),
        problems=tuple(problems),
    )


def _read(path: Path, file: DataFile, problems: list[str]) -> tuple[pa.Schema | None, int]:
    """Columns and rows of a Parquet file, as its footer says."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as parquet:
            return parquet.schema_arrow, parquet.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        problems.append(f"{file.path} cannot be read: {str(error).splitlines()[0]}")
        return None, 0


def _columns(schema: pa.Schema | None, file: DataFile, part: Entry | Form) -> Iterator[str]:
    """Columns of a file that are others than those published."""
    if schema is None:
        return
    import datasets

    wanted = datasets.Features._from_yaml_list(part.features).arrow_schema
    if schema.names != wanted.names:
        yield f"{file.path} has the columns {', '.join(schema.names)}"
    else:
        other = [field.name for field in wanted if schema.field(field.name).type != field.type]
        if other:
            yield f"{file.path} has other types: {', '.join(f'{name} {schema.field(name).type}' for name in other)}"
