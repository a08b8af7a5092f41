"""Texts of a stage: masks exact to the token, everything counted, and mistakes named before anything is trained."""

from __future__ import annotations

import shutil
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.project.layouts import Layout, Part, prompt_for, render
from teacherlm.train.declaration import Data, Procedural
from teacherlm.train.encode import PARTS, Encoded, Encoder
from teacherlm.train.prepared import ABOUT, TEXTS, Prepared
from teacherlm.train.records import records
from teacherlm.train.texts import all_texts, prepare
from teacherlm.train.windows import fit
from train_rows import Shelf, byte_level, over_words, record, stage, training, unigram

LAYOUTS = {
    "plain": Layout(response=("answer",)),
    "chain": Layout(response=("chain_of_thought", "answer"), gold="text"),
    "all": Layout(response=("answer", "fundamentals", "chain_of_thought", "common_mistakes")),
    "teach": Layout(prompt=("question", "answer"), response=("chain_of_thought",), asks=True),
    "label": Layout(prefix="[label]", response=("answer",)),
    "rationale": Layout(prefix="[rationale]", response=("chain_of_thought",)),
}
SAID = "Ann has 3 pens. How many? The result is 17, ok! A: 5 + 6 = 11. (B) again"
KINDS = ("fundamentals", "chain_of_thought", "common_mistakes")


@cache
def tokenizer(kind: str) -> Any:
    texts = [render(layout, record(number)).text for number in range(200) for layout in LAYOUTS.values()]
    texts += [SAID] * 20
    if kind == "over words":
        return over_words(texts)
    return byte_level(texts) if kind == "byte-level" else unigram(texts, begin="begin" in kind)


TOKENIZERS = ["byte-level", "unigram", "unigram with begin", "over words"]

orders = st.integers(1, 4).flatmap(lambda size: st.sampled_from(list(permutations(("answer", *KINDS), size))))
layouts = st.builds(
    lambda parts, at, asks, gold, prefix: Layout(
        prefix=prefix,
        prompt=cast("tuple[Part, ...]", ("question", *parts[: min(at, len(parts) - 1)])),
        response=cast("tuple[Part, ...]", parts[min(at, len(parts) - 1) :]),
        asks=asks,
        gold=gold,
    ),
    orders, st.integers(0, 2), st.booleans(), st.sampled_from(["letter", "text"]), st.sampled_from(["", "[label]"]),
)  # fmt: skip
words = st.lists(st.sampled_from(SAID.split()), min_size=1, max_size=12).map(" ".join)
anything = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=40).map(lambda text: f"x{text}")


def read(kind: str, ids: list[int]) -> str:
    """Text of tokens, without what tokenizers put before or after every text."""
    return cast("str", tokenizer(kind).backend_tokenizer.decode(ids, skip_special_tokens=True))


@settings(max_examples=80, deadline=None)
@given(kind=st.sampled_from(TOKENIZERS), layout=layouts, said=st.fixed_dictionaries(dict.fromkeys(KINDS, words)))
def test_masks_cover_exactly_the_characters_of_each_part(kind: str, layout: Layout, said: dict[str, str]) -> None:
    check_masks(kind, layout, record(3, **said))


@settings(max_examples=80, deadline=None)
@given(layout=layouts, said=st.fixed_dictionaries(dict.fromkeys((*KINDS, "question"), anything)))
def test_masks_are_exact_for_any_characters(layout: Layout, said: dict[str, str]) -> None:
    check_masks("byte-level", layout, record(3, **said))


def check_masks(kind: str, layout: Layout, one: dict[str, Any]) -> None:
    rendered = render(layout, one)
    (text,) = Encoder(tokenizer(kind)).encode([rendered])
    assert text.ids[-1] == tokenizer(kind).eos_token_id
    assert len(text.parts) == len(text.ids)
    assert set(text.parts[: text.prompt]) == {0}
    assert 0 not in text.parts[text.prompt :]
    # The prompt's tokens are those that an evaluation asks with.
    assert prompt_for(layout, one) == rendered.prompt_text
    assert text.ids[: text.prompt] == tokenizer(kind).backend_tokenizer.encode(rendered.prompt_text).ids
    assert text.apart is False or kind == "over words"
    assert read(kind, text.ids) == read(kind, tokenizer(kind).backend_tokenizer.encode(rendered.text).ids)
    if kind == "over words":  # tokens between two parts of the response may belong to both
        return
    ids = text.ids[: text.prompt]
    for piece in rendered.response:
        if piece.text:
            mine = [token for token, part in zip(text.ids[:-1], text.parts, strict=False) if PARTS[part] == piece.part]
            assert read(kind, ids + mine)[len(read(kind, ids)) :] == piece.text
            ids += mine


def test_a_token_over_the_end_of_the_prompt_is_never_trained_as_response() -> None:
    layout = LAYOUTS["teach"]
    encoder, kind = Encoder(tokenizer("over words")), "over words"
    texts = encoder.encode([render(layout, record(number)) for number in range(50)])
    assert any(text.apart for text in texts)
    for number, text in enumerate(texts):
        assert read(kind, text.ids[: text.prompt]) == prompt_for(layout, record(number))


