"""Counts and histograms over a whole build, also where a page shows a part of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

BINS = 30
"""Bars of a histogram of lengths."""

SCORES = 20
"""Bars of a histogram of scores, from 0 to 1."""

WIDTHS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1_000, 2_500, 5_000, 10_000)
"""Words that a bar may stand for."""


def tell(con: duckdb.DuckDBPyConnection, told: str) -> None:
    """Make the table `judged`, one short row for each rationale, from a query such as `view_rows.TOLD`."""
    con.execute(
        "create or replace temp table judged as "
        "select dataset, kind, score, coalesce(verdict, 'unchecked') as verdict, "
        "if(trim(text) = '', 0, len(string_split_regex(trim(text), '\\s+'))) as words, "
        f"[finding[2] || '/' || finding[1] for finding in coalesce(findings, [])] as rules from ({told})"
    )


def figures(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Everything that the charts of a page draw; `con` has the views of a session and, from `tell`, `judged`."""
    ((samples,),) = con.execute("select count(*) from samples").fetchall()
    return {
        "samples": samples,
        "verdicts": verdicts(con),
        "lengths": lengths(con, bar_width(con)),
        "rules": rules_hit(con),
        "scores": score_histogram(con),
    }


def verdicts(con: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Rationales by kind and verdict."""
    found: dict[str, dict[str, int]] = {}
    query = "select kind, verdict, count(*) from judged group by all order by all"
    for kind, verdict, count in con.execute(query).fetchall():
        found.setdefault(kind, {})[verdict] = count
    return found


def bar_width(con: duckdb.DuckDBPyConnection) -> int:
    """Words that a bar stands for, so that all but the longest in two hundred texts have one of their own."""
    ((most,),) = con.execute("select quantile_cont(words, 0.995) from judged where verdict <> 'failed'").fetchall()
    return next((width for width in WIDTHS if width * BINS >= (most or 1)), WIDTHS[-1])


def lengths(con: duckdb.DuckDBPyConnection, width: int) -> dict[str, Any]:
    """Words of the texts, by kind; the last bar holds all that are longer."""
    kinds: dict[str, Any] = {}
    for kind, count, median in con.execute(
        "select kind, count(*), median(words) from judged where verdict <> 'failed' group by kind order by kind"
    ).fetchall():
        kinds[kind] = {"count": count, "median": median, "bars": [0] * BINS}
    for kind, place, count in con.execute(
        f"select kind, least(words // {width}, {BINS - 1}) as place, count(*) "
        "from judged where verdict <> 'failed' group by all"
    ).fetchall():
        kinds[kind]["bars"][int(place)] = count
    return {"width": width, "kinds": kinds}


def rules_hit(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Rationales that each rule hit, those that reject first."""
    found = con.execute(
        "select rule, count(*) as hits from (select unnest(rules) as rule from judged) "
        "group by rule order by split_part(rule, '/', 1), hits desc, rule"
    ).fetchall()
    parts = [(*rule.partition("/"), hits) for rule, hits in found]
    return [{"rule": rule, "severity": severity, "hits": hits} for severity, _, rule, hits in parts]


def score_histogram(con: duckdb.DuckDBPyConnection) -> dict[str, list[int]]:
    """Scores by verdict; empty where nothing has a score."""
    bars: dict[str, list[int]] = {}
    for verdict, place, count in con.execute(
        f"select verdict, least(cast(floor(score * {SCORES}) as int), {SCORES - 1}), count(*) "
        "from judged where score is not null group by all order by all"
    ).fetchall():
        bars.setdefault(verdict, [0] * SCORES)[max(place, 0)] = count
    return bars
