"""Cost: what the answers of the ledger took, by dataset, kind, teacher and run.

The ledger alone is summed, so that kills and resumes change nothing; run records (api/runs.py) say which run an answer
belongs to, how long it lasted and at which prices. An answer that was taken up again was recorded once more and asked
once: it counts where it was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from teacherlm.api.runs import read_runs
from teacherlm.api.workspace import Workspace, open_session
from teacherlm.core.errors import Mistake
from teacherlm.teacher.answered import EXHAUSTED

if TYPE_CHECKING:
    import duckdb

GROUPS = {"dataset": ("dataset",), "kind": ("kind",), "teacher": ("teacher", "model"), "run": ("run",)}
"""What costs can be grouped by, and the columns that this gives."""

BY = ("dataset", "kind")

SUMS = ("calls", "requests", "failed", "unpriced", "prompt_tokens", "generated_tokens", "hours", "cost")

# A copy has all of its answer but the time; nothing else has the same key and, to the microsecond, the same latency.
# Calls that were given up are asked again under the same key: they are no copies.
ANSWERS = f"""
CREATE TEMP VIEW answers AS
SELECT * FROM ledger WHERE strategy IS DISTINCT FROM 'human'
QUALIFY row_number() OVER (
    PARTITION BY sample_id, kind, repeat, call_key, status, latency_ms,
        CASE WHEN starts_with(failure, '{EXHAUSTED}') THEN created_at END
    ORDER BY created_at, segment, line) = 1
"""

PLACED = """
CREATE TEMP TABLE placed AS
SELECT a.dataset, a.kind, a.status, a.attempts, a.prompt_tokens, a.generated_tokens, a.latency_ms, a.created_at,
    a.teacher_model AS model, s.teacher, s.price_in, s.price_out,
    CASE WHEN a.created_at > r.ended_at THEN NULL ELSE r.run END AS run
FROM answers a ASOF LEFT JOIN runs r ON a.dataset = r.dataset AND a.created_at >= r.started_at
LEFT JOIN shares s ON s.dataset = r.dataset AND s.run = r.run AND s.kind = a.kind
    AND (r.ended_at IS NULL OR a.created_at <= r.ended_at)
"""

# A run's time is shared out by how long its answers took: many are in flight at once.
SUMMED = """
WITH lasted AS (
    SELECT p.dataset, p.run, sum(p.latency_ms) AS busy,
        CASE WHEN r.ended_at IS NOT NULL THEN r.seconds
        ELSE greatest(r.seconds, epoch(max(p.created_at)) - epoch(r.started_at)) END / 3600 AS hours
    FROM placed p JOIN runs r ON p.dataset = r.dataset AND p.run = r.run
    GROUP BY p.dataset, p.run, r.seconds, r.started_at, r.ended_at)
SELECT {columns},
    count(*) FILTER (status <> 'failed' AND attempts > 0) AS calls,
    sum(attempts)::BIGINT AS requests,
    count(*) FILTER (status = 'failed') AS failed,
    count(*) FILTER (attempts > 0 AND price_out IS NULL) AS unpriced,
    coalesce(sum(prompt_tokens), 0)::BIGINT AS prompt_tokens,
    coalesce(sum(generated_tokens), 0)::BIGINT AS generated_tokens,
    CASE WHEN bool_and(l.run IS NOT NULL) THEN sum(coalesce(latency_ms, 0) / nullif(busy, 0) * hours) END AS hours,
    CASE WHEN bool_and(price_out IS NOT NULL) THEN
        sum(coalesce(prompt_tokens, 0) * price_in + coalesce(generated_tokens, 0) * price_out) END AS cost
