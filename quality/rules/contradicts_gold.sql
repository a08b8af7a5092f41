-- severity: reject | kinds: fundamentals, chain_of_thought | reason: the text concludes with another answer than the gold one
-- Not asked of common_mistakes, whose point is to name wrong answers. A text that tells no answer is not concerned, and
-- fundamentals conclude with nothing but a statement: the last number of a fact is no answer.
select sample_id, kind, repeat, format('it concludes with "{}"; the gold answer is "{}"', stated_answer, answer) as reason
from metrics
where states_gold = false and (answer_from = 'statement' or kind = 'chain_of_thought')
