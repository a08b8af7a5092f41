-- Where chains of thought state another answer than the gold one.
SELECT m.sample_id, s.answer AS gold, m.stated_answer AS stated, v.verdict, r.teacher_model AS teacher,
    right(r.text, 40) AS "end"
FROM metrics m
JOIN rationales r ON r.sample_id = m.sample_id AND r.kind = m.kind AND r.repeat = m.repeat
JOIN verdicts v ON v.sample_id = m.sample_id AND v.kind = m.kind AND v.repeat = m.repeat
JOIN samples s ON s.sample_id = m.sample_id
WHERE m.kind = 'chain_of_thought' AND m.states_gold = false
ORDER BY ALL;
