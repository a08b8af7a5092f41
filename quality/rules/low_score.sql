-- severity: reject | kinds: all | reason: its score is low
-- parameters: min_score = 0.0
-- Nothing is rejected at 0; rationales without a score are not concerned.
select sample_id, kind, repeat, format('its score is {:.2f}; {:.2f} is wanted', score, $min_score) as reason
from scores
where score < $min_score