FROM placed p LEFT JOIN lasted l ON l.dataset = p.dataset AND l.run = p.run
GROUP BY {keys} ORDER BY {order}
"""


def cost(workspace: Workspace, names: Sequence[str] | None = None, *, by: Sequence[str] = BY) -> list[dict[str, Any]]:
    """What the answers in the ledger took, a row for each group.

    `calls` are answers, `requests` also those that were repeated; of an answer that holds several kinds all stands
    with the first. `hours` (of the runs) and `cost` (by the prices of each run's time, in their currency) are None
    where a part of them is not known; `unpriced` are the answers without a price.

    Args:
        names: datasets; None: all that are in the workspace.
        by: some of `dataset`, `kind`, `teacher` and `run`.

    Raises:
        Mistake: an unknown group, or a dataset that is not in the workspace.
    """
    if unknown := [name for name in by if name not in GROUPS]:
        raise Mistake(f'is "{unknown[0]}"', f"groups are {', '.join(GROUPS)}", "--by")
    known = workspace.datasets()
    for name in names or ():
        if name not in known:
            raise Mistake(f"`{name}` is not in {workspace.root}", f"it holds {', '.join(known) or 'nothing'}", "NAME")
    chosen = list(dict.fromkeys(names)) if names is not None else known
    session = open_session(workspace, chosen, judged=False)
    runs = {(name, run["run"]): run for name in chosen for run in read_runs(workspace, name)}
    _register(session, runs)
    session.execute(ANSWERS)
    session.execute(PLACED)
    columns = [column for group in dict.fromkeys(by) for column in GROUPS[group]]
    of_dataset = ["dataset"] if "run" in by and "dataset" not in by else []  # names of runs are a dataset's own
    keys = [f"p.{column}" for column in [*of_dataset, *columns]]
    order = [f"{key} NULLS FIRST" for key in keys]
    query = SUMMED.format(
        columns=", ".join(keys) or "NULL", keys=", ".join(keys) or "()", order=", ".join(order) or "1"
    )
    found = session.execute(query)
    described = [column[0] for column in found.description or ()]
    rows = [dict(zip(described, row, strict=True)) for row in found.fetchall()]
    finished = [_finished(row, runs) for row in rows if row["requests"]]
    if "run" in by:
        finished.sort(key=lambda row: (row["dataset"], row["started_at"] or ""))
    return finished


def total(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of rows; None where a part is not known."""
    sums: dict[str, Any] = {}
    for name in SUMS:
        values = [row[name] for row in rows]
        sums[name] = None if None in values else sum(values)
    return {**sums, "tokens_per_answer": _mean(sums)}


def _mean(row: Mapping[str, Any]) -> float | None:
    return round(row["generated_tokens"] / row["calls"], 1) if row["calls"] else None


def _finished(row: dict[str, Any], runs: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, Any]:
    row.pop("NULL", None)
    row["tokens_per_answer"] = _mean(row)
    if "run" in row:
        run = runs.get((row["dataset"], row["run"]), {})
        row |= {"started_at": run.get("started_at"), "state": run.get("state"), "stopped_by": run.get("stopped_by")}
        row["probe"] = run.get("probe")
    return row


def _register(session: duckdb.DuckDBPyConnection, runs: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
    """The tables `runs` and `shares`: which teacher had which kind in a run, at which prices."""
    session.execute(
        "CREATE TEMP TABLE runs (dataset VARCHAR, run VARCHAR, started_at TIMESTAMPTZ,"
        " ended_at TIMESTAMPTZ, seconds DOUBLE);"
        "CREATE TEMP TABLE shares (dataset VARCHAR, run VARCHAR, kind VARCHAR, teacher VARCHAR,"
        " price_in DOUBLE, price_out DOUBLE)"
    )
    lines, shares = [], []
    for (dataset, name), run in runs.items():
        lines.append((dataset, name, run["started_at"], run["ended_at"], run["seconds"]))
        for order in run["orders"]:
            prices = order["price_of_prompt_token"], order["price_of_generated_token"]
            shares += [(dataset, name, kind, order["teacher"], *prices) for kind in order["kinds"]]
    if lines:
        session.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", lines)
    if shares:
        session.executemany("INSERT INTO shares VALUES (?, ?, ?, ?, ?, ?)", shares)
