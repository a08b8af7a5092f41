-- The kinds compared: how many were accepted, how long they are, what they cost, how they score.
SELECT v.kind, count(*) AS asked, round(avg((v.verdict = 'accepted')::int), 3) AS accepted_share,
    round(avg(v.score), 3) AS score, round(avg(m.words), 1) AS words,
    round(avg(r.generated_tokens), 1) AS tokens, mode(f.rule) AS most_broken
FROM verdicts v
JOIN rationales r ON r.sample_id = v.sample_id AND r.kind = v.kind AND r.repeat = v.repeat
LEFT JOIN metrics m ON m.sample_id = v.sample_id AND m.kind = v.kind AND m.repeat = v.repeat
LEFT JOIN (SELECT sample_id, kind, repeat, min(rule) AS rule FROM findings GROUP BY ALL) f
    ON f.sample_id = v.sample_id AND f.kind = v.kind AND f.repeat = v.repeat
GROUP BY v.kind
ORDER BY v.kind;