def test_an_end_that_the_tokenizer_puts_by_itself_stands_once_and_not_after_the_prompt() -> None:
    ending = Encoder(unigram([SAID, render(LAYOUTS["all"], record(1)).text], end=True))
    for layout in LAYOUTS.values():
        rendered = render(layout, record(1))
        (text,) = ending.encode([rendered])
        assert text.ids.count(text.ids[-1]) == 1
        assert 0 < text.prompt < len(text.ids) - 1
        assert not text.apart


def test_a_tokenizer_without_an_end_is_named() -> None:
    endless = type(tokenizer("byte-level"))(tokenizer_object=tokenizer("byte-level").backend_tokenizer)
    with pytest.raises(Mistake, match="no end token"):
        Encoder(endless)


@given(length=st.integers(2, 60), prompt=st.integers(1, 60), window=st.integers(2, 30))
def test_windows_predict_every_token_once_or_count_the_text(length: int, prompt: int, window: int) -> None:
    prompt = min(prompt, length - 1)
    text = Encoded(list(range(length)), bytes(prompt) + bytes([1]) * (length - prompt), prompt)
    outcome, rows = fit(text, window, "split")
    assert all(2 <= len(row.ids) <= window for row in rows)
    assert [(token, part) for row in rows for token, part in zip(row.ids[1:], row.parts[1:], strict=True)] == list(
        zip(text.ids[1:], text.parts[1:], strict=True)
    )
    assert (outcome == "whole") == (length <= window) == (len(rows) == 1)
    outcome, rows = fit(text, window, "cut")
    assert sum(len(row.ids) for row in rows) == (0 if outcome == "no_room" else min(length, window))
    assert (outcome == "no_room") == (length > window and prompt >= window)
    assert all(any(row.parts) for row in rows)
    outcome, rows = fit(text, window, "drop")
    assert bool(rows) == (length <= window)


def make(folder: Path, shelf: Shelf, *data: Data, told: list[str] | None = None, **changed: Any) -> Prepared:
    declared = training(stage(*data), **changed)
    tell = told.append if told is not None else lambda line: None
    return prepare(declared.stages[0], declared, tokenizer("byte-level"), shelf, folder, tell, layouts=LAYOUTS)


def test_records_become_texts_in_each_layout_or_the_fallback_and_all_is_counted(tmp_path: Path) -> None:
    some = [record(n, common_mistakes=None if n % 4 else "Careless.") for n in range(100)]
    told: list[str] = []
    found = make(
        tmp_path,
        Shelf(sums=some, more=[record(n, fundamentals="  ") for n in range(100, 110)] + [record(7)]),
        Data(dataset="sums", layouts=("plain", "chain", "all"), fallback="plain"),
        Data(dataset="more", layouts=("all", "teach"), fallback="chain"),
        told=told,
    )
    one, two = found.counts["sources"]
    assert (one["records"], one["texts"], one["lacking"], one["fallback"]) == (100, 225, {"all": 75}, 0)
    assert (two["records"], two["texts"], two["lacking"], two["fallback"]) == (11, 22, {"all": 10}, 10)
    assert found.counts["texts"] == len(found) == len(found.dataset) == 247
    assert found.counts["tokens"] == found.lengths.sum() == sum(map(len, found.dataset["input_ids"]))
    assert found.sources.tolist() == [0] * 225 + [1] * 22 == list(found.dataset["source"])
    ids, parts = found.row(230)
    assert ids.tolist() == found.dataset[230]["input_ids"]
    assert parts.tolist() == found.dataset[230]["parts"]
    assert read("byte-level", ids.tolist()) == render(LAYOUTS["chain"], record(102)).text
    assert "247 texts" in told[-1]
    assert "85 left out for lack of a kind" in told[-1]


def test_at_most_draws_by_the_seed_and_every_record_alike() -> None:
    shelf = Shelf(sums=[record(n) for n in range(10)])
    data = Data(dataset="sums", layouts=("plain",), at_most=3)
    drawn = [[one["sample_id"] for one in records(data, shelf, str(seed))] for seed in range(500)]
    assert all(len(set(one)) == 3 for one in drawn)
    assert drawn[0] == [one["sample_id"] for one in records(data, shelf, "0")]
    times = [sum(f"sums/train/{n}" in one for one in drawn) for n in range(10)]
    assert min(times) > 110 and max(times) < 190  # 150 expected, standard deviation 10
    few = Data(dataset="sums", layouts=("plain",), at_most=30)
    assert len(list(records(few, shelf, "0"))) == 10


