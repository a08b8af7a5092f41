"""Near-duplicates: exact and edited texts are found, in whatever order rows come, and what is reported is true."""

from __future__ import annotations

import random
import re
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality_rows import METRICS, connect, rationale, sample, shipped_rules
from teacherlm.quality.duplicates import find_across, find_duplicates, jaccard
from teacherlm.quality.judge import judge

WORDS = [f"{first}{rest}" for first in "bdfgklmnprst" for rest in ("ano", "eki", "ira", "olu", "uma")]

Found = list[tuple[Any, ...]]


def texts(count: int, seed: int = 0, least: int = 12, most: int = 40) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(least, most))) for _ in range(count)]


def found(rationales: list[dict[str, Any]], samples: list[dict[str, Any]] | None = None, threads: int = 1) -> Found:
    ids = sorted({row["sample_id"] for row in rationales})
    con = connect(samples or [sample(key, question=f"question {key} {n}") for n, key in enumerate(ids)], rationales)
    con.execute(f"set threads = {threads}")
    find_duplicates(con)
    columns = "sample_id, kind, repeat, like_sample_id, like_kind, like_repeat, similarity"
    return con.execute(f"select {columns} from duplicates order by all").fetchall()


def similarity(one: str, other: str) -> float:
    """By the definition, written again: sets of three-word sequences."""
    a, b = (re.findall(r"[a-z]+", text.lower()) for text in (one, other))
    first, second = ({tuple(words[n : n + 3]) for n in range(max(len(words) - 2, 1))} for words in (a, b))
    return len(first & second) / len(first | second)


def test_texts_that_are_equal_but_for_case_and_punctuation_are_the_same() -> None:
    rows = [
        rationale("Iron rusts in damp air.", "d/train/1"),
        rationale("Gold does not rust at all.", "d/train/2"),
        rationale("iron  RUSTS, in damp air", "d/train/3"),
    ]
    assert found(rows) == [("d/train/3", "chain_of_thought", 0, "d/train/1", "chain_of_thought", 0, 1.0)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Yes", "yes!", True),
        ("Yes", "No", False),
        ("It is 12", "It is 13", False),
        ("café au lait", "cafe\u0301 au lait", True),
        ("因为铁会生锈", "因为铁会生锈。", True),
        ("...", "!!", False),  # no words: nothing to compare
    ],
)
def test_very_short_texts_are_compared_whole(one: str, other: str, same: bool) -> None:
    assert bool(found([rationale(one, "d/train/1"), rationale(other, "d/train/2")])) is same


def test_repeats_of_one_sample_and_other_kinds_may_agree() -> None:
    text = texts(1)[0]
    rows = [
        rationale(text, "d/train/1", repeat=0),
        rationale(text, "d/train/1", repeat=1),
        rationale(text, "d/train/2", kind="fundamentals"),
    ]
    assert found(rows) == []
    (only,) = found([*rows, rationale(text, "d/train/0", repeat=3)])[:1]
    assert only[:5] == ("d/train/1", "chain_of_thought", 0, "d/train/0", "chain_of_thought")


def test_of_a_group_the_first_sample_is_the_one_that_others_are_like() -> None:
    text = texts(1)[0]
    rows = [rationale(text, f"d/train/{n}") for n in range(5)]
    assert [(row[0], row[3]) for row in found(rows)] == [(f"d/train/{n}", "d/train/0") for n in range(1, 5)]


def test_failed_texts_are_not_compared() -> None:
    text = texts(1)[0]
    assert found([rationale(text, "d/train/1"), rationale(text, "d/train/2", status="failed")]) == []


def test_questions_with_their_options_in_another_order_are_the_same() -> None:
    asked = {"question": "Which of these metals rusts?", "choices": ["iron", "gold"]}
    samples = [
        sample("d/train/1", **asked),
        sample("d/train/2", **{**asked, "choices": ["gold", "iron"]}),
        sample("d/train/3", **{**asked, "choices": ["zinc", "lead"]}),
        sample("d/train/4", **asked),  # nobody was asked about it
    ]
    rows = [rationale(text, f"d/train/{n}") for n, text in enumerate(texts(3), start=1)]
    assert found(rows, samples) == [("d/train/2", None, None, "d/train/1", None, None, 1.0)]


