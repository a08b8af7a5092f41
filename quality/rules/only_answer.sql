-- severity: reject | kinds: all | reason: the text only says what the answer is
-- parameters: min_share = 0.95
select
    sample_id, kind, repeat,
    format('all but {:.0f} of its {} words only say the answer', words * (1 - answer_share), words) as reason
from metrics
where answer_share >= $min_share and states_gold is not null
