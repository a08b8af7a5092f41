"""From source rows to samples in DuckDB: a recipe's expressions as one query, and its `given` rows run through it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teacherlm.core.errors import Problem
from teacherlm.text.normalise import SQL_MACROS
from teacherlm.text.render import MAX_CHOICES

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from teacherlm.builders.recipe import Recipe
    from teacherlm.project.located import Located

SAMPLE_TYPES = {
    "question": "VARCHAR",
    "choices": "VARCHAR[]",
    "answer": "VARCHAR",
    "id": "VARCHAR",
    "subject": "VARCHAR",
    "human_rationale": "VARCHAR",
}

OURS = "__teacherlm_"
"""Begins the query's own names beside a source's columns, whatever those are called."""

REASONS = f"""
    CASE
        WHEN coalesce(question, '') = '' THEN 'empty question'
        WHEN choices IS NULL THEN 'no list of choices'
        WHEN coalesce(answer, '') = '' THEN 'empty answer'
        WHEN len(choices) = 1 THEN 'only one choice'
        WHEN len(choices) > {MAX_CHOICES} THEN 'more than {MAX_CHOICES} choices'
        WHEN list_contains([coalesce(c, '') = '' FOR c IN choices], true) THEN 'empty choice'
        WHEN len(choices) > 0 AND NOT list_contains(choices, answer) THEN 'answer not among the choices'
        WHEN len(list_filter(choices, lambda c: c = answer)) > 1 THEN 'answer twice among the choices'
        WHEN coalesce(id, '') = '' THEN 'empty id'
    END"""
"""Why a row is no sample, in order of precedence; NULL for a good one. `duplicate id` is found afterwards."""


CONTENT_ID = """left(sha256(concat_ws(chr(31),
        coalesce(question, ''), array_to_string(choices, chr(30)), coalesce(answer, ''))), 16)"""
"""The id of a row whose source has none."""


@dataclass(frozen=True)
class BoundRecipe:
    """A recipe and the document it was read from, so that its SQL mistakes have places."""

    recipe: Recipe
    located: Located

    @property
    def name(self) -> str:
        return self.recipe.name


def connect(threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory with the macros that recipes may use."""
    import duckdb

    connection = duckdb.connect(config={"threads": threads} if threads else {})
    connection.execute(SQL_MACROS)
    connection.execute("SET enable_progress_bar = false")
    return connection


def mapped_query(recipe: Recipe, split: str, relation: str = "source") -> str:
    """The query that maps `relation` to sample columns.

    Columns of the result: `row` (from 1), the columns of the sample record, `reason` (why the row is refused, or NULL),
    `source` (the source row as JSON). What a caller does not select costs nothing.
    """
    sample = recipe.sample
    raw = {name: f"as_text(({getattr(sample, name)}))" for name in SAMPLE_TYPES if getattr(sample, name)}
    if sample.choices:
        raw["choices"] = f"({sample.choices})"
    values = ", ".join(f"{expression} AS raw_{name}" for name, expression in raw.items())
    columns = {
        "question": "clean_column(raw_question)",
        "choices": "[clean_column(as_text(c)) FOR c IN raw_choices]" if sample.choices else "CAST([] AS VARCHAR[])",
        "answer": "clean_column(raw_answer)",
        "subject": "nullif(clean_column(raw_subject), '')" if sample.subject else "CAST(NULL AS VARCHAR)",
        "human_rationale": "nullif(clean_column(raw_human_rationale), '')"
        if sample.human_rationale
        else "CAST(NULL AS VARCHAR)",
    }
    mapped = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
    where = f"WHERE ({sample.where})" if sample.where else ""
    task, dataset, label = (_quoted(text) for text in (recipe.task, recipe.name, split))
    return f"""
    WITH numbered AS (
        SELECT row_number() OVER () AS {OURS}row, {OURS}whole AS {OURS}source, * FROM {relation} AS {OURS}whole),
    kept AS (SELECT * FROM numbered {where}),
    raw AS (SELECT {OURS}row, {OURS}source, {values} FROM kept),
    mapped AS (SELECT {OURS}row AS row, {OURS}source, {mapped},
               {"trim(raw_id)" if sample.id else "NULL"} AS source_id FROM raw),
    keyed AS (SELECT *, {"source_id" if sample.id else CONTENT_ID} AS id FROM mapped),
    judged AS (SELECT *, {REASONS} AS reason FROM keyed)
    SELECT row, {dataset} || '/' || {label} || '/' || coalesce(id, '') AS sample_id,
           {dataset} AS dataset, {label} AS split, {task} AS task, subject, question, choices, answer,
           CASE WHEN len(choices) > 0 THEN CAST(list_position(choices, answer) - 1 AS BIGINT) END AS answer_index,
           human_rationale, reason, CAST(to_json({OURS}source) AS VARCHAR) AS source
    FROM judged"""


