-- Signs and wording: digits, capitals, markup, what prompts leave behind, words of reasons, errors and options.

create or replace temp macro artefact_of(passage) as nullif(regexp_extract(
    passage, '(?i)</?think>|<\|[a-z_]+\|>|\[/?INST\]|### ?(?:Response|Instruction)|as an ai\b(?: language model)?'
), '');

create or replace temp macro markup_in(passage) as regexp_extract_all(
    passage, '\*\*|```|(?:^|\n)#{1,6} |</?[a-zA-Z][^<>\n]{0,40}>|\\[a-zA-Z]+\{'
);

-- No mark at the end, and neither a statement of the answer, a formula nor an item of a list, which need none.
create or replace temp macro unfinished(passage, last_sentence) as
    not regexp_matches(passage, '[.!?…。！？][\s)"”’''*\]}$]*$')
    and not regexp_matches(
        last_sentence, '(?i)\banswers?\b|####|\\boxed|\\]|\$$|^A:|=\s*\S+$|^\s*(?:[-*•]|\(?[A-Z0-9][).])\s|^[\W_]*$|```'
    );

-- Words that give reasons, deny, speak of errors or hedge, in one pass; `worded` is words with a blank between them.
create or replace temp macro signals_in(worded) as regexp_extract_all(
    worded,
    '\b(?:because|since|so|therefore|thus|hence|if|then|due|means|not|no|never|none|neither|nor|t|cannot'
    || '|may|might|could|would|perhaps|probably|likely|maybe|possibly|think|thinks|seems'
    || '|mis(?:tak|read|under|inter|concep|lead|led|appl|count|calc|remem|judg)[a-z]*|wrong(?:ly)?|err(?:or|on)[a-z]*'
    || '|incorrect(?:ly)?|confus[a-z]*|forg[eo]t[a-z]*|overlook[a-z]*|pitfalls?|traps?|tempt[a-z]*|assum[a-z]*|neglect[a-z]*'
    || '|ignor(?:e|es|ed|ing)|careless(?:ly)?|fail(?:s|ed|ing|ure)?|mix(?:es|ed|ing)?|omit[a-z]*|miss(?:es|ed|ing)?)\b'
);

create or replace temp macro gives_reason(word) as
    word in ('because', 'since', 'so', 'therefore', 'thus', 'hence', 'if', 'then', 'due', 'means');

create or replace temp macro denies(word) as word in ('not', 'no', 'never', 'none', 'neither', 'nor', 't', 'cannot');

create or replace temp macro hedges(word) as word in (
    'may', 'might', 'could', 'would', 'perhaps', 'probably', 'likely', 'maybe', 'possibly', 'think', 'thinks', 'seems'
);

create or replace temp macro names_error(word) as not (gives_reason(word) or denies(word) or hedges(word));

-- Letters of options that a text names: "(B)", "option B". Beyond the letters that exist, "(C)" may be carbon.
create or replace temp macro letters_named_in(passage) as if(
    regexp_matches(passage, '\([A-Z]\)|(?i:option|choice) [A-Z]\b'),
    list_sort(list_distinct(list_filter(
        regexp_extract_all(passage, '(?:\(|(?:[Oo]ption|[Cc]hoice) \(?)([A-Z])\b', 1), lambda letter: letter <> ''
    ))), []
);

-- Letters that can only be options: "option E", "the answer is (E)"; "answer I" may be a sentence.
create or replace temp macro letters_meant_in(passage) as if(
    regexp_matches(passage, '(?i:option|choice|answer)(?: is:?|:)? \(?[A-Z]\b'),
    list_transform(
        regexp_extract_all(
            passage,
            '\b(?:(?:[Oo]ption|[Cc]hoice|[Aa]nswer)(?: is:?|:)? )(?:\([A-Z]\)|[B-HJ-Z](?:[.,;:)]|$|\n| is\b| and\b))'
        ),
        lambda named: regexp_extract(named, ' \(?([A-Z])\)?[.,;:]?(?: is| and)?\s*$', 1)
    ), []
);

-- Words of "so the correct answer is (B), because it is the …".
create or replace temp macro says_answer(word) as
    word in (
        'the', 'a', 'an', 'answer', 'answers', 'is', 'are', 'was', 'be', 'must', 'so', 'therefore', 'thus', 'hence',
        'correct', 'right', 'best', 'true', 'option', 'choice', 'final', 'gold', 'it', 'its', 'this', 'that', 'because',
        'since', 'to', 'of', 'we', 'which', 'question', 'as', 'and', 's', 'b', 'c', 'd', 'e', 'would', 'should', 'here'
    );
