"""What each shipped rule says of texts that it must catch, and of texts that it must leave alone."""

from __future__ import annotations

from typing import Any

import pytest

from quality_rows import METRICS, connect, flags_of, judged, rationale, sample, shipped_rules
from teacherlm.quality.judge import judge
from teacherlm.quality.rules import bind
from teacherlm.quality.score import Feature, Model, Part, Scorer
from teacherlm.schemas.records import KINDS

GOOD = (
    "Iron reacts with oxygen and water and forms a reddish oxide. Gold does not react with either. The answer is (B)."
)


def choice(
    answer: str, *choices: str, question: str = "Which of the options is right here, all in all?"
) -> dict[str, Any]:
    return sample(choices=list(choices), answer=answer, answer_index=choices.index(answer), question=question)


def free(answer: str, question: str = "How much does Ann pay for all of it, in the end?") -> dict[str, Any]:
    return sample(choices=[], answer=answer, answer_index=None, question=question)


WHY = "We go through it step by step and then conclude. "
TRUTH = choice("Not true", "True", "Not true")
LETTERS = choice("blue [sky", "a (red) rose", "blue [sky", "C++ or C*", "nothing")

# A sample, the text after the same few words, and whether it contradicts the gold answer.
CONTRADICTIONS: list[tuple[dict[str, Any], str, bool]] = [
    (LETTERS, "The answer is (B).", False),
    (LETTERS, "The answer is (A).", True),
    (LETTERS, "The answer is not (A). The sky is blue. The answer is (B).", False),
    (LETTERS, "The answer is (B). The answer is not (A).", False),
    (LETTERS, "The answer is not (A).", False),
    (LETTERS, "(A) is wrong because roses do not fly. (C) is incorrect too.", False),
    (LETTERS, "(A) is correct.", True),
    (LETTERS, "One might think the answer is (A), but in fact (B) is correct.", False),
    (LETTERS, "Some people say the answer is (A). That overlooks the sky.", False),
    (LETTERS, "A wrong answer is (A).", False),
    (LETTERS, "If the answer is (A), roses would fly.", False),
    (LETTERS, "Answer choices: (A) a (red) rose (B) blue [sky.", False),
    (LETTERS, "The answer is a matter of taste.", False),
    (LETTERS, "The answer is A dog.", False),
    (LETTERS, "The answer is C++ or C*.", True),
    (LETTERS, "The answer is blue [sky.", False),
    (LETTERS, "The correct option is **C**.", True),
    (LETTERS, "The correct option is **B**.", False),
    (LETTERS, "**Answer:** (b) blue [sky", False),
    (LETTERS, "**Answer:** (d) nothing", True),
    (LETTERS, "The answer is (A) or (B).", False),
    (LETTERS, "So the best choice is D, because nothing else fits.", True),
    (LETTERS, "The answer is (B).\n\nQ: What else is there?\nA: The answer is (A).", False),
    (LETTERS, "The answer must be something that is far above us.", False),
    (TRUTH, "The answer is not true.", False),
    (TRUTH, "The answer is: True", True),
    (TRUTH, "The answer is true.", True),
    (choice("True", "True", "Not true"), "The answer is not true.", True),
    (choice("True", "True", "False"), "So the answer is yes.", False),
    (choice("True", "True", "False"), "So the answer is no.", True),
    (choice("12.5", "12", "12.5"), "The answer is 12.5.", False),
    (choice("12", "12", "12.5"), "The answer is 12.5.", True),
    (choice("dog", "cat", "dog"), "Thus, the answer is the dog.", False),
    (choice("dog", "cat", "dog"), "Thus, the answer is a cat.", True),
    (choice("dog", "cat", "dog"), "Dogs bark and cats do not, so barking points to a dog.", False),
    (free("1200"), "The answer is $1,200.", False),
    (free("$1,200"), "The answer is 1200 dollars.", False),
    (free("12"), "The answer is 10 + 2 = 12.", False),
    (free("12"), "The answer is 4 x 4 = 16.", True),
    (free("12"), "The answer is 13.", True),
    (free("12"), "She pays 13 first, and 12 after the rebate.", False),
    (free("12"), "The answer is simple.", False),
    (free("12"), "#### 12", False),
    (free("12"), "#### 14", True),
    (free("12"), "So we get \\boxed{12}.", False),
    (free("0.5"), "The answer is 1/2.", False),
    (free("3.14159"), "The answer is 3.14.", False),
    (free("-5"), "The answer is −5.", False),
    (free("-5"), "The answer is 5.", True),
    (free("40%"), "The answer is 0.4.", False),
    (free("1"), "The answer is 100.", True),
    (free("(B)"), "So the answer is (B).", False),
    (free("(B)"), "So the answer is (A).", True),
    (free("no"), "So the answer is yes.", True),
    (free("no"), "So the answer is false.", False),
    (free("Paris"), "So the answer is London.", True),
    (free("Paris"), "So the answer is the capital of France.", False),
    (free("United States"), "So the answer is America.", False),
    (free("invalid"), "So the answer is valid.", True),
    (LETTERS, "The answer is option (A).", True),
    (LETTERS, "So $\\boxed{\\text{A}}$.", True),
    (LETTERS, "\n**Final Answer**\n\n**A**", True),
    (LETTERS, "So the final answer is (A).", True),
    (LETTERS, "The correct answer choice is B.", False),
    # Without a statement: the last sentence or line.
    (LETTERS, "Roses do not fly.\nA) a (red) rose", True),
    (LETTERS, "What flies above us is the sky (B).", False),
    (LETTERS, "What flies above us is a rose (A).", True),
    (LETTERS, "What flies above us cannot be (A).", False),
    (choice("dog", "cat", "dog"), "It meows. So it is a cat.", True),
    (choice("dog", "cat", "dog"), "A dog barks, unlike a cat.", False),
    (choice("iron", "iron", "cast iron"), "It is brittle. So it is cast iron.", True),
    (free("12"), "She pays 10 and then 3. So she pays 13 in all.", True),
    (free("12"), "She pays 10 and then 2. So she pays 12 in all.", False),
    (free("12"), "She pays 12 for 3 of them.", False),
    (free("12"), "She pays 10 and then", False),
    (free("no"), "Iron rusts. So yes, it does.", True),
    (free("no"), "There is no doubt that iron rusts.", False),
]


