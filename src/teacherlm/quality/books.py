"""Row conservation: whatever was asked for is accepted, rejected, truncated or failed, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teacherlm.core.errors import GateFailed

if TYPE_CHECKING:
    import duckdb

# A failure's leading words: "refused: 422 …" is "refused: 422".
_FAILURE = r"^[^:\n]{1,40}(?::\s*[\w-]+)?"

_REASONS = f"""
    select v.dataset, v.kind, v.split, v.verdict, f.rule as reason
    from verdicts v
    join findings f on f.sample_id = v.sample_id and f.kind = v.kind and f.repeat = v.repeat and f.severity = 'reject'
    where v.verdict = 'rejected'
    union all
    select
        v.dataset, v.kind, v.split, v.verdict,
        case
            when v.verdict = 'truncated' then 'truncated: ' || coalesce(r.finish_reason, 'length')
            else coalesce(nullif(trim(regexp_extract(r.failure, '{_FAILURE}')), ''), 'failed for no stated reason')
        end
    from verdicts v
    join rationales r on r.sample_id = v.sample_id and r.kind = v.kind and r.repeat = v.repeat
    where v.verdict in ('truncated', 'failed')
"""


class BooksDoNotClose(GateFailed):
    """Rows have no verdict, more than one, or no reason. Exit 1."""

    what = "books"


@dataclass(frozen=True, kw_only=True)
class Count:
    """What became of the rationales of one dataset and kind, or of one split of them. In rows."""

    dataset: str
    kind: str
    split: str | None = None
    """None: all splits together."""
    asked: int
    """Distinct (sample_id, kind, repeat) in the ledger."""
    accepted: int
    rejected: int
    truncated: int
    failed: int
    reasons: Mapping[str, int]
    """Rows that each rule rejected or each kind of failure hit, most first. Two broken rules count twice."""


@dataclass(frozen=True)
class Books:
    """Counts that close: asked = accepted + rejected + truncated + failed."""

    counts: tuple[Count, ...]
    """One per dataset and kind."""
    splits: tuple[Count, ...]
    """One per dataset, kind and split."""

    @property
    def asked(self) -> int:
        return sum(count.asked for count in self.counts)

    @property
    def accepted(self) -> int:
        return sum(count.accepted for count in self.counts)

    @property
    def rejected(self) -> int:
        return sum(count.rejected for count in self.counts)

    @property
    def truncated(self) -> int:
        return sum(count.truncated for count in self.counts)

    @property
    def failed(self) -> int:
        return sum(count.failed for count in self.counts)


def close_books(con: duckdb.DuckDBPyConnection) -> Books:
    """Count what was asked and what became of it.

    Args:
        con: has `rationales` and, from `judge`, `findings` and `verdicts`.

    Raises:
        BooksDoNotClose: the sums differ, by dataset and kind; a rationale has no verdict or several, or no reason.
    """
    unclosed = con.execute(
        """
        with asked as (
            select distinct dataset, kind, sample_id, repeat, status from rationales
        ),
        judged as (
            select dataset, kind, sample_id, repeat, count(*) as verdicts, min(verdict) as verdict
            from verdicts group by all
        ),
        reasoned as (
            select distinct kind, sample_id, repeat from findings where severity = 'reject'
        )
        select
            coalesce(a.dataset, j.dataset), coalesce(a.kind, j.kind),
            count(*) filter (j.verdicts is null) as missing,
            count(*) filter (a.sample_id is null) as unasked,
            count(*) filter (j.verdicts > 1) as doubled,
            count(*) filter (j.verdict = 'rejected' and r.sample_id is null) as unreasoned,
            count(*) filter (
                coalesce(a.status, '') <> 'ok' and a.status <> j.verdict
                or a.status = 'ok' and j.verdict not in ('accepted', 'rejected')
            ) as misjudged,
            min(coalesce(a.sample_id, j.sample_id)) as example
        from asked a
        full join judged j
            on j.dataset = a.dataset and j.kind = a.kind and j.sample_id = a.sample_id and j.repeat = a.repeat
        left join reasoned r on r.kind = j.kind and r.sample_id = j.sample_id and r.repeat = j.repeat
        where
            j.verdicts is null or a.sample_id is null or j.verdicts > 1
            or j.verdict = 'rejected' and r.sample_id is null
            or a.status <> 'ok' and a.status <> j.verdict
            or a.status = 'ok' and j.verdict not in ('accepted', 'rejected')
        group by all order by 1, 2
        """
    ).fetchall()
    if unclosed:
        raise BooksDoNotClose(
            "; ".join(_unclosed(*row) for row in unclosed),
            "check again; the rationales may have changed meanwhile",
        )
    splits = _counts(con, by_split=True)
    counts = _counts(con, by_split=False)
    for count in (*counts, *splits):
        missing = count.asked - count.accepted - count.rejected - count.truncated - count.failed
        if missing:
            raise BooksDoNotClose(f"{count.dataset}, {count.kind}: asked and judged differ by {missing}", "check again")
    return Books(counts, splits)


def _counts(con: duckdb.DuckDBPyConnection, *, by_split: bool) -> tuple[Count, ...]:
    split = "split" if by_split else "null::varchar"
    rows = con.execute(
        f"""
        with asked as (
            select dataset, kind, {split} as split, count(distinct (sample_id, repeat)) as asked
            from rationales group by all
        ),
        judged as (
            select
                dataset, kind, {split} as split,
                count(*) filter (verdict = 'accepted') as accepted, count(*) filter (verdict = 'rejected') as rejected,
                count(*) filter (verdict = 'truncated') as truncated, count(*) filter (verdict = 'failed') as failed
            from verdicts group by all
        )
        select a.dataset, a.kind, a.split, a.asked, j.accepted, j.rejected, j.truncated, j.failed
        from asked a join judged j on j.dataset = a.dataset and j.kind = a.kind and j.split is not distinct from a.split
        order by all
        """
    ).fetchall()
    reasons: dict[tuple[str, str, str | None], dict[str, int]] = {}
    for dataset, kind, part, reason, number in con.execute(
        f"""
        select dataset, kind, {split} as split, reason, count(*) from ({_REASONS})
        group by all order by count(*) desc, reason
        """
    ).fetchall():
        reasons.setdefault((dataset, kind, part), {})[reason] = number
    return tuple(
        Count(
            dataset=dataset,
            kind=kind,
            split=part,
            asked=asked,
            accepted=accepted,
            rejected=rejected,
            truncated=truncated,
            failed=failed,
            reasons=reasons.get((dataset, kind, part), {}),
        )
        for dataset, kind, part, asked, accepted, rejected, truncated, failed in rows
    )


def _unclosed(
    dataset: str, kind: str, missing: int, unasked: int, doubled: int, unreasoned: int, misjudged: int, example: str
) -> str:
    parts = (
        (missing, "without a verdict"),
        (unasked, "judged but never asked"),
        (doubled, "with several verdicts"),
        (unreasoned, "rejected without a reason"),
        (misjudged, "with a verdict against their status"),
    )
    said = ", ".join(f"{number} {what}" for number, what in parts if number)
    return f"{dataset}, {kind}: {said}, such as {example}"
