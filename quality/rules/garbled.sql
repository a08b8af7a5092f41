-- severity: reject | kinds: all | reason: the text holds broken characters or words run together
-- parameters: max_run_together = 0.1
-- Broken: the replacement character and control characters. Run together: "theShop", "resultStepThe"; names such as
-- "JavaScript" occur in good texts, so it takes a share of the words; "iPhone" and "pH" have one small letter before the capital.
with counted as (
    select sample_id, kind, repeat, words,
        len(regexp_extract_all(text, '[\x{fffd}\x{0000}-\x{0008}\x{000b}\x{000c}\x{000e}-\x{001f}]')) as broken,
        len(regexp_extract_all(text, '\p{Ll}{2}\p{Lu}')) as run_together
    from metrics
)
select sample_id, kind, repeat,
    case when broken > 0 then format('{} broken characters', broken)
         else format('{} places where words run together, in {} words', run_together, words) end as reason
from counted
where broken > 0 or run_together > greatest(2, $max_run_together * words)
