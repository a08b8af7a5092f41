-- What the rules look at: one row per rationale with status 'ok', in one pass over `rationales` and `samples`.
--
-- Shares lie between 0 and 1 and are null where there is nothing to take a share of. The sample's columns are null
-- where the sample is not in the build any more. Measures that cost much are only taken where a cheap one leaves
-- room for a high value; the comments say which.
create or replace temp table metrics as
with
-- Once per sample: what its rationales are compared with.
facts as (
    select
        *,
        marks_of(words_of(question || ' ' || array_to_string(choices, ' '))) as question_marks,
        list_distinct(question_marks) as different_question_marks,
        letters_of(question) as question_letters,
        script_of(question_letters) as question_script,
        script_of(letters_of(answer || array_to_string(choices, ''))) as answer_script,
        list_transform(choices, lambda choice: plain(bare(choice)) || ' ') as options,
        list_position(choices, answer) as gold,
        if(len(choices) = 0, only_number(answer), null) as gold_number,
        if(regexp_full_match(answer, '(?i)(?:true|false|yes|no)[.]?'), polarity(answer), null) as gold_polarity,
        if(len(choices) = 0, nullif(upper(regexp_extract(answer, '^\(?([A-Z])\)?[.]?$', 1)), ''), null) as gold_letter,
        len(list_filter(options, lambda option: starts_with(option, 'not '))) > 0 as has_not_option
    from samples
),
answered as (
    select
        r.sample_id, r.dataset, r.split, r.kind, r.repeat, r.call_key, r.text,
        f.* exclude (sample_id, dataset, split),
        f.sample_id is not null as in_build,
        words_of(r.text) as text_words,
        marks_of(text_words) as text_marks,
        letters_of(array_to_string(text_words, '')) as text_letters,
        -- Statements such as "the answer is (B)": what follows each of them, questions that the teacher went on to invent
        -- left out, and statements of what somebody might answer made harmless.
        string_split_regex(
            regexp_replace(
                regexp_replace(
                    parts_of(r.text)[1],
                    '(?:\(([A-Za-z])\)(?: [\w'']+){0,6}|\b([A-Z])) (?:is|must be|would be)'
                    || ' (?:therefore |thus |the |most |only |single |appropriate ){0,4}(?:correct|right|best|answer)\b'
                    || '(?: answer| option| choice)?(?: is| was)?'
                    || '|\b(?:[Mm]ost|[Bb]est|[Cc]orrect) [^.\n]{0,100} (?:is|are):?\s+\(?([A-Z])\)',
                    ' the answer is (\1\2\3). ', 'g'
                ),
                '(?i)\banswer (?:choices?|options?)'
                || '|\b(?:wrong|incorrect|false|mistaken|tempting|possible|another|other|common|first'
                || '|if the|whether the|unless the|n''t be the'
                || '|(?:might|may|could|would|can|people|students|some|often)(?: \w+){0,3}'
                || ' (?:think|say|guess|believe|assume|conclude|answer|choose)(?: \w+){0,2})'
                || '(?: correct| right| final)? (?:answers?|options?|choices?|is)\b',
                ' guess ', 'g'
            ),
            '(?i)\b(?:answers?|(?:correct|right|best|only|appropriate|likely|suitable|logical|final)'
            || ' (?:option|choice|conclusion|solution|completion))(?: [a-z'' ]{0,40})?'
            || '(?: ?[*_]*:[*_]*| is:?| are:?| was| would be| should be| must be| has to be| =)(?:\s|\$|\\|\*|")'
            || '|\n\s*A:|####|\\boxed\{'
        )[2:] as statements
    from rationales r
    left join facts f on f.sample_id = r.sample_id
    where r.status = 'ok'
),
-- The last statement wins; "the answer is not (A)" states nothing.
concluded as (
    select
        *,
        len(text_words) as words,
        len(text_letters) as letters,
        list_unique(text_marks) as distinct_words,
        regexp_replace(
            list_filter(
                statements,
                lambda statement: has_not_option or not regexp_matches(statement, '^\W*(?i:not|neither|never)\b')
            )[-1],
            '^[\s*_"''“‘:,$\\(\[{]*(?i:(?:that|the|option|choice|letter|answer|therefore|thus|hence|then|likely|most likely'
            || '|probably|clearly|simply|indeed)\b[\s*_:,"]*)*',
            ''
        ) as conclusion
    from answered
),
-- What it states: an option by its letter or its text (the longest, so that "not true" is not "not"), or numbers.
stated as (
    select
        *,
        if(
            regexp_matches(conclusion, '^\(?[A-Za-z]\)?\s*(?:and|or|/|&|,)\s*\(?[A-Za-z]\b[).,]'), null,
            nullif(upper(coalesce(
                nullif(regexp_extract(conclusion, '^([A-Za-z])\)', 1), ''),
                regexp_extract(conclusion, '^([A-Z])(?:[.:,;*"”}\]]|\s*$|\s*\n| because\b| since\b)', 1)
            )), '')
        ) as stated_letter,
        plain(bare(left(conclusion, 400))) || ' ' as conclusion_words,
        list_max(list_filter(options, lambda option: option <> ' ' and starts_with(conclusion_words, option))) as stated_option,
        list_position(options, stated_option) as stated_place,
        if(
            ascii(stated_letter) - 64 <= len(choices), ascii(stated_letter) - 64, null
        ) as lettered_place,
        -- After the last "=" of the sentence, if there is one: "the answer is 4 x 3 = 12".
        if(gold_number is null, null, regexp_extract_all(
            string_split(
                regexp_extract(replace(replace(conclusion, ',', ''), '−', '-'), '^\s*(?:[^.\n]|[.]\d)*'), '='
            )[-1],
            '(?:^|[^\d\s)])?\s*(-?\d*\.?\d+(?:/\d+)?)', 1
        )) as stated_numbers
    from concluded
)
select
    sample_id, dataset, split, kind, repeat, call_key, in_build,
    text, question, choices, answer, task, human_rationale,
    length(text) as characters,
    words,
    letters,
    letters / nullif(characters, 0) as letters_share,
    distinct_words / nullif(words, 0) as distinct_share,
    -- Share of the 3-word sequences that came before in the text. A word's first use makes a new sequence, so that
    -- this is at most 1 - distinct_share: only texts with few different words are looked at, others have 0.
    case
        when words < 3 or distinct_share > 0.6 then 0
        else 1 - list_unique(runs_of_3(text_marks)) / (words - 2)
    end as repeated_share,
    -- A filter: for questions of usual length it takes a sixth of the time of list_intersect.
    len(list_filter(different_question_marks, lambda mark: list_contains(text_marks, mark)))
    / nullif(distinct_words, 0) as question_words_share,
    -- Share of the different 5-word sequences that stand in the question or its choices; 0 where half of the words do not.
    case
        when question_words_share <= 0.5 or words < 5 then 0
        else len(list_intersect(runs_of_5(text_marks), runs_of_5(question_marks))) / list_unique(runs_of_5(text_marks))
    end as copied_share,
    len(question_letters) as question_letters,
    question_script,
    script_share(text_letters, question_script) as question_script_share,
    script_share(text_letters, answer_script) as answer_script_share,
    hash(text_marks) as text_hash,
    len(parts_of(text)) - 1 as invented_questions,
    -- The answer that the text states last, for people; null where it states none that can be told.
    coalesce(
        choices[coalesce(lettered_place, stated_place)], if(gold_letter is not null, stated_letter, null),
        stated_numbers[-1], if(gold_polarity is not null, polarity(conclusion)::varchar, null)
    ) as stated_answer,
    -- Whether that is the gold one: true, false, or null where nothing is stated.
    case
        when len(choices) > 0 and coalesce(lettered_place, stated_place) is not null
        then coalesce(gold = lettered_place, false) or coalesce(gold = stated_place, false)
        when gold_number is not null and len(stated_numbers) > 0
        then len(list_filter(
            stated_numbers, lambda n: same_number(n, gold_number, contains(left(conclusion, 80) || answer, '%'))
        )) > 0
        when gold_letter is not null then stated_letter = gold_letter
        when gold_polarity is not null then if(
            polarity(conclusion) is null, null,
            -- One "yes" among several answers may belong to a step: only texts that never say the gold one contradict it.
            polarity(conclusion) = gold_polarity or len(list_filter(statements, lambda s: polarity(s) = gold_polarity)) > 0
        )
    end as states_gold
from stated;