def test_several_datasets_are_compared_with_one_another() -> None:
    text = texts(1)[0]
    rows = [rationale(text, "b/train/1", dataset="b"), rationale(text, "a/train/9", dataset="a")]
    assert [(row[0], row[3]) for row in found(rows)] == [("b/train/1", "a/train/9")]


def test_a_thousand_texts_of_one_form_cost_no_comparison_of_each_with_each() -> None:
    start = texts(1, least=30, most=30)[0]
    rows = [rationale(f"{start} {WORDS[n % 60]} {WORDS[n // 60]}", f"d/train/{n:04}") for n in range(1000)]
    pairs = found(rows)
    assert len(pairs) == 999
    assert {row[3] for row in pairs} == {"d/train/0000"}


def edit(text: str, changes: int, draw: random.Random) -> str:
    words = text.split()
    for place in draw.sample(range(len(words)), changes):
        words[place] = draw.choice(WORDS)
    return " ".join(words)


def test_edited_texts_are_found_with_their_true_similarity() -> None:
    draw = random.Random(5)
    originals = texts(400, seed=1, least=30, most=60)
    edits = [edit(text, draw.choice((1, 2, 3)), draw) for text in originals]
    whole = {f"d/train/{n:04}": text for n, text in enumerate([*originals, *edits])}
    pairs = {row[0]: (row[3], row[6]) for row in found([rationale(text, key) for key, text in whole.items()])}
    for key, (like, value) in pairs.items():
        assert value == pytest.approx(similarity(whole[key], whole[like]))
    near = [n for n in range(400) if similarity(originals[n], edits[n]) >= 0.8]
    assert len(near) > 100
    assert all(f"d/train/{n + 400:04}" in pairs for n in near)


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_order_and_threads_change_nothing(data: st.DataObject) -> None:
    base = texts(12, seed=data.draw(st.integers(0, 99)))
    draw = random.Random(2)
    rows = [rationale(text, f"d/train/{n:02}") for n, text in enumerate([*base, *(edit(t, 1, draw) for t in base[:6])])]
    assert found(data.draw(st.permutations(rows)), threads=2) == found(rows)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12), min_size=1, max_size=8), st.data())
def test_a_text_that_equals_another_is_always_found(lists: list[list[str]], data: st.DataObject) -> None:
    rows = [rationale(" ".join(words), f"d/train/{n:02}") for n, words in enumerate(lists)]
    twin = data.draw(st.sampled_from(rows))["text"]
    after = found([*rows, rationale(twin.upper() + "!", "d/train/99")])
    assert [row[6] for row in after if row[0] == "d/train/99"] == [1.0]


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_similarity_is_symmetric_and_one_for_equal_sets_alone(one: set[int], other: set[int]) -> None:
    assert jaccard(one, other) == jaccard(other, one)
    assert (jaccard(one, other) == 1) is (one == other)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000))
def test_what_is_reported_is_at_least_as_near_as_asked(seed: int) -> None:
    draw = random.Random(seed)
    base = texts(15, seed=seed, most=25)
    whole = {f"d/train/{n:02}": text for n, text in enumerate([*base, *(edit(t, 2, draw) for t in base)])}
    reported = found([rationale(text, key) for key, text in whole.items()])
    assert all(row[6] >= 0.7 for row in reported)
    true = {b for a, b in combinations(sorted(whole), 2) if similarity(whole[a], whole[b]) >= 0.7}
    assert {row[0] for row in reported} <= true


