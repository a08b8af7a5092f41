"""JSON Schemas of the files that people write, from the specs that read them: for editors that complete and check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import orjson

from teacherlm.core.files import write_text

FileKind = Literal["recipe", "catalog", "prompts"]
FILE_KINDS: tuple[FileKind, ...] = get_args(FileKind)

FOLDER = ".schemas"
"""Where a project keeps them; `schemas/` holds the contracts of records."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def file_schema(kind: FileKind) -> dict[str, Any]:
    """The JSON Schema of one kind of file."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(_spec(kind)).json_schema()
    # A file's name is its name, so that files need not hold it.
    if "name" in schema.get("required", ()):
        schema["required"].remove("name")
    return {"$schema": DIALECT, **schema}


def _spec(kind: FileKind) -> Any:
    from teacherlm.api.catalog import Catalog
    from teacherlm.builders.prompts import PromptProfile
    from teacherlm.builders.recipe import Recipe

    specs: dict[FileKind, Any] = {"recipe": Recipe, "catalog": Catalog, "prompts": PromptProfile}
    return specs[kind]


def schema_text(kind: FileKind) -> str:
    """A schema as it is written into a file."""
    return orjson.dumps(file_schema(kind), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def write_schemas(root: Path) -> list[str]:
    """Write a project's schemas, those of this version of teacherlm.

    Returns:
        The files, relative to `root`.
    """
    names = []
    for kind in FILE_KINDS:
        path, text = root / FOLDER / f"{kind}.json", schema_text(kind)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
        names.append(f"{FOLDER}/{kind}.json")
    return names


def schema_path(file: str) -> str | None:
    """Where the schema of a project's file is, from the file's folder; None for a file that has none.

    >>> schema_path("builders/prompts/paper.yaml")
    '../../.schemas/prompts.json'
    """
    path = PurePosixPath(file)
    places: list[tuple[FileKind, Callable[[PurePosixPath], bool]]] = [
        ("catalog", lambda path: str(path) == "catalog.yaml"),
        ("prompts", lambda path: path.match("builders/prompts/*.yaml")),
        ("recipe", lambda path: path.match("builders/*.yaml")),
    ]
    found = next((kind for kind, belongs in places if belongs(path)), None)
    return f"{'../' * (len(path.parts) - 1)}{FOLDER}/{found}.json" if found else None


def schema_line(file: str) -> str:
    """The first line of a project's file, which tells editors its schema; empty for a file that has none."""
    path = schema_path(file)
    return f"# yaml-language-server: $schema={path}\n" if path else ""
