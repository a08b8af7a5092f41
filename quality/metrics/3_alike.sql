-- Measures beside other rationales: exact duplicates within the dataset, and what the kinds of a sample share.

create or replace temp table alike as
select text_hash, kind, count(distinct sample_id) as samples
from metrics
where words > 0
group by text_hash, kind
having count(*) > 1 and count(distinct sample_id) > 1;

update metrics set samples_alike = alike.samples
from alike
where alike.text_hash = metrics.text_hash and alike.kind = metrics.kind;

create or replace temp table alike as
select text_hash, sample_id, count(distinct kind) as kinds
from metrics
where words > 0
group by text_hash, sample_id
having count(*) > 1 and count(distinct kind) > 1;

update metrics set kinds_alike = alike.kinds
from alike
where alike.text_hash = metrics.text_hash and alike.sample_id = metrics.sample_id;

-- Half of the 3-word sequences tell which texts may have a fifth of theirs in another kind; only these are compared
-- whole, others have 0. Kinds of one repeat are compared with each other.
create or replace temp table alike as
with close as (
    select distinct m.sample_id, m.kind, m.repeat
    from metrics m
    join metrics o on o.sample_id = m.sample_id and o.repeat = m.repeat and o.kind <> m.kind
    where len(list_filter(m.sketch, lambda run: list_contains(o.sketch, run))) >= greatest(1, 0.2 * len(m.sketch))
),
whole as (
    select
        m.sample_id, m.kind, m.repeat,
        list_distinct(runs_of_3(marks_of(words_of(any_value(m.text))))) as runs,
        flatten(list(runs_of_3(marks_of(words_of(o.text))))) as others
    from close
    join metrics m using (sample_id, kind, repeat)
    join metrics o on o.sample_id = m.sample_id and o.repeat = m.repeat and o.kind <> m.kind
    group by m.sample_id, m.kind, m.repeat
)
select sample_id, kind, repeat, len(list_intersect(runs, others)) / len(runs) as share
from whole;

update metrics set other_kinds_share = alike.share
from alike
where alike.sample_id = metrics.sample_id and alike.kind = metrics.kind and alike.repeat = metrics.repeat;

drop table alike;

alter table metrics drop column sketch;
