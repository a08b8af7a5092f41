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

-- Languages in Latin script, told by their most frequent small words. Those that English shares with others ("in", "was",
-- "die") are no sign of either, and left out where they are as frequent there.
create or replace temp macro small_words_in(words, tongue) as case tongue
    when 'English' then list_filter(words, lambda word: word in (
        'the', 'of', 'and', 'to', 'is', 'that', 'it', 'are', 'for', 'with', 'this', 'be', 'by', 'not', 'from',
        'which', 'have', 'has', 'can', 'if', 'there', 'they', 'their', 'he', 'she', 'his', 'you', 'what', 'when',
        'how', 'because', 'than', 'would', 'who', 'at', 'but', 'these', 'does', 'its', 'will', 'were', 'where',
        'each'
    ))
    when 'German' then list_filter(words, lambda word: word in (
        'der', 'die', 'das', 'und', 'ist', 'nicht', 'ein', 'eine', 'einen', 'einem', 'einer', 'mit', 'den', 'dem',
        'des', 'von', 'zu', 'auf', 'für', 'sich', 'auch', 'es', 'wird', 'sind', 'als', 'wie', 'bei', 'nach', 'im',
        'wenn', 'dass', 'aus', 'er', 'sie', 'wir', 'ich', 'oder', 'aber', 'welche', 'welches', 'wer', 'kann',
        'werden', 'durch', 'weil'
    ))
    when 'French' then list_filter(words, lambda word: word in (
        'le', 'la', 'les', 'et', 'est', 'un', 'une', 'des', 'du', 'de', 'dans', 'que', 'qui', 'pour', 'pas', 'ce',
        'il', 'elle', 'sur', 'avec', 'aux', 'par', 'sont', 'cette', 'ne', 'nous', 'vous', 'se', 'l', 'qu',
        'ou', 'mais', 'donc', 'où', 'quel', 'quelle', 'être', 'comme', 'car', 'à', 'ont', 'son', 'sa', 'ses', 'si'
    ))
    when 'Spanish' then list_filter(words, lambda word: word in (
        'el', 'la', 'los', 'las', 'y', 'es', 'un', 'una', 'de', 'del', 'en', 'que', 'por', 'con', 'para', 'se', 'su',
        'al', 'lo', 'como', 'más', 'pero', 'son', 'qué', 'cuál', 'cuando', 'porque', 'sus', 'este', 'esta', 'si',
        'ha', 'entre', 'está', 'tiene'
    ))
    when 'Italian' then list_filter(words, lambda word: word in (
        'il', 'la', 'le', 'lo', 'gli', 'e', 'è', 'un', 'una', 'di', 'del', 'della', 'dei', 'delle', 'che', 'per',
        'con', 'non', 'si', 'sono', 'nel', 'nella', 'al', 'da', 'dal', 'come', 'più', 'ma', 'quale', 'anche',
        'questo', 'questa', 'perché', 'quando', 'l', 'se', 'cui'
    ))
    when 'Portuguese' then list_filter(words, lambda word: word in (
        'o', 'os', 'e', 'é', 'um', 'uma', 'de', 'da', 'dos', 'das', 'na', 'em', 'que', 'por', 'com', 'para', 'não',
        'se', 'ao', 'como', 'mais', 'mas', 'são', 'qual', 'quando', 'porque', 'sua', 'seu', 'ou', 'foi', 'também',
        'tem', 'este', 'pelo', 'pela'
    ))
    when 'Dutch' then list_filter(words, lambda word: word in (
        'de', 'het', 'een', 'en', 'van', 'dat', 'die', 'niet', 'met', 'voor', 'te', 'zijn', 'op', 'aan', 'door',
        'er', 'maar', 'om', 'wordt', 'worden', 'ook', 'als', 'bij', 'uit', 'naar', 'deze', 'dit', 'welke', 'wat',
        'hoe', 'kan', 'heeft', 'omdat', 'dan', 'wie', 'ze', 'hij', 'want'
    ))
end;

-- The language whose small words are a fifth of all, at least three of them different, and half as many again as those of
-- any other; null where none is.
create or replace temp macro clear_language(words) as [
    if(
        found[1].hits >= greatest(3, 0.2 * len(words)) and found[1].hits >= 1.5 * found[2].hits
        and list_unique(small_words_in(words, found[1].tongue)) >= 3, found[1].tongue, null
    )
    for found in [list_reverse_sort([
        {'hits': len(small_words_in(words, 'English')), 'tongue': 'English'},
        {'hits': len(small_words_in(words, 'German')), 'tongue': 'German'},
        {'hits': len(small_words_in(words, 'French')), 'tongue': 'French'},
        {'hits': len(small_words_in(words, 'Spanish')), 'tongue': 'Spanish'},
        {'hits': len(small_words_in(words, 'Italian')), 'tongue': 'Italian'},
        {'hits': len(small_words_in(words, 'Portuguese')), 'tongue': 'Portuguese'},
        {'hits': len(small_words_in(words, 'Dutch')), 'tongue': 'Dutch'}
    ])]
][1];

-- English, which most texts are, is told by ten words; only where these are rare, or words few, all others are looked
-- for. English full of numbers and names lies between and is left untold.
create or replace temp macro english_words_in(words) as len(list_filter(
    words, lambda word: word in ('the', 'of', 'and', 'to', 'is', 'that', 'it', 'are', 'for', 'with')
));

create or replace temp macro language_of(words, least) as case
    when len(words) < least then null
    when english_words_in(words) >= greatest(3, 0.12 * len(words)) then 'English'
    when len(words) >= 20 and english_words_in(words) > 0.06 * len(words) then null
    else clear_language(words)
end;

-- Whether a sample asks for a text in another language than its question's: for a translation, "in French", by an answer
-- or choices in that language, or because a good part of the question is in it.
create or replace temp macro asks_for_language(tongue, asked, question_words, answer_words, wording) as
    regexp_matches(
        wording, '(?i)\btranslat|\btradu[cizçt]|übersetz|\bvertaa?l'
        || '|\b(?:in|into|to|auf|ins|en|het|em|al|aus dem|du|del)\s+(?:english|englisch|anglais|ingl[eé]s|inglese|engels'
        || '|german|deutsche?|allemand|alem[aã]n|alemão|tedesco|duits|french|französisch|français|franc[eéê]s|francese|frans'
        || '|spanish|spanisch|espagnol|español|castellano|espanhol|spagnolo|spaans|italian|italienisch|italien|italiano'
        || '|italiaans|portuguese|portugiesisch|portugais|portugu[eéê]s|portoghese|portugees'
        || '|dutch|niederländisch|néerlandais|neerland[eéê]s|holand[eéê]s|olandese|nederlands)\b'
    )
    or len(small_words_in(answer_words, tongue)) > len(small_words_in(answer_words, asked))
    -- Words that both languages have tell nothing.
    or len(list_filter(
        small_words_in(question_words, tongue),
        lambda word: not list_contains(small_words_in(question_words, asked), word)
    )) >= greatest(3, 0.05 * len(question_words));
