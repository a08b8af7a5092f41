-- What the metrics are taken from: every rationale with status 'ok' beside its sample, in words, and the answer that it
-- states.
--
-- Stages build on each other instead of naming a column twice in one: what stands in a CASE is worked out for every place
-- that names it.

-- Once per sample: what its rationales are compared with.
create or replace temp view compared as
with worded as (
    select
        *,
        words_of(question) as question_words,
        array_to_string(question_words, '') as question_joined,
        letters_of(concat(answer, array_to_string(choices, ''))) as answer_letters,
        list_transform(choices, lambda choice: plain(bare(choice)) || ' ') as options,
        regexp_full_match(answer, '(?i)(?:true|false|yes|no)[.]?') as is_truth
    from samples
),
lettered as (
    select *, letters_of_words(question_words, question_joined) as question_letters
    from worded
)
select
    * exclude (question_words, question_joined, answer_letters, is_truth, question_letters),
    list_distinct(marks_of(list_concat(question_words, words_of(array_to_string(choices, ' '))))) as question_marks,
    list_distinct(marks_of(words_of(human_rationale))) as human_marks,
    length(question_letters) as question_letters,
    script_of(question_letters) as question_script,
    language_of(question_words, 6) as question_language,
    script_of(answer_letters) as answer_script,
    array_to_string(words_of(answer), ' ') as answer_words,
    30 + 2 * list_max(list_transform(choices, lambda choice: length(choice))) as longest_option,
    len(list_filter(options, lambda option: starts_with(option, 'not '))) > 0 as has_not_option,
    list_position(choices, answer) as gold,
    if(len(choices) = 0, only_number(answer), null) as gold_number,
    if(is_truth, polarity(answer), null) as gold_polarity,
    if(len(choices) = 0, nullif(upper(regexp_extract(answer, '^\(?([A-Z])\)?[.]?$', 1)), ''), null) as gold_letter,
    -- One word of letters, such as "invalid"; names of several words are told in too many ways.
    if(len(choices) = 0 and not is_truth, nullif(lower(regexp_extract(answer, '^(\p{L}{2,})$', 1)), ''), null) as gold_word
from lettered;

create or replace temp view answered as
with worded as (
    select
        r.sample_id, r.dataset, r.split, r.kind, r.repeat, r.call_key, r.finish_reason, r.text,
        s.* exclude (sample_id, dataset, split),
        s.sample_id is not null as in_build,
        words_of(r.text) as text_words,
        if(contains(r.text, e'\n'), parts_of(r.text)[1], r.text) as own_text
    from rationales r
    left join compared s on s.sample_id = r.sample_id
    where r.status = 'ok'
),
split as (
    select
        *,
        sentences_of(own_text) as sentence_list,
        if(may_state(own_text), statements_of(own_text), []) as statements
    from worded
),
-- The last statement wins; "the answer is not (A)" states nothing.
concluded as (
    select
        *,
        conclusion_of(list_filter(
            statements,
            lambda statement: has_not_option or not regexp_matches(statement, '^\W*(?i:not|neither|never)\b')
        )[-1]) as conclusion
    from split
),
-- What it states: an option by its letter or its text, a number, yes or no, a word.
stated as (
    select
        *,
        letter_of(conclusion) as stated_letter,
        if(conclusion is null, null, plain(bare(left(conclusion, longest_option))) || ' ') as conclusion_words,
        -- After the last "=" of the sentence, if there is one: "the answer is 4 x 3 = 12".
        if(gold_number is null or conclusion is null, null, numbers_of(
            string_split(regexp_extract(conclusion, '^\s*(?:[^.\n]|[.]\d)*'), '=')[-1]
        )) as stated_numbers,
        if(gold_polarity is null, null, polarity(conclusion)) as stated_truth,
        if(
            gold_word is null, null,
            lower(regexp_extract(conclusion, '^(\p{L}{2,})["”*]?[.]?["”*]?\s*(?:$|\n)', 1))
        ) as stated_word
    from concluded
),
placed as (
    select
        *,
        if(ascii(stated_letter) - 64 <= len(choices), ascii(stated_letter) - 64, null) as lettered_place,
        -- The longest, so that "not true" is not "not".
        if(conclusion_words is null, null, list_position(options, list_max(list_filter(
            options, lambda option: option <> ' ' and starts_with(conclusion_words, option)
        )))) as stated_place
    from stated
),
-- What is told without a statement, by the last sentence or by a lone letter.
silent as (
    select
        *,
        if(
            coalesce(lettered_place, stated_place) is null and coalesce(len(stated_numbers), 0) = 0
            and stated_truth is null and (len(choices) > 0 or gold_number is not null or gold_polarity is not null),
            sentence_list[-1], null
        ) as last_sentence
    from placed
),
closing as (
    select *, if(len(choices) > 0, ' ' || plain(last_sentence) || ' ', null) as last_words
    from silent
),
named as (
    select
        *,
        case when last_words is not null then fallback_letter(own_text, last_sentence, last_words) end as told_letter,
        case
            when last_words is not null
            then longest_of(list_filter(options, lambda option: option <> ' ' and contains(last_words, ' ' || option)))
        end as last_options
    from closing
)
select
    * exclude (conclusion_words, last_options),
    if(ascii(told_letter) - 64 between 1 and len(choices), ascii(told_letter) - 64, null) as told_place,
    case
        when len(last_options) = 1
        then list_position(options, concluded_option(last_sentence, last_words, last_options[1]))
    end as named_place,
    case when gold_number is not null and last_sentence is not null then numbers_of(last_sentence) end as told_numbers,
    case
        when gold_polarity is not null and last_sentence is not null then truth_of(last_sentence, own_text)
    end as told_truth
from named;
