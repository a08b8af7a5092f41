-- severity: warn | kinds: all | reason: the text is unusually long
-- parameters: max_words = 600
select sample_id, kind, repeat, format('{} words; {} are usually enough', words, $max_words) as reason
from metrics
where words > $max_words
