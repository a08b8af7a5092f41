-- Arithmetic: the steps `a op b … = c` that a text writes out, worked out again.
--
-- A step is numbers with + - * / between them, without brackets, up to an "=", and one number after it. What cannot be
-- told for certain is no step: variables, powers, units between the numbers, a result that goes on ("= 12 + 5").

-- No thousands commas, currencies or bold; what a calculator's marks <<3*4=12>> hold stands for itself.
create or replace temp macro sums_written_plainly(passage) as regexp_replace(
    replace(replace(passage, '**', ''), '>>', ';'), ',(\d{3})\b|\\?[$€£]|<<', '\1', 'g'
);

create or replace temp macro factor_value(factor) as
    try_cast(regexp_extract(factor, '[\d.]+') as double) * if(ends_with(factor, '%'), 0.01, 1);

-- Products of a term such as "- 3 * 4 / 2".
create or replace temp macro term_value(term) as
    if(starts_with(term, '-'), -1, 1) * list_product([
        if(starts_with(factor, '/'), 1 / nullif(factor_value(factor), 0), factor_value(factor))
        for factor in regexp_extract_all(term, '[*/]?[\d.]+%?')
    ]);

create or replace temp macro sum_value(formula) as
    list_sum([term_value(term) for term in regexp_extract_all(formula, '[-+]?[^-+]+')]);

-- The result has all the places that it is written with: exact between whole numbers, else rounded or cut off.
create or replace temp macro holds(formula, result) as
    abs(sum_value(formula) - sum_value(result))
    <= 1e-9 * abs(sum_value(result))
    + 0.999 * if(
        not regexp_matches(formula, '[./%]'), 0,
        pow(10, -length(regexp_extract(result, '\.(\d+)', 1)))
    );

-- "20 / 80 = 25%" and "0.25 * 100 = 25%" are both meant well.
create or replace temp macro step_holds(formula, result) as
    holds(formula, result)
    or (contains(formula, '%') or contains(result, '%'))
    and (
        holds(replace(formula, '%', ''), replace(result, '%', ''))
        or holds('100*' || replace(formula, '%', ''), replace(result, '%', ''))
        or holds(replace(formula, '%', '') || '/100', replace(result, '%', ''))
    );

-- What stands on both sides of each "=".
create or replace temp macro sides_of(passage) as
    list_zip(string_split(passage, '='), string_split(passage, '=')[2:], true);

-- The formula that a side ends with, its signs as + - * /; '' where it is only the end of a longer one.
create or replace temp macro formula_before(side) as regexp_replace(regexp_replace(translate(regexp_replace(
    regexp_extract(
        right(side, 80),
        '(?:^|\n[-*•] |(?:^|[^-+*/×÷^%:)\]}\s]|[^\s]:)\s+|[(\[{"“])((?:\d+(?:\.\d+)?|\.\d+)%?'
        || '(?:(?: ?[-+*/×÷·−–xX] ?| of | times | ?\\(?:times|cdot|div) ?)(?:\d+(?:\.\d+)?|\.\d+)%?)+)\s*$', 1
    ), '\\?(?:times|cdot)|[xX·]|of', '*', 'g'
), '×÷−–', '*/--'), '\\div', '/', 'g'), '\s', '', 'g');

-- The number that a side begins with; '' where what follows shows that it is not the result, or not all of it.
create or replace temp macro result_after(side) as if(
    regexp_matches(
        regexp_replace(left(side, 60), '^ *-?(?:\d+(?:\.\d+)?|\.\d+)(?:/\d+(?:\.\d+)?)?%?', ''),
        '^(?:\s*(?:[-+*/^×÷·:]|(?:[xX]|of|times)\b|\\[a-z])\s*[\d($.\\]| *[\d^(\[{²³!_/]| *\\[^)\]]|\p{L}|[,:.]\d'
        || '|\s*(?:x|hundred|thousand|million|billion|dozen)\b)'
    ),
    '',
    regexp_extract(left(side, 60), '^ *(-?(?:\d+(?:\.\d+)?|\.\d+)(?:/\d+(?:\.\d+)?)?%?)', 1)
);

create or replace temp macro steps_in(passage) as
    if(
        not contains(passage, '='), [],
        list_filter(
            [
                {'formula': formula_before(side[1]), 'result': result_after(side[2])}
                for side in sides_of(sums_written_plainly(passage))
            ],
            -- "100 - 30%" means 30% of the 100.
            lambda step: step.formula <> '' and step.result <> '' and not regexp_matches(step.formula, '\d[-+][\d.]+%')
        )
    );

create or replace temp macro wrong_steps_of(steps) as
    list_filter(steps, lambda step: not step_holds(step.formula, step.result));

-- Wrong steps that a text is to blame for: not those of its question or choices, and none that it calls wrong itself
-- ("Tom wrote that 6 x 4 = 26", "3 + 4 = 8 is wrong", "not 3 + 4 = 8"). Only for texts with a wrong step.
create or replace temp macro own_wrong_steps(passage, given) as list_filter(
    [
        {
            'formula': formula_before(side[1]), 'result': result_after(side[2]),
            'before': right(side[1], 120), 'after': left(side[2], 60)
        }
        for side in sides_of(sums_written_plainly(passage))
    ],
    lambda step: step.formula <> '' and step.result <> '' and not regexp_matches(step.formula, '\d[-+][\d.]+%')
        and not step_holds(step.formula, step.result)
        and not list_contains(
            [known.formula || '=' || known.result for known in steps_in(given)], step.formula || '=' || step.result
        )
        and not regexp_matches(
            step.before,
            '(?i)(?:\b(?:wrote|writes?|claim(?:s|ed)?|wrongly|mistakenly|incorrectly|erroneously|falsely|instead of|not)'
            || '(?: (?:that|down|as|to|get|got|say|said|the|step|equation|calculated?|added|computed?))*:?'
            || '[\s\\("“$]+)[^\p{L}=]*(?:(?:x|times|of) ?[\d.]+[^\p{L}=]*)*$'
        )
        and not regexp_matches(
            step.after,
            '(?i)^[^\p{L}=\n]*(?:(?:which|this|that|and|it) )?(?:is|was|would be) (?:wrong|incorrect|false|not|an? (?:mistake|error))'
        )
);
