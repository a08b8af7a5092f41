-- Tokens for each accepted text, and money for a thousand, by kind; what was refused, cut or failed is paid for too.
WITH taken AS (
    SELECT dataset, kind, sum(generated_tokens) AS tokens, sum(cost) AS cost FROM costs GROUP BY ALL
), made AS (
    SELECT v.dataset, v.kind, count(*) FILTER (v.verdict = 'accepted') AS accepted
    FROM verdicts v
    JOIN rationales r ON r.sample_id = v.sample_id AND r.kind = v.kind AND r.repeat = v.repeat
    WHERE r.strategy <> 'human' GROUP BY ALL
)
SELECT t.dataset, t.kind, m.accepted, t.tokens, round(t.tokens / nullif(m.accepted, 0), 1) AS tokens_each,
    round(1000 * t.cost / nullif(m.accepted, 0), 2) AS cost_of_1000
FROM taken t JOIN made m ON m.dataset = t.dataset AND m.kind = t.kind
ORDER BY ALL;
