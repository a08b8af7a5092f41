-- severity: reject | kinds: fundamentals | reason: the fundamentals state the answer as the answer
-- They are read before the answer is known. To mention its words is no leak: the facts are often about them.
select sample_id, kind, repeat, format('it states that the answer is "{}"', stated_answer) as reason
from metrics
where answer_from = 'statement' and states_gold
