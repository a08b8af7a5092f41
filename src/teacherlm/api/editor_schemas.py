"""JSON Schemas of the files that people write, from the specs that read them: for editors that complete and check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import orjson

from teacherlm.core.files import write_text
from teacherlm.train.layers import EXTENDS
from teacherlm.train.read import FOLDER as TRAIN
from teacherlm.train.read import LAUNCH, LAYOUTS

FileKind = Literal["recipe", "catalog", "prompts", "training", "layouts"]
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
    return {"$schema": DIALECT, **(_extending(schema) if kind == "training" else schema)}


def _extending(schema: dict[str, Any]) -> dict[str, Any]:
    """A declaration's schema, by which one that `extends` another may leave out what that one has."""
    about = "Another declaration, whose keys hold where this one has none; such as `paper/teacher-560m`."
    schema["properties"] = {EXTENDS: {"type": "string", "description": about}, **schema["properties"]}
    whole = {"required": schema.pop("required")}
    stages = {"properties": {"stages": {"items": {"required": schema["$defs"]["Stage"].pop("required")}}}}
    named = {"properties": {"stages": {"items": {"required": ["name"]}}}}
    schema["$defs"]["Schedule"].pop("required")
    schedule = {"properties": {"schedule": {"required": ["learning_rate"]}}}
    stages["properties"]["stages"]["items"] |= schedule
    return {**schema, "if": {"required": [EXTENDS]}, "then": named, "else": {"allOf": [whole, stages]}}


def _spec(kind: FileKind) -> Any:
    from teacherlm.api.catalog import Catalog
    from teacherlm.builders.prompts import PromptProfile
    from teacherlm.builders.recipe import Recipe
    from teacherlm.project.layouts import Layout
    from teacherlm.train.declaration import Training

    specs: dict[FileKind, Any] = {
        "recipe": Recipe,
        "catalog": Catalog,
        "prompts": PromptProfile,
        "training": Training,
        "layouts": dict[str, Layout],
    }
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
        ("layouts", lambda path: str(path) == f"{TRAIN}/{LAYOUTS}"),
        ("training", lambda path: path.parts[0] == TRAIN and path.suffix == ".yaml" and path.parts[1] != LAUNCH),
    ]
    found = next((kind for kind, belongs in places if belongs(path)), None)
    return f"{'../' * (len(path.parts) - 1)}{FOLDER}/{found}.json" if found else None


def schema_line(file: str) -> str:
    """The first line of a project's file, which tells editors its schema; empty for a file that has none."""
    path = schema_path(file)
    return f"# yaml-language-server: $schema={path}\n" if path else ""
