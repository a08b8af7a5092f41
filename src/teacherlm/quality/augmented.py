"""The augmented table: every sample with its accepted rationales, in SQL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from teacherlm.schemas.records import KINDS, record

if TYPE_CHECKING:
    import duckdb


NAMED = r"""
    case
        when regexp_matches(r.teacher_model, '^(?:[/~.\\]|\w:[/\\]|\w+://)')
        then coalesce(nullif(regexp_extract(rtrim(r.teacher_model, '/\'), '[^/\\]+$'), ''), 'unnamed')
        else r.teacher_model
    end"""
"""The id of the teacher's model; of a path or an address on its machine, which is nobody's business, the last part."""


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
            select r.* replace ({NAMED} as teacher_model), l.flags, l.score
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
