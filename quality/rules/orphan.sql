-- severity: reject | kinds: all | reason: its sample is not in the build any more
select sample_id, kind, repeat
from metrics
where not in_build
