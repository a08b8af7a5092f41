-- severity: warn | kinds: all | reason: another rationale has the same text
-- Case, punctuation and blanks do not count. Repeats of one kind for one sample may agree; other rationales should not.
select
    sample_id, kind, repeat,
    case
        when kinds_alike > 1 then 'another kind of the same sample has the same text'
        else format('{} samples have this text', samples_alike)
    end as reason
from metrics
where samples_alike > 1 or kinds_alike > 1