@pytest.fixture(scope="module")
def contradicting() -> list[bool]:
    return ["contradicts_gold" in broken for broken in flags_of([(of, WHY + text) for of, text, _ in CONTRADICTIONS])]


@pytest.mark.parametrize("case", range(len(CONTRADICTIONS)), ids=[case[1] for case in CONTRADICTIONS])
def test_a_text_contradicts_the_gold_answer_only_where_it_concludes_with_another(
    contradicting: list[bool], case: int
) -> None:
    assert contradicting[case] is CONTRADICTIONS[case][2]


def test_naming_a_wrong_answer_is_the_point_of_common_mistakes() -> None:
    text = "People forget the air and think of the noble metal. The answer is (A)."
    con = judged([sample()], [rationale(text), rationale(f"Careful! {text}", kind="common_mistakes")])
    found = con.execute("select kind from findings where rule = 'contradicts_gold'").fetchall()
    assert found == [("chain_of_thought",)]


def test_good_texts_break_no_rule() -> None:
    texts = {
        "fundamentals": "Rust is iron oxide: iron binds oxygen in the presence of water. Noble metals bind none.",
        "chain_of_thought": GOOD,
        "common_mistakes": "People confuse tarnish with rust, or forget that noble metals do not bind oxygen.",
    }
    con = judged([sample()], [rationale(texts[kind], kind=kind) for kind in KINDS])
    assert con.execute("select kind, rule from findings").fetchall() == []


