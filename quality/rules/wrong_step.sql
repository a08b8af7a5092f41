-- severity: reject | kinds: all | reason: a step of a made question is wrong
-- For the questions of the curriculum (task procedural, docs/curriculum.md), whose steps can all be worked out again:
-- tens and ones, ways between numbers, days counted, times, turns, units, exact division, and what the result is. Sums are
-- wrong_arithmetic's; here they are also looked at in common mistakes. Texts in the curriculum's own words ("The result is 4.",
-- "Whoever forgets …") may use no number from nowhere; their chains use all numbers of the question and every result.
with made as (
    select
        sample_id, kind, repeat, text, question, answer, wrong_step, wrong_steps,
        regexp_extract(text, 'The result is ([^ ]+)\.$', 1) as result,
        kind = 'chain_of_thought' and result <> '' as is_chain,
        is_chain or kind = 'common_mistakes' and contains(text, 'Whoever ') as in_own_words,
        ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'] as days,
        ['north', 'east', 'south', 'west'] as directions,
        ['right', 'around', 'left'] as turns,
        -- Counting: from which day, in which direction, with how many days before "1".
        regexp_extract(text, 'Counting (on|back) from (\w+): ([^.]*)\.', ['way', 'start', 'counted']) as counting,
        regexp_extract(
            text, 'counts (\w+) as the first day says: ([^.]*)\. (\w+) is one day too (early|late)',
            ['start', 'counted', 'last', 'far']
        ) as miscounting,
        regexp_extract(text, '\d+ is \d+ \+ (\d+) and \d+ is \d+ \+ (\d+)', ['first', 'second']) as tens,
        regexp_extract(text, 'the (\w+) turn from (\w+), .* (\w+) from (\w+) is', ['place', 'start', 'turn', 'here']) as misturn,
        regexp_extract(question, '(?:faces|looks) (\w+)', 1) as facing,
        regexp_extract_all(lower(text), '(?:(first|second|third|fourth|fifth), )?(right|left|around) from (\w+) is (\w+)') as turned,
        regexp_extract_all(question, '(?:first|second|third|fourth|fifth) (?:right|left|around)') as turns_asked
    from metrics
    where task = 'procedural'
),
numbered as (
    select
        *,
        -- Words and numbers alone. "~" stands before a number that needs no source: it is looked at elsewhere.
        list_filter(string_split_regex(
            regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(
                regexp_replace(text, '(\d):(\d\d)', '\1 \2', 'g'),
                '(\d+) is (\d+) \+ (\d+)', '\1 is ~ \2 + ~ \3', 'g'),
                '(\bis|has|hold) (\d+)', '\1 ~ \2', 'g'),
                'to (\d+) it is', 'to ~ \1 it is', 'g'),
                '(\d+) (\w+day\b|of each)', '~ \1 \2', 'g'),
                '(only the|takes) (\d+) (of|for)', '\1 ~ \2 \3', 'g'),
                '\b1 (hour of|\w+ has|= )', '~ 1 \1', 'g'),
            '[ .,:;]+'
        ), lambda word: word <> '') as words,
        list_transform(regexp_extract_all(question, '\d+'), lambda digits: digits::int) as asked
    from made
),
counted as (
    select
        *,
        list_transform(words, lambda word: try_cast(word as int)) as numbers,
        list_concat(
            asked,
            if(regexp_matches(question, '\d:\d\d'), [60], []),
            if(list_has_any(string_split_regex(question, '\W+'), days), [7], [])
        ) as given,
        -- The days that are counted, each as it has to be.
        if(counting.start <> '', counting.counted, miscounting.counted) as row,
        if(counting.start <> '', counting.start, miscounting.start) as first_day,
        if(counting.way = 'back' or miscounting.far = 'late', -1, 1) as way,
        if(counting.start <> '', 0, 1) as before
    from numbered
),
looked_at as (
    select
        *,
        string_split(row, ', ') as row_found,
        [
            step || ' ' || coalesce(days[(list_position(days, first_day) - 1 + way * (step - before) + 70) % 7 + 1], '?')
            for step in range(1, len(string_split(row, ', ')) + 1)
        ] as row_wanted,
        [
            regexp_extract(turn, '(right|left|around) from (\w+) is (\w+)', ['turn', 'here', 'there'])
            for turn in turned
        ] as made_turns
    from counted
),
complaints as (
    select
        sample_id, kind, repeat,
        list_concat(
            if(kind = 'common_mistakes' and wrong_steps > 0, [wrong_step], []),
            list_filter(
                regexp_extract_all(text, '\d+ is \d+ \+ \d+'),
                lambda said: regexp_extract(said, '^\d+')::int
                    <> list_sum([part::int for part in regexp_extract_all(regexp_extract(said, ' is .*'), '\d+')])
            ),
            list_filter(
                regexp_extract_all(text, '[Ff]rom \d+ to \d+ it is \d+'),
                lambda said: regexp_extract_all(said, '\d+')[2]::int - regexp_extract_all(said, '\d+')[1]::int
                    <> regexp_extract_all(said, '\d+')[3]::int
            ),
            list_filter(
                regexp_extract_all(text, '\d+ is (?:not )?(?:less|more) than \d+'),
                lambda said: (
                    if(contains(said, 'less'), 1, -1)
                    * (regexp_extract_all(said, '\d+')[2]::int - regexp_extract_all(said, '\d+')[1]::int) > 0
                ) = contains(said, ' not ')
            ),
            -- Ones are compared with ones, minutes with the 60 of an hour.
            if(
                tens.first <> '' and regexp_matches(text, 'less than')
                and not regexp_matches(text, format('{} is (?:not )?less than {}[., ]', tens.first, tens.second)),
                ['other digits than the ones are compared'], []
            ),
            if(
                is_chain and regexp_matches(text, 'minutes after') and not regexp_matches(text, 'less than 60'),
                ['the minutes are not compared with 60'], []
            ),
            list_filter(
                regexp_extract_all(text, '\d+ / \d+ = \d+'),
                lambda said: regexp_extract_all(said, '\d+')[1]::int
                    <> regexp_extract_all(said, '\d+')[2]::int * regexp_extract_all(said, '\d+')[3]::int
            ),
            list_filter(
                regexp_extract_all(text, '\d+ days hold \d+ weeks? of 7 days'),
                lambda said: regexp_extract_all(said, '\d+')[1]::int // 7 <> regexp_extract_all(said, '\d+')[2]::int
            ),
            list_filter(
                regexp_extract_all(text, '\b1 \w+ has \d+ \w+'),
                lambda said: regexp_extract(said, 'has (\d+)', 1)::int <> map {
                    'week days': 7, 'foot inches': 12, 'yard feet': 3, 'year months': 12, 'gallon quarts': 4,
                    'pound ounces': 16, 'bushel gallons': 8, 'meter decimeters': 10, 'day hours': 24,
                    'hour minutes': 60, 'minute seconds': 60
                }[regexp_extract(said, '1 (\w+)', 1) || ' ' || regexp_extract(said, '(\w+)$', 1)]
            ),
            list_filter(
                regexp_extract_all(text, '\d+ minutes (?:after|before) \d+:\d\d is \d+:\d\d'),
                lambda said: regexp_extract_all(said, '\d+')[2]::int * 60 + regexp_extract_all(said, '\d+')[3]::int
                    + if(contains(said, 'after'), 1, -1) * regexp_extract_all(said, '\d+')[1]::int
                    <> regexp_extract_all(said, '\d+')[4]::int * 60 + regexp_extract_all(said, '\d+')[5]::int
            ),
            if(row <> '' and row_found <> row_wanted, [row], []),
            if(
                counting.start <> '' and (
                    not contains(question, first_day) or len(row_found) <> regexp_extract(question, '\d+')::int % 7
                ),
                [row || ' for ' || regexp_extract(question, '\d+') || ' days'], []
            ),
            if(
                miscounting.start <> '' and (
                    not contains(question, first_day) or len(row_found) <> regexp_extract(question, '\d+')::int % 7
                    or not ends_with(row, ' ' || miscounting.last)
                ),
                [row], []
            ),
            list_transform(list_filter(
                made_turns,
                lambda turn: (
                    list_position(directions, turn.here) - 1 + list_position(turns, turn.turn)
                ) % 4 + 1 is distinct from list_position(directions, turn.there)
            ), lambda turn: format('{} from {} is {}', turn.turn, turn.here, turn.there)),
            if(
                is_chain and len(turns_asked) > 0 and (
                    [regexp_extract(turn, '^\w+, (\w+)', 1) for turn in turned]
                    <> [regexp_extract(turn, ' (\w+)$', 1) for turn in turns_asked]
                    or [regexp_extract(turn, '^\w+') for turn in turned]
                    <> [regexp_extract(turn, '^\w+') for turn in turns_asked]
                ),
                ['the turns are not those of the question'], []
            ),
            if(
                is_chain and len(made_turns) > 0 and (
                    [turn.here for turn in made_turns[2:]] <> [turn.there for turn in made_turns[:-2]]
                    or not contains(question, made_turns[1].here)
                ),
                ['a turn does not begin where the one before it ended'], []
            ),
            if(
                misturn.turn <> '' and (
                    misturn.start <> facing or misturn.here <> facing
                    or misturn.place || ' ' || misturn.turn <> turns_asked[-1]
                ),
                ['the turn is not the last one of the question'], []
            ),
            -- Numbers and prices belong to their things.
            list_filter(
                regexp_extract_all(text, 'The \w+ cost \d+ x \d+'),
                lambda said: not regexp_matches(question, regexp_replace(
                    said, 'The (\w+) cost (\d+) x (\d+)', '\2 \1 at \3 |\1 for \3 .*\2 \1 '
                ))
            ),
            list_filter(
                regexp_extract_all(text, 'of the \d+ \w+ adds \d+: \d+ \+ \d+'),
                lambda said: regexp_extract_all(said, '\d+')[2] <> regexp_extract_all(said, '\d+')[4]
                    or not regexp_matches(question, regexp_replace(
                        said, 'of the (\d+) (\w+) adds (\d+).*', '\1 \2 at \3 |\2 for \3 .*\1 \2 '
                    ))
            ),
            if(is_chain and result <> answer, [format('the result is {}, not {}', answer, result)], []),
            if(
                is_chain and not regexp_matches(text, '[ :]' || regexp_escape(result) || '\. The result is [^ ]+$'),
                [format('{} is not what the step before it gives', result)], []
            ),
            if(
                in_own_words,
                list_transform(list_filter(
                    range(1, len(words) + 1),
                    lambda place: numbers[place] is not null and coalesce(words[place - 1], '') not in ('=', '~')
                        and not list_contains(given, numbers[place])
                        and not list_contains(numbers[:place - 1], numbers[place])
                ), lambda place: format('{} comes from nowhere', numbers[place])),
                []
            ),
            if(
                is_chain,
                list_concat(
                    [format('{} is left out', number) for number in asked if not list_contains(numbers, number)],
                    list_transform(list_filter(
                        range(1, len(words) + 1),
                        lambda place: words[place - 1] = '=' and not list_contains(numbers[place + 1:], numbers[place])
                            and numbers[place] is not null
                    ), lambda place: format('{} leads nowhere', numbers[place]))
                ),
                []
            ),
            list_filter(
                [regexp_extract(text, '(\d+(?:, which)? is \d+ too (?:small|large|much|young))')],
                lambda said: kind = 'common_mistakes' and said <> '' and try_cast(answer as int)
                    <> regexp_extract_all(said, '\d+')[1]::int
                    + if(regexp_matches(said, 'small|young'), 1, -1) * regexp_extract_all(said, '\d+')[2]::int
            ),
            list_filter(
                regexp_extract_all(text, 'forgets the \d+ years to come says \d+, which is \d+ too young'),
                lambda said: regexp_extract_all(said, '\d+')[1] <> regexp_extract_all(said, '\d+')[3]
            ),
            list_filter(
                regexp_extract_all(text, 'only the \d+ of \d+'),
                lambda said: regexp_extract_all(said, '\d+')[1]::int <> regexp_extract_all(said, '\d+')[2]::int - 10
            ),
            -- What is said twice is the same both times; a unit is one.
            list_filter(
                regexp_extract_all(text, 'In \d+ years \w+ is \d+ \+ \d+'),
                lambda said: regexp_extract_all(said, '\d+')[1] <> regexp_extract_all(said, '\d+')[3]
            ),
            list_filter(
                regexp_extract_all(text, 'stays at \d+ and says \d+'),
                lambda said: regexp_extract_all(said, '\d+')[1] <> regexp_extract_all(said, '\d+')[2]
            ),
            list_filter(
                regexp_extract_all(text, '\d+ is (?:not )?less than 60'),
                lambda said: not contains(text, format('= {}.', regexp_extract(said, '\d+')))
            ),
            list_filter(
                regexp_extract_all(text, 'takes an hour although \d+ is not less than \d+'),
                lambda said: not contains(
                    text, format('{} - {} =', regexp_extract_all(said, '\d+')[1], regexp_extract_all(said, '\d+')[2])
                )
            ),
            regexp_extract_all(text, '\d+:\d(?:\D|$)'),
            list_filter(
                regexp_extract_all(text, '= \d+ and says \d+'),
                lambda said: regexp_extract_all(said, '\d+')[1] <> regexp_extract_all(said, '\d+')[2]
            ),
            list_filter(
                regexp_extract_all(text, 'the way from \d+ to \d+'),
                lambda said: not contains(text, replace(said, 'the way from', 'From') || ' it is')
            ),
            list_filter(
                regexp_extract_all(text, 'divide by \d+ says \d+'),
                lambda said: try_cast(answer as int) * regexp_extract_all(said, '\d+')[1]::int
                    <> regexp_extract_all(said, '\d+')[2]::int
            ),
            list_filter(
                regexp_extract_all(text, '(?:so \d+ hour of \d+|^\d+ \w+ has|weeks? of \d+ days)'),
                lambda said: not regexp_matches(said, '^(?:so 1 hour of 60|1 \w+ has|weeks? of 7 days)$')
            ),
            list_filter(
                regexp_extract_all(text, 'takes \d+ for \d+'),
                lambda said: abs(regexp_extract_all(said, '\d+')[1]::int - regexp_extract_all(said, '\d+')[2]::int) <> 10
            )
        ) as found
    from looked_at
)

select sample_id, kind, repeat, format('wrong: {}', found[1]) as reason
from complaints
where len(found) > 0
