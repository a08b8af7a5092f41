-- severity: reject | kinds: fundamentals, chain_of_thought | reason: a step of its arithmetic is wrong
-- parameters: max_wrong = 0
-- Steps such as "3 * 4 = 12" are worked out again. Those that the question itself gives, and those that the text calls
-- wrong, are not the text's.
select sample_id, kind, repeat, format('{} is wrong; {} of {} steps are', wrong_step, wrong_steps, steps) as reason
from metrics
where wrong_steps > $max_wrong