RUSSIAN = sample(question="Какой металл ржавеет на воздухе?", choices=[], answer="железо", answer_index=None)
CHINESE = sample(
    question="哪一种金属长时间接触水和空气以后会慢慢地生锈并且变成红色?", choices=[], answer="铁", answer_index=None
)
JAPANESE = "鉄は空気中の酸素と水に触れると、ゆっくりと赤いさびになります。だから答えは鉄です。"
ENGLISH = "Iron reacts with the oxygen of the air and becomes iron oxide."
COPIED = "Which metal rusts when it meets water and air for a long time? gold iron."
LOOP = "So we add one to the number and then we add one to the number. " * 8

OTHER_RULES: list[tuple[str, dict[str, Any], str, bool]] = [
    ("empty", sample(), "", True),
    ("empty", sample(), " \n…!! — ", True),
    ("empty", CHINESE, "铁", False),
    ("empty", sample(), "7", False),
    ("too_short", sample(), "Iron rusts.", True),
    ("too_short", sample(), "", False),
    ("too_short", sample(), "Because iron rusts in air.", False),
    ("too_short", CHINESE, "因为铁会生锈。", False),
    ("too_long", sample(), " ".join(f"word{chr(97 + i % 26)}{i}" for i in range(601)), True),
    ("too_long", sample(), GOOD, False),
    ("repeats_itself", sample(), LOOP, True),
    ("repeats_itself", sample(), "iron " * 60, True),
    ("repeats_itself", sample(), "The first coin is heads. The second coin is heads. The third coin is tails.", False),
    ("copies_question", sample(), COPIED, True),
    ("copies_question", sample(), f"{COPIED} {GOOD}", False),
    ("wrong_language", sample(), JAPANESE, True),
    ("wrong_language", sample(), ENGLISH, False),
    ("wrong_language", RUSSIAN, ENGLISH, True),
    ("wrong_language", RUSSIAN, "Железо соединяется с кислородом (O2, oxygen) воздуха.", False),
    ("wrong_language", CHINESE, JAPANESE, False),
    ("wrong_language", CHINESE, ENGLISH, True),
    ("wrong_language", free("cheese", "Как по-английски называется сыр, который едят мыши?"), ENGLISH, False),
    ("wrong_language", free("5", "2 + 3 = ?"), JAPANESE, False),
    ("garbled", sample(), "resultStloond The common nine facltPeopleisStR nineOther shftCheck ironWhen waterThe", True),
    ("garbled", sample(), "Iron rus\ufffdts in moist air because oxygen binds to it.", True),
    ("garbled", sample(), "Iron\x00 rusts in moist air because oxygen binds to it.", True),
    ("garbled", sample(), "Ben's iPhone is 2 years old, so Suzy's iPhone and Ann's iPhone are 1 year old.", False),
    ("garbled", sample(), "NaCl and MgCl2 dissolve at pH 7, as McDonald's JavaScript notes show.", False),
    ("garbled", sample(), "eine Straße, ça va, 三 pieces and ½ cup: €5\tor so\nper head", False),
    ("runs_on", sample(), f"{GOOD}\n\nQ: Which metal shines?\nA: Gold.", True),
    ("runs_on", sample(), f"Step 1: Read it.\nQuestion: Which metal rusts?\nStep 2: Answer. {GOOD}", False),
    ("prompt_artefact", sample(), f"{GOOD}<|im_end|>", True),
    ("prompt_artefact", sample(), f"[INST] Why? [/INST] {GOOD}", True),
    ("prompt_artefact", sample(), f"### Response:\n{GOOD}", True),
    ("prompt_artefact", sample(), f"<think>Well.</think> {GOOD}", True),
    ("prompt_artefact", sample(), f"As an AI language model, I say: {GOOD}", True),
    ("prompt_artefact", sample(), "We think that a < b and |x| > 2, as an aide said. ### Rust", False),
    ("repeats_itself", sample(), f"{GOOD} {'It rusts and rusts on. ' * 9}", True),
    ("only_answer", sample(), "So the correct answer is (B) iron.", True),
    ("only_answer", sample(), "The answer is (B), because iron rusts in air.", False),
    ("wrong_arithmetic", free("12"), "They are 3 * 5 = 12 in all. The answer is 12.", True),
    ("wrong_arithmetic", free("12"), "They are 3 * 4 = 12 in all. The answer is 12.", False),
    ("wrong_arithmetic", free("12", "If 5 + 3 = 28, what is 3 * 4?"), "Given 5 + 3 = 28 we find 12.", False),
    ("unknown_option", sample(), "Gold is out, and so the answer is (D).", True),
    ("unknown_option", sample(), "Option C is wrong, and so is the rest.", True),
    ("unknown_option", sample(), "Carbon (C) turns iron into steel, vitamin (K) does not.", False),
    ("unknown_option", free("12"), "The answer is (D), as we see at once.", False),
    ("unfinished", sample(), "Iron reacts with the oxygen of the air and then it also", True),
    ("unfinished", sample(), f"{GOOD}\n\nAnswer: B", False),
    ("runs_on", sample(), "The question is: what rusts? Iron does, since oxygen binds to it.", False),
]


