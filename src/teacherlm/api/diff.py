"""Diff: what has changed between two builds, as numbers and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacherlm.api import view_figures as charts
from teacherlm.api.diff_places import Place, gates_of, open_place
from teacherlm.api.diff_rows import compare, differing, lay_out, read_differences
from teacherlm.api.view import LARGEST, ROWS, SPARE
from teacherlm.api.view_page import page
from teacherlm.api.view_rows import Seen
from teacherlm.core.errors import Mistake
from teacherlm.core.files import replacing
from teacherlm.schemas.records import KINDS

if TYPE_CHECKING:
    import duckdb

Pair = tuple[Any, Any]
"""A number before and after; None where the side does not know it."""

EXAMPLES = 3
"""Samples that are named for each move of verdicts."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What differs in one dataset."""

    dataset: str
    samples: Pair
    added: int
    """Samples of the second place alone."""
    removed: int
    """Samples of the first place alone."""
    changed: int
    """Samples whose question, options, gold answer or human rationale differ."""
    rationales: Pair
    new_rationales: int
    gone_rationales: int
    texts_changed: int
    verdicts_changed: int
    scores_changed: int
    counts: Mapping[str, Mapping[str, Pair]]
    """Rationales by kind and verdict."""
    scores: Mapping[str, Pair]
    """Mean scores of the accepted rationales, by kind."""
    moves: Sequence[Mapping[str, Any]]
    """How verdicts changed: `kind`, `was`, `verdict`, `count`, and a few sample ids."""
    rules: Sequence[Mapping[str, Any]]
    """Rationales that each rule hit: `rule`, `severity`, `was`, `hits`."""
    gates: Mapping[str, Pair]
    """Each gate's value, limit and outcome; None where a side was not checked, or was published."""

    @property
    def is_same(self) -> bool:
        """Whether no sample, text, verdict or score differs."""
        parts = (self.added, self.removed, self.changed, self.new_rationales, self.gone_rationales)
        return not any((*parts, self.texts_changed, self.verdicts_changed, self.scores_changed))

    def to_row(self) -> dict[str, Any]:
        return {**asdict(self), "same": self.is_same}


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two places held side by side."""

    a: str
    b: str
    level: str
    """`rationales`, or `augmented` where one of them was published and holds accepted rationales alone."""
    datasets: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
    path: Path | None = None
    """The page that was written."""
    shown: int = field(default=0)
    """Samples on the page."""
    differing: int = field(default=0)
    """Samples in which anything differs."""


def diff(
    a: str | Path, b: str | Path, names: Sequence[str] = (), *, to: Path | None = None, rows: int = ROWS
) -> Compared:
    """Compare two places by sample, kind and repeat.

    Args:
        a, b: workspaces, published folders, or `hf://datasets/ORG/REPO[@REVISION]`.
        names: datasets to compare; none: all that either of them has.
        to: file for a page with the samples in which anything differs.
        rows: samples on the page at most.

    Raises:
        Mistake: there is nothing of teacherlm's; no such dataset; a workspace that is compared with something
            published was not checked.
        RemoteFailed: the Hub.
        MachineFailed: a damaged file, a full disk.
    """
    if rows < 1:
        raise Mistake(f"is {rows}", "give a number of 1 or more", "--rows")
    if to and to.is_dir():
        raise Mistake("is a folder", f"name a file, such as {to / 'page.html'}", str(to))
    places = open_place(str(a), names), open_place(str(b), names)
    chosen = _chosen(places, names)
    is_augmented = any(place.workspace is None for place in places)
    sides = places[0].session(chosen), places[1].session(chosen)
    told = [lay_out(side, is_augmented=is_augmented) for side in sides]
    if is_augmented:
        _check_augmented(places, sides, chosen)
    for side, query in zip(sides, told, strict=True):
        charts.tell(side, query)
    con = compare(*sides)
    found = [_difference(con, sides, places, name) for name in chosen]
    notes = []
    if is_augmented:
        notes.append("One side was published: compared are samples and accepted rationales, whatever their repeat.")
    for place in places:
        unchecked = [name for name in chosen if place.workspace and name in place.datasets and not place.report(name)]
        notes += [f"{place.given}: {name} was not checked, so its texts have no verdicts" for name in unchecked]
    result = Compared(
        a=str(a),
        b=str(b),
        level="augmented" if is_augmented else "rationales",
        datasets=tuple(found),
        notes=tuple(notes),
    )
    total, shown = differing(con, rows)
    if to is None:
        return Compared(**{**vars(result), "differing": total})
    seen = Seen()
    differences = read_differences(*sides, shown, seen)
    while len(data := page(_summary(result, sides, total, len(differences), seen), differences)) > LARGEST:
        if len(differences) < 2:
            break
        differences = differences[: int(len(differences) * SPARE * LARGEST / len(data))]
    with replacing(to) as temporary:
        temporary.write_bytes(data)
    return Compared(**{**vars(result), "path": to, "shown": len(differences), "differing": total})


def _chosen(places: Sequence[Place], names: Sequence[str]) -> list[str]:
    known = sorted({name for place in places for name in place.datasets})
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(known) or "none"
        raise Mistake(f"neither side has {' and '.join(unknown)}", f"the datasets there are: {there}", "NAME")
    return list(dict.fromkeys(names)) or known


def _check_augmented(places: Sequence[Place], sides: Sequence[duckdb.DuckDBPyConnection], names: Sequence[str]) -> None:
    for place, side in zip(places, sides, strict=True):
        if place.workspace is None:
            continue
        there = {name for (name,) in side.execute("select distinct dataset from augmented").fetchall()}
        for name in names:
            if name in place.datasets and name not in there:
                found = f"`{name}` was not checked there; what was published has accepted rationales alone"
                raise Mistake(
                    found, f"check it first: teacherlm check {name} --workspace {place.workspace.root}", place.given
                )


def _difference(
    con: duckdb.DuckDBPyConnection,
    sides: Sequence[duckdb.DuckDBPyConnection],
    places: Sequence[Place],
    name: str,
) -> Difference:
    (samples,) = con.execute(
        "select count(*) filter (not is_new), count(*) filter (not is_gone), count(*) filter (is_new), "
        "count(*) filter (is_gone), count(*) filter (is_changed) from samples where dataset = ?",
        [name],
    ).fetchall()
    (texts,) = con.execute(
        "select count(*) filter (not is_new), count(*) filter (not is_gone), count(*) filter (is_new), "
        "count(*) filter (is_gone), count(*) filter (text_changed), count(*) filter (verdict_changed), "
        "count(*) filter (score_changed) from rationales where dataset = ?",
        [name],
    ).fetchall()
    moves = con.execute(
        f"select kind, was, verdict, count(*) as n, list_sort(min(distinct sample_id, {EXAMPLES})) from rationales "
        "where dataset = ? and verdict_changed group by all order by n desc, kind, was, verdict",
        [name],
    ).fetchall()
    counts, scores = [], []
    for place, side in zip(places, sides, strict=True):
        counts.append(_counts(place, side, name))
        means = "select kind, avg(score) from judged where verdict = 'accepted' and dataset = ? group by kind"
        scores.append(dict(side.execute(means, [name]).fetchall()))
    gates = [gates_of(place.report(name)) for place in places]
    kinds = [kind for kind in KINDS if kind in counts[0] or kind in counts[1]]
    return Difference(
        dataset=name,
        samples=(samples[0], samples[1]),
        added=samples[2],
        removed=samples[3],
        changed=samples[4],
        rationales=(texts[0], texts[1]),
        new_rationales=texts[2],
        gone_rationales=texts[3],
        texts_changed=texts[4],
        verdicts_changed=texts[5],
        scores_changed=texts[6],
        counts={
            kind: {
                verdict: (counts[0].get(kind, {}).get(verdict, 0), counts[1].get(kind, {}).get(verdict, 0))
                for verdict in ("accepted", "rejected", "truncated", "failed", "unchecked")
                if any(side.get(kind, {}).get(verdict) for side in counts)
            }
            for kind in kinds
        },
        scores={kind: (scores[0].get(kind), scores[1].get(kind)) for kind in kinds},
        moves=[
            {"kind": kind, "was": was, "verdict": verdict, "count": count, "examples": examples}
            for kind, was, verdict, count, examples in moves
        ],
        rules=_rules(sides, "where dataset = ?", [name]),
        gates={gate: (gates[0].get(gate), gates[1].get(gate)) for gate in {**gates[0], **gates[1]}},
    )


def _counts(place: Place, side: duckdb.DuckDBPyConnection, name: str) -> dict[str, dict[str, int]]:
    """Rationales by kind and verdict; of a published dataset those that its manifest tells of."""
    if place.workspace is None and name in place.entries:
        names = ("accepted", "rejected", "truncated", "failed")
        told = place.entries[name].counts
        return {line.kind: {verdict: getattr(line, verdict) or 0 for verdict in names} for line in told}
    found: dict[str, dict[str, int]] = {}
    query = "select kind, verdict, count(*) from judged where dataset = ? group by all"
    for kind, verdict, count in side.execute(query, [name]).fetchall():
        found.setdefault(kind, {})[verdict] = count
    if place.workspace and (report := place.report(name)):
        # Compared at the level of accepted rationales, the others are known from the report.
        for line in report.books.counts:
            others = {verdict: getattr(line, verdict) for verdict in ("rejected", "truncated", "failed")}
            found[line.kind] = {**others, **found.get(line.kind, {})}
    return found


def _rules(
    sides: Sequence[duckdb.DuckDBPyConnection], where: str = "", given: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    """Rationales that each rule hit, before and after."""
    hits: dict[tuple[str, str], list[int]] = {}
    for at, side in enumerate(sides):
        query = (
            f"select rule, count(*) from (select unnest(rules) as rule from judged {where}) group by all order by all"
        )
        for rule, count in side.execute(query, list(given)).fetchall():
            severity, _, name = rule.partition("/")
            hits.setdefault((severity, name), [0, 0])[at] = count
    ordered = sorted(hits.items(), key=lambda line: (line[0][0], -max(line[1]), line[0][1]))
    return [{"rule": rule, "severity": how, "was": was, "hits": now} for (how, rule), (was, now) in ordered]


def _summary(
    result: Compared, sides: Sequence[duckdb.DuckDBPyConnection], total: int, shown: int, seen: Seen
) -> dict[str, Any]:
    """The head of the page: numbers of both sides, and charts of the second over the first."""
    width = max(charts.bar_width(side) for side in sides)
    before, after = (charts.lengths(side, width)["kinds"] for side in sides)
    none = {"count": 0, "median": 0, "bars": [0] * charts.BINS}
    kinds = {kind: {**after.get(kind, none), "was": before.get(kind, none)} for kind in {**before, **after}}
    was, now = (charts.score_histogram(side) for side in sides)
    return {
        "form": "diff",
        "title": f"{result.a} → {result.b}",
        "subtitle": "1 sample differs" if total == 1 else f"{total:,} samples differ",
        "notes": result.notes,
        "kinds": KINDS,
        "total": total,
        "shown": shown,
        "origins": seen.origins,
        "rules": seen.rules,
        "datasets": [
            {**line.to_row(), "checked": bool(line.rules) or any(line.gates.values())} for line in result.datasets
        ],
        "figures": {
            "verdicts": {},
            "lengths": {"width": width, "kinds": kinds},
            "rules": _rules(sides),
            "scores": {"bars": now, "was": [sum(bars) for bars in zip(*was.values(), strict=True)] if was else None},
        },
    }
