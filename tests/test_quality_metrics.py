"""What the metrics measure: arithmetic, loops, answers, likeness, and that no text breaks them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality_rows import METRICS, connect, rationale, sample


def measured(rows: Sequence[tuple[dict[str, Any], str]], *columns: str) -> list[Any]:
    """The columns of each text for its sample; a value for one column, a tuple for several."""
    samples, rationales = [], []
    for number, (of, text) in enumerate(rows):
        samples.append({**of, "sample_id": f"d/train/{number:05}"})
        rationales.append(rationale(text, f"d/train/{number:05}"))
    con = connect(samples, rationales)
    METRICS.take(con)
    found = con.execute(f"select {', '.join(columns)} from metrics order by sample_id").fetchall()
    return [row[0] for row in found] if len(columns) == 1 else found


def measure(text: str, *columns: str, **of: Any) -> Any:
    return measured([(sample(**of), text)], *columns)[0]


# A text, its steps of arithmetic and the first wrong one.
STEPS: list[tuple[str, int, str | None]] = [
    ("3 * 4 = 12", 1, None),
    ("3 * 4 = 13", 1, "3*4 = 13"),
    ("They pay $5 x 3 = $15.", 1, None),
    ("3 x 4 x 1 x 3 = 36 ways", 1, None),
    ("3 × 4 ÷ 2 = 6 and 5 − 3 = 1", 2, "5-3 = 1"),
    ("\\(3 \\times 4 = 13\\)", 1, "3*4 = 13"),
    ("12/4=3", 1, None),
    ("10% of 50 = 5", 1, None),
    ("10% of 50 = 6", 1, "10%*50 = 6"),
    ("20 / 80 = 25%, or 0.25 * 100 = 25%", 2, None),
    ("2+3+4 = 9", 1, None),
    ("2 + 3 * 4 = 14", 1, None),
    ("2 + 3 * 4 = 20", 1, "2+3*4 = 20"),
    ("48/2 = <<48/2=24>>24 clips", 2, None),
    ("16 - 3 - 4 = <<16-3-4=8>>8 eggs", 1, "16-3-4 = 8"),
    ("1,200 + 300 = 1,500.", 1, None),
    ("16 - 3 = **13**", 1, None),
    ("7 - 10 = -3", 1, None),
    ("1/2 + 1/4 = 3/4", 1, None),
    ("2/3 = 0.67, cut off 2/3 = 0.66", 2, None),
    ("2/3 = 0.6", 1, None),
    ("2/3 = 0.5", 1, "2/3 = 0.5"),
    ("7 / 2 = 3 weeks and a bit", 1, None),
    ("x = 3 + 4 = 8", 1, "3+4 = 8"),
    ("Step 1: 3 + 4 = 8", 1, "3+4 = 8"),
    ("Step 1:\n- 3 + 4 = 8", 1, "3+4 = 8"),
    # What cannot be told for certain is no step.
    ("So 3 * 4 = 12 + 5 is 17.", 0, None),
    ("2x + 3 * 2 = 10", 0, None),
    ("a - 3 + 4 = 7", 0, None),
    ("3^2 + 4^2 = 25", 0, None),
    ("2 * 5² = 50", 0, None),
    ("3 + 4 = 2y", 0, None),
    ("(5 - 2) * 4 = 12", 0, None),
    ("3 apples + 4 = 8", 0, None),
    ("100 - 30% = 70", 0, None),
    ("2 * 3 = 6 million or 300 * 2 = 600 thousand", 0, None),
    ("1/7 : 1/7 : 1/14 = 2 : 2 : 1", 0, None),
    ("33 + 99 + 30 = \n33 + 129", 0, None),
    ("1 / 0 = 5", 1, "1/0 = 5"),
    ("3 + 4 != 8, 3 + 4 >= 2, a == b", 0, None),
]


@pytest.fixture(scope="module")
def steps() -> list[Any]:
    return measured([(sample(), text) for text, _, _ in STEPS], "steps", "wrong_step")


@pytest.mark.parametrize("case", range(len(STEPS)), ids=[case[0][:40] for case in STEPS])
def test_steps_of_arithmetic_are_worked_out_again(steps: list[Any], case: int) -> None:
    assert steps[case] == STEPS[case][1:]


def test_wrong_steps_are_those_of_the_text() -> None:
    question = "If 6 x 4 = 26, what is 7 x 4?"
    text = "Given 6*4 = 26, we add 26 + 4 = 31 and then 31 + 1 = 33."
    assert measure(text, "steps", "wrong_steps", "wrong_step", question=question) == (3, 2, "26+4 = 31")
    assert measure(text, "steps", "wrong_steps", "wrong_step") == (3, 3, "6*4 = 26")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (
            "The iron of the bridge is red and brittle, and it has to be painted with lead that is not cheap today.",
            "English",
        ),
        ("The iron of the bridge is red.", None),
        (
            "Das Eisen der Brücke ist rot und spröde, und es wird mit einer Farbe gemalt, die gar nicht so gut ist.",
            "German",
        ),
        ("x y z " * 10, None),
        ("железо ржавеет на воздухе и в воде " * 5, None),
    ],
)
def test_the_language_of_a_text(text: str, language: str | None) -> None:
    assert measure(text, "text_language") == language


SIGNS = {"+": " + ", "-": " - ", "*": " * "}


@st.composite
def formulas(draw: st.DrawFn) -> tuple[str, int]:
    """A formula as people write it, and its value."""
    numbers = draw(st.lists(st.integers(1, 200), min_size=2, max_size=4))
    signs = draw(st.lists(st.sampled_from(sorted(SIGNS)), min_size=len(numbers) - 1, max_size=len(numbers) - 1))
    written, worked = str(numbers[0]), str(numbers[0])
    for sign, number in zip(signs, numbers[1:], strict=True):
        shown = (
            draw(st.sampled_from((" x ", "×", " * ", "*")))
            if sign == "*"
            else draw(st.sampled_from((sign, f" {sign} ")))
        )
        written, worked = f"{written}{shown}{number}", f"{worked}{sign}{number}"
    return written, eval(worked)  # noqa: S307


@settings(max_examples=3, deadline=None)
@given(st.lists(st.tuples(formulas(), st.integers(1, 500), st.booleans()), min_size=60, max_size=60))
def test_true_steps_are_never_wrong_and_false_ones_always(drawn: list[tuple[tuple[str, int], int, bool]]) -> None:
    texts = []
    for (written, value), off, grouped in drawn:
        for result in (value, value + off, value - off):
            texts.append(f"So we get {written} = {result:,} of them." if grouped else f"That is {written} = {result}.")
    found = measured([(sample(), text) for text in texts], "steps", "wrong_steps")
    assert found == [(1, 0), (1, 1), (1, 1)] * len(drawn), list(zip(texts, found, strict=True))


@settings(max_examples=3, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 500), st.integers(2, 99), st.integers(0, 4)), min_size=60, max_size=60))
def test_rounded_quotients_are_never_wrong(drawn: list[tuple[int, int, int]]) -> None:
    texts = [f"{above} / {below} = {above / below:.{places}f} each" for above, below, places in drawn]
    assert measured([(sample(), text) for text in texts], "wrong_steps") == [0] * len(texts)


WORDS = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(400)]


@settings(max_examples=3, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(2, 20), st.integers(12, 20), st.integers(0, 5)),
        min_size=30,
        max_size=30,
    )
)
def test_the_longest_loop_is_found(drawn: list[tuple[int, int, int, int]]) -> None:
    texts = []
    for before, period, times, after in drawn:
        start, loop, end = WORDS[:before], WORDS[100 : 100 + period], WORDS[200 : 200 + after]
        texts.append(" ".join([*start, *loop * times, *end]))
    assert measured([(sample(), text) for text in texts], "looped_words") == [
        period * times for _, period, times, _ in drawn
    ]


def test_what_is_said_twice_is_no_loop() -> None:
    text = "The first coin is heads. The second coin is heads. The third coin is tails. It is so, it is so."
    assert measure(text, "looped_words") == 0


def test_sentences() -> None:
    text = 'Iron rusts, e.g. in air. "Does gold?" No.\nIron rusts, e.g. in air.'
    assert measure(text, "sentences", "longest_sentence", "repeated_sentences", "unfinished") == (6, 3, 1, False)
    assert measure("铁会生锈。金不会。", "sentences", "unfinished") == (2, False)
    assert measure("Iron rusts. Iron rusts. Iron rusts since it", "repeated_sentences", "unfinished") == (1, True)


@pytest.mark.parametrize(
    ("text", "unfinished"),
    [
        ("Iron rusts, since", True),
        ("Iron rusts.", False),
        ('He said "iron rusts."', False),
        ("Iron rusts (slowly.)", False),
        ("Iron rusts\n\nThe answer is B", False),
        ("It costs 3 * 4 = 12", False),
        ("It costs more.\n#### 12", False),
        ("It is so.\n\nQ: What else is", False),
        ("", False),
    ],
)
def test_a_text_that_stops_in_the_middle_of_a_sentence(text: str, unfinished: bool) -> None:
    assert measure(text, "unfinished") is unfinished


def test_numbers_capitals_and_markup() -> None:
    text = "**NASA** sent 12 of 34 in 1969."
    assert measure(text, "numbers", "markup", "artefact") == (3, 2, None)
    digits, capitals = measure(text, "digits_share * characters", "capitals_share * letters")
    assert (round(digits), round(capitals)) == (8, 4)


def test_the_answer_and_where_it_stands() -> None:
    assert measure("It is IRON, of course.", "mentions_answer", "round(answer_position, 1)") == (True, 0.3)
    assert measure("It is ironic.", "mentions_answer", "answer_position") == (False, None)
    assert measure("The answer is (B) iron.", "answer_share", "answer_from", "states_gold") == (1.0, "statement", True)
    assert measure("It rusts in air. So it is iron.", "answer_from", "stated_answer") == ("end", "iron")


def test_the_human_rationale() -> None:
    human = "Iron rusts in moist air."
    assert measure("In air iron rusts.", "human_share", human_rationale=human) == 0.8
    assert measure("In air iron rusts.", "human_share") is None


def test_kinds_of_a_sample_beside_each_other() -> None:
    text = "Iron combines with the oxygen of moist air and forms a reddish oxide that we call rust"
    rows = [
        rationale(f"{text}.", kind="fundamentals"),
        rationale(f"{text}, so iron it is.", kind="chain_of_thought"),
        rationale("People forget the air and think of gold, which does not rust.", kind="common_mistakes"),
        rationale(f"{text}.", "d/train/2", kind="fundamentals", finish_reason="stop"),
    ]
    con = connect([sample("d/train/1"), sample("d/train/2")], rows)
    METRICS.take(con)
    found = con.execute(
        "select kind, round(other_kinds_share, 2), samples_alike, kinds_alike, finish_reason from metrics order by all"
    ).fetchall()
    assert found == [
        ("chain_of_thought", 0.79, 1, 1, None),
        ("common_mistakes", 0.0, 1, 1, None),
        ("fundamentals", 0.0, 2, 1, "stop"),
        ("fundamentals", 1.0, 2, 1, None),
    ]


@settings(max_examples=3, deadline=None)
@given(st.lists(st.tuples(st.text(), st.text(), st.lists(st.text(), max_size=4)), min_size=60, max_size=60))
def test_no_text_breaks_the_metrics(drawn: list[tuple[str, str, list[str]]]) -> None:
    rows = [
        (sample(question=question, choices=choices, answer=choices[0] if choices else question), text)
        for text, question, choices in drawn
    ]
    shares = "letters_share", "distinct_share", "repeated_share", "copied_share", "answer_share", "capitals_share"
    for row in measured(rows, *shares):
        assert all(share is None or 0 <= share <= 1 for share in row)