# The same few sentences in several languages: a question, and a text that answers it.
TONGUES = {
    "English": (
        "Which metal rusts when it meets the water and the air for a long time?",
        "Iron reacts with the oxygen of the air and with water, and a reddish oxide forms on its surface. Gold does "
        "not react with either of these, so that it keeps its colour for years.",
    ),
    "German": (
        "Welches Metall rostet, wenn es lange mit dem Wasser und der Luft in Berührung ist?",
        "Eisen verbindet sich mit dem Sauerstoff der Luft und mit Wasser, und auf der Oberfläche bildet sich ein rotes "
        "Oxid. Gold verbindet sich nicht mit ihnen, und deshalb bleibt es über die Jahre, wie es ist.",
    ),
    "French": (
        "Quel est le métal qui rouille quand il est longtemps dans l'eau et dans l'air?",
        "Le fer réagit avec l'oxygène de l'air et avec l'eau, et un oxyde rouge se forme à la surface. L'or ne réagit "
        "pas avec eux, et c'est pour cela qu'il garde sa couleur pendant des années.",
    ),
    "Spanish": (
        "¿Qué metal se oxida cuando está mucho tiempo en el agua y en el aire?",
        "El hierro reacciona con el oxígeno del aire y con el agua, y se forma un óxido rojo en la superficie. El oro "
        "no reacciona con ellos, y por eso conserva su color a lo largo de los años.",
    ),
    "Italian": (
        "Quale metallo arrugginisce quando è a lungo nell'acqua e nell'aria della città?",
        "Il ferro reagisce con l'ossigeno dell'aria e con l'acqua, e sulla superficie si forma un ossido rosso. L'oro "
        "non reagisce con questi, e per questo conserva il suo colore nel corso degli anni.",
    ),
    "Portuguese": (
        "Qual é o metal que enferruja quando está muito tempo na água e no ar?",
        "O ferro reage com o oxigênio do ar e com a água, e um óxido vermelho se forma na superfície. O ouro não reage "
        "com eles, e por isso mantém a sua cor ao longo dos anos, como é sabido.",
    ),
    "Dutch": (
        "Welk metaal roest wanneer het lang met het water en de lucht van de zee in aanraking is?",
        "IJzer reageert met de zuurstof van de lucht en met het water, en op de oppervlakte ontstaat een rood oxide. "
        "Goud reageert niet met deze stoffen, en daarom blijft het door de jaren zoals het is.",
    ),
}


