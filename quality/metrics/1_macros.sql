-- What the measures are made of: words, runs of words, numbers, statements, scripts.

-- A word is a run of letters, a run of digits, or one character of a script that puts no blanks between words.
create or replace temp macro words_of(passage) as
    regexp_extract_all(lower(passage), '\p{N}+|[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[\p{L}\p{M}]+');

-- Words as numbers, which lists compare several times faster; runs of them as one number each.
create or replace temp macro marks_of(words) as [hash(word) for word in words];

create or replace temp macro runs_of_3(marks) as
    [hash(run) for run in list_zip(marks, marks[2:], marks[3:], true)];

create or replace temp macro runs_of_5(marks) as
    [hash(run) for run in list_zip(marks, marks[2:], marks[3:], marks[4:], marks[5:], true)];

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

-- The text, and what follows of questions that the teacher went on to invent. A "Question:" without an empty line
-- before it repeats the one that was asked.
create or replace temp macro parts_of(passage) as
    string_split_regex(passage, '\n(?:\s*Q|[ \t]*\n\s*(?:Question|Premise))(?: ?\d+)?:');

-- 'yes' and 'true' say one thing, 'no' and 'false' the other.
create or replace temp macro polarity(passage) as
    case
        when regexp_matches(passage, '^\W*(?i:true|yes)\b') then true
        when regexp_matches(passage, '^\W*(?i:false|no)\b') then false
    end;

-- A stated number is the gold one up to the decimals it is given with, or as a percentage.
create or replace temp macro same_number(digits, gold, percent) as
    abs(as_number(digits) - gold)
    <= if(contains(digits, '.'), 0.5 * pow(10, -length(split_part(digits, '.', 2))), 0) + 1e-9 * abs(gold)
    or percent and abs(as_number(digits) - 100 * gold) <= 1e-9 * abs(100 * gold)
    or percent and abs(100 * as_number(digits) - gold) <= 1e-9 * abs(gold);

create or replace temp macro letters_of(passage) as regexp_replace(passage, '[^\p{L}]+', '', 'g');

-- How many of some letters belong to a script. Patterns are written out: DuckDB compiles a constant one only once.
create or replace temp macro letters_in(letters, script) as
    case script
        when 'Latin' then length(regexp_replace(letters, '[^\p{Latin}]+', '', 'g'))
        when 'CJK' then length(regexp_replace(letters, '[^\p{Han}\p{Hiragana}\p{Katakana}ー]+', '', 'g'))
        when 'Cyrillic' then length(regexp_replace(letters, '[^\p{Cyrillic}]+', '', 'g'))
        when 'Arabic' then length(regexp_replace(letters, '[^\p{Arabic}]+', '', 'g'))
        when 'Devanagari' then length(regexp_replace(letters, '[^\p{Devanagari}]+', '', 'g'))
        when 'Hangul' then length(regexp_replace(letters, '[^\p{Hangul}]+', '', 'g'))
        when 'Greek' then length(regexp_replace(letters, '[^\p{Greek}]+', '', 'g'))
        when 'Hebrew' then length(regexp_replace(letters, '[^\p{Hebrew}]+', '', 'g'))
        when 'Thai' then length(regexp_replace(letters, '[^\p{Thai}]+', '', 'g'))
        when 'Bengali' then length(regexp_replace(letters, '[^\p{Bengali}]+', '', 'g'))
    end;

-- The script that most letters of a passage belong to; null where none has the majority. ASCII needs no look.
create or replace temp macro script_of(letters) as
    case
        when letters = '' then null
        when strlen(letters) = length(letters) then 'Latin'
        else list_filter(
            ['Latin', 'CJK', 'Cyrillic', 'Arabic', 'Devanagari', 'Hangul', 'Greek', 'Hebrew', 'Thai', 'Bengali'],
            lambda script: 2 * letters_in(letters, script) > length(letters)
        )[1]
    end;

create or replace temp macro script_share(letters, script) as
    case
        when letters = '' or script is null then null
        when strlen(letters) = length(letters) then if(script = 'Latin', 1, 0)
        else letters_in(letters, script) / length(letters)
    end;
