-- Questions and texts that say nearly what another one says, with both.
SELECT d.sample_id, coalesce(d.kind, 'question') AS what, d.like_sample_id, round(d.similarity, 2) AS similarity,
    left(coalesce(r.text, s.question), 40) AS "begin"
FROM duplicates d
LEFT JOIN samples s ON s.sample_id = d.sample_id
LEFT JOIN rationales r ON r.sample_id = d.sample_id AND r.kind = d.kind AND r.repeat = d.repeat
ORDER BY d.similarity DESC, d.sample_id, what;
