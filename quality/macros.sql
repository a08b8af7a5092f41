-- Macros for everyday questions, for `teacherlm sql`. A project's own quality/macros.sql is read after this one: a macro
-- of the same name takes the place of the one here.

-- Texts of a kind that were judged worst: the lowest scores first, then those that broke most rules.
create or replace macro worst(of_kind, n := 10) as table
select v.sample_id, v.repeat, v.verdict, round(v.score, 3) as score, v.flags, r.text
from verdicts v
join rationales r on r.sample_id = v.sample_id and r.kind = v.kind and r.repeat = v.repeat
where v.kind = of_kind and r.status = 'ok'
order by v.score nulls last, len(v.flags) desc, v.sample_id, v.repeat
limit n;

-- One sample, as it was asked and answered: question, options, gold answer, every text with its verdict and reasons.
create or replace macro "show"(id) as table
with reasons as (
    select f.sample_id, f.kind, f.repeat, string_agg(f.rule || ': ' || f.reason, '; ' order by f.rule) as reasons
    from findings f where f.sample_id = id group by all
),
parts as (
    select 0 as place, 'question' as part, s.question as text from samples s where s.sample_id = id
    union all
    select 1 + o.number, 'option ' || chr((64 + o.number)::int), s.choices[o.number]
    from samples s, unnest(range(1, len(s.choices) + 1)) as o(number) where s.sample_id = id
    union all
    select 100, 'gold answer', s.answer from samples s where s.sample_id = id
    union all
    select 101, 'human rationale', s.human_rationale
    from samples s where s.sample_id = id and s.human_rationale is not null
),
texts as (
    select
        200 + 100 * list_position(['fundamentals', 'chain_of_thought', 'common_mistakes'], r.kind) + r.repeat as place,
        replace(r.kind, '_', ' ') || if(r.repeat > 0, ' ' || r.repeat, '') as part,
        if(r.status = 'failed', r.failure, r.text) as text,
        coalesce(v.verdict, r.status) as verdict, v.score, q.reasons
    from rationales r
    left join verdicts v on v.sample_id = r.sample_id and v.kind = r.kind and v.repeat = r.repeat
    left join reasons q on q.sample_id = r.sample_id and q.kind = r.kind and q.repeat = r.repeat
    where r.sample_id = id
)
select part, text, coalesce(verdict, '') as verdict, round(score, 3) as score, coalesce(reasons, '') as reasons
from (from parts union all by name (from texts))
order by place;

-- Texts that a rule speaks against, whether it rejects them or only warns, with what it says of them.
create or replace macro found(by_rule) as table
select f.sample_id, f.kind, f.repeat, f.severity, f.reason, r.text
from findings f
join rationales r on r.sample_id = f.sample_id and r.kind = f.kind and r.repeat = f.repeat
where f.rule = by_rule
order by f.sample_id, f.kind, f.repeat;

-- What became of the texts of each dataset, kind and teacher.
create or replace macro acceptance() as table
select
    v.dataset, v.kind, coalesce(r.teacher_model, r.strategy) as teacher, count(*) as asked,
    count(*) filter (v.verdict = 'accepted') as accepted, count(*) filter (v.verdict = 'rejected') as rejected,
    count(*) filter (v.verdict = 'truncated') as truncated, count(*) filter (v.verdict = 'failed') as failed,
    round(accepted / asked, 3) as share
from verdicts v
join rationales r on r.sample_id = v.sample_id and r.kind = v.kind and r.repeat = v.repeat
group by v.dataset, v.kind, teacher
order by v.dataset, v.kind, teacher;

-- Why texts were refused: each rule that rejects, how often, and how many texts it alone keeps out.
create or replace macro reasons() as table
with broken as (
    select f.sample_id, f.kind, f.repeat, list_distinct(list(f.rule)) as rules
    from findings f where f.severity = 'reject' group by f.sample_id, f.kind, f.repeat
)
select
    unnest(b.rules) as rule, count(*) as texts, count(*) filter (len(b.rules) = 1) as alone,
    round(count(*) / (select count(*) from verdicts), 3) as share
from broken b
group by rule
order by texts desc, rule;

-- What would be left, and lost, if accepted texts had to have a score of at least so much; those without one stay.
create or replace macro stricter(least) as table
select
    v.dataset, v.kind, count(*) as accepted, count(*) filter (v.score < least) as lost,
    round(lost / accepted, 3) as share
from verdicts v
where v.verdict = 'accepted'
group by v.dataset, v.kind
order by v.dataset, v.kind;
