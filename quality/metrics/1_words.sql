-- What the measures are made of: words, runs of words, loops, sentences, scripts.

-- A word is a run of letters, a run of digits, or one character of a script that puts no blanks between words.
create or replace temp macro words_of(passage) as
    regexp_extract_all(lower(passage), '\p{N}+|[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[\p{L}\p{M}]+');

-- Words as numbers, which lists compare several times faster; runs of them as one number each.
create or replace temp macro marks_of(words) as [(hash(word) >> 32)::uinteger for word in words];

create or replace temp macro runs_of_3(marks) as
    [(hash(run) >> 32)::uinteger for run in list_zip(marks, marks[2:], marks[3:], true)];

create or replace temp macro runs_of_5(marks) as
    [hash(run) for run in list_zip(marks, marks[2:], marks[3:], marks[4:], marks[5:], true)];

-- The longest stretch that says the same `period` words at least three times, back to back; 0 where there is none.
create or replace temp macro looped_with(marks, period) as list_max(list_transform(
    string_split(array_to_string(list_transform(
        list_zip(marks, marks[period + 1:], true), lambda pair: if(pair[1] = pair[2], '=', ' ')
    ), ''), ' '),
    lambda same: if(length(same) >= 2 * period, length(same) + period, 0)
));

create or replace temp macro looped_in(marks) as
    list_max(list_transform(range(1, 31), lambda period: looped_with(marks, period::integer)));

-- A sentence ends with its mark and a blank, or with its line.
create or replace temp macro sentences_of(passage) as string_split_regex(
    if(regexp_matches(passage, '[\s。！？]$'), rtrim(passage, e' \n\t。！？'), passage),
    '[.!?…][)"”’*]*\s+|[。！？]\s*|\n\s*'
);

create or replace temp macro blanks_in(passage) as strlen(passage) - strlen(replace(passage, ' ', ''));

create or replace temp macro letters_of(passage) as regexp_replace(passage, '[^\p{L}]+', '', 'g');

-- The letters of words; those of ASCII are all that is no digit.
create or replace temp macro letters_of_words(words, joined) as
    if(strlen(joined) = length(joined), regexp_replace(joined, '[0-9]+', '', 'g'), letters_of(joined));

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
