"""What the rules make of every rationale: metrics, scores, findings and verdicts, all in SQL.

The connection has views `samples` and `rationales` with the columns of their records; `rationales` holds one row per
(sample_id, kind, repeat), the last answer. Rules read the tables `metrics` and `scores`, both with one row for each
rationale with status `ok`, and `duplicates` and `contamination` (their records are in schemas/), which are empty where
nobody looked for any.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.quality.messages import machine, short
from teacherlm.quality.metrics import Metrics
from teacherlm.quality.rule_runs import before_running, find
from teacherlm.quality.rules import Rule
from teacherlm.quality.score import Scorer
from teacherlm.schemas.records import RecordName, record

if TYPE_CHECKING:
    import duckdb

FOUND: dict[str, RecordName] = {"duplicates": "duplicate", "contamination": "contamination"}
"""Tables that rules read beside the metrics, and their records."""


def judge(
    con: duckdb.DuckDBPyConnection, rules: Iterable[Rule], metrics: Metrics, scorer: Scorer | None = None
) -> None:
    """Create the tables `metrics`, `scores`, `findings` and `verdicts`; those of an earlier judgement are replaced.

    Args:
        con: has the views `samples` and `rationales`, and may have the tables `duplicates` and `contamination`.
        rules: those that decide; see `load_rules` and `bind`.
        scorer: gives the scores; None: they are null.

    Raises:
        Mistakes: rules whose SQL cannot be run, all of them.
        Mistake: metrics or a scorer that cannot be run.
        MachineFailed: memory or disk did not suffice.
    """
    import duckdb

    chosen = sorted(rules, key=lambda rule: rule.id)
    problems = [problem for rule in chosen for problem in before_running(con, rule)]
    if problems:
        raise Mistakes(problems)
    for name, of in FOUND.items():
        con.execute(f"create table if not exists {name} as {record(of).empty_select()}")
    metrics.take(con)
    if not con.execute("select 1 from duckdb_tables() where table_name = 'metrics'").fetchall():
        raise Mistake("the metrics leave no table `metrics`", "let the last file make it", str(metrics.files[-1]))
    score = scorer.sql() if scorer else "null"
    try:
        con.execute(
            "create or replace temp table scores as "
            f"select sample_id, kind, repeat, ({score})::double as score from metrics"
        )
    except duckdb.OperationalError as error:
        raise machine(error) from error
    except duckdb.Error as error:
        edit = "mend the expressions of its features, or fit it again: teacherlm calibrate TABLES --fit"
        raise Mistake(f"the score cannot be worked out: {short(error)}", edit, "quality/scorer.json") from error
    con.execute(f"create or replace table findings as {record('finding').empty_select()}")
    for rule in chosen:
        problems += find(con, rule)
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
                    s.score,
                    coalesce(b.flags, []) as flags
                from rationales r
                left join broken b on b.sample_id = r.sample_id and b.kind = r.kind and b.repeat = r.repeat
                left join scores s on s.sample_id = r.sample_id and s.kind = r.kind and s.repeat = r.repeat
            )
            select {record("verdict").cast_list()} from judged order by sample_id, kind, repeat
            """
        )
    except duckdb.OperationalError as error:
        raise machine(error) from error
