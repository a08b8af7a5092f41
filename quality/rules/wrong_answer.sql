-- severity: reject | kinds: chain_of_thought | reason: asked without the answer, the chain does not reach the gold one
-- STaR keeps chains that reach the gold answer, with or without a hint; the answer was drawn from the text as it came.
select r.sample_id, r.kind, r.repeat, coalesce(
    format('it reaches "{}"; the gold answer is "{}"', r.predicted_answer, s.answer),
    format('no answer can be told from it; the gold answer is "{}"', s.answer)
) as reason
from rationales r
join samples s on s.sample_id = r.sample_id
where r.status = 'ok' and r.strategy in ('star', 'star_hinted') and r.predicted_answer is distinct from s.answer
