"""Suites held against the tables of a DuckDB file by Great Expectations: read-only, offline, in one query where it can.

Great Expectations takes seconds to load, so `validate` alone loads it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teacherlm.core.errors import Mistakes
from teacherlm.quality import binding
from teacherlm.quality.contract import EXAMPLES, Held, State
from teacherlm.quality.pages import mend
from teacherlm.quality.suites import COLUMNS, ROWS, SHAPE, TABLES, Expectation, Suites, Table

BRIEF: dict[str, Any] = {"result_format": "BOOLEAN_ONLY"}
EXPLAINED: dict[str, Any] = {
    "result_format": "SUMMARY",
    "partial_unexpected_count": EXAMPLES,
    "unexpected_index_column_names": ["sample_id"],
}
"""Takes queries for each expectation; asked for what has failed, and for Data Docs."""

Results = dict[int, Any]
"""Great Expectations' results, by the place of their expectation in the suites."""


def validate(
    database: Path, suites: Suites, parameters: Mapping[str, Any] | None = None, docs: Path | None = None
) -> tuple[Held, ...]:
    """Hold every suite against its table.

    Args:
        database: a DuckDB file with the tables or views; it is only read.
        parameters: what `$PARAMETER` in a suite stands for.
        docs: a folder that Data Docs are written to.

    Returns:
        One result for each expectation, in the order of the suites.

    Raises:
        Mistake, Mistakes: unknown expectations, arguments or columns; SQL that cannot be run; with their places.
        MachineFailed: a file is damaged; a check crashed for any other reason.
    """
    import duckdb

    check_declared(suites)
    with _quiet():
        listed = suites.expectations
        with duckdb.connect(database, read_only=True) as con:
            runnable = _runnable(con, suites)
        try:
            with _great(database, docs) as great:
                form = EXPLAINED if docs else BRIEF
                results = great.hold(runnable, parameters or {}, form)
                failed = {key: runnable[key] for key, result in results.items() if not result.success}
                told = results if docs else great.hold(failed, parameters or {}, EXPLAINED)
        except _Crashed as crash:
            with duckdb.connect(database, read_only=True) as con:
                raise binding.blame(con, runnable.values(), crash.culprit, crash.said) from None
        if docs:
            mend(docs)
        with duckdb.connect(database, read_only=True) as con:
            return tuple(_held(one, results.get(key), told.get(key), con) for key, one in enumerate(listed))


def check_declared(suites: Suites) -> None:
    """Look at the types and arguments of expectations, before there is any table.

    Raises:
        Mistakes: unknown expectations or arguments, with their places.
    """
    with _quiet():
        from teacherlm.quality import expectations

        if problems := [problem for one in suites.expectations for problem in expectations.problems(one)]:
            raise Mistakes(problems)


class _Crashed(Exception):
    """A check that raised an exception, which is no result."""

    def __init__(self, said: str, culprit: Expectation | None = None) -> None:
        super().__init__(said)
        self.said = said
        self.culprit = culprit


def _runnable(con: Any, suites: Suites) -> dict[int, Expectation]:
    """The expectations that can be looked at, by their place: of a table without its columns and types, those alone.

    Raises:
        Mistakes: an expectation cannot be run over tables that are as they should be.
    """
    columns = {table: binding.columns_of(con, table) for table in TABLES if suites.of(table)}
    misshapen = {table for table, found in columns.items() if binding.is_misshapen(found, suites.of(table))}
    runnable, problems = {}, []
    for key, one in enumerate(suites.expectations):
        if one.table in misshapen and one.declared.type not in SHAPE:
            continue
        problem = binding.problem_of(con, columns[one.table], one)
        if problem is None:
            runnable[key] = one
        elif not misshapen:
            problems.append(problem)
    if problems:
        raise Mistakes(problems)
    return runnable


