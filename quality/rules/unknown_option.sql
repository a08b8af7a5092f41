-- severity: reject | kinds: all | reason: the text names an option that does not exist
select sample_id, kind, repeat, format('it names option {}; there are {}', unknown_letter, len(choices)) as reason
from metrics
where unknown_letter is not null
