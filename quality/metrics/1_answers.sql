-- Answers: how a text states one, and what is compared when it does. text/extract.py finds the same answers in Python.

-- Small letters, one blank between words, 1,234 as 1234; signs that change a number (. - / % +) stay inside it.
create or replace temp macro plain(passage) as
    trim(regexp_replace(
        regexp_replace(lower(replace(passage, '−', '-')), ',(\d{3})', '\1', 'g'),
        '[.]+(?:[^\p{L}\p{N}]+|$)|[^\p{L}\p{M}\p{N}.%/+-]+', ' ', 'g'
    ));

-- An option or a stated answer without its letter and the words that people put before it.
create or replace temp macro bare(passage) as
    regexp_replace(
        regexp_replace(passage, '^\s*(?:\(?[A-Za-z]\)|[A-Z][.:]\s)\s*', ''),
        '^[\s*_"''“‘$\\(\[{]*(?i:(?:that|the|an?|to|it is|they are)\s+)?', ''
    );

create or replace temp macro as_number(digits) as
    try_cast(split_part(digits, '/', 1) as double)
    / case when contains(digits, '/') then nullif(try_cast(split_part(digits, '/', 2) as double), 0) else 1 end;

-- The only number of a passage: '$1,200', '-3.5', '12 apples', '1/2'; null where there is none or more than one.
create or replace temp macro only_number(passage) as
    as_number(regexp_extract(
        replace(replace(passage, ',', ''), '−', '-'), '^[^\p{L}\p{N}-]*(-?\d*\.?\d+(?:/\d+)?)\.?[^\d]*$', 1
    ));

-- A stated number is the gold one up to the decimals it is given with, or as a percentage.
create or replace temp macro same_number(digits, gold, percent) as
    abs(as_number(digits) - gold)
    <= if(contains(digits, '.'), 0.5 * pow(10, -length(split_part(digits, '.', 2))), 0) + 1e-9 * abs(gold)
    or percent and abs(as_number(digits) - 100 * gold) <= 1e-9 * abs(100 * gold)
    or percent and abs(100 * as_number(digits) - gold) <= 1e-9 * abs(gold);

create or replace temp macro numbers_of(passage) as regexp_extract_all(
    replace(replace(passage, ',', ''), '−', '-'), '(?:^|[^\d\s)])?\s*(-?\d*\.?\d+(?:/\d+)?)', 1
);

-- 'yes' and 'true' say one thing, 'no' and 'false' the other.
create or replace temp macro polarity(passage) as
    case
        when regexp_matches(passage, '^\W*(?i:true|yes)\b') then true
        when regexp_matches(passage, '^\W*(?i:false|no)\b') then false
    end;

-- The text, and what follows of questions that the teacher went on to invent. A "Question:" without an empty line
-- before it repeats the one that was asked.
create or replace temp macro parts_of(passage) as
    string_split_regex(passage, '\n(?:\s*Q|[ \t]*\n\s*(?:Question|Premise))(?: ?\d+)?:');

-- A cheap look before the dear one below.
create or replace temp macro may_state(passage) as regexp_matches(
    passage, '(?i:answer|correct|right|best|most|option|choice|conclusion|solution|completion)|\n\s*A:|####|\\boxed'
);

-- What follows each statement such as "the answer is (B)"; statements of what somebody might answer are made harmless.
create or replace temp macro statements_of(passage) as
    string_split_regex(
        regexp_replace(
            regexp_replace(
                passage,
                '(?:\(([A-Za-z])\)(?: [\w'']+){0,6}|\b([A-Z])(?:\)(?: [\w'']+){0,6})?) (?:is|must be|would be)'
                || ' (?:therefore |thus |the |most |only |single |appropriate ){0,4}(?:correct|right|best|answer)\b'
                || '(?: answer| option| choice)?(?: is| was)?'
                || '|\b(?:[Mm]ost|[Bb]est|[Cc]orrect) [^.\n]{0,100} (?:is|are):?\s+\(?([A-Z])\)',
                ' the answer is (\1\2\3). ', 'g'
            ),
            '(?i)\b(?:(?:the |an |other |possible |given |available )?answer (?:choices|options)'
            || '|(?:wrong|incorrect|false|mistaken|tempting|possible|another|other|common|first'
            || '|if the|whether the|unless the|n''t be the|not the|never the'
            || '|(?:might|may|could|would|can|people|students|some|often)(?: \w+){0,3}'
            || ' (?:think|say|guess|believe|assume|conclude|answer|choose)(?: \w+){0,2})'
            || '(?: correct| right| final)? (?:answers?|options?|choices?|is))\b',
            ' guess ', 'g'
        ),
        '(?i)\b(?:answers?|(?:(?:correct|right|best|final) answer|correct|right|best|only|appropriate|likely|suitable'
        || '|logical|final) (?:option|choice|conclusion|solution|completion))(?: \([a-z ]{3,30}\))?(?: [a-z'' ]{0,40})?'
        || '(?: ?[*_]*:[*_]*| is:?| are:?| was| would be| should be| must be| has to be| =)(?:\s|\$|\\|\*|")'
        || '|(?:^|\n)[#*_ ]*(?:the )?(?:final |correct )?answer[*_ ]*\n'
        || '|\n\s*A:|####|\\boxed\{'
    )[2:];

