"""Where source rows are read from: local files, `save_to_disk` folders, Hub datasets, made questions."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.builders.broken import first_fault
from teacherlm.builders.hub_source import load_split
from teacherlm.builders.made import MadeRows, rows_to_make
from teacherlm.builders.readers import READERS, table_function
from teacherlm.builders.recipe import SPLIT
from teacherlm.core.errors import Mistake
from teacherlm.core.keys import digest, file_digest

if TYPE_CHECKING:
    import duckdb

    from teacherlm.builders.recipe import Recipe

ARROW = ".arrow"

SHARD = re.compile(r"(.+)-\d+-of-\d+")
"""`train-00000-of-00002`: a part of a split."""


@dataclass(frozen=True)
class SourceSplit:
    """One split of a source: local files, or a dataset that `datasets` has loaded."""

    split: str
    """Our name of the split."""
    files: tuple[Path, ...] = ()
    dataset: Any = None
    """A `datasets.Dataset`, where the rows are not plain files."""
    fingerprint: str = ""
    made: MadeRows | None = None
    """Where the rows are not read but made."""

    def register(self, connection: duckdb.DuckDBPyConnection, name: str = "source") -> None:
        """Make the rows readable as the view `name`.

        Raises:
            Mistake: a file holds nothing, or cannot be read as what its name says.
        """
        import duckdb

        connection.execute(f"DROP VIEW IF EXISTS {name}")
        if empty := next((path for path in self.files if not path.stat().st_size), None):
            raise Mistake("is an empty file", "write rows to it, or give another one by --source", str(empty))
        try:
            if self.made is not None:
                connection.register(name, self.made.table())
            elif self.dataset is not None or self.files[0].suffix.lower() == ARROW:
                connection.register(name, _arrow_table(self.dataset or _arrow_files(self.files)))
            else:
                connection.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {table_function(self.files)}")
                columns = [row[0] for row in connection.execute(f"DESCRIBE {name}").fetchall()]
                if columns == ["json"] and any(first_fault(path) for path in self.files):
                    raise ValueError("a line is no object")
        except (duckdb.Error, OSError, ValueError) as error:  # Arrow's errors are ValueErrors and OSErrors
            raise unreadable(self, error) from error


def unreadable(part: SourceSplit, error: Exception) -> Mistake:
    """The rows of a split cannot be read."""
    message = str(error).split("LINE 1:")[0]
    named = next((path for path in part.files if str(path) in message), None)
    place = str(named or (part.files[0] if part.files else part.split))
    edit = "mend the file, or give another one by --source"
    for path in [named] if named else part.files:
        if fault := first_fault(path):
            line, column, found = fault
            return Mistake(found, edit, f"{path}:{line}:{column}")
    message = re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", " ".join(message.split())) or type(error).__name__
    return Mistake(f"cannot be read: {message[:300]}", edit, place)


def _arrow_files(files: Sequence[Path]) -> Any:
    import datasets

    return datasets.concatenate_datasets([datasets.Dataset.from_file(str(path)) for path in files])


@dataclass(frozen=True)
class OpenSource:
    """All splits that a build will read, and those it leaves."""

    place: str
    """Where the rows are, for people."""
    splits: tuple[SourceSplit, ...]
    skipped: tuple[str, ...] = ()
    """Splits that are there and not declared."""
    absent: tuple[str, ...] = field(default=())
    """Splits that are declared and not there."""

    @property
    def fingerprint(self) -> str:
        return digest({part.split: part.fingerprint for part in self.splits})


def open_source(recipe: Recipe, folder: Path, *, source: Path | None = None, split: str | None = None) -> OpenSource:
    """Find the rows of a recipe.

    Args:
        folder: where the recipe's file lies; its `files` are relative to it.
        source: local rows that take the place of the declared ones.
        split: the split that a single file is; `train` unless said.

    Raises:
        Mistake: no such file, no known format, none of the declared splits.
        RemoteFailed: the Hub cannot be reached and the cache does not hold the dataset.
    """
    if split is not None and not SPLIT.fullmatch(split):
        raise Mistake(f'"{split}" is no name of a split', "use letters, digits and `_`", "--split")
    if source is not None:
        return _local(recipe, source, split)
    if recipe.source.files is not None:
        return _declared_files(recipe, folder)
    if recipe.source.procedural is not None:
        parts = tuple(SourceSplit(made.split, (), None, made.fingerprint, made) for made in rows_to_make(recipe))
        return OpenSource(recipe.source.place, parts)
    return _hub(recipe)


def _declared_files(recipe: Recipe, folder: Path) -> OpenSource:
    files = recipe.source.files
    named = {"train": files} if isinstance(files, str) else dict(files or {})
    splits = []
    for name, patterns in named.items():
        paths: list[Path] = []
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            found = sorted(Path(path) for path in glob.glob(str(folder / pattern), recursive=True))  # noqa: PTH207 - absolute too
            if not found:
                raise Mistake(
                    f"{recipe.name}: no file matches `{pattern}`", "mend source.files in the recipe", str(folder)
                )
            paths += found
        splits.append(_files_split(name, paths))
    return OpenSource(", ".join(str(part.files[0]) for part in splits), tuple(splits))


def _local(recipe: Recipe, source: Path, split: str | None) -> OpenSource:
    if not source.exists():
        raise Mistake("there is no such file or folder", "give --source a file, or a folder of splits", str(source))
    if source.is_file():
        return OpenSource(str(source), (_files_split(split or "train", [source]),))
    if (source / "dataset_info.json").is_file() or (source / "dataset_dict.json").is_file():
        return _saved(recipe, source, split)
    return _chosen(recipe, source, _folder_splits(source), split)


def _saved(recipe: Recipe, source: Path, split: str | None) -> OpenSource:
    import datasets

    try:
        loaded = datasets.load_from_disk(str(source))
    except (OSError, ValueError, TypeError, KeyError) as error:  # what its files hold decides which
        raise unreadable(SourceSplit(str(source)), error) from error
    if isinstance(loaded, datasets.DatasetDict):
        return _chosen(recipe, source, dict(loaded), split)
    return OpenSource(str(source), (_dataset_split(split or "train", loaded),))


def _chosen(recipe: Recipe, source: Path, found: dict[str, Any], split: str | None) -> OpenSource:
    """The declared ones among the splits that a folder holds."""
    if not found:
        kinds = ", ".join([*READERS, ARROW])
        raise Mistake(
            "holds no data files",
            f"name files SPLIT.EXT, SPLIT-00000-of-00001.EXT or SPLIT/…, with {kinds}",
            str(source),
        )
    if recipe.source.procedural:
        declared = {name: name for name in recipe.source.procedural.splits}
    elif recipe.source.splits:
        declared = dict(recipe.source.splits)
    elif isinstance(recipe.source.files, dict):
        declared = {name: name for name in recipe.source.files}
    else:
        declared = {name: name for name in found}  # the recipe names none: all that are there
    if split:
        declared = {split: declared.get(split, split)}
    # A copy of a dataset may use our name of a split or the source's.
    chosen = {
        ours: theirs if theirs in found else ours
        for ours, theirs in declared.items()
        if theirs in found or ours in found
    }
    if not chosen:
        there, wanted = ", ".join(sorted(found)), ", ".join(declared.values())
        raise Mistake(
            f"holds the splits {there}; wanted: {wanted}",
            "rename the files, or declare the splits in the recipe",
            str(source),
        )
    parts = tuple(
        _files_split(ours, found[theirs]) if isinstance(found[theirs], list) else _dataset_split(ours, found[theirs])
        for ours, theirs in chosen.items()
    )
    skipped = tuple(sorted(set(found) - set(chosen.values())))
    return OpenSource(str(source), parts, skipped, tuple(name for name in declared if name not in chosen))


def _folder_splits(folder: Path) -> dict[str, list[Path]]:
    """Data files by split: `SPLIT.EXT`, `SPLIT-*-of-*.EXT` and `SPLIT/*`."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if _readable(file))
            if files:
                found.setdefault(path.name, []).extend(files)
        elif _readable(path):
            shard = SHARD.fullmatch(path.stem)
            found.setdefault(shard[1] if shard else path.stem, []).append(path)
    # A Hub repository as it is downloaded has its splits in `data/`.
    return _folder_splits(folder / "data") if list(found) == ["data"] and (folder / "data").is_dir() else found