def test_a_text_has_to_be_in_the_language_of_its_question() -> None:
    pairs = [(asked, told) for asked in TONGUES for told in TONGUES]
    rows = [(free("Au" if asked != told else "Fe", TONGUES[asked][0]), TONGUES[told][1]) for asked, told in pairs]
    broken = ["wrong_language" in flags for flags in flags_of(rows)]
    assert [pair for pair, flagged in zip(pairs, broken, strict=True) if flagged is (pair[0] == pair[1])] == []


def test_the_reason_names_both_languages() -> None:
    con = judged([sample()], [rationale(TONGUES["French"][1], kind="fundamentals")])
    found = con.execute("select reason from findings where rule = 'wrong_language'").fetchall()
    assert found == [("it is in French, the question in English",)]


# A sample and a text that may be in another language, or only looks like it.
FINE_LANGUAGE: list[tuple[dict[str, Any], str]] = [
    (free("Eisen", "Translate the word that stands for the metal of the sentence into German."), TONGUES["German"][1]),
    (free("le fer", "What is the name of the metal, and why? Answer in French, please."), TONGUES["French"][1]),
    (sample(task="translation"), TONGUES["Spanish"][1]),
    (sample(choices=["es ist das Eisen", "es ist das Gold"], answer="es ist das Eisen"), TONGUES["German"][1]),
    (free("42", f"What does this say about the metal? {TONGUES['Dutch'][1]}"), TONGUES["Dutch"][1]),
    (free("42", f"What does this say about the metal? {TONGUES['Dutch'][1]}"), TONGUES["English"][1]),
    (sample(), "Le fer rouille dans l'air et dans l'eau."),
    (
        sample(),
        f"{TONGUES['English'][1]} As they say: « Le fer rouille dans l'air et dans l'eau, et l'or ne rouille pas ».",
    ),
    (
        sample(),
        "Fe + O2, Fe + H2O, Au + O2: " + "Fe(OH)2, FeO, Fe2O3, e, o, l, d, x = 3 * 4 = 12, y = 2 * 6 = 12; " * 3,
    ),
    (
        sample(),
        "El Paso, Los Angeles, La Paz, Las Vegas, San Juan del Sur, Santa Fe: " + "Fe, Au, Ag, Cu, Pb, Sn. " * 3,
    ),
    (sample(), "for i in range(10): print(i, data[i], o[i], e[i]); os = sys.path; del o, e, d; con = open(x); " * 2),
    (sample(), "It is non-tender, " + "non-tender, " * 20 + "and non-tender."),
    (free("5", "2 + 3 = ?"), TONGUES["French"][1]),
]


def test_another_language_is_fine_where_the_sample_asks_for_it_or_only_a_few_words_are_in_it() -> None:
    broken = ["wrong_language" in flags for flags in flags_of(FINE_LANGUAGE)]
    assert [text for (_, text), flagged in zip(FINE_LANGUAGE, broken, strict=True) if flagged] == []


TOM = "Tom wrote that 6 x 4 = 26. Is he right, and what is the product?"
ITS_OWN_STEPS: list[tuple[str, str, str | None]] = [
    # A question, a text, and the finding's reason.
    (TOM, "6*4 = 26 is what he says. It is wrong, since 5*4 = 21.", "5*4 = 21 is wrong; 1 of 2 steps are"),
    (TOM, "Tom wrote that 6 x 4 = 26, but 6 x 4 = 24, so Tom is wrong.", None),
    (TOM, "It is so: 6 \\times 4 = 26, and that is it.", None),
    ("Is 16*4 = 26 or not?", "We know that 6*4 = 26 and go on.", "6*4 = 26 is wrong; 1 of 1 steps are"),
    ("Is 6*4 = 261 or not?", "We know that 6*4 = 26 and go on.", "6*4 = 26 is wrong; 1 of 1 steps are"),
    ("Is 2+6*4 = 26 or not?", "We know that 6*4 = 26 and go on.", "6*4 = 26 is wrong; 1 of 1 steps are"),
    ("How many are there?", "Ann wrongly calculated 6 x 4 = 26; in truth 6 x 4 = 24.", None),
    ("How many are there?", "It would be not 6 * 4 = 26 but 24.", None),
    ("How many are there?", "Here 6 * 4 = 26 is wrong, for 6 * 4 = 24.", None),
    ("How many are there?", "Ann wrote a note. Then 6 * 4 = 26 follows.", "6*4 = 26 is wrong; 1 of 1 steps are"),
    ("How many are there?", "Since 6 * 4 = 26, the rest is wrong.", "6*4 = 26 is wrong; 1 of 1 steps are"),
]