def check_expressions(
    bound: BoundRecipe, connection: duckdb.DuckDBPyConnection, relation: str = "source"
) -> list[Problem]:
    """Bind every expression against the columns of `relation`, one by one, so that each mistake has its place."""
    import duckdb

    recipe, located = bound.recipe, bound.located
    absent = _absent_columns(bound, connection, relation)
    problems = [problem for _, problem in absent]
    for name, expression in _expressions(recipe):
        place = located.where(("sample", name))
        wanted = SAMPLE_TYPES.get(name, "BOOLEAN")
        query = f"DESCRIBE SELECT ({expression}) AS x FROM {relation}"
        try:
            if len(connection.extract_statements(query)) > 1:
                problems.append(Problem(place, f"`{name}` is more than an expression", "write one, without `;`"))
                continue
            described = connection.execute(query).fetchall()
        except duckdb.Error as error:
            if not any(f'Referenced column "{column}" not found' in str(error) for column, _ in absent):
                problems.append(Problem(place, f"`{name}`: {_short(error)}", _columns_hint(connection, relation)))
            continue
        kind = str(described[0][1])
        if name == "choices" and not kind.endswith("[]"):
            problems.append(
                Problem(place, f"`choices` gives {kind}; a list is wanted", "write  choices: '[first, second]'")
            )
        elif wanted == "BOOLEAN" and kind not in ("BOOLEAN", '"NULL"'):
            problems.append(Problem(place, f"`where` gives {kind}; BOOLEAN is wanted", "write a comparison"))
        elif wanted == "VARCHAR" and (kind.endswith("[]") or kind.startswith(("STRUCT", "MAP"))):
            problems.append(
                Problem(place, f"`{name}` gives {kind}; a text is wanted", "use joined(x), or pick a part of it")
            )
    return sorted(problems, key=by_place)


def by_place(problem: Problem) -> tuple[int, int]:
    """Sorts the mistakes of one file as they stand in it."""
    _, line, column = problem.where.rsplit(":", 2)
    return int(line), int(column)


def failing_expression(
    bound: BoundRecipe, connection: duckdb.DuckDBPyConnection, relation: str, error: Exception
) -> Problem:
    """The expression that fails on the values of `relation`, once the whole query has failed with `error`."""
    import duckdb

    recipe = bound.recipe
    where = f"WHERE ({recipe.sample.where})" if recipe.sample.where else ""
    for name, expression in reversed(_expressions(recipe)):  # `where` first: all others depend on it
        rows = f"{relation} {where if name != 'where' else ''}"
        try:
            connection.execute(f"SELECT bit_xor(hash(x)) FROM (SELECT ({expression}) AS x FROM {rows})")
        except duckdb.Error as cause:
            edit = "make the expression fit every row, for example with TRY_CAST, or leave such rows out by `where`"
            return Problem(bound.located.where(("sample", name)), f"`{name}` fails on a row: {_short(cause)}", edit)
    return Problem(bound.located.where(("sample",)), f"the mapping fails: {_short(error)}", "mend the expressions")


