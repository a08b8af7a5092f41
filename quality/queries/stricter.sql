-- What a stricter gate would cost: texts that are left if an accepted one must have a score of at least so much.
SELECT v.kind, t.least, count(*) FILTER (v.score >= t.least) AS kept,
    count(*) FILTER (v.score < t.least) AS lost, round(kept / count(v.score), 3) AS kept_share
FROM verdicts v, (VALUES (0.3), (0.5), (0.7), (0.9)) AS t(least)
WHERE v.verdict = 'accepted'
GROUP BY v.kind, t.least
HAVING count(v.score) > 0
ORDER BY v.kind, t.least;
