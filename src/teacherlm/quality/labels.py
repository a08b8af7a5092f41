"""Labelled rationales: tables of texts that people judged, or whose final answer is known to be right or wrong.

Two kinds of label are told apart. `answer`: the text's final answer is the gold one (`is_correct`). `judgement`: people
found the text good; what they said stands in `n_acceptable` of `n_annotators`, or in `annotations`, a JSON object:

- `acceptable`, a list with "1" or "-1" of each annotator: the majority decides;
- `quality_label`, `good` or `bad`, inside an object for each `human_evaluator…`: the majority decides;
- `factual1` and `consist1`, `T` or `F`: both have to be `T`.

Where votes are even there is no label. A judgement is `unanimous` where all who judged say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from teacherlm.core.errors import MachineFailed, Mistake
from teacherlm.quality.messages import short
from teacherlm.schemas.records import record

if TYPE_CHECKING:
    import duckdb

LabelKind = Literal["answer", "judgement"]
LABEL_KINDS: tuple[LabelKind, ...] = get_args(LabelKind)

KIND = "chain_of_thought"
"""The kind of rationale that the texts are taken for."""

REQUIRED: Mapping[str, str] = dict.fromkeys(("id", "question", "gold_answer", "generated_rationale"), "varchar")
OPTIONAL: Mapping[str, str] = {
    "source": "varchar",
    "context": "varchar",
    "choices": "varchar[]",
    "gold_rationale": "varchar",
    "is_correct": "boolean",
    "n_annotators": "bigint",
    "n_acceptable": "bigint",
    "annotations": "varchar",
}

LETTERED = r"^\s*\(?([A-Za-z])(?:\s?[).:]\s*|$)"
"""An option's letter before its text, or alone."""


@dataclass(frozen=True)
class Read:
    """What a table held."""

    path: Path
    rows: int
    used: int
    """Rows that became a sample and a rationale."""
    why: Mapping[str, int]
    """The others, by reason."""

    def to_row(self) -> dict[str, object]:
        return {"table": str(self.path), "rows": self.rows, "used": self.used, "left_out": dict(self.why)}


def open_labels(con: duckdb.DuckDBPyConnection) -> None:
    """Create the empty table `labelled_rows`, which `read_labels` adds to."""
    columns = ", ".join(f"{name} {kind}" for name, kind in {**REQUIRED, **OPTIONAL}.items())
    con.execute(f"create or replace table labelled_rows ({columns}, gold varchar, options varchar[])")


def read_labels(con: duckdb.DuckDBPyConnection, path: Path, limit: int | None = None, *, needed: bool = False) -> Read:
    """Add the rows of a Parquet file to `labelled_rows`; none of them where it cannot be read to its end.

    Args:
        limit: rows to take, by the hash of their id, so that every source keeps its share.
        needed: whether a table without labels is a mistake.

    Raises:
        Mistake: there is no such file; columns are missing, or of a type that cannot be read as theirs; with `needed`,
            it has no rows, none that can be used, or no labels.
        MachineFailed: the file is damaged.
    """
    import duckdb

    if not path.is_file():
        raise Mistake("there is no such file", "name a Parquet file of labelled rationales", str(path))
    try:
        found = [name for name, *_ in con.execute("describe from read_parquet($file)", {"file": str(path)}).fetchall()]
        if missing := [name for name in REQUIRED if name not in found]:
            names = " and ".join(f"`{name}`" for name in missing)
            raise Mistake(
                f"has no column {names}; it has {', '.join(found)}",
                f"a table needs {', '.join(REQUIRED)}; {', '.join(OPTIONAL)} may stand beside them",
                str(path),
            )
        casts = ", ".join(
            f"{name if name in found else 'null'}::{kind} as {name}" for name, kind in {**REQUIRED, **OPTIONAL}.items()
        )
        con.execute(f"create or replace temp table incoming as {_PREPARED.format(casts=casts)}", _values(path, limit))
        counts = dict(con.execute("select coalesce(why, ''), count(*) from incoming group by 1 order by 1").fetchall())
        ((labelled,),) = con.execute(f"select count(*) from incoming where why is null and ({_SAID})").fetchall()
        if needed and not labelled:
            raise _unlabelled(path, counts)
        con.execute("insert into labelled_rows by name select * exclude (why) from incoming where why is null")
    except duckdb.ConversionException as error:
        raise Mistake(
            f"a column has another type: {short(error)}", "see docs/quality.md for types", str(path)
        ) from None
    except duckdb.Error as error:
        raise MachineFailed(f"cannot be read: {short(error)}", "fetch or write the file again", str(path)) from None
    used = counts.pop("", 0)
    return Read(path, used + sum(counts.values()), used, counts)


def _unlabelled(path: Path, counts: Mapping[str, int]) -> Mistake:
    """Why a table has nothing to compare with."""
    if not counts:
        return Mistake("no rows", "name a table that holds some", str(path))
    if "" not in counts:
        reasons = ", ".join(f"{count:,} {why}" for why, count in counts.items())
        return Mistake(f"no row can be used: {reasons}", "mend the rows, or name another table", str(path))
    needed = "needs is_correct, or n_annotators and n_acceptable, or annotations"
    return Mistake(f"no labels: {needed}", "add these columns; docs/quality.md says what they hold", str(path))


def take_labels(con: duckdb.DuckDBPyConnection) -> None:
    """Make `samples`, `rationales` and `labels` out of `labelled_rows`.

    Rows with the same question, context, options and gold answer are rationales of one sample. `labels` has a row for
    each rationale and kind of label that it has: the keys, `id`, `source`, `label`, `good`, `unanimous`, and
    `question_key`, which is the same for texts about one question whatever their source.
    """
    con.execute(_KEYED)
    con.execute(f"create or replace table samples as select {record('sample').cast_list()} from ({_SAMPLES})")
    con.execute(f"create or replace table rationales as select {record('rationale').cast_list()} from ({_RATIONALES})")
    con.execute(_LABELS)


