"""One row of a workspace: its sample, every answer for it, verdicts and findings, its place in the augmented table."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from teacherlm.api.workspace import Workspace, open_session
from teacherlm.builders.rows import REJECTS
from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.schemas.records import KINDS, record
from teacherlm.teacher.answered import AnsweredCalls

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

NAMED = 5
"""Sample ids that an error names."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the workspace holds of one sample."""

    sample_id: str
    dataset: str
    split: str
    sample: dict[str, Any] | None
    """None: it is not among the samples any more; its answers are."""
    ledger: pa.Table
    """Every answer, oldest first within a kind."""
    answers: tuple[dict[str, Any], ...]
    """The same as rows, each with its `verdict` (score, flags and findings with it) and `is_in_augmented`."""


def find_row(workspace: Workspace, given: str) -> Row:
    """The row of a sample id, or of a beginning that only one sample has. Its dataset alone is read.

    Raises:
        Mistake: there is none, or several; names the nearest.
        MachineFailed: a file is damaged.
    """
    import duckdb

    dataset = given.partition("/")[0]
    if dataset not in workspace.datasets():
        raise _no_dataset(workspace, given, dataset)
    session = open_session(workspace, [dataset])
    try:
        sample = _sample(session, given)
        sample_id = sample["sample_id"] if sample else given
        contract = record("rationale")
        ledger = session.sql(
            f"SELECT {contract.cast_list()} FROM ledger WHERE sample_id = ? ORDER BY kind, segment, line",
            params=[sample_id],
        ).to_arrow_table()
        if sample is None and not ledger.num_rows:
            raise _nearest(session, workspace, given, dataset)
        ledger = ledger.cast(contract.arrow())
        answers = ledger.to_pylist()
        for answer in answers:
            answer |= {"verdict": None, "is_in_augmented": False}
        _judged(session, sample_id, answers)
    except duckdb.Error as error:
        raise MachineFailed(
            f"a file of the workspace cannot be read: {str(error).splitlines()[0]}",
            "run it again if a check or a build is going on; else remove the file and run the step that writes it",
            str(workspace.root),
        ) from None
    split = sample["split"] if sample else answers[0]["split"]
    return Row(sample_id=sample_id, dataset=dataset, split=split, sample=sample, ledger=ledger, answers=tuple(answers))


@contextmanager
def own_ledger(row: Row) -> Iterator[AnsweredCalls]:
    """The row's answers as a ledger of their own, which tells what is settled as the whole one does."""
    import pyarrow.compute as pc
    import pyarrow.parquet

    with TemporaryDirectory() as folder:
        for kind in pc.unique(row.ledger["kind"]).to_pylist():
            path = Path(folder) / row.split / kind / "1.parquet"
            path.parent.mkdir(parents=True)
            pyarrow.parquet.write_table(row.ledger.filter(pc.equal(row.ledger["kind"], kind)), path)
        yield AnsweredCalls.read(Path(folder))


def _sample(session: duckdb.DuckDBPyConnection, given: str) -> dict[str, Any] | None:
    for where in ("sample_id = ?", "starts_with(sample_id, ?)"):
        found = (
            session.sql(f"FROM samples WHERE {where} LIMIT {NAMED + 1}", params=[given]).to_arrow_table().to_pylist()
        )
        if len(found) > 1:
            raise Mistake(
                f"`{given}` begins the ids of several samples",
                f"give one of them: {_listed([sample['sample_id'] for sample in found])}",
                "sample",
            )
        if found:
            return dict(found[0])
    return None


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED]) + (", …" if len(ids) > NAMED else "")


def _no_dataset(workspace: Workspace, given: str, dataset: str) -> Mistake:
    known = workspace.datasets()
    near = difflib.get_close_matches(dataset, known, n=1)
    there = f"known are {', '.join(known)}" if known else f"build it first: teacherlm build {dataset or 'NAME'}"
    hint = f"did you mean {near[0]}{given[len(dataset) :]}?" if near else f"ids begin with DATASET/SPLIT/; {there}"
    return Mistake(f"there is no sample `{given}`: nothing of `{dataset}` is in {workspace.root}", hint, "sample")


def _nearest(session: duckdb.DuckDBPyConnection, workspace: Workspace, given: str, dataset: str) -> Mistake:
    """Why there is no such row."""
    rejects = workspace.samples(dataset) / REJECTS
    if rejects.is_file():
        refused = session.execute(
            "SELECT row, reason FROM read_parquet(?) WHERE sample_id = ? LIMIT 1", [str(rejects), given]
        ).fetchone()
        if refused:
            found = f"there is no sample `{given}`: row {refused[0]:,} of the source was refused: {refused[1]}"
            return Mistake(found, f"the refused rows are in {rejects}", "sample")
    near_ids = session.execute(
        "SELECT sample_id FROM samples ORDER BY jaro_winkler_similarity(sample_id, ?) DESC, sample_id LIMIT 3",
        [given],
    ).fetchall()
    hint = f"the nearest are {_listed([one for (one,) in near_ids])}" if near_ids else f"teacherlm build {dataset}"
    return Mistake(f"there is no sample `{given}`", hint, "sample")


def _judged(session: duckdb.DuckDBPyConnection, sample_id: str, answers: Sequence[dict[str, Any]]) -> None:
    """Give each verdict, and each place in the augmented table, to the answer that it is about."""

    def rows(query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = session.sql(query, params=[sample_id]).to_arrow_table().to_pylist()
        return found

    def about(kind: str, repeat: int, call_key: str | None) -> dict[str, Any] | None:
        key = (kind, repeat, call_key)
        return next((a for a in reversed(answers) if (a["kind"], a["repeat"], a["call_key"]) == key), None)

    findings = rows("SELECT kind, repeat, rule, severity, reason FROM findings WHERE sample_id = ? ORDER BY ALL")
    for verdict in rows("SELECT kind, repeat, call_key, verdict, score, flags FROM verdicts WHERE sample_id = ?"):
        kind, repeat = verdict["kind"], verdict["repeat"]
        if answer := about(kind, repeat, verdict["call_key"]):
            answer["verdict"] = {name: verdict[name] for name in ("verdict", "score", "flags")} | {
                "findings": [
                    {name: finding[name] for name in ("rule", "severity", "reason")}
                    for finding in findings
                    if (finding["kind"], finding["repeat"]) == (kind, repeat)
                ]
            }
    for augmented in rows("SELECT provenance FROM augmented WHERE sample_id = ?"):
        for kind in KINDS:
            if made := augmented["provenance"][kind]:
                answer = about(kind, made["repeat"], made["call_key"])
                if answer is not None:
                    answer["is_in_augmented"] = True