def test_a_text_answers_for_its_own_steps_only() -> None:
    samples = [
        free("24", question) | {"sample_id": f"d/train/{i:03}"} for i, (question, _, _) in enumerate(ITS_OWN_STEPS)
    ]
    texts = [rationale(text, f"d/train/{i:03}") for i, (_, text, _) in enumerate(ITS_OWN_STEPS)]
    con = judged(samples, texts)
    reasons = dict(con.execute("select sample_id, reason from findings where rule = 'wrong_arithmetic'").fetchall())
    found = [(question, text, reasons.get(f"d/train/{i:03}")) for i, (question, text, _) in enumerate(ITS_OWN_STEPS)]
    assert found == ITS_OWN_STEPS


def test_steps_that_the_choices_give_are_not_the_texts() -> None:
    of = sample(choices=["3 * 4 = 13", "3 * 4 = 12"], answer="3 * 4 = 12")
    (flags,) = flags_of([(of, "Of these 3 x 4 = 13 does not hold. So the answer is (B), as one can count.")])
    assert flags == []


@pytest.fixture(scope="module")
def broken() -> list[list[str]]:
    return flags_of([(of, text) for _, of, text, _ in OTHER_RULES])


@pytest.mark.parametrize("case", range(len(OTHER_RULES)), ids=[f"{case[0]}: {case[2][:40]}" for case in OTHER_RULES])
def test_a_rule_catches_what_it_is_for(broken: list[list[str]], case: int) -> None:
    rule, _, _, breaks = OTHER_RULES[case]
    assert (rule in broken[case]) is breaks


def test_the_same_text_for_another_sample_or_kind_is_noted() -> None:
    rows = [
        rationale("Iron rusts in moist air.", "d/train/1"),
        rationale("iron  RUSTS in moist air", "d/train/2"),
        rationale("Gold does not rust in air.", "d/train/3"),
        rationale("Gold does not rust in air.", "d/train/3", repeat=1),
        rationale("Copper turns green in moist air.", "d/train/3", kind="fundamentals"),
        rationale("Copper turns green in moist air.", "d/train/3", kind="common_mistakes"),
        rationale("Iron rusts in moist air.", "d/train/4", kind="fundamentals"),
    ]
    con = judged([sample(f"d/train/{i}") for i in range(1, 5)], rows)
    found = con.execute(
        "select sample_id, kind, severity, reason from findings where rule = 'duplicate_text'"
    ).fetchall()
    assert sorted(found) == [
        ("d/train/1", "chain_of_thought", "warn", "2 samples have this text"),
        ("d/train/2", "chain_of_thought", "warn", "2 samples have this text"),
        ("d/train/3", "common_mistakes", "warn", "another kind of the same sample has the same text"),
        ("d/train/3", "fundamentals", "warn", "another kind of the same sample has the same text"),
    ]
    assert con.execute("select distinct verdict from verdicts").fetchall() == [("accepted",)]


def test_fundamentals_must_not_state_the_answer() -> None:
    facts = "Iron reacts with oxygen and water to a reddish oxide; gold does not."
    rows = [
        rationale(f"{facts} Hence the answer is iron.", kind="fundamentals"),
        rationale(facts, kind="fundamentals", repeat=1),
        rationale(f"{facts} What rusts is iron.", kind="fundamentals", repeat=2),
        rationale(f"{facts} So the answer is (B).", kind="chain_of_thought"),
    ]
    con = judged([sample()], rows)
    found = con.execute("select kind, repeat, reason from findings where rule = 'leaks_answer'").fetchall()
    assert found == [("fundamentals", 0, 'it states that the answer is "iron"')]


