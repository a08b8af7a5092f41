-- severity: warn | kinds: all | reason: an earlier text says nearly the same
-- parameters: min_similarity = 0.8
-- Of texts that resemble one another the first, in the order of sample ids, is not reported: it is the one to keep.
-- Rationales that are the same to the word are duplicate_text's.
with near as (
    select
        *, if(similarity = 1, 'the same as', format('{:.0f} % like', 100 * similarity)) as how
    from duplicates
    where similarity >= $min_similarity
)

select r.sample_id, r.kind, r.repeat, format('its question is {} that of {}', n.how, n.like_sample_id) as reason
from rationales r join near n on n.sample_id = r.sample_id
where n.kind is null
union all
select sample_id, kind, repeat, format('it is {} the text of {}', how, like_sample_id) as reason
from near
where kind is not null and similarity < 1
