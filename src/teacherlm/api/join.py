"""`teacherlm.join(place, name)`: rationales that were published alone, back together with their source.

Of a source whose licence keeps its text back the rationales are published, keyed by `sample_id`, with the recipe.
Whoever may use the source loads it under its own licence: the recipe makes the same samples of it, with the same ids.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.api.project import Project
from teacherlm.api.workspace import Workspace
from teacherlm.core.errors import Mistake
from teacherlm.core.files import write_text
from teacherlm.core.keys import file_digest
from teacherlm.hub import address, manifest
from teacherlm.hub.address import Address
from teacherlm.hub.manifest import Manifest
from teacherlm.hub.repository import Repository
from teacherlm.project.find import ProjectFiles
from teacherlm.schemas.records import record

if TYPE_CHECKING:
    import datasets


def join(
    place: str | Path,
    name: str,
    *,
    split: str | None = None,
    source: str | Path | None = None,
    revision: str | None = None,
) -> datasets.DatasetDict | datasets.Dataset:
    """The augmented dataset, of published rationales and their source.

    Args:
        place: `ORG/REPO` or `hf://datasets/ORG/REPO[@REVISION]`, or a published folder.
        name: the dataset, such as `race-high`.
        split: one split, in place of all.
        source: local rows of the source, in place of the Hub's.
        revision: branch, tag or commit of the repository.

    Returns:
        The published rows in their order, with the columns of the augmented record. A text that had been taken from the
        source itself (strategy `human`) is not among the rationales; it stands in `human_rationale`.

    Raises:
        Mistake: there is no such publication, dataset or split; no published row has a sample in the source.
        Mistakes: the source is not what the recipe was written for.
        RemoteFailed: the Hub fails.

    The recipe's expressions are run in DuckDB, which may read files of this machine: join what you trust.

    Warns:
        UserWarning: samples of the source are not what they were; their rows are left out.
    """
    import datasets

    with tempfile.TemporaryDirectory(prefix="teacherlm-join-") as scratch:
        root = Path(scratch)
        local, held = _opened(place, revision, root)
        if name not in held.datasets:
            raise Mistake(f"holds no dataset `{name}`", f"it holds {', '.join(held.datasets)}", str(place))
        entry = held.datasets[name]
        if split is not None and split not in entry.splits:
            raise Mistake(f"`{name}` has no split `{split}`", f"it has {', '.join(entry.splits)}", str(place))
        recipe = next(path for path in entry.files if path.startswith("recipes/"))
        if file_digest(local(recipe)) != entry.files[recipe]:
            raise Mistake(f"{recipe} is not the file that was published", "see  teacherlm verify", str(place))
        samples = _samples(name, recipe, local, source, root)
        wanted = [split] if split is not None else list(entry.loadable)
        joined = {
            part: _joined([local(file.path) for file in entry.splits[part].files], samples / part, name, part)
            for part in wanted
        }
        # The rows must outlive the files that they were joined from.
        return joined[split] if split is not None else datasets.DatasetDict(joined)


class _Local:
    """Published files, downloaded where they are not at hand."""

    def __init__(self, folder: Path | None, repository: Repository | None, commit: str | None, cache: Path) -> None:
        self._folder, self._repository, self._commit, self._cache = folder, repository, commit, cache

    def __call__(self, path: str) -> Path:
        if self._folder is not None:
            return self._folder / path
        assert self._repository is not None
        assert self._commit is not None
        return self._repository.fetch(path, self._commit, self._cache)


def _opened(place: str | Path, revision: str | None, scratch: Path) -> tuple[_Local, Manifest]:
    folder = Path(place)
    if folder.is_dir():
        path = folder / manifest.NAME
        if not path.is_file():
            raise Mistake(f"has no {manifest.NAME}: it is not a published folder", "name one", str(place))
        return _Local(folder, None, None, scratch), manifest.parse(path.read_bytes(), str(path))
    given = str(place) if address.is_hub(str(place)) else f"{address.SCHEME}datasets/{place}"
    at = address.parse(given, "teacherlm.join")
    if revision and at.revision and revision != at.revision:
        raise Mistake(f"names `{at.revision}`, and revision=`{revision}`", "give one of them", str(place))
    repository = Repository(Address(at.repository, revision or at.revision))
    commit = repository.head()
    found = repository.manifest(commit) if commit else None
    if commit is None or found is None:
        raise Mistake("is no publication that you may see", "give a folder, or ORG/REPO of the Hub", str(place))
    return _Local(None, repository, commit, scratch / "hub"), found


def _samples(name: str, recipe: str, local: _Local, source: str | Path | None, scratch: Path) -> Path:
    """Build the samples with the published recipe."""
    declared = scratch / "project"
    write_text(declared / "catalog.yaml", "{}\n")
    (declared / "builders").mkdir()
    shutil.copyfile(local(recipe), declared / "builders" / f"{name}.yaml")
    project = Project(ProjectFiles(declared), Workspace(scratch / "workspace"))
    project.build(name, source=Path(source).resolve() if source is not None else None)
    return project.workspace.samples(name)


def _joined(published: list[Path], samples: Path, name: str, split: str) -> datasets.Dataset:
    import datasets
    import duckdb

    if not any(samples.glob("*.parquet")):
        edit = "give a source that has it, or one of its splits with  split=…"
        raise Mistake(f"the source has no split `{split}`", edit, name)
    contract = record("augmented")
    own = record("sample").names
    texts = [column for column in contract.names if column not in own]
    files = ", ".join("'" + str(path).replace("'", "''") + "'" for path in published)
    made = str(samples).replace("'", "''")
    columns = ", ".join([*(f's."{column}"' for column in own), *(f'p."{column}"' for column in texts)])
    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        con.execute(f"CREATE VIEW published AS SELECT *, row_number() OVER () AS place FROM read_parquet([{files}])")
        con.execute(f"CREATE VIEW samples AS FROM read_parquet('{made}/*.parquet')")
        table = con.sql(
            f"SELECT {contract.cast_list()} FROM "
            f"(SELECT {columns}, p.place FROM published p JOIN samples s ON s.sample_id = p.sample_id) ORDER BY place"
        ).to_arrow_table()
        ((rows,),) = con.execute("SELECT count(*) FROM published").fetchall()
    if rows and not table.num_rows:
        raise Mistake(
            f"none of the {rows:,} published rows of `{split}` has a sample in the source",
            "take the source, and its revision, that the recipe names",
            name,
        )
    if table.num_rows < rows:
        warnings.warn(
            f"{name}, {split}: {rows - table.num_rows:,} of {rows:,} published rows have no sample in the source",
            stacklevel=3,
        )
    return datasets.Dataset(table.cast(contract.features().arrow_schema))
