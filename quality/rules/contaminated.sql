-- severity: reject | kinds: all | reason: it shares text with an item of an evaluation set
-- parameters: min_share = 0.5, min_words = 13
-- Training splits alone (docs/contamination.md). Where the question is an item's, all that was written about it goes.
with hits as (
    select
        *,
        list_max([len(string_split(run, ' ')) for run in string_split(shared, ' … ')]) as run_words,
        format(
            '{} {} of {}, which holds "{}" too', if(kind is null, 'its question is like item', 'it is like item'),
            item, task, if(length(shared) > 120, left(shared, 120) || '…', shared)
        ) as reason
    from contamination
    where share >= $min_share or run_words >= $min_words
)

select r.sample_id, r.kind, r.repeat, h.reason
from rationales r join hits h on h.sample_id = r.sample_id
where h.kind is null
union all
select sample_id, kind, repeat, reason
from hits
where kind is not null