-- Without "(", "**", "option", "clearly"…
create or replace temp macro conclusion_of(statement) as regexp_replace(
    statement,
    '^[\s*_"''“‘:,$\\(\[{]*(?i:(?:that|the|option|choice|letter|answer|therefore|thus|hence|then|likely|most likely'
    || '|probably|clearly|simply|indeed|definitely|text\{|mathrm\{|mathbf\{|textbf\{)\b[\s*_:,"({]*)*',
    ''
);

-- The letter that a conclusion begins with: "B)", "B.", "B because"; null for "A dog" and for "A or B".
create or replace temp macro letter_of(conclusion) as if(
    regexp_matches(conclusion, '^\(?[A-Za-z]\)?\s*(?:and|or|/|&|,)\s*\(?[A-Za-z]\b[).,]'), null,
    nullif(upper(coalesce(
        nullif(regexp_extract(conclusion, '^([A-Za-z])\)', 1), ''),
        regexp_extract(conclusion, '^([A-Z])(?:[.:,;*"”}\]]|\s*$|\s*\n| because\b| since\b)', 1)
    )), '')
);

-- Whether a sentence refuses what it names: "it cannot be (A)".
create or replace temp macro refuses(words) as regexp_matches(
    words,
    '\b(?:not|cannot|never|neither|nor|none|no|without|wrong|incorrect|false|unlike|except|eliminated?|rather|instead'
    || '|ruled?|if|whether|unclear|depends|t)\b'
);

-- Where nothing is stated: a text that is a letter, its only line that begins with one, the only bracketed letter of its
-- last sentence.
create or replace temp macro lone_letter(passage) as
    nullif(regexp_extract(passage, '^[\W_]*([A-Z])[\W_]*$', 1), '');

create or replace temp macro lettered_line(passage) as
    case len(regexp_extract_all(passage, '(?:^|\n)[ \t]*[(*]{0,3}[A-Z][*]{0,2}[).](?:[ \t][^\n]*)?'))
        when 1 then nullif(regexp_extract(
            passage, '(?:^|\n)[ \t]*[(*]{0,3}([A-Z])[*]{0,2}[).](?:[ \t](?:[^\n)]|[^A-Z]\))*)?(?:\n|$)', 1
        ), '')
    end;

create or replace temp macro bracketed_letter(sentence, words) as
    case
        when len(list_distinct(regexp_extract_all(upper(sentence), '(?:^|\W)\(([A-Z])\)', 1))) = 1 and not refuses(words)
        then regexp_extract(upper(sentence), '(?:^|\W)\(([A-Z])\)', 1)
    end;

create or replace temp macro fallback_letter(passage, sentence, words) as coalesce(
    if(length(passage) < 40, lone_letter(passage), null),
    if(regexp_matches(passage, '(?:^|\n)[ \t(*]*[A-Z]\*{0,2}[).]'), lettered_line(passage), null),
    if(contains(sentence, '('), bracketed_letter(sentence, words), null)
);

-- Of the options that a sentence names those inside longer ones do not count: "iron" in "cast iron".
create or replace temp macro longest_of(named) as if(
    len(named) < 2, named,
    list_filter(named, lambda option: len(list_filter(named, lambda other: contains(' ' || other, ' ' || option))) = 1)
);

-- The only option that a concluding sentence names, where it refuses nothing. `words` has a blank at both ends.
create or replace temp macro concluded_option(sentence, words, option) as if(
    regexp_matches(sentence, '^\W*(?i:so|thus|hence|therefore|this means|that means|as a result|consequently|in conclusion|overall)\b')
    and not refuses(replace(words, ' ' || option, ' | ')), option, null
);

-- "So yes, it is." says true; "Yes, since …" too; null where both or neither are said.
create or replace temp macro truth_of(sentence, passage) as
    case list_sort(list_distinct([
        regexp_matches(said, '(?i)yes|\btrue') <> regexp_matches(said, '(?i)^(?:not |n''t )')
        for said in regexp_extract_all(
            sentence,
            '(?i)((?:not |n''t )?\b(?:yes|true|false|untrue|no(?:\s?[.,;:!)"”''*]|\s?$)))(?:[.,;:!)"”''*]|\s*$|\s[^t]|\st[^h]|\sth[^a])?',
            1
        )
    ]))
        when [true] then true
        when [false] then false
        when [] then if(regexp_matches(passage, '^\W*(?i:yes|no|true|false) *[.,:;!*\n]'), polarity(passage), null)
    end;
