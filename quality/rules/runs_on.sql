-- severity: reject | kinds: all | reason: the text goes on to questions of its own
-- parameters: max_questions = 0
-- A teacher without a stop sequence writes the next "Q:" of its examples.
select sample_id, kind, repeat, format('{} further questions follow', invented_questions) as reason
from metrics
where invented_questions > $max_questions
