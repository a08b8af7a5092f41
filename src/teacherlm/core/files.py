"""Files that are whole or not there, and the words for a disk that refuses."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from teacherlm.core.errors import MachineFailed


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusals around `path` into a MachineFailed with a remedy."""
    try:
        yield
    except OSError as error:
        raise disk_failure(path, error) from error


def disk_failure(path: Path, error: OSError) -> MachineFailed:
    """What a person can do about an error of the file system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = _free_space(path)
        return MachineFailed(
            f"the disk is full ({free} left)", "make space and run the same command again; nothing is lost", str(path)
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return MachineFailed("cannot be written here", "choose another folder or change its permissions", str(path))
    return MachineFailed(
        f"the file system failed: {error.strerror or error}", "look at the disk and run again", str(path)
    )


def _free_space(path: Path) -> str:
    for folder in (path, *path.parents):
        if folder.exists():
            return f"{shutil.disk_usage(folder).free / 1e6:,.1f} MB"
    return "no space"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when it does not.

    Raises:
        MachineFailed: the disk is full or refuses.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with disk_errors(path):
            temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise disk_failure(path, error) from error
        raise


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """As `replacing`, for a folder that one writer at a time replaces.

    The two folders change places in one step where the system can (Linux); elsewhere there is a moment without the
    folder, and a process killed in it leaves the old one aside, which the next writer puts back.
    """
    mend_folder(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    retired = temporary.with_suffix(".old")
    try:
        with disk_errors(path):
            temporary.mkdir(parents=True)
        yield temporary
        with disk_errors(path):
            if path.exists() and not _exchange(temporary, path):
                path.rename(retired)
            if not path.exists():
                temporary.rename(path)
        for leftover in (temporary, retired):
            shutil.rmtree(leftover, ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if retired.exists() and not path.exists():
            retired.rename(path)
        if isinstance(error, OSError):
            raise disk_failure(path, error) from error
        raise


def mend_folder(path: Path) -> None:
    """Undo what a writer of this folder left when it was killed; only for whoever may write it now."""
    for retired in path.parent.glob(f".{path.name}.*.old"):
        if not path.exists():
            with disk_errors(path):
                retired.rename(path)
    for leftover in (*path.parent.glob(f".{path.name}.*.old"), *path.parent.glob(f".{path.name}.*.tmp")):
        shutil.rmtree(leftover, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)  # Linux, glibc 2.28
    if rename is None:
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or leave what was there."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def read_json(path: Path) -> Any | None:
    """The value of a JSON file; None where there is no such file.

    Raises:
        MachineFailed: the file holds no JSON.
    """
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except orjson.JSONDecodeError as error:
        raise MachineFailed(f"is not JSON: {error}", "remove the file and run the step again", str(path)) from error
    except OSError as error:
        raise disk_failure(path, error) from error


def sweep_temporary(folder: Path) -> None:
    """Remove what killed processes left in a folder that we hold the lock of."""
    for path in folder.glob(".*.tmp"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