@pytest.mark.parametrize(("too_long", "texts"), [("drop", 0), ("cut", 5), ("split", 15)])
def test_what_exceeds_the_window_is_counted(tmp_path: Path, too_long: str, texts: int) -> None:
    long = [record(n, chain_of_thought="so on " * 40) for n in range(5)]
    shelf = Shelf(sums=[*long, *(record(n) for n in range(20))])
    found = make(tmp_path, shelf, Data(dataset="sums", layouts=("chain",)), too_long=too_long, window=120)
    counts = found.counts
    name = "too_long" if too_long == "drop" else too_long
    assert counts[name] == 5
    assert counts["texts"] == 20 + texts
    assert sum(counts[other] for other in ("too_long", "cut", "split")) == 5
    assert found.lengths.max() <= 120
    assert 240 < counts["longest"] < 360


def test_what_was_prepared_is_found_again_unless_something_changed_or_it_is_torn(tmp_path: Path) -> None:
    shelf = Shelf(sums=[record(n) for n in range(20)])
    data = Data(dataset="sums", layouts=("plain",))
    first = make(tmp_path, shelf, data)
    asked = shelf.opened
    again = make(tmp_path, shelf, data)
    assert (again.fingerprint, again.counts) == (first.fingerprint, first.counts)
    assert shelf.opened == asked + 1  # read for the fingerprint alone
    others = [
        make(tmp_path, shelf, data, window=255),
        make(tmp_path, shelf, Data(dataset="sums", layouts=("chain",))),
        make(tmp_path, Shelf(sums=[record(n) for n in range(21)]), data),
        make(tmp_path, shelf, Data(dataset="sums", layouts=("plain",), at_most=19)),
    ]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 5
    weighed = Data(dataset="sums", layouts=("plain",), weight=2.0)
    assert make(tmp_path, shelf, weighed).fingerprint == first.fingerprint
    whole = (first.folder / TEXTS).read_bytes()
    (first.folder / TEXTS).write_bytes(whole[:-100])
    assert make(tmp_path, shelf, data).lengths.tolist() == first.lengths.tolist()
    assert (first.folder / TEXTS).read_bytes() == whole
    (first.folder / ABOUT).write_text("{", encoding="utf-8")
    make(tmp_path, shelf, data)
    shutil.rmtree(first.folder)
    assert len(make(tmp_path, shelf, data)) == 20
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_source_that_would_train_nothing_is_named(tmp_path: Path) -> None:
    shelf = Shelf(none=[], sums=[record(n, common_mistakes=None) for n in range(30)])
    with pytest.raises(Mistakes) as caught:
        make(
            tmp_path, shelf,
            Data(dataset="none", layouts=("plain",)), Data(dataset="sums", layouts=("plain", "all"), fallback="plain"),
        )  # fmt: skip
    nothing, absent = caught.value.problems
    assert nothing.where == "train/t.yaml, stage s, dataset none, split train"
    assert nothing.found == "there is no record"
    assert absent.found == "layout `all` needs common_mistakes, and none of the 30 records has all that it needs"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("too_long", ["drop", "cut"])
def test_a_window_shorter_than_the_prompts_says_which_would_do(tmp_path: Path, too_long: str) -> None:
    shelf = Shelf(sums=[record(n) for n in range(100)])
    data = Data(dataset="sums", layouts=("plain",))
    with pytest.raises(Mistake, match="the window of 10 tokens holds none of the 100 texts") as caught:
        make(tmp_path, shelf, data, window=10, too_long=too_long)
    wanted = int(caught.value.remedy.split("window: ")[1].split()[0])
    assert make(tmp_path, shelf, data, window=wanted).counts["texts"] >= 99


def test_mistakes_in_the_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="there is no layout `plane`"):
        make(tmp_path, Shelf(sums=[record(1)]), Data(dataset="sums", layouts=("plane",)))
    with pytest.raises(Mistake, match="sums/train/1 is none of its choices"):
        make(tmp_path, Shelf(sums=[record(1, answer="none")]), Data(dataset="sums", layouts=("plain",)))


def test_questions_of_the_curriculum_are_records(tmp_path: Path) -> None:
    made = Procedural(families=("add", "week"), split="train", count=30, seed=1)
    shelf = Shelf()
    found = make(tmp_path, shelf, Data(procedural=made, layouts=("all",), at_most=20), window=600)
    assert found.counts["records"] == found.counts["texts"] == 20
    assert shelf.opened == 0
    with pytest.raises(Mistake, match="does not reach questions that are made"):
        make(tmp_path, shelf, Data(procedural=made, layouts=("all",), where="true"))


def test_a_tokenizer_is_trained_on_the_texts_of_all_stages() -> None:
    declared = training(
        stage(Data(dataset="one", layouts=("plain",)), name="first"),
        stage(Data(dataset="two", layouts=("chain", "teach")), name="second"),
    )
    shelf = Shelf(one=[record(1)], two=[record(2), record(3, chain_of_thought=None)])
    assert list(all_texts(declared, shelf, LAYOUTS)) == [
        render(LAYOUTS["plain"], record(1)).text,
        render(LAYOUTS["chain"], record(2)).text,
        render(LAYOUTS["teach"], record(2)).text,
    ]
