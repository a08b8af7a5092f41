-- severity: warn | kinds: common_mistakes | reason: the text speaks of no mistake
-- It holds no word of error or confusion, denies nothing ("gold does not"), and says nothing of what people do wrong
-- without naming it an error ("people often read it too quickly").
select sample_id, kind, repeat
from metrics
where
    kind = 'common_mistakes'
    and error_words = 0
    and negations = 0
    and words > 0
    and not regexp_matches(
        text,
        '(?i)\b(?:people|students|learners|beginners|readers|many|some|one|whoever|often|tend|instead|believe|suppose|jump'
        || '|too (?:quick|fast|hast|soon|literal|early|much|few|many|narrow|broad)\w*)\b'
    )
