"""The report of a check: counts, rules, gates and fingerprints, as an object and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from teacherlm.core import stored
from teacherlm.quality.books import Books
from teacherlm.quality.gates import GateResult
from teacherlm.quality.measures import Measures, Score
from teacherlm.quality.rules import Rule, Severity

if TYPE_CHECKING:
    import duckdb

EXAMPLES = 3
"""Samples that are named for each rule."""


@dataclass(frozen=True, kw_only=True)
class RuleLine:
    """What one rule found."""

    rule: str
    severity: Severity
    kinds: tuple[str, ...]
    hits: int
    """Rationales that broke it."""
    share: float
    """Of the rationales that it was asked of: status `ok`, of its kinds."""
    examples: tuple[str, ...]
    """The first sample ids, in order."""


@dataclass(frozen=True, kw_only=True)
class Against:
    """What became of the comparison with one evaluation set."""

    task: str
    state: Literal["run", "not run"]
    items: int = 0
    """Items of the set."""
    samples: int = 0
    """Samples of training splits that share text with one of them."""
    why: str = ""
    """Why it was not run."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a check found of one dataset."""

    dataset: str
    created_at: str
    """ISO 8601, UTC."""
    passed: bool
    """Whether every gate passed."""
    books: Books
    rules: tuple[RuleLine, ...]
    gates: tuple[GateResult, ...]
    scores: tuple[Score, ...] = ()
    """Scores of the accepted rationales, for each kind that has any."""
    contamination: tuple[Against, ...] = ()
    """Each evaluation set that was or should have been looked at."""
    duplicates: Mapping[str, int] = field(default_factory=dict)
    """Near-duplicates, by what they are: `question`, or a kind."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints of what was checked, by name."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints of what the check wrote, by name."""


def make_report(
    con: duckdb.DuckDBPyConnection,
    dataset: str,
    *,
    rules: Iterable[Rule],
    books: Books,
    gates: Sequence[GateResult],
    created_at: str,
    measures: Measures | None = None,
    contamination: Sequence[Against] = (),
    inputs: Mapping[str, str] | None = None,
    outputs: Mapping[str, str] | None = None,
) -> Report:
    """The report of a judgement; `con` holds its tables, `rules` are those that were asked."""
    found = {
        rule: (hits, tuple(examples))
        for rule, hits, examples in con.execute(
            # arg_min with a count takes the first samples without sorting all.
            f"select rule, count(*), list_sort(min(distinct sample_id, {EXAMPLES})) from findings group by rule"
        ).fetchall()
    }
    asked_of = dict(con.execute("select kind, count(*) from rationales where status = 'ok' group by kind").fetchall())
    lines = []
    for rule in sorted(rules, key=lambda rule: rule.id):
        hits, examples = found.get(rule.id, (0, ()))
        of = sum(asked_of.get(kind, 0) for kind in rule.kinds)
        lines.append(
            RuleLine(
                rule=rule.id,
                severity=rule.severity,
                kinds=rule.kinds,
                hits=hits,
                share=hits / of if of else 0.0,
                examples=examples,
            )
        )
    return Report(
        dataset=dataset,
        created_at=created_at,
        passed=all(gate.passed for gate in gates),
        books=books,
        rules=tuple(lines),
        gates=tuple(gates),
        scores=measures.scores if measures else (),
        contamination=tuple(contamination),
        duplicates=dict(
            con.execute(
                "select coalesce(kind, 'question'), count(*) from duplicates group by kind order by 1"
            ).fetchall()
        ),
        inputs=dict(sorted((inputs or {}).items())),
        outputs=dict(sorted((outputs or {}).items())),
    )


def from_json(text: bytes | str) -> Report:
    """The report that `core.stored.to_json` wrote.

    Raises:
        MachineFailed: it was changed or cut.
    """
    return stored.from_json(Report, text, "the report")
