"""The rows of a page: which samples it shows, and everything that it says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

BATCH = 2_000
"""Rows that are turned into objects at once."""

COLUMNS = (
    *("sample_id", "dataset", "split", "kind", "repeat", "text", "failure", "finish_reason", "prompt_tokens"),
    *("generated_tokens", "teacher_model", "teacher_revision", "strategy", "predicted_answer", "verdict", "score"),
    "findings",
)
"""What a page says of a rationale."""

TOLD = """
    select
        r.sample_id, r.dataset, r.split, r.kind, r.repeat, r.text, r.failure, r.finish_reason, r.prompt_tokens,
        r.generated_tokens, r.teacher_model, r.teacher_revision, r.strategy, r.predicted_answer,
        coalesce(v.verdict, nullif(r.status, 'ok')) as verdict, v.score,
        if(v.sample_id is null, null, b.findings) as findings
    from rationales r
    left join verdicts v on v.sample_id = r.sample_id and v.kind = r.kind and v.repeat = r.repeat
        and v.call_key is not distinct from r.call_key
    left join (
        select sample_id, kind, repeat, list([rule, severity, reason] order by severity, rule) as findings
        from findings group by all
    ) b on b.sample_id = r.sample_id and b.kind = r.kind and b.repeat = r.repeat
"""
"""Each rationale with its verdict and findings; without where it was written after the last check, or none was made.
What was cut or never came needs no check to be known."""


@dataclass(frozen=True)
class Rows:
    """Samples with their rationales, as the page's script reads them; keys are short, for there are many."""

    total: int
    """Samples of the build."""
    samples: list[dict[str, Any]]
    seen: Seen


class Seen:
    """Origins and rules of a page, each once; its rationales point to them."""

    def __init__(self) -> None:
        self._origins: dict[tuple[str | None, ...], int] = {}
        self._rules: dict[tuple[str, str], int] = {}

    @property
    def origins(self) -> list[dict[str, str | None]]:
        return [{"teacher": model, "revision": revision, "strategy": way} for model, revision, way in self._origins]

    @property
    def rules(self) -> list[dict[str, str]]:
        return [{"rule": rule, "severity": severity} for rule, severity in self._rules]

    def rationale(self, columns: Sequence[Any]) -> dict[str, Any]:
        """A rationale as the page reads it, from the last fourteen of COLUMNS; nothing is said of what is null."""
        kind, repeat, text, failure, finish, asked, written, *rest = columns
        model, revision, strategy, predicted, verdict, score, findings = rest
        rules, origins = self._rules, self._origins
        row = {
            "k": kind,
            "n": repeat,
            "t": text,
            "v": verdict,
            "s": None if score is None else round(score, 4),
            "f": [[rules.setdefault((rule, how), len(rules)), reason] for rule, how, reason in findings or ()],
            "w": failure or (f"ended by {finish}" if verdict == "truncated" and finish else None),
            "i": asked,
            "g": written,
            "o": origins.setdefault((model, revision, strategy), len(origins)),
            "x": predicted,
        }
        return {key: value for key, value in row.items() if value is not None and value != []}


def choose(con: duckdb.DuckDBPyConnection, most: int) -> int:
    """Make the table `chosen` of the samples to show, with their place in the build.

    Where there are more, those with a rationale that was not accepted fill up to half of the page, or more where the
    others do not fill the rest; of both the first by the MD5 of their ids, so that the same build shows the same.

    Returns:
        Samples of the build, those included that are gone and have rationales still.
    """
    con.execute(
        """
        create or replace temp table everyone as
        with known as (select sample_id, row_number() over () as place from samples),
        gone as (
            select sample_id, 1_000_000_000 + row_number() over (order by sample_id) as place
            from (select distinct sample_id from rationales) anti join known using (sample_id)
        ),
        bad as (select distinct sample_id from verdicts where verdict <> 'accepted')
        select e.sample_id, e.place, b.sample_id is not null as is_bad
        from (from known union all from gone) e left join bad b on b.sample_id = e.sample_id
        """
    )
    ((total, bad),) = con.execute("select count(*), count(*) filter (is_bad) from everyone").fetchall()
    bad_shown = min(bad, max(most // 2, most - (total - bad)))
    con.execute(
        """
        create or replace temp table chosen as
        select sample_id, place from everyone
        qualify row_number() over (partition by is_bad order by md5(sample_id), sample_id)
            <= if(is_bad, ?::bigint, ?::bigint)
        """,
        [bad_shown, most - bad_shown],
    )
    return int(total)


def read_rows(con: duckdb.DuckDBPyConnection, total: int) -> Rows:
    """The samples of the table `chosen` with their rationales, in the order of the build.

    Args:
        total: samples of the build.
    """
    samples: dict[str, dict[str, Any]] = {}
    seen = Seen()
    found = con.execute(
        "select c.sample_id, s.dataset, s.split, s.task, s.subject, s.question, s.choices, s.answer, s.answer_index, "
        "s.human_rationale from chosen c left join samples s on s.sample_id = c.sample_id order by c.place"
    )
    while batch := found.fetchmany(BATCH):
        for sample_id, *columns in batch:
            samples[sample_id] = sample_row(sample_id, *columns)
    found = con.execute(
        f"select {', '.join(f't.{name}' for name in COLUMNS)} from ({TOLD}) t "
        "join chosen c on c.sample_id = t.sample_id order by c.place, t.kind, t.repeat"
    )
    while batch := found.fetchmany(BATCH):
        for sample_id, dataset, split, *columns in batch:
            sample = samples[sample_id]
            if sample["d"] is None:
                sample |= {"d": dataset, "p": split}
            sample["r"].append(seen.rationale(columns))
    return Rows(total, list(samples.values()), seen)


def sample_row(
    sample_id: str,
    dataset: str | None,
    split: str | None,
    task: str | None,
    subject: str | None,
    question: str | None,
    choices: list[str] | None,
    answer: str | None,
    answer_index: int | None,
    human_rationale: str | None,
) -> dict[str, Any]:
    """A sample without its rationales; `q` is null where the sample itself is gone, or was not published."""
    row = {"id": sample_id, "d": dataset, "p": split, "q": question, "c": choices or [], "a": answer}
    extra = {"i": answer_index, "h": human_rationale, "t": task, "s": subject}
    return {**row, **{key: value for key, value in extra.items() if value is not None}, "r": []}
