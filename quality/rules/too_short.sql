-- severity: reject | kinds: all | reason: the text is too short to explain anything
-- parameters: min_words = 5
select sample_id, kind, repeat, format('{} words; at least {} explain something', words, $min_words) as reason
from metrics
where words between 1 and $min_words - 1