def test_the_last_number_of_a_fact_is_no_answer() -> None:
    text = "Twelve of a thing are a dozen. There are 7 days in a week."
    con = judged([free("24")], [rationale(text, kind="fundamentals"), rationale(f"Well. {text}")])
    found = con.execute("select kind from findings where rule = 'contradicts_gold'").fetchall()
    assert found == [("chain_of_thought",)]


def test_mistakes_must_speak_of_one() -> None:
    texts = (
        "Iron is a metal of the earth and reacts with oxygen.",
        "People confuse iron with gold.",
        "Gold shines and does not rust, whatever people say.",
    )
    con = judged([sample()], [rationale(text, kind="common_mistakes", repeat=i) for i, text in enumerate(texts)])
    assert con.execute("select repeat, severity from findings where rule = 'no_mistake'").fetchall() == [(0, "warn")]


def test_kinds_must_not_say_the_same() -> None:
    text = "Iron combines with the oxygen of moist air and forms a reddish oxide that we call rust, and gold does not."
    rows = [rationale(f"{text} {word}.", kind=kind) for kind, word in zip(KINDS, ("Well", "So", "Why"), strict=True)]
    con = judged([sample()], rows)
    found = con.execute("select kind from findings where rule = 'kinds_alike' order by 1").fetchall()
    assert found == [("common_mistakes",), ("fundamentals",)]


def test_a_low_score_rejects_only_where_a_minimum_is_set() -> None:
    (rule,) = (rule for rule in shipped_rules() if rule.id == "low_score")
    longer_is_better = Part(name="all", when="true", model=Model(intercept=-1.0, weights={"words": 0.2}))
    scorer = Scorer(
        about="a test",
        kinds=("chain_of_thought",),
        fitted_on={},
        given={},
        features=(Feature(name="words", sql="words"),),
        parts=(longer_is_better,),
    )
    for minimum, expected in ((0.0, []), (0.6, [(0,)])):
        con = connect([sample()], [rationale("Iron rusts."), rationale(GOOD, repeat=1)])
        judge(con, bind([rule], {"low_score": {"min_score": minimum}}), METRICS, scorer)
        assert con.execute("select repeat from findings").fetchall() == expected


def test_chains_drawn_without_the_answer_have_to_reach_it() -> None:
    rows = [
        rationale(f"{GOOD} Once.", strategy="star", predicted_answer="gold"),
        rationale(f"{GOOD} Twice.", strategy="star", repeat=1),
        rationale(f"{GOOD} Now.", strategy="star", repeat=2, predicted_answer="iron"),
        rationale(f"{GOOD} So.", strategy="star_hinted", repeat=3, predicted_answer="gold"),
        rationale(f"{GOOD} And.", repeat=4),
        rationale(f"{GOOD} Well.", strategy="human", repeat=5),
        rationale("", strategy="star", repeat=6, status="failed", failure="refused: 422"),
    ]
    con = judged([sample()], rows)
    assert con.execute("select repeat, reason from findings order by 1").fetchall() == [
        (0, 'it reaches "gold"; the gold answer is "iron"'),
        (1, 'no answer can be told from it; the gold answer is "iron"'),
        (3, 'it reaches "gold"; the gold answer is "iron"'),
    ]


def test_a_rationale_whose_sample_left_the_build_is_rejected() -> None:
    con = judged([sample("d/train/1")], [rationale(GOOD), rationale(f"{GOOD} Indeed.", "d/train/gone")])
    assert con.execute("select sample_id, verdict, flags from verdicts order by 1").fetchall() == [
        ("d/train/1", "accepted", []),
        ("d/train/gone", "rejected", ["orphan"]),
    ]
