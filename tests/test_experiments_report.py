"""The report of an experiment: true to its figures, whole, and the same in both of its forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chromium import Browser, chromium, find
from experiment_figures import FAILURE, Figures, compared, estimate, experiment, figures, nothing_run
from teacherlm.experiments.conclusions import conclude
from teacherlm.experiments.report_axes import BESIDE, LABEL, Point, apart
from teacherlm.experiments.report_groups import TONES, Group, groups
from teacherlm.experiments.report_markdown import code, escaped, table
from teacherlm.experiments.report_plots import gains, scale

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = (
    "</p><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\"> {{ 7 * 7 }} | `*_["
)
VOID = {"meta", "br", "img", "link", "hr", "input"}

needs_browser = pytest.mark.skipif(find() is None, reason="no chromium or chrome on this machine")


class Read(HTMLParser):
    """A page: what it says, its tags, and whether each is closed where it should be."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes another"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute)) is not None]


def drawn(made: Figures) -> list[Group]:
    """The groups of a report."""
    sentences = conclude(made.experiment, made.compared).sentences
    return groups(made.experiment, made.results, made.compared, sentences, made.estimates)


def cells(line: str) -> list[str]:
    """Of a row of a Markdown table."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def tables(markdown: str) -> list[list[list[str]]]:
    """Rows of each table, its head first."""
    found: list[list[list[str]]] = [[]]
    for line in markdown.splitlines():
        if line.startswith("|"):
            found[-1].append(cells(line))
        elif found[-1]:
            found.append([])
    return [one for one in found if one]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find()
    assert program
    with chromium(program, tmp_path_factory.mktemp("profile")) as running:
        yield running


def test_the_report_reads_as_in_the_golden_files() -> None:
    """`python tests/experiment_figures.py` writes them anew, to be read before they are kept."""
    for name, text in figures().golden().items():
        assert text == (GOLDEN / name).read_text(encoding="utf-8")


def test_equal_figures_give_equal_bytes() -> None:
    assert figures().report() == figures().report()


@pytest.mark.parametrize("made", [figures(), figures(HOSTILE), nothing_run()], ids=["plain", "hostile", "nothing run"])
def test_the_page_is_whole_and_asks_for_nothing(made: Figures) -> None:
    page = Read(made.report().html)
    assert page.open == []
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "link", "iframe", "form", "object")]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    names = page.named("id")
    assert len(names) == len(set(names))
    targets = page.named("href") + [f"#{name}" for name in page.named("aria-labelledby")]
    assert targets and {target.removeprefix("#") for target in targets} <= set(names)
    assert all(target.startswith("#") for target in targets)


def test_both_forms_say_what_was_found() -> None:
    made = figures()
    both = made.report()
    page, text = Read(both.html).text, both.markdown.replace("\\", "")
    said = conclude(made.experiment, made.compared)
    for sentence in said.sentences:
        assert sentence in page
    for one in drawn(made):
        assert one.said.replace("\\", "") in text
        assert one.lead in page and one.rest in page
    words = [made.experiment.question, made.experiment.about, *said.paper, *made.notes, FAILURE, made.setting.command]
    words += [part for sign in made.signatures for part in (sign.found, sign.about, sign.remedy, *sign.where)]
    words += ["21 cells: 18 done, 3 failed", "98.7 %", "109,200", "21 min 10 s", "317", "Holm", "sign flips"]
    for word in words:
        assert word in page, word
        assert word in text, word


def test_every_mean_stands_with_its_interval() -> None:
    both = figures().report()
    shares = re.compile(r"(\d+\.\d %)(?! \(\d+\.\d to \d+\.\d\))")
    bare = {"25.0 %", "98.7 %"}  # chance, and the share of texts that rules let pass
    for line in both.markdown.splitlines():
        if line.startswith("|"):
            assert set(shares.findall(line)) <= bare, line
    rows = re.findall(r'<td class="number(?: both)?">(.*?)</td>', both.html.decode())
    assert sum("%" in row for row in rows) >= 14
    for row in rows:
        assert all(re.search(r"<small>[\d.]+ to [\d.]+</small>", part) for part in row.split("<br>") if "%" in part), (
            row
        )


def test_what_is_not_significant_is_called_so_and_drawn_grey() -> None:
    made = figures()
    verdicts = [one.verdict for one in made.compared]
    lines = [line for group in drawn(made) for part in group.parts for line in part.lines if line.compared]
    assert [line.tone for line in lines] == [TONES[line.compared.verdict] for line in lines if line.compared]
    both = made.report()
    page = both.html.decode()
    rows = [row for one in tables(both.markdown) for row in one if one[0][-1] == "verdict"]
    for verdict, tone in TONES.items():
        assert sum(row[-1].startswith(verdict) for row in rows) == verdicts.count(verdict) > 0
        assert page.count(f'<span class="verdict {tone}">') == verdicts.count(verdict)
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert re.search(r"\.same, \.untested \{ --tone: var\(--same\)", style)
    for grey in re.findall(r"--same: #(\w{6})", style):
        channels = [int(grey[place : place + 2], 16) for place in (0, 2, 4)]
        assert max(channels) - min(channels) < 16


def test_comparisons_are_numbered_as_the_report_goes() -> None:
    made = figures()
    numbers = [line.number for group in drawn(made) for part in group.parts for line in part.lines if line.compared]
    assert numbers == [1, 2, 3, 4, 5, 6]
    lines = [line for group in drawn(made) for part in group.parts for line in part.lines]
    said = conclude(made.experiment, made.compared).sentences
    for line in lines:
        if line.compared:
            assert line.sentence == said[made.compared.index(line.compared)]


def test_a_scale_is_drawn_where_levels_are_more_and_less_of_one_thing() -> None:
    kinds, size = drawn(figures())
    assert scale(kinds) is None
    over = scale(size)
    assert over and over.title == "Accuracy by parameters"
    assert [tick.text for tick in over.x_ticks] == ["212k", "434k", "1M"]
    assert [series.name for series in over.series] == ["kinds none", "kinds chain"]
    # The cell that failed is not drawn, and lines go from less to more.
    assert [len(series.points) for series in over.series] == [3, 2]
    assert all(a.x < b.x for series in over.series for a, b in series.joins)


def test_gain_is_drawn_against_what_it_costs_beyond_the_baseline() -> None:
    kinds, size = drawn(figures())
    assert [one.title for one in gains(kinds)] == ["Gain against training tokens", "Gain against teacher calls"]
    assert gains(size) == []  # models of both sizes read the same
    points = {point.label: point for point in gains(kinds)[0].series[0].points}
    assert points[""].tone == "baseline" and points[""].x < points["2"].x < points["1"].x
    assert points["1"].tone == "better" and points["2"].tone == "same"
    assert points["1"].high < points["1"].y < points["1"].low <= points[""].y


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(20, 200)), max_size=24))
def test_no_label_hides_another(places: list[tuple[float, float]]) -> None:
    points = [
        Point(x=x, y=y, low=y + 10, high=y - 10, tone="same", said="", label=str(number))
        for number, (x, y) in enumerate(places)
    ]
    found = apart(points)
    assert {point.label for point in found} == {point.label for point in points}
    for place, one in enumerate(found):
        for other in found[place + 1 :]:
            near = abs(one.x - other.x) < BESIDE and abs(one.label_y - other.label_y) < LABEL - 0.2
            assert not near
        assert one.label_y <= one.high


def test_a_factor_that_nobody_compares_is_shown_without_a_verdict() -> None:
    made = replace(figures(), compared=(), experiment=experiment(comparisons=[]))
    kinds, size = drawn(made)
    assert (kinds.baseline, size.baseline, kinds.said) == ("", "", "")
    assert {line.tone for group in (kinds, size) for part in group.parts for line in part.lines} == {"untested"}
    both = made.report()
    assert "No comparison was planned." in both.markdown and "No comparison was planned." in Read(both.html).text
    assert "### kinds" in both.markdown and "verdict" not in Read(both.html).text.partition("By factor")[2][:900]


def test_a_report_of_nothing_says_that_nothing_was_run() -> None:
    both = nothing_run().report()
    for text in (both.markdown, Read(both.html).text):
        assert "21 cells: 0 done, 21 not run yet" in text
        assert "None of the signs was found" in text


def test_hostile_texts_stay_texts() -> None:
    both = figures(HOSTILE).report()
    page = Read(both.html)
    assert page.text.count("document.title = 'taken'") >= 20 and "{{ 7 * 7 }}" in page.text
    html = MarkdownIt("commonmark").enable("table").render(both.markdown)
    assert "<script" not in html and "<img" not in html and "<em>" not in html and "<a " not in html
    for one in tables(both.markdown):
        assert len({len(row) for row in one}) == 1, one[0]


@given(st.text(max_size=60))
def test_an_escaped_text_reads_as_it_was(text: str) -> None:
    shown = " ".join(text.split())
    for written in (escaped(text), code(text) if shown else ""):
        tokens = MarkdownIt("commonmark").enable("table").parse(written)
        assert all(token.type in ("paragraph_open", "inline", "paragraph_close") for token in tokens), tokens
        children = [child for token in tokens for child in token.children or []]
        assert {child.type for child in children} <= {"text", "text_special", "code_inline"}
        if written:
            assert "".join(child.content for child in children).replace("\0", "\ufffd") == shown.replace("\0", "\ufffd")


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), min_size=1, max_size=5))
def test_a_table_has_its_cells(rows: list[tuple[str, str]]) -> None:
    written = table(["a", "b"], [[escaped(cell) for cell in row] for row in rows], numbers=[1])
    lines = written.splitlines()
    assert len({len(line) for line in lines}) == 1 and len(lines) == len(rows) + 2
    tokens = MarkdownIt("commonmark").enable("table").parse(written)
    assert sum(token.type == "td_open" for token in tokens) == 2 * len(rows)


def large() -> Figures:
    """Sixty settings, compared in three tests."""
    levels = [f"level {place}" for place in range(20)]
    made = experiment(
        factors={"kinds": levels, "order": ["first", "last", "both"]},
        grids=[],
        tests={name: {"procedural": {"count": 600, "seed": 7}, "ways": ["writing"]} for name in "abc"},
        comparisons=[{"vary": "kinds", "baseline": levels[0], "test": name} for name in "abc"],
    )
    base = figures()
    one = base.compared[0]
    several = [
        replace(
            compared("kinds", ("chain", "none"), {"size": "0.4M"}, estimate(0.3 + place / 40), estimate(0.3)),
            level=levels[place], baseline=levels[0], fixed={"order": order}, test=test, cells=one.cells,
        )
        for test in "abc" for order in ("first", "last", "both") for place in range(1, 20)
    ]  # fmt: skip
    rows = tuple(
        replace(base.estimates[0], factors={"kinds": level, "order": order}, test=test)
        for test in "abc" for level in levels for order in ("first", "last", "both")
    )  # fmt: skip
    return replace(base, experiment=made, compared=tuple(several), estimates=rows)


def test_a_large_grid_stays_readable() -> None:
    made = large()
    both = made.report()
    assert len(both.html) < 1_500_000
    first = drawn(made)[0]
    assert [len(part.lines) for part in first.parts] == [20, 20, 20] and first.shown == 1
    page = both.html.decode()
    assert page.count(">2 more settings<") == 3
    assert '<details class="card"><summary><b>a</b>' in page


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 400])
def test_the_page_in_a_browser(browser: Browser, tmp_path: Path, width: int, dark: bool) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(figures().report().html)
    page = browser.page(path, width=width, dark=dark)
    page.do("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert page.do("document.documentElement.scrollWidth") <= width
    # Nothing that is read reaches beyond its card, and charts are drawn as wide as their place.
    beyond = "[...document.querySelectorAll('main :is(p, td, th, li, dd, figure, svg[role])')].filter((one) => "
    beyond += f"one.checkVisibility() && one.getBoundingClientRect().right > {width})"
    assert page.do(f"{beyond}.map((one) => one.outerHTML.slice(0, 90))") == []
    assert page.do("[...document.querySelectorAll('svg[role]')].every((one) => one.clientWidth > 60)")
    ink, paper = page.do("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
    assert (light[0] > light[1]) is dark
    assert page.requests() == [path.resolve().as_uri()] and page.complaints() == []
    page.close()


@needs_browser
def test_on_paper_nothing_is_folded_away(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(large().report().html)
    page = browser.page(path)
    hidden = "[...document.querySelectorAll('details:not([open]) td')].filter((one) => !one.checkVisibility()).length"
    tall = "document.documentElement.scrollHeight"
    on_screen, height = page.do(hidden), page.do(tall)
    page.call("Emulation.setEmulatedMedia", media="print")
    assert on_screen > 0 and page.do(tall) > 2 * height
    page.close()


@needs_browser
def test_hostile_texts_do_nothing_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(figures(HOSTILE).report().html)
    page = browser.page(path, width=400)
    assert page.do("document.title") == "made-up · teacherlm experiment"
    assert page.do("document.documentElement.scrollWidth") <= 400
    assert page.requests() == [path.resolve().as_uri()] and page.complaints() == []
    page.close()
