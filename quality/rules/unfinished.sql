-- severity: warn | kinds: all | reason: the text stops in the middle of a sentence
-- parameters: min_words = 8
select sample_id, kind, repeat, format('it ends with "{}"', right(text, 30)) as reason
from metrics
where (unfinished or finish_reason = 'length') and words >= $min_words