def run_examples(bound: BoundRecipe, connection: duckdb.DuckDBPyConnection | None = None) -> list[Problem]:
    """Run the recipe's `given` rows; each sample that is not as `expect` says is a problem."""
    import duckdb

    recipe, located = bound.recipe, bound.located
    if not recipe.given:
        return []
    connection = connection or connect(threads=1)
    try:
        connection.register("given", given_table(recipe, connection))
    except (TypeError, ValueError, duckdb.Error, OverflowError) as error:
        found = f"`given` rows do not fit their columns: {_short(error)}"
        return [Problem(located.where(("given",)), found, "give every row the same types, or declare source.columns")]
    if problems := check_expressions(bound, connection, "given"):
        return problems
    try:
        cursor = connection.execute(f"SELECT * FROM ({mapped_query(recipe, 'given', 'given')}) ORDER BY row")
        names = [entry[0] for entry in cursor.description or ()]
        rows = {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}
    except duckdb.Error as error:
        return [failing_expression(bound, connection, "given", error)]
    return list(_differences(bound, rows))


def given_table(recipe: Recipe, connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The `given` rows as a table; types from `source.columns` where declared, else from the values."""
    import pyarrow as pa

    declared = recipe.source.columns or {}
    names = list(dict.fromkeys([name for row in recipe.given for name in row]))
    rows = [{name: row.get(name) for name in names} for row in recipe.given]
    if not set(names) & set(declared):
        return pa.Table.from_pylist(rows)
    shape = ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in declared.items() if name in names)
    typed = {field.name: field.type for field in connection.sql(f"SELECT {shape}").to_arrow_table().schema}
    inferred = pa.Table.from_pylist(rows).schema
    return pa.Table.from_pylist(rows, schema=pa.schema([(f.name, typed.get(f.name, f.type)) for f in inferred]))


def _differences(bound: BoundRecipe, rows: dict[int, dict[str, Any]]) -> Iterable[Problem]:
    for position, expected in enumerate(bound.recipe.expect):
        sample = rows.get(position + 1)
        found = {"filtered": True} if sample is None else {**sample, "rejected": sample["reason"], "filtered": False}
        for name, value in expected.items():
            if name not in found:
                known = "a column of the sample record, `rejected` or `filtered`"
                state = "left out by `where`" if sample is None else "no such column of a sample"
                yield Problem(
                    bound.located.where(("expect", position, name), key=True), f"`{name}`: {state}", f"name {known}"
                )
            elif found[name] != value:
                yield Problem(
                    bound.located.where(("expect", position, name)),
                    f"row {position + 1} of `given` becomes {name} = {found[name]!r}; expected {value!r}",
                    "mend the expression or the expectation",
                )
        if sample is not None and sample["reason"] and "rejected" not in expected:
            yield Problem(
                bound.located.where(("expect", position)),
                f"row {position + 1} of `given` is rejected: {sample['reason']}",
                f"mend the expression, or expect  rejected: {sample['reason']}",
            )


def _expressions(recipe: Recipe) -> list[tuple[str, str]]:
    order = ("question", "choices", "answer", "id", "subject", "human_rationale", "where")
    return [(name, expression) for name in order if (expression := getattr(recipe.sample, name)) is not None]


def _absent_columns(
    bound: BoundRecipe, connection: duckdb.DuckDBPyConnection, relation: str
) -> list[tuple[str, Problem]]:
    """Columns that the recipe declares and the source lacks."""
    if relation == "given" or not bound.recipe.source.columns:
        return []
    present = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}
    missing = [name for name in bound.recipe.source.columns if name not in present]
    known = f"its columns are {', '.join(sorted(present))}"
    return [
        (
            name,
            Problem(
                bound.located.where(("source", "columns", name), key=True), f"the source has no column `{name}`", known
            ),
        )
        for name in missing
    ]


def _columns_hint(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    columns = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    return "columns: " + ", ".join(f"{name} {kind}" for name, kind, *_ in columns)


def _short(error: Exception) -> str:
    """DuckDB's message without its picture of the query."""
    text = str(error).split("\n\nLINE ")[0].split("\nLINE ")[0]
    text = re.sub(r"\s+", " ", text).partition(" Candidate bindings:")[0].strip()
    return re.sub(r"^(Binder|Catalog|Parser|Conversion|Invalid Input) Error: ", "", text)[:300]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
