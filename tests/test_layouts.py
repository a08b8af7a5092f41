"""Layouts: any order of parts, prompts as evaluation and teachers ask them, and a page that says what is declared."""

from __future__ import annotations

import dataclasses
import re
from itertools import permutations
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from pydantic import ValidationError

from teacherlm.core.errors import Mistakes
from teacherlm.project.layouts import LEADS, Layout, Part, bind_layouts, lacking, prompt_for, render
from teacherlm.project.located import read_yaml
from teacherlm.text.render import sample_text
from teacherlm.train.declaration import Loss
from teacherlm.train.encode import PARTS
from teacherlm.train.forecast import PART_TOKENS

ROOT = Path(__file__).parents[1]
LAYOUTS = bind_layouts(read_yaml(ROOT / "train" / "layouts.yaml", "train/layouts.yaml"))
PAPER = read_yaml(ROOT / "builders" / "prompts" / "paper.yaml", "builders/prompts/paper.yaml")
PAGE = (ROOT / "docs" / "layouts.md").read_text(encoding="utf-8")
KINDS = ("fundamentals", "chain_of_thought", "common_mistakes")
RECORD: dict[str, Any] = {
    "sample_id": "rust/train/1",
    "question": "Does iron rust in dry air?",
    "choices": ["True", "False"],
    "answer": "False",
    "fundamentals": "Iron rusts where water and oxygen reach it.",
    "chain_of_thought": "Dry air holds oxygen but no water. Without water iron does not rust.",
    "common_mistakes": "People think that oxygen alone is enough.",
}
BORDER = "▸"


def shown_by(name: str) -> str:
    """The layout whose example on the page stands for this one's: of a pair, the one with the letter."""
    plain = name.removesuffix("-text")
    return name if name == "plain-text" or plain not in LAYOUTS else plain


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_page_names_each_layout_and_renders_an_example(name: str) -> None:
    layout = LAYOUTS[name]
    asks = f" + `{LEADS[layout.response[0]]}`" if layout.asks else ""
    prefix = f"`{layout.prefix}` + " if layout.prefix else ""
    row = f"| `{name}` | {prefix}{', '.join(layout.prompt)}{asks} | {', '.join(layout.response)} | {layout.gold} |"
    assert row in PAGE.splitlines()
    shown = LAYOUTS[shown_by(name)]
    assert dataclasses.replace(layout, about="", gold=shown.gold) == dataclasses.replace(shown, about="")
    rendered = render(shown, RECORD)
    response = rendered.text[len(rendered.prompt_text) :]
    assert f"\n`{shown_by(name)}`\n\n```text\n{rendered.prompt_text}{BORDER}{response}\n```\n" in PAGE


SETS: dict[str, tuple[str, ...]] = {
    "none": (),
    "fundamentals": ("fundamentals",),
    "chain": ("chain_of_thought",),
    "mistakes": ("common_mistakes",),
    "fundamentals-chain": ("fundamentals", "chain_of_thought"),
    "fundamentals-mistakes": ("fundamentals", "common_mistakes"),
    "chain-mistakes": ("chain_of_thought", "common_mistakes"),
    "all": KINDS,
}


@pytest.mark.parametrize("kinds", SETS)
def test_each_set_of_kinds_stands_after_and_before_the_answer(kinds: str) -> None:
    for ending, gold in (("", "letter"), ("-text", "text")):
        first, last = LAYOUTS[f"answer-first-{kinds}{ending}"], LAYOUTS[f"answer-last-{kinds}{ending}"]
        assert first.response == ("answer", *SETS[kinds])
        assert last.response == (*SETS[kinds], "answer")
        assert {first.gold, last.gold} == {gold}
        assert {first.prompt, last.prompt} == {("question",)}


def test_tasks_of_one_student_are_told_apart_by_the_prefix() -> None:
    """Distilling step-by-step: the label is asked for with the characters that it was trained behind."""
    label, rationale = (render(LAYOUTS[f"step-by-step-{task}"], RECORD) for task in ("label", "rationale"))
    asked = "Q: Does iron rust in dry air? (A) True (B) False A:"
    assert label.text == f"[label] {asked} The answer is (B)."
    assert rationale.text == f"[rationale] {asked} Let's think step by step. {RECORD['chain_of_thought']}"
    assert label.prompt_text == prompt_for(LAYOUTS["step-by-step-label"], RECORD) == f"[label] {asked}"
    assert [piece.part for piece in rationale.response] == ["chain_of_thought"]
    with pytest.raises(ValidationError, match=r"needless blanks \| write  prefix: '\[label\]'"):
        Layout(prefix="[label] ", response=("answer",))


