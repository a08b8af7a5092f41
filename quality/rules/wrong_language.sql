-- severity: reject | kinds: all | reason: the text is written in another script or language than the question
-- parameters: min_share = 0.5, min_letters = 20
-- A text in the script or the language of the gold answer and the choices is fine: a question may ask for a translation.
-- Languages are told in Latin script, from 20 words on: English, German, French, Spanish, Italian, Portuguese, Dutch.
select
    sample_id, kind, repeat,
    if(
        question_script_share < $min_share,
        format('{:.0f} % of its letters are {}, the script of the question', 100 * question_script_share, question_script),
        format('it is in {}, the question in {}', text_language, question_language)
    ) as reason
from metrics
where
    question_script_share < $min_share
    and coalesce(answer_script_share, 0) < $min_share
    and letters >= $min_letters
    and question_letters >= $min_letters
    or not other_language_asked
