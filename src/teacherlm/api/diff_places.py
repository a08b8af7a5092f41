"""Places that are compared: a workspace, a published folder, or a revision of a dataset on the Hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api.check import read_report
from teacherlm.api.session import connect, create, open_session, parquet
from teacherlm.api.workspace import Workspace
from teacherlm.core.errors import Mistake
from teacherlm.core.files import disk_errors
from teacherlm.hub import address, manifest
from teacherlm.quality.report import Report
from teacherlm.schemas.records import record

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Place:
    """Datasets somewhere, and what is known of their checks."""

    given: str
    """As it was named."""
    workspace: Workspace | None = None
    """None: a published place."""
    entries: Mapping[str, manifest.Entry] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Sequence[Path]]] = field(default_factory=dict)
    """Of a published place: Parquet files by dataset and split."""

    @property
    def datasets(self) -> list[str]:
        return self.workspace.datasets() if self.workspace else sorted(self.files)

    def report(self, dataset: str) -> Report | None:
        """The report of the last check; a published place has none."""
        return read_report(self.workspace, dataset) if self.workspace else None

    def session(self, names: Iterable[str]) -> duckdb.DuckDBPyConnection:
        """The views of a workspace; of a published place the view `augmented` alone."""
        own = [name for name in names if name in self.datasets]
        if self.workspace:
            return open_session(self.workspace, own)
        return _published(self.files, own)


def open_place(given: str, names: Sequence[str] = ()) -> Place:
    """A place by its folder, or by `hf://datasets/ORG/REPO[@REVISION]`.

    Args:
        names: of a place on the Hub, the datasets to fetch; none: all.

    Raises:
        Mistake: there is nothing of teacherlm's there.
        RemoteFailed: the Hub cannot be reached, or does not show it to us.
        MachineFailed: a damaged manifest.
    """
    if address.is_hub(given):
        return _on_hub(given, names)
    folder = Path(given)
    if not folder.is_dir():
        raise Mistake("there is no such folder", "give a workspace, a published folder, or hf://datasets/…", given)
    if (path := folder / manifest.NAME).is_file():
        with disk_errors(path):
            entries = manifest.parse(path.read_bytes(), str(path)).datasets
        return Place(given, entries=entries, files=_files(entries, folder))
    for root in (folder, folder / "workspace"):
        if (root / "samples").is_dir() or (root / "rationales").is_dir():
            return Place(given, Workspace(root))
    found_there = f"holds no samples and no {manifest.NAME}: it is neither a workspace nor a published folder"
    raise Mistake(found_there, "give a folder that build or publish has written", given)


def _on_hub(given: str, names: Sequence[str]) -> Place:
    """A repository, at the one commit that its name stands for now; its files come into the Hub's cache."""
    from teacherlm.hub.repository import Repository

    repository = Repository(address.parse(given, given))
    commit = repository.head()
    if commit is None:
        remedy = "look at the name and the revision; log in (hf auth login) if it is private"
        raise Mistake("the Hub has no such repository or revision that you may see", remedy, given)
    found = repository.manifest(commit)
    if found is None:
        remedy = "give a repository of `publish --to hf://…`"
        raise Mistake(f"holds no {manifest.NAME}: teacherlm did not publish it", remedy, given)
    entries = {name: entry for name, entry in found.datasets.items() if not names or name in names}
    paths = [file.path for entry in entries.values() for file in _data(entry)]
    root = Path()
    if paths:
        with repository.errors("read"):
            root = Path(
                repository.api.snapshot_download(
                    repository.address.repository, repo_type="dataset", revision=commit, allow_patterns=paths
                )
            )
    return Place(given, entries=found.datasets, files=_files(entries, root))


def _files(entries: Mapping[str, manifest.Entry], root: Path) -> dict[str, dict[str, list[Path]]]:
    return {
        name: {split: [root / file.path for file in held.files] for split, held in entry.splits.items()}
        for name, entry in entries.items()
    }


def _data(entry: manifest.Entry) -> list[manifest.DataFile]:
    return [file for split in entry.splits.values() for file in split.files]


def _published(files: Mapping[str, Mapping[str, Sequence[Path]]], names: Sequence[str]) -> duckdb.DuckDBPyConnection:
    """A session over published files; columns that a dataset was published without are null."""
    contract = record("augmented")
    columns = ", ".join(name for name in contract.names if name not in ("dataset", "split"))
    con = connect()
    parts, every = [contract.empty_select()], list[Path]()
    for name in names:
        for split, paths in files[name].items():
            every += paths
            rows = f"from {parquet(paths, 'union_by_name = true')} union all by name ({contract.empty_select()})"
            parts.append(f"select {columns}, {_text(name)} as dataset, {_text(split)} as split from ({rows})")
    query = " union all by name ".join(f"({part})" for part in parts)
    create(con, "augmented", f"select {contract.cast_list()} from ({query})", every)
    return con


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def gates_of(report: Report | None) -> dict[str, dict[str, Any]]:
    """Gates by name, as a page and a program read them."""
    gates = report.gates if report else ()
    return {gate.name: {"value": gate.value, "limit": gate.limit, "passed": gate.passed} for gate in gates}
