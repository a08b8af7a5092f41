"""SQL over what was published: a folder, or a repository on the Hub, whose files come into the Hub's cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from teacherlm.api.session import create, parquet
from teacherlm.api.sql_views import WorkspaceSource
from teacherlm.core.errors import Mistake
from teacherlm.core.files import disk_errors
from teacherlm.core.keys import text_digest
from teacherlm.core.stored import to_json
from teacherlm.hub import address, manifest
from teacherlm.hub.manifest import Manifest
from teacherlm.schemas.records import RecordName, record

if TYPE_CHECKING:
    import duckdb

OPTION = "--from"

PUBLISHED: Mapping[str, RecordName] = {"augmented": "augmented", "samples": "sample"}
"""Views that a published place has; `samples` are columns of the augmented table."""

KEPT = tuple(view for view in WorkspaceSource.views if view not in PUBLISHED)
"""Views that only a workspace has."""


class PublishedSource:
    """The views over a published place.

    Raises:
        Mistake: it is no such place.
        RemoteFailed: the Hub cannot be reached or fails.
        MachineFailed: its manifest is damaged.
    """

    views = tuple(PUBLISHED)

    def __init__(self, place: str) -> None:
        self._given = place
        self._is_hub = address.is_hub(place)
        self._manifest = self._hub_manifest() if self._is_hub else self._folder_manifest()

    @property
    def place(self) -> str:
        return self._given

    @property
    def datasets(self) -> Sequence[str]:
        return tuple(self._manifest.datasets)

    @property
    def fingerprint(self) -> str:
        """Of what is published: its files and their digests."""
        return text_digest(to_json(self._manifest).decode())

    def absent(self, view: str) -> Mistake | None:
        if view not in KEPT:
            return None
        return Mistake(
            f"what is published has no view `{view}`",
            f"it has {' and '.join(self.views)}; ask the workspace that it was made in, without {OPTION}",
            self._given,
        )

    def create(self, connection: duckdb.DuckDBPyConnection, view: str) -> None:
        contract = record(PUBLISHED[view])
        # By name: where rationales alone are published, the columns of the source are missing, and null here.
        rows = [f"FROM ({contract.empty_select()})"]
        for name, entry in self._manifest.datasets.items():
            for split, data in entry.splits.items():
                found = parquet([self._folder / file.path for file in data.files], "union_by_name = true")
                place = f"{_text(name)} AS dataset, {_text(split)} AS split"
                rows.append(f"SELECT {place}, COLUMNS(lambda c: c NOT IN ('dataset', 'split')) FROM {found}")
        files = [self._folder / path for path in self._paths]
        create(connection, view, f"SELECT {contract.cast_list()} FROM ({' UNION ALL BY NAME '.join(rows)})", files)

    def _folder_manifest(self) -> Manifest:
        folder = Path(self._given)
        if "://" in self._given or not folder.is_dir():
            raise Mistake(
                "there is no such folder", "give a published folder, or  hf://datasets/ORG/REPO[@REVISION]", self._given
            )
        path = folder / manifest.NAME
        if not path.is_file():
            raise Mistake(
                f"holds no {manifest.NAME}: it is not a published folder",
                "give the folder of `publish --to`; a workspace is given by --workspace",
                self._given,
            )
        with disk_errors(path):
            return manifest.parse(path.read_bytes(), str(path))

    def _hub_manifest(self) -> Manifest:
        from teacherlm.hub.repository import Repository

        self._repository = Repository(address.parse(self._given, OPTION))
        commit = self._repository.head()
        if commit is None:
            raise Mistake(
                "the Hub has no such repository or revision that you may see",
                "look at the name and the revision; log in (hf auth login) if it is private or gated",
                self._given,
            )
        self._commit = commit
        found = self._repository.manifest(commit)
        if found is None:
            raise Mistake(
                f"holds no {manifest.NAME}: teacherlm did not publish it",
                "give a repository of `publish --to hf://…`",
                self._given,
            )
        return found

    @property
    def _paths(self) -> list[str]:
        entries = self._manifest.datasets.values()
        return [file.path for entry in entries for split in entry.splits.values() for file in split.files]

    @cached_property
    def _folder(self) -> Path:
        """Where the data files lie; those of the Hub are fetched when a view asks for them."""
        if not self._is_hub:
            return Path(self._given)
        named = self._repository.address.repository
        with self._repository.errors("read"):
            fetched = self._repository.api.snapshot_download(
                named, repo_type="dataset", revision=self._commit, allow_patterns=self._paths
            )
        return Path(fetched)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