def test_the_rule_warns_of_near_texts_and_near_questions() -> None:
    text = texts(1, least=40)[0]
    asked = "Which metal rusts when it lies in the garden for a long and rainy winter?"
    samples = [sample(f"d/train/{n}", question=asked if n <= 3 else f"Why {WORDS[n]}?") for n in range(1, 7)]
    rows = [rationale(other, f"d/train/{n}") for n, other in enumerate(texts(3, seed=9), start=1)]
    rows += [rationale(text, "d/train/4"), rationale(f"{text} again", "d/train/5"), rationale(text, "d/train/6")]
    con = connect(samples, rows)
    find_duplicates(con)
    rules = [rule for rule in shipped_rules() if rule.id == "near_duplicate"]
    judge(con, rules, METRICS)
    said = con.execute("select sample_id, severity, reason from findings order by 1").fetchall()
    assert said == [
        ("d/train/2", "warn", "its question is the same as that of d/train/1"),
        ("d/train/3", "warn", "its question is the same as that of d/train/1"),
        ("d/train/5", "warn", "it is 97 % like the text of d/train/4"),
    ]  # d/train/6 is a copy to the word: another rule's


def across(rationales: list[dict[str, Any]], datasets: list[str], samples: list[dict[str, Any]] | None = None) -> Found:
    ids = {row["sample_id"]: row["dataset"] for row in rationales}
    made = [sample(key, dataset=name, question=f"question {key} {n}") for n, (key, name) in enumerate(ids.items())]
    con = connect(samples or made, rationales)
    find_across(con, datasets)
    return con.execute("select sample_id, kind, like_sample_id, similarity from duplicates order by all").fetchall()


def test_across_datasets_the_first_that_is_named_keeps_its_texts() -> None:
    one, other = texts(2, least=30)
    rows = [
        rationale(one, "a/train/1", dataset="a"),
        rationale(one, "a/train/2", dataset="a"),
        rationale(one, "b/train/1", dataset="b"),
        rationale(other, "b/train/2", dataset="b"),
        rationale(f"{one} again", "c/train/1", dataset="c"),
        rationale(f"{one} again", "c/train/2", dataset="c"),
    ]
    kind = "chain_of_thought"
    near = round(similarity(one, f"{one} again"), 9)
    rounded = [(*row[:3], round(row[3], 9)) for row in across(rows, ["b", "a", "c"])]
    assert rounded == [
        ("a/train/1", kind, "b/train/1", 1.0),
        ("a/train/2", kind, "b/train/1", 1.0),
        ("c/train/1", kind, "b/train/1", near),
        ("c/train/2", kind, "b/train/1", near),  # a copy of a text that resembles one
    ]


def test_across_datasets_questions_count_that_nobody_was_asked_about() -> None:
    asked = "Which metal rusts when it lies in the garden for a long and rainy winter?"
    samples = [sample(f"{name}/train/1", dataset=name, question=asked) for name in "ab"]
    assert across([], ["a", "b"], samples) == [("b/train/1", None, "a/train/1", 1.0)]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 2)), max_size=12))
def test_what_is_found_across_datasets_is_what_comparing_each_with_each_finds(
    drawn: list[tuple[str, int, int]],
) -> None:
    """Few texts: nothing lies beyond the neighbours that are compared."""
    base, draw = texts(6, seed=3, least=40), random.Random(1)
    rows = [
        rationale(edit(base[number], changes, draw), f"{name}/train/{place}", dataset=name)
        for place, (name, number, changes) in enumerate(drawn)
    ]
    order = ["c", "a", "b"]
    found = {row[0]: row[2] for row in across(rows, order)}
    for row in rows:
        earlier = [other for other in rows if order.index(other["dataset"]) < order.index(row["dataset"])]
        nearest = max((similarity(row["text"], other["text"]) for other in earlier), default=0.0)
        if nearest >= 0.8:  # of pairs this near MinHash finds 99.98 %
            assert row["sample_id"] in found
        assert (row["sample_id"] in found) <= (nearest >= 0.7)
    assert all(order.index(like[0]) < order.index(key[0]) for key, like in found.items())
