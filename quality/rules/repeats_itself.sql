-- severity: reject | kinds: all | reason: the text goes round in circles
-- parameters: max_repeated = 0.7, min_words = 20, max_looped = 30
-- Long formal proofs repeat up to two thirds of their 3-word sequences; what is above that is a loop. So is a stretch that
-- says the same words again and again, however much stands before it.
select
    sample_id, kind, repeat,
    case
        when looped_words > $max_looped then format('{} words on end say the same again and again', looped_words)
        else format('{:.0f} % of its 3-word sequences came before', 100 * repeated_share)
    end as reason
from metrics
where looped_words > $max_looped or repeated_share > $max_repeated and words >= $min_words
