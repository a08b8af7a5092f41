-- Which rule rejects most, and what switching it off would bring: texts that no other rule rejects.
WITH broken AS (
    SELECT sample_id, kind, repeat, list_distinct(list(rule)) AS rules
    FROM findings WHERE severity = 'reject' GROUP BY ALL
)
SELECT unnest(rules) AS rule, count(*) AS rejects, count(*) FILTER (len(rules) = 1) AS "alone",
    round("alone" / (SELECT count(*) FROM verdicts), 3) AS would_bring
FROM broken
GROUP BY rule
ORDER BY rejects DESC, rule;
