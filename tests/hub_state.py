"""What a Hub holds: repositories with commits, branches, tags, pull requests, and stored large files."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

LARGE = 10_000_000
"""Bytes above which a file goes to the store of large files; Parquet files always do."""


@dataclass(frozen=True)
class File:
    """One file of a commit."""

    content: bytes
    large: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        """Git's name of the blob: of the pointer where the file is large."""
        data = self.content
        if self.large:
            data = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(data)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.oid


@dataclass(frozen=True)
class Commit:
    """Everything that a repository holds at one moment."""

    id: str
    files: Mapping[str, File]
    parent: str | None
    title: str


@dataclass
class Repository:
    """One dataset repository."""

    id: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    """Branch, or `refs/pr/1` -> commit."""
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: Mapping[str, File], title: str) -> Commit:
        """Put a new commit on a branch."""
        parent = self.refs.get(branch)
        # Never one that a client's cache has seen: tests share a cache, and begin with empty Hubs.
        made = Commit(hashlib.sha1(uuid.uuid4().bytes).hexdigest(), dict(files), parent, title)
        self.commits[made.id] = made
        self.refs[branch] = made.id
        return made

    def at(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag or a commit's id names."""
        wanted = self.refs.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(wanted)

    def head(self, branch: str = "main") -> Commit:
        return self.commits[self.refs[branch]]

    def history(self, revision: str = "main") -> list[Commit]:
        found = []
        commit = self.at(revision)
        while commit:
            found.append(commit)
            commit = self.commits.get(commit.parent or "")
        return found

    def info(self, commit: Commit) -> dict[str, Any]:
        return {
            "id": self.id,
            "sha": commit.id,
            "private": self.private,
            "tags": [],
            "gated": "manual" if self.gated else False,
            "siblings": [{"rfilename": path} for path in commit.files],
            "lastModified": "2026-01-01T00:00:00.000Z",
        }


class HubState:
    """All repositories, and the large files that arrived."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        """Large files by SHA-256, also those that no commit holds yet."""

    def create(self, identity: str, *, private: bool = False) -> Repository:
        repository = Repository(identity, private=private)
        repository.commit("main", {".gitattributes": File(b"*.parquet filter=lfs\n")}, "initial commit")
        self.repositories[identity] = repository
        return repository

    def put(self, identity: str, files: Mapping[str, bytes], branch: str = "main") -> Commit:
        """Let a branch hold these files, as if somebody had pushed them."""
        repository = self.repositories.setdefault(identity, Repository(identity))
        held = {path: File(content, is_large(path, len(content))) for path, content in files.items()}
        self.stored |= {file.sha256: file.content for file in held.values() if file.large}
        return repository.commit(branch, held, "put")

    def changed(self, before: Mapping[str, File], operations: Iterable[Mapping[str, Any]]) -> dict[str, File]:
        """The files after the operations of a commit.

        Raises:
            KeyError: a large file that has not arrived.
        """
        import base64

        files = dict(before)
        for line in operations:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                files[value["path"]] = File(self.stored[value["oid"]], large=True)
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
            elif line["key"] == "deletedFolder":
                files = {path: file for path, file in files.items() if not path.startswith(value["path"])}
        return files


def is_large(path: str, size: int) -> bool:
    return path.endswith(".parquet") or size > LARGE


def tree(files: Mapping[str, File], folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """The entries of a folder, as the Hub lists them."""
    prefix = f"{folder}/" if folder else ""
    entries: dict[str, dict[str, Any]] = {}
    for path, file in sorted(files.items()):
        if not path.startswith(prefix):
            continue
        steps = path[len(prefix) :].split("/")
        for depth in range(1, len(steps)):
            name = prefix + "/".join(steps[:depth])
            if recursive or depth == 1:
                entries[name] = {"type": "directory", "path": name, "size": 0, "oid": "0" * 40}
        if recursive or len(steps) == 1:
            entry = {"type": "file", "path": path, "size": len(file.content), "oid": file.oid}
            if file.large:
                entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": 134}
            entries[path] = entry
    return list(entries.values())
