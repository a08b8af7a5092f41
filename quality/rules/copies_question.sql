-- severity: reject | kinds: all | reason: the text only repeats the question
-- parameters: max_copied = 0.8
select
    sample_id, kind, repeat,
    format('{:.0f} % of its 5-word sequences stand in the question or its choices', 100 * copied_share) as reason
from metrics
where copied_share > $max_copied