def _values(path: Path, limit: int | None) -> dict[str, object]:
    return {"file": str(path), "stem": path.stem, "limit": limit}


_PREPARED = rf"""
with given as (select {{casts}} from read_parquet($file)),
chosen as (
    select * replace (coalesce(source, $stem) as source, coalesce(choices, []) as choices)
    from given
    qualify $limit::bigint is null or row_number() over (order by hash(id), id) <= $limit
),
opened as (
    select
        *,
        list_transform(
            list_filter(choices, lambda choice: choice is not null),
            lambda choice: trim(regexp_replace(choice, '{LETTERED}', ''))
        ) as bare_choices,
        if(
            list_contains(bare_choices, ''), list_transform(choices, lambda choice: trim(choice)), bare_choices
        ) as options,
        trim(gold_answer) as gold_text,
        lower(rtrim(gold_text, '.')) as gold_lower,
        list_transform(options, lambda option: lower(rtrim(option, '.'))) as lower_options,
        -- By its text, else "yes" for "true" and so on, else by its letter.
        coalesce(
            list_position(lower_options, gold_lower),
            list_position(lower_options, case gold_lower when 'yes' then 'true' when 'no' then 'false'
                when 'true' then 'yes' when 'false' then 'no' end),
            list_position(lower_options, lower(rtrim(trim(regexp_replace(gold_text, '{LETTERED}', '')), '.'))),
            nullif(ascii(upper(nullif(regexp_extract(gold_text, '{LETTERED}', 1), ''))) - 64, 0)
        ) as place,
        if(len(options) = 0, gold_text, options[place]) as gold
    from chosen
)
select
    * exclude (bare_choices, gold_text, gold_lower, lower_options, place),
    case
        when trim(coalesce(generated_rationale, '')) = '' then 'no text'
        when trim(coalesce(question, '')) = '' then 'no question'
        when coalesce(gold_text, '') = '' then 'no gold answer'
        when gold is null then 'the gold answer is none of the choices'
    end as why
from opened
"""

_SAID = "is_correct is not null or (n_annotators > 0 and n_acceptable is not null) or annotations is not null"
"""Whether a row says anything that may be a label."""

_KEYED = """
create or replace temp table keyed as
select
    *,
    if(coalesce(context, '') = '', '', trim(context) || chr(10)) || trim(question) as asked,
    source || '/labelled/' || left(md5(to_json([[asked, gold], options])::varchar), 16) as sample_id,
    (row_number() over (partition by sample_id order by id, md5(generated_rationale))) - 1 as repeat
from labelled_rows
"""

_SAMPLES = """
select
    sample_id, any_value(source) as dataset, 'labelled' as split, 'labelled' as task, null as subject,
    any_value(asked) as question, any_value(options) as choices, any_value(gold) as answer,
    any_value(list_position(options, gold) - 1) as answer_index, min(gold_rationale) as human_rationale
from keyed group by sample_id order by sample_id
"""

_GIVEN: Mapping[str, str] = {
    **{"sample_id": "sample_id", "dataset": "source", "split": "'labelled'", "kind": f"'{KIND}'", "repeat": "repeat"},
    **{"text": "generated_rationale", "status": "'ok'", "attempts": "1", "strategy": "'human'"},
    "created_at": "to_timestamp(0)",
}
_RATIONALES = "select " + ", ".join(
    f"{_GIVEN.get(column.name, 'null')} as {column.name}" for column in record("rationale")
)
_RATIONALES += " from keyed order by sample_id, repeat"

_LABELS = """
create or replace table labels as
with said as (
    select
        * exclude (choices, options, question),
        md5(regexp_replace(lower(trim(question)), '\\s+', ' ', 'g')) as question_key,
        try_cast(annotations as json) as told,
        list_filter(coalesce(try_cast(told->'acceptable' as varchar[]), []), lambda vote: vote in ('1', '-1')) as votes,
        list_transform(
            list_filter(coalesce(json_keys(told), []), lambda name: starts_with(name, 'human_evaluator')),
            lambda name: told->name->>'quality_label'
        ) as evaluated,
        case
            when n_annotators > 0 then n_annotators
            else len(votes) + len(list_filter(evaluated, lambda label: label in ('good', 'bad')))
        end as judges,
        case
            when n_annotators > 0 and n_acceptable is not null then n_acceptable
            when len(votes) > 0 then len(list_filter(votes, lambda vote: vote = '1'))
            when len(evaluated) > 0 then len(list_filter(evaluated, lambda label: label = 'good'))
        end as in_favour
    from keyed
),
decided as (
    select
        *,
        -- Where the votes stand in `annotations`, `n_annotators` may count people who were not asked this.
        if(n_acceptable is null and len(votes) > 0, len(votes), judges) as asked_people,
        case
            when in_favour is not null then if(2 * in_favour = asked_people, null, 2 * in_favour > asked_people)
            when told->>'factual1' is not null and told->>'consist1' is not null
            then told->>'factual1' = 'T' and told->>'consist1' = 'T'
        end as judged
    from said
)
select sample_id, repeat, id, source, question_key, 'answer' as label, is_correct as good, true as unanimous
from decided where is_correct is not null
union all
select
    sample_id, repeat, id, source, question_key, 'judgement', judged,
    in_favour is null or in_favour in (0, asked_people)
from decided where judged is not null
order by all
"""
