-- Which teacher is best per task: the share of its texts that was accepted, and their score.
SELECT s.task, r.kind, r.teacher_model AS teacher, count(*) AS texts,
    round(avg((v.verdict = 'accepted')::int), 3) AS accepted_share, round(avg(v.score), 3) AS score
FROM verdicts v
JOIN rationales r ON r.sample_id = v.sample_id AND r.kind = v.kind AND r.repeat = v.repeat
JOIN samples s ON s.sample_id = v.sample_id
WHERE r.teacher_model IS NOT NULL
GROUP BY ALL
ORDER BY s.task, r.kind, accepted_share DESC, score DESC, teacher;
