"""Expectations of our own: a condition in SQL over one row, and unexpected rows counted once.

This module loads great_expectations; it is imported where a contract is run, and nowhere else.
"""

from __future__ import annotations

import difflib
from typing import Any, ClassVar

import sqlalchemy as sa
from great_expectations.exceptions.exceptions import ExpectationNotFoundError
from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.core.unexpected_rows_expectation import UnexpectedRowsExpectation
from great_expectations.expectations.expectation import ColumnMapExpectation, Expectation
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
    column_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (
    ColumnMapMetricProvider,
)
from great_expectations.expectations.registry import (
    get_expectation_impl,
    list_registered_expectation_implementations,
)

from teacherlm.core.errors import Problem
from teacherlm.quality import suites
from teacherlm.quality.suites import ROWS, SATISFY

OPTIONAL = ("result_format", "catch_exceptions", "rendered_content", "meta", "notes", "id", "windows", "severity")
"""What an expectation of Great Expectations takes beside its own arguments, and a suite does not declare among them."""


class ColumnValuesSatisfy(ColumnMapMetricProvider):
    """The condition as it is written: Great Expectations counts all of a table's conditions in one query."""

    condition_metric_name = "column_values.satisfy"
    condition_value_keys = ("condition",)

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, condition: str, **_: Any) -> Any:
        # A condition that is null does not hold.
        return sa.literal_column(f"coalesce(({condition}), false)", sa.Boolean)


class ExpectColumnValuesToSatisfy(ColumnMapExpectation):
    """Expect a condition in SQL to hold for every row whose column is not null."""

    condition: str
    map_metric = "column_values.satisfy"
    success_keys: ClassVar[tuple[str, ...]] = ("condition", "mostly")
    args_keys: ClassVar[tuple[str, ...]] = ("column", "condition")

    @classmethod
    def _prescriptive_template(cls, renderer_configuration: Any) -> Any:
        from great_expectations.render.renderer_configuration import RendererValueType

        for name in ("column", "condition"):
            renderer_configuration.add_param(name=name, param_type=RendererValueType.STRING)
        told = "values must satisfy $condition."
        named = renderer_configuration.include_column_name
        renderer_configuration.template_str = f"$column {told}" if named else told
        return renderer_configuration


class UnexpectedRowsCounted(UnexpectedRowsExpectation):
    """As its parent, but the query runs once: its rows are fetched for what has failed alone."""

    metric_dependencies: ClassVar[tuple[str, ...]] = ("unexpected_rows_query.row_count",)

    def _validate(
        self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None
    ) -> dict[str, Any]:
        found = metrics["unexpected_rows_query.row_count"]
        return {"success": found == 0, "result": {"observed_value": found}}


def known_types() -> list[str]:
    """The names that `type` of an expectation can be."""
    listed = {str(name) for name in list_registered_expectation_implementations()}
    return sorted(listed - {"unexpected_rows_counted"} | {ROWS, SATISFY})


def problems(one: suites.Expectation) -> list[Problem]:
    """What is wrong with the type and the arguments of a declared expectation."""
    if "regex" in one.declared.type:  # it would ask DuckDB's `~`, which wants the whole text to match
        edit = f"write  type: {SATISFY}  with  condition: \"regexp_matches(COLUMN, 'PATTERN')\""
        return [Problem(one.where("type"), f"`{one.declared.type}` does not search in DuckDB", edit)]
    try:
        kind = _class_of(one.declared.type)
    except ExpectationNotFoundError:
        near = difflib.get_close_matches(one.declared.type, known_types(), n=1, cutoff=0.5)
        edit = (
            f"did you mean `{near[0]}`?" if near else "see greatexpectations.io/expectations for those that there are"
        )
        return [Problem(one.where("type"), f"there is no expectation `{one.declared.type}`", edit)]
    takes = [name for name in kind.__fields__ if name not in (*OPTIONAL, "description", "batch_id", "type")]
    found = []
    for name in one.declared.kwargs:
        if name not in takes:
            near = difflib.get_close_matches(name, takes, n=1, cutoff=0.5)
            edit = f"rename it to `{near[0]}`" if near else f"remove it; it takes {', '.join(takes)}"
            found.append(Problem(one.where("kwargs", name, key=True), f"`{one.declared.type}` has no `{name}`", edit))
    if found:
        return found
    try:
        build(one, 0)
    except (ValueError, TypeError) as error:  # pydantic's errors are ValueErrors
        for detail in error.errors() if hasattr(error, "errors") else [{"loc": (), "msg": str(error)}]:
            name = str(detail["loc"][0]) if detail["loc"] else ""
            said = f"`{name}`: {detail['msg']}" if name else str(detail["msg"]).splitlines()[0]
            edit = f"add  {name}: …  to its kwargs" if "required" in said else "mend the value"
            found.append(Problem(one.where("kwargs", *([name] if name else [])), said, edit))
    if not found and one.declared.type == ROWS and "{batch}" not in one.declared.kwargs["unexpected_rows_query"]:
        edit = "write  from {batch}  where the table stands"
        found.append(Problem(one.where("kwargs", "unexpected_rows_query"), "the query does not read {batch}", edit))
    return found


def build(one: suites.Expectation, key: int) -> Expectation:
    """The expectation as Great Expectations has it; results are found again by `key`, as they come in any order."""
    declared = one.declared
    built: Expectation = _class_of(declared.type)(
        **declared.kwargs, severity=declared.severity, description=declared.description, meta={"key": key}
    )
    return built


def _class_of(name: str) -> Any:
    return UnexpectedRowsCounted if name == ROWS else get_expectation_impl(name)