def test_the_page_names_no_other_layout() -> None:
    assert re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE) == list(LAYOUTS)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_parts_stand_in_any_order(size: int) -> None:
    for parts in permutations(("answer", *KINDS), size):
        layout = Layout(response=cast("tuple[Part, ...]", parts))
        text = render(layout, RECORD).text
        leads = [text.index(LEADS[part]) for part in parts]
        assert leads == sorted(leads)
        assert [piece.part for piece in render(layout, RECORD).response] == list(parts)


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_evaluation_asks_with_the_prompt_that_was_trained(name: str) -> None:
    """It need not know what the response holds."""
    layout = LAYOUTS[name]
    known = {part for part in layout.prompt if part != "question"} | {"question", "choices"}
    asked = prompt_for(layout, {part: RECORD[part] for part in known})
    assert asked == render(layout, RECORD).prompt_text
    assert render(layout, RECORD).text.startswith(asked + " ")


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        ("teach-fundamentals", "fundamentals"),
        ("teach-chain", "chain_of_thought"),
        ("teach-mistakes", "common_mistakes"),
    ],
)
def test_teachers_are_trained_on_the_characters_that_they_are_asked_with(layout: str, kind: str) -> None:
    asked = PAPER.data["kinds"][kind]
    text = sample_text(RECORD["question"], RECORD["choices"], RECORD["answer"])
    assert prompt_for(LAYOUTS[layout], RECORD) == asked.replace("{{ sample_text }}", text)
    assert render(LAYOUTS[layout], RECORD).text == f"{prompt_for(LAYOUTS[layout], RECORD)} {RECORD[kind]}"


def test_what_a_record_lacks() -> None:
    layout = LAYOUTS["answer-first-all"]
    assert lacking(layout, RECORD) == ()
    assert lacking(layout, {**RECORD, "fundamentals": None, "common_mistakes": " \n"}) == (
        "fundamentals",
        "common_mistakes",
    )
    with pytest.raises(KeyError, match="fundamentals"):
        render(layout, {**RECORD, "fundamentals": None})


def test_blanks_are_collapsed_and_sentences_end_once() -> None:
    untidy = {
        **RECORD,
        "question": " Does  iron\nrust? ",
        "choices": [],
        "answer": "No!",
        "fundamentals": " It\n\ndoes. ",
    }
    text = render(LAYOUTS["answer-first-fundamentals"], untidy).text
    assert text == "Q: Does iron rust? A: The answer is No! The fundamental of this question is: It does."


def test_mistakes_of_the_file_are_named(tmp_path: Path) -> None:
    file = tmp_path / "layouts.yaml"
    file.write_text("a: {response: []}\nb: {response: [answer, answer]}\nc: {response: [cot]}\n", encoding="utf-8")
    with pytest.raises(Mistakes) as caught:
        bind_layouts(read_yaml(file, "train/layouts.yaml"))
    found = [(problem.where.split(":")[1], problem.found) for problem in caught.value.problems]
    assert [line for line, _ in found] == ["1", "2", "3"]
    assert "`response` is empty" in found[0][1]
    assert "a part stands twice" in found[1][1]


def test_the_look_at_the_options_ends_at_the_right_one_and_is_never_given() -> None:
    layout = Layout(response=("options", "answer"))
    record = {"question": "What is 3 + 4?", "choices": ["6", "7", "8"], "answer": "7"}
    assert render(layout, record).text.endswith(" A: (A) 6, no. (B) 7, yes. The answer is (B).")
    assert render(layout, {**record, "choices": []}).text.endswith(" A: The answer is 7.")
    for wrong in (
        {"prompt": ("question", "options"), "response": ("answer",)},
        {"response": ("options",), "asks": True},
    ):
        with pytest.raises(ValidationError, match="options"):
            Layout(**wrong)


def test_every_part_is_known_where_parts_are_counted() -> None:
    assert set(PART_TOKENS) == set(get_args(Part))
    assert set(PARTS) == set(get_args(Part)) - {"question"} | {"prompt"}
    assert {field.name for field in dataclasses.fields(Loss)} == set(PARTS)
