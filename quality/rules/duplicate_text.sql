-- severity: warn | kinds: all | reason: another rationale has the same text
-- Case, punctuation and blanks do not count. Repeats of one kind for one sample may agree; other rationales should not.
with counted as (
    select
        sample_id, kind, repeat,
        count(distinct sample_id) over (partition by text_hash, kind) as samples_alike,
        count(distinct kind) over (partition by text_hash, sample_id) as kinds_alike
    from metrics
    where words > 0
)

select
    sample_id, kind, repeat,
    case
        when kinds_alike > 1 then 'another kind of the same sample has the same text'
        else format('{} samples have this text', samples_alike)
    end as reason
from counted
where samples_alike > 1 or kinds_alike > 1
