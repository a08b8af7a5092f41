"""The page and the sentences of the quickstart: true to the figures that they are made from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chromium import Browser, chromium, find
from quickstart_figures import example, figures, hostile, rate
from teacherlm.api.quickstart_claims import claims, limits
from teacherlm.api.quickstart_figures import CHAIN_FIRST, PLAIN, Figures
from teacherlm.api.quickstart_page import quickstart_page
from teacherlm.core.stored import from_json, to_json

needs_browser = pytest.mark.skipif(find() is None, reason="no chromium or chrome on this machine")

HOSTILE = "</p><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\"> {{ 7 * 7 }}"


class Words(HTMLParser):
    """What a page says, and its tags."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._style = False
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._style = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find()
    assert program
    with chromium(program, tmp_path_factory.mktemp("profile")) as running:
        yield running


def test_figures_come_back_from_json_as_they_were() -> None:
    made = figures()
    assert from_json(Figures, to_json(made), "the figures") == made


def test_the_claims_name_the_figures() -> None:
    found = claims(figures(gain=40.0))
    assert "70.0 % (67.0–73.0)" in found[0] and "30.0 % (27.0–33.0)" in found[0]
    assert "40.0 points more (36.0–44.0; p < 0.001)" in found[0]
    assert found[0].startswith("Of 600 unseen questions on 300 contents") and found[0].count("above chance") == 2
    assert "the first 1,800,000, the plain one 900,000" in found[0]
    assert "Writing the chain gives it 39.5 points more" in found[2]
    assert "95.0 % (93.0–97.0) of the 400 fundamentals on 200 gold texts, 90.0 % (88.0–92.0) of the 400 ch" in found[3]
    assert "2,300 of 2,400 fundamentals, of which 99.6 % (98.6–100.0) are exact, and refused 95 of the 105" in found[4]
    assert "25.3 %" in found[5] and "23.5 %" in found[5] and "do not give the answers away" in found[5]


@given(gain=st.floats(-30, 60), p=st.floats(0, 1), half=st.floats(0.1, 20))
def test_a_difference_is_called_what_it_is(gain: float, p: float, half: float) -> None:
    made = figures(gain=gain, p=p, half=half)
    found = made.difference((PLAIN, "options"), (CHAIN_FIRST, "writing"))
    said = claims(made)[0]
    surely = found.p_value < 0.05 and not found.low <= 0 <= found.high
    assert ("not significant" in said) is not surely
    assert (" points more (" in said) is (surely and found.points > 0)
    assert (" points fewer (" in said) is (surely and found.points < 0)


@pytest.mark.parametrize(
    ("gain", "said"),
    [(40.0, "Writing the chain gives it 39.5 points more"), (1.0, "Whether writing the chain helps it is not decided:"),
     (-20.0, "Writing the chain harms it: 20.5 points fewer")],
)  # fmt: skip
def test_a_chain_helps_or_harms_or_it_is_not_decided(gain: float, said: str) -> None:
    assert said in claims(figures(gain=gain))[2]


def test_a_student_at_chance_is_called_so_beside_the_headline() -> None:
    made = figures()
    scores = tuple(replace(one, rate=rate(156, 600)) if one.student == PLAIN else one for one in made.scores)
    found = claims(replace(made, scores=scores))[0]
    assert "26.0 % (23.0–29.0), not to be told from chance (25.0 %)" in found


@pytest.mark.parametrize(
    ("right", "rule", "half", "said"),
    [(240, 150, 0.03, "the options give part of the answers away"), (150, 240, 0.03, "give part of the answers away"),
     (17, 10, 0.13, "no leak found; up to 43.4 % is not excluded"), (150, 150, 0.03, "do not give the answers away")],
)  # fmt: skip
def test_the_control_says_what_it_may_say(right: int, rule: int, half: float, said: str) -> None:
    of = 56 if right < 100 else 600
    made = figures()
    control = replace(made.control, rate=rate(right, of, half), rule=rate(rule, of, half))
    assert said in claims(replace(made, control=control))[5]


def test_a_teacher_trained_here_is_named_by_its_declaration() -> None:
    made = figures()
    teacher = replace(made.teacher, trained_here=True, declaration="nano/teacher-short")
    made = replace(made, teacher=teacher)
    assert "by nano/teacher-short: on the families of this run alone" in limits(made)[-1]
    assert "trained in this run by nano/teacher-short" in Words(quickstart_page(made)).text


def test_a_run_of_another_size_says_so() -> None:
    made = figures()
    declared = limits(made)
    smaller = limits(replace(made, size=replace(made.size, questions=60, steps=30)))
    assert not any("the declared size" in limit for limit in declared)
    assert any("60 questions in place of 2,400, at most 30 steps of training" in limit for limit in smaller)


def test_the_page_says_what_the_figures_say() -> None:
    made = figures()
    page = Words(quickstart_page(made))
    for sentence in [*claims(made), *limits(made)]:
        assert sentence in page.text
    for shown in made.examples:
        assert shown.question in page.text and shown.sample_id in page.text
    for step in made.steps:
        assert step.did in page.text
    assert "wrong_arithmetic: 10 + 2 = 13 does not hold" in page.text
    assert quickstart_page(made) == quickstart_page(figures())


def test_the_page_is_whole_where_parts_are_missing() -> None:
    made = figures()
    bare = replace(
        made,
        students=tuple(replace(student, loss=()) for student in made.students),
        examples=(replace(example(1, wrong=False), texts=(), said=()),),
    )
    assert "1 examples" not in Words(quickstart_page(bare)).text


def test_the_page_asks_for_nothing_and_runs_nothing() -> None:
    page = Words(quickstart_page(hostile(HOSTILE)))
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "link", "iframe")]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert page.text.count("document.title") >= 10 and "{{ 7 * 7 }}" in page.text


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 400])
def test_the_page_in_a_browser(browser: Browser, tmp_path: Path, width: int, dark: bool) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(quickstart_page(figures()))
    page = browser.page(path, width=width, dark=dark)
    assert page.do("document.documentElement.scrollWidth") <= width
    # Charts are drawn as wide as their cells, and lie inside them.
    assert page.do(
        "[...document.querySelectorAll('svg')].every((s) => s.checkVisibility() ? s.clientWidth > 20 : true)"
    )
    ink, paper = page.do("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
    assert (light[0] > light[1]) is dark
    assert page.requests() == [path.resolve().as_uri()] and page.complaints() == []
    page.close()


@needs_browser
def test_hostile_texts_stay_texts(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(quickstart_page(hostile(HOSTILE)))
    page = browser.page(path, width=400)
    assert page.do("document.title") == "teacherlm quickstart"
    assert page.do("document.documentElement.scrollWidth") <= 400
    assert page.requests() == [path.resolve().as_uri()] and page.complaints() == []
    page.close()