@dataclass(frozen=True)
class _Great:
    """Great Expectations over one database."""

    context: Any
    source: Any
    docs: bool

    def hold(
        self, expectations: Mapping[int, Expectation], parameters: Mapping[str, Any], form: Mapping[str, Any]
    ) -> Results:
        """Validate a table after the other.

        Raises:
            _Crashed: a check raised an exception; says which, where it does so alone as well.
        """
        try:
            results = self._results(expectations, parameters, form)
        except Exception as error:  # whatever it is, it is no result
            raise _Crashed(f"{type(error).__name__}: {error}") from None
        if crashed := {key: said for key, result in results.items() if (said := _exception(result))}:
            # One that crashes takes all with it that are counted in the same query.
            for key in crashed if len(expectations) > 1 else ():
                self.hold({key: expectations[key]}, parameters, BRIEF)
            key, said = next(iter(crashed.items()))
            raise _Crashed(said, expectations[key] if len(expectations) == 1 else None)
        return results

    def _results(
        self, expectations: Mapping[int, Expectation], parameters: Mapping[str, Any], form: Mapping[str, Any]
    ) -> Results:
        import great_expectations as gx

        from teacherlm.quality.expectations import build

        results: Results = {}
        definitions = []
        for table in TABLES:
            built = [build(one, key) for key, one in expectations.items() if one.table == table]
            if built:
                suite = self.context.suites.add_or_update(gx.ExpectationSuite(name=table, expectations=built))
                definition = gx.ValidationDefinition(name=table, data=self._batch(table), suite=suite)
                definitions.append(self.context.validation_definitions.add_or_update(definition))
        if self.docs and form == EXPLAINED:  # only what a checkpoint has run is in the pages
            checkpoint = gx.Checkpoint(
                name="contract", validation_definitions=definitions, actions=[], result_format=dict(form)
            )
            done = self.context.checkpoints.add_or_update(checkpoint).run(expectation_parameters=dict(parameters))
            runs = list(done.run_results.values())
            self.context.build_data_docs(site_names=["docs"])
        else:
            runs = [one.run(result_format=dict(form), expectation_parameters=dict(parameters)) for one in definitions]
        for result in (result for run in runs for result in run.results):
            results[result.expectation_config.meta["key"]] = result
        return results

    def _batch(self, table: Table) -> Any:
        with contextlib.suppress(LookupError):
            return self.source.get_asset(table).get_batch_definition("all")
        return self.source.add_table_asset(table, table_name=table).add_batch_definition_whole_table("all")


@contextlib.contextmanager
def _great(database: Path, docs: Path | None) -> Iterator[_Great]:
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    from teacherlm.quality import dialect

    dialect.register()
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)}
    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": store,
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    config: Any = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
        data_docs_sites={"docs": site} if docs else {},
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    address = f"{dialect.NAME}:///{database}"
    source = context.data_sources.add_sql("teacherlm", connection_string=address)
    engine: Any = source.get_execution_engine()
    engine.dialect_module = dialect.Types()  # so that types are DuckDB's own, by their names
    try:
        yield _Great(context, source, docs is not None)
    finally:
        engine.close()
        source.get_engine().dispose()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is sent anywhere; what the library says of itself stays out of people's sight."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _exception(result: Any) -> str:
    """What a check that crashed said; empty where it did not."""
    info = result.exception_info or {}
    for found in [info, *(value for value in info.values() if isinstance(value, dict))]:
        if found.get("raised_exception"):
            return str(found.get("exception_message") or "a check raised an exception")
    return ""


def _held(one: Expectation, result: Any, explained: Any, con: Any) -> Held:
    """What a result says, in our words."""
    state: State = "not run" if result is None else "holds" if result.success else "fails"
    unexpected: int | None = None
    observed: str | None = None
    shown: tuple[str, ...] = ()
    if state == "fails" and one.declared.type == ROWS:
        unexpected, shown = binding.count(con, one), binding.examples(con, one)
    elif state == "fails":
        found = explained.result
        unexpected = found.get("unexpected_count")
        if one.declared.type == COLUMNS:
            wrong = found.get("details", {}).get("mismatched", {})
            observed = "; ".join(f"{what} {', '.join(names)}" for what, names in sorted(wrong.items()) if names)
        elif unexpected is None:
            value = found.get("observed_value")
            observed = "nothing" if value is None else str(value)
        rows: Sequence[Mapping[str, Any]] = found.get("partial_unexpected_index_list") or ()
        shown = tuple(dict.fromkeys(str(row["sample_id"]) for row in rows if row.get("sample_id") is not None))
    return Held(
        table=one.table,
        type=one.declared.type,
        about=one.called,
        severity=one.declared.severity,
        state=state,
        where=one.where(),
        unexpected=unexpected,
        observed=observed,
        examples=shown,
    )
