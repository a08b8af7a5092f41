-- severity: reject | kinds: fundamentals, common_mistakes | reason: the text says what another kind of the sample says
-- parameters: max_shared = 0.8, min_words = 12
-- The chain of thought stays: of two kinds that say the same it is what was asked for.
select
    sample_id, kind, repeat,
    format('{:.0f} % of its 3-word sequences stand in another kind of the same sample', 100 * other_kinds_share) as reason
from metrics
where other_kinds_share > $max_shared and words >= $min_words
