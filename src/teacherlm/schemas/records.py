"""The record contracts of `schemas/*.yaml`, as Arrow, `datasets.Features`, JSON Schema and documentation.

Rows have no second definition: whatever needs the columns or types of a record asks here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml

from teacherlm.core.bundle import bundled
from teacherlm.core.errors import MachineFailed

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

RecordName = Literal[
    "sample",
    "rationale",
    "verdict",
    "finding",
    "duplicate",
    "contamination",
    "augmented",
    "cost",
    "run",
    "gate",
    "training",
    "training_stage",
    "score",
    "prediction",
    "experiment_cell",
    "experiment_item",
]
RECORDS: tuple[RecordName, ...] = get_args(RecordName)

KINDS: tuple[str, ...] = ("fundamentals", "chain_of_thought", "common_mistakes")
"""Rationale kinds, in asking order."""

SCHEMA_VERSION = 1
"""Version of the record contracts and of the `--format json` envelope."""

_JSON_TYPES: Mapping[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "int64": {"type": "integer"},
    "double": {"type": "number"},
    "bool": {"type": "boolean"},
    "timestamp": {"type": "string", "format": "date-time"},
    "list<string>": {"type": "array", "items": {"type": "string"}},
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a record."""

    name: str
    type: str
    nullable: bool = False
    values: tuple[str, ...] = ()
    about: str = ""
    fields: tuple[Column, ...] = ()
    """Columns inside a struct, or inside each struct of a list."""

    def arrow(self) -> pa.Field:
        import pyarrow as pa

        kinds = {
            "string": pa.string(),
            "int64": pa.int64(),
            "double": pa.float64(),
            "bool": pa.bool_(),
            "timestamp": pa.timestamp("us", tz="UTC"),
            # Readers name list items differently; one name keeps schemas equal on every path.
            "list<string>": pa.list_(pa.field("element", pa.string())),
        }
        struct = pa.struct([column.arrow() for column in self.fields])
        kinds |= {"struct": struct, "list<struct>": pa.list_(pa.field("element", struct))}
        return pa.field(self.name, kinds[self.type])

    def json_schema(self) -> dict[str, Any]:
        if self.type == "struct":
            schema: dict[str, Any] = _object(self.fields)
        elif self.type == "list<struct>":
            schema = {"type": "array", "items": _object(self.fields)}
        else:
            schema = dict(_JSON_TYPES[self.type])
        if self.values:
            schema["enum"] = [*self.values, None] if self.nullable else list(self.values)
        if self.nullable:
            schema["type"] = [schema["type"], "null"]
        if self.about:
            schema["description"] = self.about
        return schema

    def sql_type(self) -> str:
        """The column's type in DuckDB."""
        if self.type in ("struct", "list<struct>"):
            struct = "STRUCT(" + ", ".join(f'"{column.name}" {column.sql_type()}' for column in self.fields) + ")"
            return struct + ("[]" if self.type == "list<struct>" else "")
        return {
            "string": "VARCHAR",
            "int64": "BIGINT",
            "double": "DOUBLE",
            "bool": "BOOLEAN",
            "timestamp": "TIMESTAMPTZ",
            "list<string>": "VARCHAR[]",
        }[self.type]


@dataclass(frozen=True)
class Record:
    """A record contract: its name, purpose and columns in order."""

    name: str
    about: str
    columns: tuple[Column, ...]

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def arrow(self) -> pa.Schema:
        import pyarrow as pa

        return pa.schema([column.arrow() for column in self.columns])

    def features(self) -> datasets.Features:
        import datasets

        return datasets.Features.from_arrow_schema(self.arrow())

    def json_schema(self) -> dict[str, Any]:
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.name,
            "description": self.about,
            **_object(self.columns),
        }

    def markdown(self) -> str:
        """A table of the columns, for documentation and dataset cards."""
        lines = ["| column | type | meaning |", "| --- | --- | --- |"]
        for column in self.columns:
            kind = re.sub(r"list<(\w+)>", r"list of \1", column.type) + (" or null" if column.nullable else "")
            values = f" One of {', '.join(f'`{value}`' for value in column.values)}." if column.values else ""
            lines.append(f"| `{column.name}` | {kind} | {column.about}{values} |")
        return "\n".join(lines)

    def cast_list(self, source: str = "") -> str:
        """A SELECT list that gives every column its declared name, order and DuckDB type.

        Args:
            source: alias of the relation, with its dot, such as `s.`.
        """
        return ", ".join(f'CAST({source}"{c.name}" AS {c.sql_type()}) AS "{c.name}"' for c in self.columns)

    def empty_select(self) -> str:
        """A query with the record's columns and types and no rows."""
        columns = ", ".join(f'CAST(NULL AS {c.sql_type()}) AS "{c.name}"' for c in self.columns)
        return f"SELECT {columns} LIMIT 0"


def _object(columns: tuple[Column, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {column.name: column.json_schema() for column in columns},
        "required": [column.name for column in columns],
        "additionalProperties": False,
    }


@cache
def record(name: RecordName) -> Record:
    """The contract called `name`.

    Raises:
        MachineFailed: its file is missing from the installation.
    """
    path = bundled() / "schemas" / f"{name}.yaml"
    try:
        declared = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MachineFailed(
            f"cannot read the record contract {path.name}: {error}", "install teacherlm again"
        ) from error
    base = record(declared["extends"]).columns if "extends" in declared else ()
    return Record(declared["record"], declared["about"], base + _columns(declared["columns"]))


def _columns(declared: Mapping[str, Any]) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=name,
            type=entry["type"],
            nullable=entry.get("nullable", False),
            values=tuple(entry.get("values", ())),
            about=entry.get("about", ""),
            fields=_columns(entry.get("fields", {})),
        )
        for name, entry in declared.items()
    )
