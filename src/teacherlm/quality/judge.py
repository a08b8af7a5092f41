"""What the rules make of every rationale: metrics, findings, verdicts and the augmented table, all in SQL.

The connection has views `samples` and `rationales` with the columns of their records; `rationales` holds one row per
(sample_id, kind, repeat), the last answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from teacherlm.core.errors import MachineFailed, Mistake, Mistakes, Problem
from teacherlm.quality.rules import Rule
from teacherlm.schemas.records import KINDS, record

if TYPE_CHECKING:
    import duckdb

_KEYS = ("sample_id", "kind", "repeat")
_HITS = "rule_hits"


def judge(con: duckdb.DuckDBPyConnection, rules: Iterable[Rule], metrics_sql: str) -> None:
    """Create the tables `metrics`, `findings` and `verdicts`; those of an earlier judgement are replaced.

    Args:
        con: has the views `samples` and `rationales`.
        rules: those that decide; see `load_rules` and `bind`.
        metrics_sql: statements that create the temporary table `metrics`.

    Raises:
        Mistakes: rules whose SQL cannot be run, all of them.
        MachineFailed: memory or disk did not suffice.
    """
    import duckdb

    chosen = sorted(rules, key=lambda rule: rule.id)
    problems = [problem for rule in chosen for problem in _before_running(con, rule)]
    if problems:
        raise Mistakes(problems)
    try:
        con.execute(metrics_sql)
    except duckdb.OperationalError as error:
        raise _machine(error) from error
    except duckdb.Error as error:
        line, column = _position(error, metrics_sql)
        where = f"metrics.sql:{line}:{column}"
        raise Mistake(_short(error), "mend the metrics, or the columns of `samples` and `rationales`", where) from error
    con.execute(f"create or replace table findings as {record('finding').empty_select()}")
    for rule in chosen:
        problems += _find(con, rule)
    if problems:
        raise Mistakes(problems)
    try:
        con.execute(
            f"""
            create or replace table verdicts as
            with broken as (
                select
                    sample_id, kind, repeat,
                    list(rule order by rule) as flags, bool_or(severity = 'reject') as rejects
                from findings group by all
            ),
            judged as (
                select
                    r.sample_id, r.dataset, r.split, r.kind, r.repeat, r.call_key,
                    case
                        when r.status = 'failed' then 'failed'
                        when r.status = 'truncated' then 'truncated'
                        when b.rejects then 'rejected'
                        else 'accepted'
                    end as verdict,
                    null as score,
                    coalesce(b.flags, []) as flags
                from rationales r
                left join broken b on b.sample_id = r.sample_id and b.kind = r.kind and b.repeat = r.repeat
            )
            select {record("verdict").cast_list()} from judged order by sample_id, kind, repeat
            """
        )
    except duckdb.OperationalError as error:
        raise _machine(error) from error


def augment_view(con: duckdb.DuckDBPyConnection) -> None:
    """Create the view `augmented`: every sample, in the order of `samples`, with its accepted rationales.

    Of several accepted repeats of a kind the lowest is taken. The order is that in which the view `samples` yields its
    rows, so that view must be stable: Parquet files listed in order, `preserve_insertion_order` left on. Needs `judge`.
    """
    quality = ", ".join(f"{kind} := {_struct(kind, ('score', 'flags'))}" for kind in KINDS)
    origin = ("call_key", "teacher_model", "teacher_revision", "strategy", "repeat")
    provenance = ", ".join(f"{kind} := {_struct(kind, origin)}" for kind in KINDS)
    texts = ", ".join(f"{kind}.text as {kind}" for kind in KINDS)
    # One join per kind: DuckDB can put joins on disk, but no aggregate over whole texts.
    joins = "\n".join(
        f"left join chosen {kind} on {kind}.sample_id = s.sample_id and {kind}.kind = '{kind}'" for kind in KINDS
    )
    con.execute(
        f"""
        create or replace view augmented as
        with lowest as (
            select
                sample_id, kind, min(repeat) as repeat,
                arg_min(flags, repeat) as flags, arg_min_null(score, repeat) as score
            from verdicts where verdict = 'accepted' group by sample_id, kind
        ),
        chosen as (
            select r.*, l.flags, l.score
            from rationales r
            join lowest l on l.sample_id = r.sample_id and l.kind = r.kind and l.repeat = r.repeat
        ),
        ordered as (select *, row_number() over () as place from samples),
        joined as (
            select
                s.*, {texts},
                struct_pack({quality}) as quality,
                struct_pack({provenance}) as provenance
            from ordered s
            {joins}
        )
        select {record("augmented").cast_list()} from joined order by place
        """
    )


def _struct(kind: str, names: Iterable[str]) -> str:
    """A kind's fields of those names as a struct; null where no rationale was accepted."""
    fields = ", ".join(f"{name} := {kind}.{name}" for name in names)
    return f"if({kind}.sample_id is null, null, struct_pack({fields}))"


