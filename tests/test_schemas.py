"""Record contracts: Arrow, Features, JSON Schema, DuckDB and the documentation say the same."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest

from teacherlm.schemas.records import KINDS, RECORDS, Column, RecordName, record

LEAVES: dict[str, tuple[pa.DataType, str, str, Any]] = {
    "string": (pa.string(), "VARCHAR", "string", "x"),
    "int64": (pa.int64(), "BIGINT", "integer", 3),
    "double": (pa.float64(), "DOUBLE", "number", 0.5),
    "bool": (pa.bool_(), "BOOLEAN", "boolean", True),
    "timestamp": (pa.timestamp("us", tz="UTC"), "TIMESTAMPTZ", "string", "2024-05-01T10:00:00Z"),
    "list<string>": (pa.list_(pa.field("element", pa.string())), "VARCHAR[]", "array", ["x"]),
}


def leaves(columns: tuple[Column, ...]) -> list[Column]:
    return [leaf for c in columns for leaf in (leaves(c.fields) if c.type == "struct" else [c])]


@pytest.mark.parametrize("name", RECORDS)
def test_every_type_is_one_that_all_forms_know(name: RecordName) -> None:
    for column in leaves(record(name).columns):
        kind, sql, word, _ = LEAVES[column.type]
        assert column.arrow().type == kind
        assert column.sql_type() == sql
        assert word in column.json_schema()["type"]


@pytest.mark.parametrize("name", RECORDS)
def test_duckdb_gives_the_types_of_arrow(name: RecordName) -> None:
    contract = record(name)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    table = connection.sql(contract.empty_select()).to_arrow_table()
    assert table.num_rows == 0
    assert table.schema.names == contract.names
    assert table.cast(contract.arrow()).schema == contract.arrow()
    connection.register("rows", contract.arrow().empty_table())
    described = connection.sql(f"DESCRIBE SELECT {contract.cast_list('r.')} FROM rows r").fetchall()
    want = connection.sql(f"DESCRIBE {contract.empty_select()}").fetchall()
    assert [row[:2] for row in described] == [row[:2] for row in want]
    connection.close()


@pytest.mark.parametrize("name", RECORDS)
def test_features_are_those_of_the_arrow_schema(name: RecordName) -> None:
    contract = record(name)
    features = contract.features()
    assert list(features) == contract.names
    import datasets

    loaded = datasets.Dataset(contract.arrow().empty_table())
    assert loaded.features == features


def value_of(column: Column) -> Any:
    if column.type == "struct":
        return {field.name: value_of(field) for field in column.fields}
    return column.values[0] if column.values else LEAVES[column.type][3]


@pytest.mark.parametrize("name", RECORDS)
def test_json_schema_takes_what_the_contract_takes_and_nothing_else(name: RecordName) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    contract = record(name)
    check = jsonschema.Draft202012Validator(contract.json_schema())
    jsonschema.Draft202012Validator.check_schema(contract.json_schema())
    row = {column.name: value_of(column) for column in contract}
    assert not list(check.iter_errors(row))
    for column in contract:
        assert check.is_valid({**row, column.name: None}) == column.nullable, column.name
        assert not check.is_valid({key: value for key, value in row.items() if key != column.name})
        if column.values:
            assert not check.is_valid({**row, column.name: "something else"})
    assert not check.is_valid({**row, "more": 1})


def test_the_augmented_record_is_the_sample_and_its_kinds() -> None:
    names = record("augmented").names
    assert names == [*record("sample").names, *KINDS, "quality", "provenance"]
    for struct in record("augmented").columns[-2:]:
        assert tuple(field.name for field in struct.fields) == KINDS
        assert all(field.nullable for field in struct.fields)


def test_kinds_are_the_same_in_every_record() -> None:
    for name in ("rationale", "verdict", "finding"):
        (kind,) = (column for column in record(name) if column.name == "kind")
        assert kind.values == KINDS


def test_verdicts_and_findings_have_the_keys_of_their_rationale() -> None:
    keys = ["sample_id", "dataset", "split", "kind", "repeat"]
    for name in ("rationale", "verdict", "finding"):
        assert record(name).names[: len(keys)] == keys


@pytest.mark.parametrize("name", RECORDS)
def test_the_documentation_has_one_line_for_each_column(name: RecordName) -> None:
    lines = record(name).markdown().splitlines()
    assert lines[:2] == ["| column | type | meaning |", "| --- | --- | --- |"]
    for line, column in zip(lines[2:], record(name), strict=True):
        assert line.startswith(f"| `{column.name}` | ")
        assert (" or null |" in line) == column.nullable
        assert column.about and column.about in line
        assert all(f"`{value}`" in line for value in column.values)
        assert line.count("|") == 4


def test_a_line_of_the_documentation() -> None:
    line = "| `answer_index` | int64 or null | Position of the answer among the choices, from 0; null for free text. |"
    assert line in record("sample").markdown()
