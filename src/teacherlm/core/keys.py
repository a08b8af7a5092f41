"""Keys and fingerprints: SHA-256 over canonical JSON, so that equal content has equal keys everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson


def canonical(value: Any) -> bytes:
    """The one JSON text of a value: keys sorted, no blanks, UTF-8.

    >>> canonical({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def text_digest(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes, in 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path, pattern: str) -> str:
    """Fingerprint of the files below a folder: their relative names and bytes."""
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return digest({path.relative_to(folder).as_posix(): file_digest(path) for path in files})


def call_key(
    *,
    kind: str,
    prompt: str | list[dict[str, str]],
    parameters: Mapping[str, Any] | bytes,
    model: str | None,
    revision: str | None,
    sample_id: str,
    repeat: int,
) -> str:
    """Key of one call to a teacher: same key, same question, so it is never asked twice.

    It covers everything that decides the answer and nothing that does not: no URL, no timing.
    A system prompt is one of the messages.

    Args:
        parameters: or their canonical JSON.

    Returns:
        64 hex digits.
    """
    asked_with = orjson.Fragment(parameters) if isinstance(parameters, bytes) else parameters
    parts = [kind, prompt, asked_with, model, revision, sample_id, repeat]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
