-- What the rules look at: one row per rationale with status 'ok', in one pass over `rationales` and `samples`.
--
-- Shares lie between 0 and 1 and are null where there is nothing to take a share of. The sample's columns are null
-- where the sample is not in the build any more. Measures that cost much are only taken where a cheap one leaves
-- room for a high value; the comments say which.
create or replace temp table metrics as
with
marked as (
    select
        *,
        len(text_words) as words,
        marks_of(text_words) as text_marks,
        array_to_string(text_words, '') as joined,
        ' ' || array_to_string(text_words, ' ') || ' ' as worded,
        regexp_extract_all(text, '[0-9]+') as digit_runs,
        steps_in(own_text) as step_list
    from answered
),
counted as (
    select
        *,
        letters_of_words(text_words, joined) as text_letters,
        list_unique(text_marks) as distinct_words,
        signals_in(worded) as signal_words,
        if(words >= 3, runs_of_3(text_marks), []) as runs,
        if(answer_words <> '', nullif(strpos(worded, ' ' || answer_words || ' '), 0), null) as answer_place,
        language_of(text_words, 20) as text_language,
        if(
            len(wrong_steps_of(step_list)) = 0, [],
            own_wrong_steps(own_text, concat_ws(e'\n', question, array_to_string(choices, e'\n')))
        ) as wrong_step_list
    from marked
),
looked_at as (
    select
        *,
        length(text) as characters,
        length(text_letters) as letters,
        distinct_words / nullif(words, 0) as distinct_share,
        -- A filter: for questions of usual length it takes a sixth of the time of list_intersect.
        len(list_filter(question_marks, lambda mark: list_contains(text_marks, mark)))
        / nullif(distinct_words, 0) as question_words_share,
        -- Of the teacher's own text, before questions that it invented.
        unfinished(own_text, sentence_list[-1]) as unfinished
    from counted
),
repeating as (
    select
        *,
        -- Share of the 3-word sequences that came before in the text. A word's first use makes a new sequence, so that
        -- this is at most 1 - distinct_share: only texts with few different words are looked at, others have 0.
        if(words < 3 or distinct_share > 0.6, 0, 1 - list_unique(runs) / (words - 2)) as repeated_share
    from looked_at
)
select
    sample_id, dataset, split, kind, repeat, call_key, in_build,
    text, question, choices, answer, task, human_rationale,
    finish_reason,
    -- Lengths.
    characters,
    words,
    letters,
    letters / nullif(characters, 0) as letters_share,
    distinct_share,
    len(sentence_list) as sentences,
    -- In words, counted by the blanks between them.
    list_max(list_transform(sentence_list, lambda sentence: blanks_in(sentence) + 1)) as longest_sentence,
    words / nullif(sentences, 0) as mean_sentence,
    -- Whether it ends in the middle of a sentence.
    unfinished,
    -- Repetition: what came before in the text, sentences that did, words in the longest stretch of one sequence of up to
    -- 30 words at least three times back to back.
    repeated_share,
    sentences - list_unique(sentence_list) as repeated_sentences,
    if(repeated_share < 0.15, 0, coalesce(looped_in(text_marks), 0)) as looped_words,
    -- The question and what people wrote.
    question_words_share,
    -- Share of the different 5-word sequences that stand in the question or its choices; 0 where half of the words do not.
    case
        when question_words_share <= 0.5 or words < 5 then 0
        else len(list_intersect(
            runs_of_5(text_marks),
            runs_of_5(marks_of(words_of(question || ' ' || array_to_string(choices, ' '))))
        )) / list_unique(runs_of_5(text_marks))
    end as copied_share,
    -- Share of the different words of the human rationale that the text uses.
    len(list_filter(human_marks, lambda mark: list_contains(text_marks, mark)))
    / nullif(len(human_marks), 0) as human_share,
    -- Scripts and signs.
    question_letters,
    question_script,
    script_share(text_letters, question_script) as question_script_share,
    script_share(text_letters, answer_script) as answer_script_share,
    -- Languages in Latin script, where they can be told; whether the sample asks for another than its question's.
    question_language,
    text_language,
    case
        when text_language <> question_language
        then asks_for_language(
            text_language, question_language, words_of(question), words_of(concat_ws(' ', answer, array_to_string(choices, ' '))),
            concat_ws(' ', task, question)
        )
    end as other_language_asked,
    length(array_to_string(digit_runs, '')) / nullif(characters, 0) as digits_share,
    len(digit_runs) as numbers,
    length(array_to_string(regexp_extract_all(text, '\p{Lu}+'), '')) / nullif(letters, 0) as capitals_share,
    -- What chat templates and prompts leave behind, the first such place; how many places of markup; further questions.
    artefact_of(text) as artefact,
    len(markup_in(text)) as markup,
    len(parts_of(text)) - 1 as invented_questions,
    -- Words that give reasons, that deny, that speak of errors, that hedge.
    len(list_filter(signal_words, lambda word: gives_reason(word))) as reasons,
    len(list_filter(signal_words, lambda word: denies(word))) as negations,
    len(list_filter(signal_words, lambda word: names_error(word))) as error_words,
    len(list_filter(signal_words, lambda word: hedges(word))) as hedges,
    -- The answer that the text states last, for people; null where it states none that can be told.
    coalesce(
        choices[coalesce(lettered_place, stated_place)], if(gold_letter is not null, stated_letter, null),
        stated_numbers[-1], stated_truth::varchar,
        choices[coalesce(told_place, named_place)], told_truth::varchar, told_numbers[-1], stated_word
    ) as stated_answer,
    -- Where it was found: a statement ("the answer is"), else the last sentence or a lone letter.
    case
        when coalesce(lettered_place, stated_place) is not null or len(stated_numbers) > 0 or stated_truth is not null
            or gold_letter is not null and stated_letter is not null or stated_word <> '' then 'statement'
        when coalesce(told_place, named_place) is not null or told_truth is not null or len(told_numbers) > 0
        then 'end'
    end as answer_from,
    -- Whether that is the gold one: true, false, or null where nothing is stated.
    case
        when len(choices) > 0 and coalesce(lettered_place, stated_place) is not null
        then coalesce(gold = lettered_place, false) or coalesce(gold = stated_place, false)
        when gold_number is not null and len(stated_numbers) > 0
        then len(list_filter(
            stated_numbers, lambda n: same_number(n, gold_number, contains(left(conclusion, 80) || answer, '%'))
        )) > 0
        when gold_letter is not null then stated_letter = gold_letter
        when stated_truth is not null
        -- One "yes" among several answers may belong to a step: only texts that never say the gold one contradict it.
        then stated_truth = gold_polarity or len(list_filter(statements, lambda s: polarity(s) = gold_polarity)) > 0
        when coalesce(told_place, named_place) is not null then coalesce(told_place, named_place) = gold
        when told_truth is not null then told_truth = gold_polarity
        when len(told_numbers) > 0
        then case
            when same_number(told_numbers[-1], gold_number, contains(answer, '%')) then true
            -- Cut off, or the gold one among them: nothing can be told.
            when unfinished or len(list_filter(
                told_numbers, lambda n: same_number(n, gold_number, true)
            )) > 0 then null
            else false
        end
        when stated_word <> '' then stated_word = gold_word
    end as states_gold,
    -- Whether the answer's words stand in the text, and where first, from 0 to 1.
    answer_place is not null as mentions_answer,
    answer_place / length(worded) as answer_position,
    -- Share of the words that belong to the answer or to saying that it is the answer; 0 where many others must be there.
    if(
        distinct_words > 25 + length(answer_words) / 3, 0,
        len(list_filter(
            text_words, lambda word: says_answer(word) or contains(' ' || answer_words || ' ', ' ' || word || ' ')
        )) / nullif(words, 0)
    ) as answer_share,
    -- Letters of options that are named, and the first one that no option has.
    letters_named_in(text) as option_letters,
    list_filter(
        letters_meant_in(text), lambda letter: len(choices) > 1 and ascii(letter) - 64 > len(choices)
    )[1] as unknown_letter,
    -- Steps of arithmetic, and those wrong ones that are the text's own: neither given nor named as somebody's error.
    len(step_list) as steps,
    len(wrong_step_list) as wrong_steps,
    wrong_step_list[1].formula || ' = ' || wrong_step_list[1].result as wrong_step,
    -- Beside other rationales; 3_alike.sql fills these in.
    hash(text_marks) as text_hash,
    1 as samples_alike,
    1 as kinds_alike,
    0.0::double as other_kinds_share,
    [run for run in runs if run % 2 = 0] as sketch
from repeating;
