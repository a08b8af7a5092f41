"""Running one rule: what is wrong with its text, and the findings that its SELECT returns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from teacherlm.core.errors import Problem
from teacherlm.quality.messages import machine, position, short
from teacherlm.quality.rules import Rule
from teacherlm.schemas.records import record

if TYPE_CHECKING:
    import duckdb

_KEYS = ("sample_id", "kind", "repeat")
_HITS = "rule_hits"


def before_running(con: duckdb.DuckDBPyConnection, rule: Rule) -> list[Problem]:
    """What is wrong with a rule's text: its syntax, several statements, parameters without a value or without a use."""
    import duckdb

    try:
        statements = con.extract_statements(rule.sql)
    except duckdb.Error as error:
        return [_problem(rule, error)]
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        return [
            Problem(
                f"{rule.path}:1:1", f"holds {len(statements)} statements where one SELECT is wanted", "leave one SELECT"
            )
        ]
    used, declared = set(statements[0].named_parameters), set(rule.parameters)
    return [
        *(
            Problem(_place(rule, name), f"`${name}` has no value", f"declare it:  -- parameters: {name} = …")
            for name in sorted(used - declared)
        ),
        *(
            Problem(
                _place(rule, name), f"the parameter `{name}` is not used", f"use `${name}` in the query or leave it out"
            )
            for name in sorted(declared - used)
        ),
    ]


def find(con: duckdb.DuckDBPyConnection, rule: Rule) -> list[Problem]:
    """Add the rule's findings; what is wrong with its query, if it cannot be run."""
    import duckdb

    # The text begins on the first line, so that DuckDB's line numbers are the file's; its last line may be a comment.
    query = f"create or replace temp table {_HITS} as select * from ({rule.sql.rstrip().rstrip(';')}\n)"
    try:
        con.execute(query, dict(rule.parameters))
        columns = {
            name: str(kind) for name, kind, *_ in con.execute(f"select * from {_HITS} limit 0").description or ()
        }
        if wrong := _wrong_columns(rule, columns):
            return wrong
        kinds = ", ".join(f"'{kind}'" for kind in rule.kinds)
        reason = "h.reason" if "reason" in columns else "null"
        con.execute(
            f"""
            insert into findings
            with hits as (
                select r.sample_id, r.dataset, r.split, r.kind, r.repeat, r.call_key, min({reason}) as said
                from {_HITS} h
                join rationales r on r.sample_id = h.sample_id and r.kind = h.kind and r.repeat = h.repeat
                where r.status = 'ok' and r.kind in ({kinds})
                group by all
            )
            select {record("finding").cast_list()}
            from (select *, $rule as rule, $severity as severity, coalesce(said, $reason) as reason from hits)
            order by sample_id, kind, repeat
            """,
            {"rule": rule.id, "severity": rule.severity, "reason": rule.reason},
        )
    except duckdb.OperationalError as error:
        raise machine(error) from error
    except duckdb.Error as error:
        return [_problem(rule, error)]
    finally:
        con.execute(f"drop table if exists {_HITS}")
    return []


def _wrong_columns(rule: Rule, columns: Mapping[str, str]) -> list[Problem]:
    """What is wrong with the columns that a rule returns."""
    wanted = [*_KEYS, "reason"]
    start, edit = f"{rule.path}:1:1", "select sample_id, kind, repeat and, if you like, reason"
    returned = ", ".join(columns)
    problems = []
    if missing := [key for key in _KEYS if key not in columns]:
        found = f"returns {returned}; {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        problems.append(Problem(start, found, edit))
    for name in columns:
        if name not in wanted:
            found = f"returns the column `{name}`, which nobody reads"
            problems.append(Problem(start, found, edit))
    for name, kind in columns.items():
        # A column of nothing but NULL has the type "NULL"; it breaks no row and is right.
        if name in ("sample_id", "kind", "reason") and kind not in ("VARCHAR", '"NULL"'):
            found = f"`{name}` is {kind}; it must be VARCHAR"
            problems.append(Problem(start, found, f"select the {name} as text"))
        if name == "repeat" and not re.fullmatch(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|\"NULL\"", kind):
            found = f"`repeat` is {kind}; it must be a whole number"
            problems.append(Problem(start, found, "select repeat as it is"))
    return problems


def _problem(rule: Rule, error: Exception) -> Problem:
    line, column = position(error, rule.sql)
    message = str(error)
    if "does not exist" in message or "not found" in message:
        edit = "rules may use the tables metrics, scores, samples, rationales, duplicates and contamination"
        if near := re.search(r"Did you mean \"([^\"]+)\"|Candidate bindings: (.+)", message):
            edit = f"did you mean {near[1] or near[2]}? {edit}"
    elif message.startswith("Parser"):
        edit = "mend the SQL"
    else:
        edit = "mend the query, or the values of its parameters"
    return Problem(f"{rule.path}:{line}:{column}", short(error), edit)


def _place(rule: Rule, name: str) -> str:
    """Where a parameter's name stands in the rule."""
    found = re.search(rf"(?<=\$){re.escape(name)}\b|\b{re.escape(name)}(?=\s*=)", rule.sql)
    before = rule.sql[: found.start()] if found else ""
    return f"{rule.path}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
