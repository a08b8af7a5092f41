-- severity: reject | kinds: all | reason: the text holds no words
select sample_id, kind, repeat
from metrics
where words = 0