def _before_running(con: duckdb.DuckDBPyConnection, rule: Rule) -> list[Problem]:
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


def _find(con: duckdb.DuckDBPyConnection, rule: Rule) -> list[Problem]:
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
        raise _machine(error) from error
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
            problems.append(
                Problem(f"{rule.path}:1:1", found, "select sample_id, kind, repeat and, if you like, reason")
            )
    for name, kind in columns.items():
        # A column of nothing but NULL has the type "NULL"; it breaks no row and is right.
        if name in ("sample_id", "kind", "reason") and kind not in ("VARCHAR", '"NULL"'):
            found = f"`{name}` is {kind}; it must be VARCHAR"
            problems.append(Problem(start, found, f"select the {name} as text"))
        if name == "repeat" and not re.fullmatch(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|\"NULL\"", kind):
            problems.append(
                Problem(f"{rule.path}:1:1", f"`repeat` is {kind}; it must be a whole number", "select repeat as it is")
            )
    return problems


def _problem(rule: Rule, error: Exception) -> Problem:
    line, column = _position(error, rule.sql)
    message = str(error)
    if "does not exist" in message or "not found" in message:
        edit = "rules may use the tables metrics, samples and rationales and their columns"
        if near := re.search(r"Did you mean \"([^\"]+)\"|Candidate bindings: (.+)", message):
            edit = f"did you mean {near[1] or near[2]}? {edit}"
    elif message.startswith("Parser"):
        edit = "mend the SQL"
    else:
        edit = "mend the query, or the values of its parameters"
    return Problem(f"{rule.path}:{line}:{column}", _short(error), edit)


def _place(rule: Rule, name: str) -> str:
    """Where a parameter's name stands in the rule."""
    found = re.search(rf"(?<=\$){re.escape(name)}\b|\b{re.escape(name)}(?=\s*=)", rule.sql)
    before = rule.sql[: found.start()] if found else ""
    return f"{rule.path}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def _short(error: Exception) -> str:
    """DuckDB's message, without its kind, its hints and the piece of SQL below."""
    first = str(error).strip().split("\n", 1)[0]
    return re.sub(r"^[A-Z]\w+ (?:Input )?Error: ", "", first)[:300]


def _position(error: Exception, sql: str) -> tuple[int, int]:
    """Line and column of a message's `LINE 3: …` with its caret below; 1, 1 where it names none."""
    match = re.search(r"^LINE (\d+): (.*)\n( *)\^", str(error), flags=re.MULTILINE)
    if match is None:
        return 1, 1
    number, shown = int(match[1]), match[2]
    lines = sql.splitlines()
    column = len(match[3]) - len(f"LINE {match[1]}: ") + 1
    same = number <= len(lines) and shown.rstrip(") ") == lines[number - 1].rstrip(";) ")
    return number, column if same else 1


def _machine(error: Exception) -> MachineFailed:
    return MachineFailed(
        f"the rules could not be run to their end: {_short(error)}", "free memory or disk and check again"
    )