def _readable(path: Path) -> bool:
    return (
        path.is_file()
        and (path.suffix.lower() in READERS or path.suffix.lower() == ARROW)
        and not path.name.startswith(".")
    )


def _files_split(split: str, files: Sequence[Path]) -> SourceSplit:
    kinds = {path.suffix.lower() for path in files}
    if len(kinds) > 1:
        raise Mistake(
            f"split `{split}` mixes {' and '.join(sorted(kinds))} files",
            "keep one format in a split",
            str(files[0].parent),
        )
    if not _readable(files[0]):
        known = ", ".join([*READERS, ARROW])
        raise Mistake(
            f"is in no format that is read: {files[0].suffix or 'no extension'}", f"use one of {known}", str(files[0])
        )
    paths = tuple(path.resolve() for path in files)
    return SourceSplit(split, paths, None, digest([file_digest(path) for path in paths]))


def _dataset_split(split: str, dataset: Any) -> SourceSplit:
    return SourceSplit(split, (), dataset, str(dataset._fingerprint))


def _hub(recipe: Recipe) -> OpenSource:
    splits = [_dataset_split(ours, load_split(recipe, theirs)) for ours, theirs in (recipe.source.splits or {}).items()]
    return OpenSource(f"Hub dataset {recipe.source.hub}", tuple(splits))


def _arrow_table(dataset: Any) -> Any:
    """A `datasets.Dataset` as an Arrow table: memory-mapped where the dataset is, and read batch by batch."""
    return (
        dataset.with_format(None).flatten_indices().data.table if dataset._indices is not None else dataset.data.table
    )
