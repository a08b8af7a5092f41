-- What shares text with evaluation sets: samples and texts by set and task of the sample, and the closest one.
SELECT c.task AS evaluation_set, s.task, count(DISTINCT c.sample_id) AS samples,
    count(*) FILTER (c.kind IS NULL) AS questions, count(*) FILTER (c.kind IS NOT NULL) AS texts,
    max_by(c.sample_id, c.share) AS closest, round(max(c.share), 2) AS share
FROM contamination c
LEFT JOIN samples s ON s.sample_id = c.sample_id
GROUP BY ALL
ORDER BY samples DESC, evaluation_set, s.task;
