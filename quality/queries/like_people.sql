-- How much of a person's explanation the machine's has too: the share of the different words of four letters and more.
WITH words AS (
    SELECT s.dataset, r.kind, r.sample_id, s.human_rationale, r.text,
        list_distinct(regexp_extract_all(lower(s.human_rationale), '\w{4,}')) AS of_person,
        list_distinct(regexp_extract_all(lower(r.text), '\w{4,}')) AS of_machine
    FROM rationales r JOIN samples s ON s.sample_id = r.sample_id
    WHERE r.status = 'ok' AND r.strategy <> 'human' AND s.human_rationale IS NOT NULL
), shared AS (
    SELECT *, len(list_intersect(of_person, of_machine)) / nullif(len(of_person), 0) AS share FROM words
)
SELECT dataset, kind, count(*) AS texts, round(avg(share), 3) AS mean_share,
    count(*) FILTER (share >= 0.5) AS half_or_more, max_by(sample_id, share) AS closest
FROM shared
GROUP BY ALL
ORDER BY ALL;
