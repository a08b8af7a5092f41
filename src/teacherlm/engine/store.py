"""A place where a workspace can lie: any fsspec location, with files that are whole or not there.

Keys of the store come from the environment, as the store's own client reads them; a URL that holds one is refused.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from teacherlm.core.errors import MissingExtra, Mistake, RemoteFailed, TeacherlmError
from teacherlm.core.files import disk_errors
from teacherlm.engine.folders import PART, Entry, create_file, list_files

WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"}
"""Protocols whose writes appear whole or not at all; with others we write beside the name and rename."""

AGAIN = 5
"""How often a tree is listed anew when a file went away while it was fetched."""

SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|ACCESS_KEY|CREDENTIAL|_KEY$")
"""Environment variables whose values are never shown."""


def is_location(text: object) -> bool:
    """Whether a workspace is given as a URL rather than as a folder of this machine."""
    return "://" in str(text)


class Store:
    """The files below a URL.

    >>> store = Store("s3://bucket/workspace")  # doctest: +SKIP
    >>> store.fetch_tree("samples/creak", Path("scratch"))  # doctest: +SKIP

    Raises:
        Mistake: the URL cannot be used.
        MissingExtra: the client for its protocol is not installed.
        RemoteFailed: by every method: the store refuses or does not answer.
    """

    def __init__(self, url: str) -> None:
        self.url = _checked(url)
        import fsspec

        try:
            self._fs, root = fsspec.core.url_to_fs(self.url)
        except ImportError:
            raise MissingExtra(f"a workspace at {urlsplit(self.url).scheme}://", "ray") from None
        except ValueError as error:
            raise Mistake(str(error), "write it as s3://BUCKET/FOLDER or file:///FOLDER", "--workspace") from None
        self._root = str(root).rstrip("/")
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self._is_whole = bool(protocols & WHOLE)
        self.folder = Path(self._root) if protocols & {"file", "local"} else None
        """Where it lies, if it is a folder of this machine."""

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.url,)

    def below(self, folder: str) -> Store:
        """The store of a folder."""
        return Store(f"{self.url}/{folder}")

    def place(self, name: str) -> str:
        """A file as a person finds it."""
        return f"{self.url}/{name}" if name else self.url

    def entries(self, prefix: str = "") -> list[Entry]:
        """The files below a folder of the store, sorted by name; none where there is no such folder.

        Raises:
            Mistake: there is no such bucket.
        """
        if self.folder is not None:
            return sorted(list_files(self.folder, self.folder / prefix), key=lambda entry: entry.name)
        with self._failures(prefix):
            self._fs.invalidate_cache()
            try:
                found = self._fs.find(self._path(prefix), detail=True)
            except FileNotFoundError as error:
                if "bucket" in str(error):
                    raise Mistake("there is no such bucket", "make it first, or mend the URL", self.url) from None
                found = {}
        start = len(self._root) + 1
        entries = [Entry(path[start:], int(info["size"] or 0), _version(info)) for path, info in found.items()]
        return sorted((entry for entry in entries if not entry.name.endswith(PART)), key=lambda entry: entry.name)

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""
        with self._failures(name):
            try:
                return bytes(self._fs.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def open(self, name: str) -> IO[bytes]:
        """A file to read parts of.

        Raises:
            FileNotFoundError: there is none.
        """
        with self._failures(name):
            file: IO[bytes] = self._fs.open(self._path(name), "rb")
        return file

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file; readers see the old one or the new one."""
        with self._failures(name), self._appearing(name) as path:
            self._fs.pipe_file(path, data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that nobody has; False where somebody has, or was quicker."""
        with self._failures(name):
            path = self._path(name)
            try:
                if self.folder is not None:
                    create_file(Path(path), data)
                else:
                    self._make_folder(name)
                    self._fs.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
            except (TypeError, NotImplementedError):  # a client of a store without conditional writes
                if self._fs.exists(path):
                    return False
                self._fs.pipe_file(path, data)
        return True

    def upload(self, path: Path, name: str) -> None:
        """Upload a whole file; readers see the old one or the new one."""
        with self._failures(name), self._appearing(name) as target:
            self._fs.put_file(str(path), target)

    def upload_tree(self, folder: Path, prefix: str, *, last: str | None = None) -> None:
        """Make the files below `prefix` those of a folder.

        Args:
            last: the file whose presence says that the tree is whole: it is taken away first and uploaded last.
        """
        files = {f"{prefix}/{path.relative_to(folder).as_posix()}": path for path in sorted(folder.rglob("[!.]*"))}
        files = {name: path for name, path in files.items() if path.is_file()}
        closing = f"{prefix}/{last}" if last else None
        if closing:
            self.remove([closing])
        for name, path in files.items():
            if name != closing:
                self.upload(path, name)
        self.remove([entry.name for entry in self.entries(prefix) if entry.name not in files])
        if closing in files:
            self.upload(files[closing], closing)

    def fetch(self, names: Sequence[str], folder: Path) -> None:
        """Copy files below a local folder, under their names.

        Raises:
            FileNotFoundError: one of them is not there any more.
        """
        targets = [folder / name for name in names]
        for parent in {target.parent for target in targets}:
            with disk_errors(parent):
                parent.mkdir(parents=True, exist_ok=True)
        parts = [target.with_name(f".{target.name}{PART}") for target in targets]
        if names:
            with self._failures(names[0]):
                self._fs.get([self._path(name) for name in names], [str(part) for part in parts])
        for part, target in zip(parts, targets, strict=True):
            with disk_errors(target):
                part.replace(target)

    def fetch_tree(self, prefix: str, folder: Path) -> list[str]:
        """Copy all files below `prefix`; returns their names."""
        for _ in range(AGAIN):
            names = [entry.name for entry in self.entries(prefix)]
            with contextlib.suppress(FileNotFoundError):  # replaced since it was listed
                self.fetch(names, folder)
                return names
        raise RemoteFailed("the files change faster than they can be fetched", "run again later", self.place(prefix))

    def remove(self, names: Sequence[str]) -> None:
        """Remove files; those that are not there are fine."""
        with self._failures(names[0] if names else ""):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self._fs.rm_file(self._path(name))

    def modified(self, name: str) -> datetime:
        """When a file was written, by the store's clock.

        Raises:
            FileNotFoundError: there is none.
        """
        with self._failures(name):
            self._fs.invalidate_cache()
            moment: datetime = self._fs.modified(self._path(name))
        return moment

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _make_folder(self, name: str) -> None:
        if not self._is_whole:
            self._fs.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)

    @contextlib.contextmanager
    def _appearing(self, name: str) -> Iterator[str]:
        """The path to write to, so that the file appears whole."""
        if self._is_whole:
            yield self._path(name)
            return
        self._make_folder(name)
        folder, _, last = self._path(name).rpartition("/")
        beside = f"{folder}/.{last}.{uuid.uuid4().hex[:8]}{PART}"
        try:
            yield beside
            if self.folder is not None:
                Path(beside).replace(self._path(name))
            else:
                self._fs.mv(beside, self._path(name))
        except BaseException:
            with contextlib.suppress(Exception):
                self._fs.rm_file(beside)
            raise

    @contextlib.contextmanager
    def _failures(self, name: str) -> Iterator[None]:
        """Turn what a store's client raises, which may be anything, into words."""
        try:
            yield
        except (FileNotFoundError, FileExistsError, TeacherlmError):
            raise
        except Exception as error:
            place = self.place(name)
            words = without_secrets(" ".join(str(error).split()) or type(error).__name__)[:300]
            if isinstance(error, PermissionError) or "credentials" in words.lower():
                remedy = (
                    "set the store's keys in the environment of every machine (AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY for S3), or give the machines a role that may read and write there"
                )
                raise RemoteFailed(f"the store refuses: {words}", remedy, place) from None
            remedy = "see that the store can be reached and run the same command again: what was uploaded is kept"
            raise RemoteFailed(f"the store failed: {words}", remedy, place) from None


def without_secrets(text: str) -> str:
    """A text in which no secret of the environment stands."""
    for name, value in os.environ.items():
        if len(value) >= 8 and SECRET.search(name.upper()):
            text = text.replace(value, "***")
    return text


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or "::" in url:
        scheme = parts.scheme or "s3"
        found = "the URL of a workspace must hold neither a key nor a query"
        raise Mistake(found, f"write {scheme}://BUCKET/FOLDER; keys come from the environment", "--workspace")
    if not parts.scheme or not (parts.netloc or parts.path.strip("/")):
        raise Mistake(f'"{url}" is no location', "write it as s3://BUCKET/FOLDER or file:///FOLDER", "--workspace")
    return url.rstrip("/")


def _version(info: dict[str, Any]) -> str:
    marks = (info.get(name) for name in ("ETag", "etag", "md5Hash", "mtime", "created", "LastModified"))
    return f"{info['size']}-{next((mark for mark in marks if mark is not None), '')}"
