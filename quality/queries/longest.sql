-- The longest texts, in words, with what it took to write them.
-- set: n=5
SELECT m.sample_id, m.kind, m.words, r.generated_tokens AS tokens, v.verdict, left(r.text, 40) AS "begin"
FROM metrics m
JOIN rationales r ON r.sample_id = m.sample_id AND r.kind = m.kind AND r.repeat = m.repeat
JOIN verdicts v ON v.sample_id = m.sample_id AND v.kind = m.kind AND v.repeat = m.repeat
ORDER BY m.words DESC, m.sample_id, m.kind
LIMIT $n;
