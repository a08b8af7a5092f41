-- severity: reject | kinds: all | reason: the text goes round in circles
-- parameters: max_repeated = 0.7, min_words = 20
-- Long formal proofs repeat up to two thirds of their 3-word sequences; what is above that is a loop.
select sample_id, kind, repeat, format('{:.0f} % of its 3-word sequences came before', 100 * repeated_share) as reason
from metrics
where repeated_share > $max_repeated and words >= $min_words
