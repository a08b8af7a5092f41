"""Suites: what a table must hold, as YAML in the words of Great Expectations; types and nulls come from the schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic.dataclasses import dataclass

from teacherlm.core.errors import Mistakes, Problem
from teacherlm.core.keys import digest
from teacherlm.project.bind import SPEC_CONFIG, bind
from teacherlm.project.located import Located, read_yaml
from teacherlm.schemas.records import Column, RecordName, record

Table = Literal["samples", "rationales", "augmented"]
TABLES: tuple[Table, ...] = get_args(Table)

Severity = Literal["critical", "warning", "info"]

SATISFY, ROWS = "expect_column_values_to_satisfy", "unexpected_rows_expectation"
"""Expectations that hold SQL: a condition over one row (ours), and a query whose rows are unexpected."""

COLUMNS, TYPE = "expect_table_columns_to_match_set", "expect_column_values_to_be_of_type"
"""Expectations about the shape of a table; where one fails, the others cannot be looked at."""

SHAPE = (COLUMNS, TYPE)


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class Declared:
    """One expectation, as a suite declares it."""

    type: str
    """Its name in Great Expectations, such as `expect_column_values_to_be_in_set`."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Its arguments; `{$PARAMETER: samples}` is the number of samples that the build counted."""
    severity: Severity = "critical"
    """`critical` stops publishing; the others are only told."""
    description: str | None = None
    """What holds, for people."""


@dataclass(frozen=True, kw_only=True, config=SPEC_CONFIG)
class SuiteFile:
    """A suite, as its file declares it."""

    table: Table | None = None
    """The table that it is about; none: that of the file's name."""
    schema: RecordName | None = None
    """Record whose columns, types, nulls and value sets the table must have."""
    expectations: tuple[Declared, ...] = ()


@plain_dataclass(frozen=True)
class Expectation:
    """One expectation of a table, and where it stands."""

    table: Table
    declared: Declared
    located: Located | None = None
    """Its document; None where it comes from a schema."""
    place: int = 0
    schema: RecordName | None = None

    def where(self, *loc: str, key: bool = False) -> str:
        """`file:line:column` of it, or of a part of it."""
        if self.located is None:
            return f"schemas/{self.schema}.yaml"
        return self.located.where(("expectations", self.place, *loc), key=key)

    @property
    def sql(self) -> tuple[str, str] | None:
        """The name and the text of the argument that holds SQL."""
        name = {SATISFY: "condition", ROWS: "unexpected_rows_query"}.get(self.declared.type)
        text = self.declared.kwargs.get(name) if name else None
        return (name, text) if name and isinstance(text, str) else None

    @property
    def called(self) -> str:
        """What holds, in a line."""
        kwargs = self.declared.kwargs
        about = kwargs.get("column") or ", ".join(map(str, kwargs.get("column_list", ())))
        said = self.declared.type.removeprefix("expect_").replace("_", " ")
        shown = {"in set": "value_set", "of type": "type_", "between": "min_value", "satisfy": "condition"}
        limit = next((kwargs[name] for words, name in shown.items() if said.endswith(words) and name in kwargs), None)
        said = f"{about}: {said.removeprefix('column ')}" if about else said
        return self.declared.description or (said if limit is None else f"{said} {limit}")


@plain_dataclass(frozen=True)
class Suites:
    """The expectations of every table, those of the schemas first."""

    expectations: tuple[Expectation, ...]
    paths: tuple[Path, ...] = ()

    def of(self, table: Table) -> list[Expectation]:
        return [one for one in self.expectations if one.table == table]

    @property
    def fingerprint(self) -> str:
        declared = [
            [one.table, one.declared.type, one.declared.kwargs, one.declared.severity, one.declared.description]
            for one in self.expectations
        ]
        return digest(declared)


def load_suites(folders: Mapping[Path, str] | Sequence[Path]) -> Suites:
    """The suites of some folders; of two files with the same name the later folder's is taken.

    Args:
        folders: with the way that each is shown to people, where that is not its own path.

    Raises:
        Mistakes: all that is wrong in the files.
    """
    shown = folders if isinstance(folders, Mapping) else {folder: str(folder) for folder in folders}
    found = {path.name: (path, f"{name}/{path.name}") for folder, name in shown.items() for path in _files(folder)}
    problems: list[Problem] = []
    expectations: list[Expectation] = []
    for name in sorted(found):
        path, shown_as = found[name]
        try:
            expectations += _read(read_yaml(path, shown_as))
        except Mistakes as error:
            problems += error.problems
    if problems:
        raise Mistakes(problems)
    ordered = sorted(expectations, key=lambda one: (TABLES.index(one.table), one.located is not None))
    return Suites(tuple(ordered), tuple(found[name][0] for name in sorted(found)))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml"))


def _read(located: Located) -> Iterator[Expectation]:
    declared = bind(located, SuiteFile, renames={"args": "kwargs", "name": "type"})
    table = declared.table or next((name for name in TABLES if name == located.path.stem), None)
    if table is None:
        found = f"`table` is missing, and no table is called `{located.path.stem}`"
        raise Mistakes([Problem(located.where(()), found, f"add  table: one of {', '.join(TABLES)}")])
    if declared.schema:
        yield from (Expectation(table, one, schema=declared.schema) for one in of_schema(declared.schema))
    for place, one in enumerate(declared.expectations):
        yield Expectation(table, one, located, place)


def of_schema(name: RecordName) -> Iterator[Declared]:
    """What a record contract says of a table, as expectations: columns, types, nulls, value sets."""
    contract = record(name)
    yield Declared(type=COLUMNS, kwargs={"column_set": contract.names, "exact_match": True})
    for column in contract:
        yield Declared(type=TYPE, kwargs={"column": column.name, "type_": column.sql_type()})
    for column in contract:
        if not column.nullable:
            yield Declared(type="expect_column_values_to_not_be_null", kwargs={"column": column.name})
        if column.values:
            kwargs = {"column": column.name, "value_set": list(column.values)}
            yield Declared(type="expect_column_values_to_be_in_set", kwargs=kwargs)
        if conditions := list(_inside(column, column.name)):
            kwargs = {"column": column.name, "condition": " and ".join(conditions)}
            description = f"{column.name}: what is not null has its parts."
            yield Declared(type=SATISFY, kwargs=kwargs, description=description)


def _inside(column: Column, path: str) -> Iterator[str]:
    """Conditions that the fields of a struct which may not be null are there, where the struct is."""
    for part in column.fields:
        inner = f"{path}.{part.name}"
        if not part.nullable and part.type != "struct":
            yield f"({path} is null or {inner} is not null)"
        yield from _inside(part, inner)
