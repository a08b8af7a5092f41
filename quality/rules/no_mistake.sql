-- severity: warn | kinds: common_mistakes | reason: the text speaks of no mistake
-- It holds no word of error or confusion and denies nothing: "people think that gold rusts, but it does not" does.
select sample_id, kind, repeat
from metrics
where error_words = 0 and negations = 0 and words > 0
