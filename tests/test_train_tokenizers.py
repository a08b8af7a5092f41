"""Tokenizers of a declaration's own: whole numbers are one token, and the same texts give the same tokenizer."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacherlm.core.errors import Mistake
from teacherlm.lm.tokens import Tokens
from teacherlm.project.layouts import Layout, render
from teacherlm.train.declaration import TokenizerSpec
from teacherlm.train.tokenizers import END, PAD, train_tokenizer
from train_rows import record

HIGHEST = 1100
TIMES = ["At 7:05 the train leaves; it is there at 11:59.", "A show begins at 10:15."]


def texts() -> list[str]:
    return [render(Layout(response=("chain_of_thought", "answer")), record(number)).text for number in range(200)]


@cache
def whole() -> Any:
    return train_tokenizer(TokenizerSpec(vocabulary=3000, whole_numbers=HIGHEST), texts() + TIMES)


def tokens(tokenizer: Any, text: str) -> list[str]:
    return list(tokenizer.backend_tokenizer.encode(text).tokens)


def test_every_number_is_one_token_alone_after_a_blank_and_before_a_stop() -> None:
    for number in range(HIGHEST + 1):
        assert tokens(whole(), f"{number}") == [f"{number}"]
        assert tokens(whole(), f" {number}.") == [f"Ġ{number}", "."]
        assert tokens(whole(), f"({number}, {number})")[1:4:2] == [f"{number}", f"Ġ{number}"]


def test_minutes_are_one_token_where_texts_tell_times() -> None:
    for minute in range(60):
        assert tokens(whole(), f" 12:{minute:02d}") == ["Ġ12", ":", f"{minute:02d}"]
    without = train_tokenizer(TokenizerSpec(vocabulary=600, whole_numbers=20), texts())
    assert tokens(without, "05") == ["0", "5"]


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(0, 10**9).map(str))
def test_any_text_can_be_written_and_read_back(text: str) -> None:
    tokenizer = whole().backend_tokenizer
    if END not in text and PAD not in text:
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_words_are_learned_within_the_vocabulary_and_the_settings_hold(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    small = train_tokenizer(TokenizerSpec(vocabulary=400, whole_numbers=30), texts())
    assert len(small) <= 400
    assert sorted(small.get_vocab().values()) == list(range(len(small)))
    assert "Ġmany" in tokens(small, "How many pens?")
    assert (small.eos_token, small.pad_token, small.padding_side) == (END, PAD, "left")
    assert (small.eos_token_id, small.pad_token_id) == (0, 1)
    small.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert tokens(again, texts()[3]) == tokens(small, texts()[3])
    assert (again.padding_side, again.eos_token_id) == ("left", 0)
    assert small.model_max_length == again.model_max_length > 10**9


def test_numbers_are_learned_as_words_where_they_are_not_to_be_whole() -> None:
    learned = train_tokenizer(TokenizerSpec(vocabulary=400), texts())
    assert len(learned) <= 400
    assert any(token.strip("Ġ").isdigit() and len(token) > 2 for token in learned.get_vocab())


def test_another_process_trains_the_same_tokenizer() -> None:
    spec = TokenizerSpec(vocabulary=500, whole_numbers=30)
    program = (
        "import sys; from teacherlm.train.tokenizers import TokenizerSpec, train_tokenizer;"
        f" print(train_tokenizer({spec!r}, sys.stdin.read().splitlines()).backend_tokenizer.to_str())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input="\n".join(texts()), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == train_tokenizer(spec, texts()).backend_tokenizer.to_str()


def test_a_vocabulary_without_room_and_data_without_texts_are_named() -> None:
    with pytest.raises(Mistake, match="a vocabulary of 300 has no room for 256 bytes and the numbers to 100") as caught:
        train_tokenizer(TokenizerSpec(vocabulary=300, whole_numbers=100), texts())
    assert "vocabulary: 7" in caught.value.remedy
    with pytest.raises(Mistake, match="no text to train a tokenizer on"):
        train_tokenizer(TokenizerSpec(vocabulary=400), [])


def test_the_letters_of_options_are_one_token_each_and_texts_come_back() -> None:
    spec = TokenizerSpec(vocabulary=700, whole_numbers=99, letters=5)
    learned = train_tokenizer(spec, texts())
    assert len(learned) <= 700
    text = "Q: What is 3 + 4? (A) 6 (B) 7 (F) 9 A: The answer is (B). So (B)"
    pieces = learned.convert_ids_to_tokens(learned(text)["input_ids"])
    assert pieces.count(" (B)") == 3
    assert pieces.count(" (A)") == 1
    assert pieces[pieces.index(" (B)") + 1] == "Ġ7"
    assert learned.decode(learned(text)["input_ids"]) == text
    tokens = Tokens(learned)
    stream = tokens.stream(tokens.encode("Q:"))
    assert "".join(map(stream.push, tokens.encode(text[2:]))) == text[2:]
