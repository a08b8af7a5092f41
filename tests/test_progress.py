"""Progress: the numbers are right, and the view, the line a minute and `run.json` show the same ones."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

import teacherlm
from progress_states import KINDS, begun, later, seen, troubled
from recipes import parquet, recipe
from scripted import sensible, teacher
from teacherlm.api import progress_judge
from teacherlm.api.augment import Augmented
from teacherlm.api.progress import WINDOW_S, Judged, KindProgress, Meter, Progress
from teacherlm.api.progress_judge import Looks, project_rules
from teacherlm.cli.main import main
from teacherlm.cli.progress import AugmentLine, duration, line
from teacherlm.cli.progress_view import briefly, percent, view
from teacherlm.core.errors import Mistakes
from teacherlm.core.locks import held

GOLDEN = Path(__file__).parent / "golden"

WORDS = ("iron", "wool", "pollen", "glass", "amber", "cotton", "salt", "copper")


def drawn(progress: Progress, width: int, height: int = 40, **options: Any) -> list[str]:
    """The lines of the view in a terminal of that size."""
    out = io.StringIO()
    Console(file=out, width=width, height=height, force_terminal=True, color_system=None).print(
        view(progress, width, height, **options)
    )
    return [shown.rstrip() for shown in out.getvalue().splitlines()]


# The numbers.


def test_rates_are_those_of_the_last_half_minute() -> None:
    _, progress = seen(begun(), servers=2)
    assert progress.tokens_per_second == pytest.approx(3 * 120 * 48 / WINDOW_S)
    assert progress.calls_per_second == pytest.approx(3 * 48 / WINDOW_S, rel=0.05)  # shares are whole
    assert sum(one.calls_per_second for one in progress.endpoints) == pytest.approx(progress.calls_per_second)
    left = progress.wanted - progress.done
    assert progress.seconds_left == pytest.approx(left / (3 * 48 / WINDOW_S), abs=0.1)
    assert progress.done == 3 * (3392 // 8 + 600)
    assert progress.cost is not None
    assert progress.cost_in_all == pytest.approx(progress.cost * (1800 + left) / 1800)


def test_nothing_is_forecast_while_nothing_is_answered() -> None:
    meter, state = Meter(), begun()
    assert meter.see(state).seconds_left is None
    for tick in range(1000):
        progress = meter.see(later(state, 100 + tick / 5, 50, 1))
    assert (progress.calls_per_second, progress.tokens_per_second, progress.seconds_left) == (0.0, 0.0, None)
    state.stopped_by = "budget"
    assert meter.see(later(state, 310.0, 90, 1)).seconds_left is None


@given(st.lists(st.tuples(st.floats(0.01, 20), st.integers(0, 50)), min_size=1, max_size=60))
def test_a_meter_remembers_its_window_and_no_more(steps: list[tuple[float, int]]) -> None:
    meter, state = Meter(), begun()
    now, texts, all_seen = 0.0, 0, [(0.0, 0)]
    for took, more in steps:
        now, texts = now + took, texts + more
        all_seen.append((now, texts))
        progress = meter.see(later(state, now, texts, 1))
    since, before = max([one for one in all_seen if one[0] <= now - WINDOW_S], default=all_seen[0])
    assert progress.tokens_per_second == pytest.approx(3 * 120 * (texts - before) / (now - since), abs=0.001)
    assert progress == meter.see(state)  # who looks twice sees the same


# What a person sees.

VIEWS: dict[str, Callable[[], list[str]]] = {
    "one server, 80 columns": lambda: drawn(seen(begun())[1], 80, 24),
    "one server, 120 columns": lambda: drawn(seen(begun())[1], 120, 24),
    "three servers in trouble, 80 columns": lambda: drawn(troubled(3), 80, 24),
    "thirty servers in trouble, 120 columns": lambda: drawn(troubled(30), 120, 40),
    "thirty servers in trouble, 80 columns and 24 lines": lambda: drawn(troubled(30), 80, 24),
    "many texts, 80 columns": lambda: drawn(seen(begun(samples=1_204_551))[1], 80, 24),
    "before the first answer, without prices": lambda: drawn(
        Meter().see(Augmented(dataset="d", teacher="nano", planned=9)), 80, 24
    ),
    "a terminal of ASCII": lambda: drawn(seen(begun())[1], 80, 24, ascii_only=True),
    "the line a minute": lambda: [line(seen(begun())[1]), line(troubled(30))],
}


def test_the_views_are_those_of_the_golden_file() -> None:
    shown = "".join(f"== {name}\n\n" + "\n".join(lines()) + "\n\n" for name, lines in VIEWS.items())
    assert shown == (GOLDEN / "progress.txt").read_text(encoding="utf-8")


@example(width=72, height=24, servers=2, texts=9_000_000, words="")
@given(
    width=st.integers(72, 200),
    height=st.integers(24, 60),
    servers=st.integers(2, 40),
    texts=st.integers(0, 10**7),
    words=st.text(max_size=300),
)
def test_no_line_is_wider_than_the_terminal(width: int, height: int, servers: int, texts: int, words: str) -> None:
    state = later(begun(dataset="collection-of-many-things", samples=10**7), 1e5, texts, servers)
    state.model = state.not_judged = words
    tally = state.tally
    tally.waiting, tally.places = texts, 10**5
    tally.failures[words], tally.faults[words] = texts, texts
    tally.endpoints[0].away = words or None
    tally.endpoints[-1].url = "https://a-rather-long-name-of-a-server.in-some-cluster.internal.example:8443"
    lines = drawn(Meter().see(state), width, height)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) < height
    assert "".join(lines).isprintable()
    # Names and numbers of the kinds are whole.
    for kind in KINDS:
        assert any(shown.startswith(f"{kind} ") and shown.endswith(" %") for shown in lines)


def test_numbers_as_words() -> None:
    assert [duration(seconds) for seconds in (3.2, 600, 7200)] == ["3 s", "10 min", "2.0 h"]
    assert [percent(*found) for found in ((0, 0), (9_999, 10_000), (1, 1))] == ["-", "99%", "100%"]
    assert percent(4812, 10_176, 1) == "47.2%"
    state, progress = seen(begun())
    assert briefly(progress.to_row()) == "augmenting, 30%, 25 min left"
    state.stopped_by = "max_tokens"
    assert "--max-tokens is reached: finishing what is in flight" in line(Meter().see(state))


def test_elsewhere_it_is_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    shown, state = AugmentLine(live=False), begun()
    for tick in range(5 * 150):
        shown(later(state, tick / 5, tick, 1))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("creak  2,172/10,176 (21.3%) | answered ")


# Real runs.


@pytest.fixture
def project(tmp_path: Path) -> teacherlm.Project:
    """A built dataset `d` of 24 rows, some with a human rationale."""
    rows = [
        {"q": f"Which of the {n} things is made of {WORDS[n % 8]}?", "a": WORDS[n % 8], "h": "So it is." * (n % 3)}
        for n in range(24)
    ]
    parquet(tmp_path / "builders" / "rows.parquet", rows)
    recipe(tmp_path, {"question": "q", "answer": "a", "human_rationale": "h"}, human="fundamentals")
    opened = teacherlm.open(tmp_path, workspace=tmp_path / "workspace")
    opened.build("d")
    return opened


def by_kind(progress: Progress, name: str) -> list[int]:
    return [getattr(kind, name) for kind in progress.kinds]


def test_the_record_holds_what_the_view_shows(project: teacherlm.Project) -> None:
    meter, shown = Meter(), []
    watched: list[Augmented] = []

    def watch(state: Augmented) -> None:
        watched.append(state)
        shown.append(meter.see(state))

    prices = "price_per_million_input: 1000, price_per_million_output: 10000"
    with teacher(lambda prompt: 422 if "the 7 things" in prompt else sensible(prompt)) as served:
        (project.files.root / "catalog.yaml").write_text(f"teachers:\n  lab: {{url: {served.url!r}, {prices}}}\n")
        opened = teacherlm.open(project.files.root, workspace=project.workspace.root)
        opened.augment("d", teacher="lab", limit=12, watch=watch)
        opened.augment("d", teacher="lab", watch=watch)
    record = orjson.loads(project.workspace.run_record("d").read_bytes())
    found, last = record["progress"], shown[-1]
    assert list(found) == [part.name for part in fields(Progress)]
    assert [list(kind) for kind in found["kinds"]] == [[part.name for part in fields(KindProgress)]] * 3
    # All but what hangs on the moment of looking; a text of the source and those of the first run are done as well.
    passing = ("seconds", "calls_per_second", "tokens_per_second", "seconds_left", "endpoints")
    same = orjson.loads(orjson.dumps(last.to_row()))
    assert {name: found[name] for name in found if name not in passing} == {
        name: same[name] for name in same if name not in passing
    }
    assert found["cost"] == record["cost"] == watched[-1].cost != 0
    assert found["failures"] == {}
    assert shown[0].wanted == sum(by_kind(shown[0], "wanted")) == 36
    assert by_kind(last, "done") == by_kind(last, "wanted") == [24, 24, 24]
    assert last.done == last.wanted == 72
    view_of_it = "\n".join(drawn(last, 100))
    for kind in found["kinds"]:
        numbers = f"{kind['done']}/{kind['wanted']} .* {kind['answered']} +{kind['truncated']} +{kind['failed']}"
        assert re.search(f"{kind['kind']} +{numbers}", view_of_it)
    assert f"cost {found['cost']:.2f}" in view_of_it


def test_kinds_add_up_whatever_is_asked(project: teacherlm.Project) -> None:
    for asked in ({}, {"strategy": "star"}, {"kinds": ["common_mistakes"]}, {"limit": 9}):
        states: list[Augmented] = []
        with teacher() as served:
            for _ in range(2):
                project.augment("d", teacher=served.url, watch=states.append, **asked)
                progress = Meter().see(states[-1])
                assert sum(by_kind(progress, "wanted")) == progress.wanted
                assert by_kind(progress, "done") == by_kind(progress, "wanted")
        assert progress.done == progress.wanted == states[-1].already


def wrong_or_right(prompt: str) -> str:
    return "no" if "iron" in prompt or ("wool" in prompt and "step by step" in prompt) else sensible(prompt)


def looked(project: teacherlm.Project, state: Any) -> Looks:
    """Looks at the answers that are in the ledger."""
    files = [path for paths in project.workspace.sample_files("d").values() for path in paths]
    looks = Looks(files, project_rules(project.files, project.catalog), state)
    note = looks.noting(lambda line: None)
    for path in sorted(project.workspace.rationales("d").rglob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            note({**row, "created_at": row["created_at"].isoformat()})
    return looks


@dataclass
class Counts:
    """Takes what was found, and says when something was."""

    judged: Mapping[str, Judged] = field(default_factory=dict)
    not_judged: str | None = None
    told: threading.Event = field(default_factory=threading.Event)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name != "told" and value and "told" in self.__dict__:
            self.told.set()


def test_where_all_answers_are_looked_at_the_estimate_is_the_verdict(project: teacherlm.Project) -> None:
    with teacher(wrong_or_right) as served:
        project.augment("d", teacher=served.url)
    state = Counts()
    looks = looked(project, state)
    looks.look()
    books = {count.kind: count for count in project.check("d").books.counts}
    assert state.judged == {kind: Judged(books[kind].asked, books[kind].accepted) for kind in KINDS}
    assert state.judged["common_mistakes"] == Judged(24, 21)
    looks.look()  # nothing has come since
    assert state.judged["common_mistakes"].looked_at == 24


def test_the_estimate_comes_while_the_run_goes_on(project: teacherlm.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_judge, "FIRST_S", 0.0)
    monkeypatch.setattr(progress_judge, "EVERY_S", 0.0)
    with teacher(wrong_or_right) as served:
        project.augment("d", teacher=served.url)
    state = Counts()
    with looked(project, state).looking():
        assert state.told.wait(60)
    assert state.judged["common_mistakes"] == Judged(24, 21)
    assert state.not_judged is None


def test_a_rule_that_cannot_be_run_ends_the_estimate_and_nothing_else(
    project: teacherlm.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_judge, "FIRST_S", 0.0)
    rules = project.files.root / "quality" / "rules"
    rules.mkdir(parents=True)
    (rules / "odd.sql").write_text("-- severity: reject | kinds: all | reason: odd\nselect nothing from metrics\n")
    with teacher() as served:
        project.augment("d", teacher=served.url)
    state = Counts()
    with looked(project, state).looking():
        assert state.told.wait(60)
    assert state.not_judged is not None
    assert "odd.sql" in state.not_judged
    with pytest.raises(Mistakes, match="nothing"):
        looked(project, Counts()).look()
    shown = begun()
    shown.not_judged = state.not_judged
    assert any("no estimate of what is accepted: " in words for words in drawn(Meter().see(shown), 120))


def command(project: teacherlm.Project, *arguments: str) -> list[str]:
    places = ["--project", str(project.files.root), "--workspace", str(project.workspace.root)]
    return [sys.executable, "-m", "teacherlm", *arguments, *places]


def test_a_terminal_shows_it_and_is_left_clean(project: teacherlm.Project) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def held_up(prompt: str) -> str:
        if "the 20 things" in prompt:
            reached.set()
            go_on.wait(60)
        return sensible(prompt)

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    with teacher(held_up) as served:
        asked = command(project, "augment", "d", "--teacher", served.url)
        process = subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
        os.close(theirs)
        data = b""
        while b"chain_of_thought" not in data or not reached.is_set():
            data += os.read(ours, 65536)
        # Whoever looks from elsewhere sees it as well.
        (row,) = project.status(["d"])
        assert row["progress"]["wanted"] == 72
        go_on.set()
        while True:
            try:
                data += os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
        assert process.wait(60) == 0
    os.close(ours)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode())
    assert re.search(r"\d+ of 72 texts  [\d,.]+ calls/s  [\d,]+ tokens/s", shown)
    assert re.search(r"kind +done +answered +truncated +failed +accepted", shown)
    assert max(len(words.strip("\r")) for words in re.split("[\r\n]+", shown)) <= 80
    assert data.rfind(b"\x1b[?25h") > data.rfind(b"\x1b[?25l")  # the cursor is back
    end = data[data.rfind(b"\x1b[2K") :].decode()
    assert "texts asked in" in end
    assert "chain_of_thought" not in end
    assert project.status(["d"])[0]["progress"] is None


def test_without_a_terminal_nothing_is_drawn(project: teacherlm.Project) -> None:
    with teacher() as served:
        asked = command(project, "augment", "d", "--teacher", served.url)
        environment = {**os.environ, "FORCE_COLOR": "1"}
        done = subprocess.run(asked, env=environment, capture_output=True, check=True, timeout=60)
    told = re.sub(rb"\x1b\[[0-9;]*m", b"", done.stderr).decode()
    assert "\x1b" not in told
    assert re.fullmatch(r"d: 16 human rationales taken from the source\nd: 56 texts asked in .*\n", told)


def test_status_tells_how_far_a_run_is(project: teacherlm.Project, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []

    def watch(state: Augmented) -> None:
        with pytest.raises(SystemExit):
            main(["status", "d", "-p", str(project.files.root), "-w", str(project.workspace.root)])
        told.append(capsys.readouterr().out)

    with teacher() as served:
        project.augment("d", teacher=served.url, watch=watch)
    assert re.search(r"d is being written by pid \d+ on .*: augmenting, \d+%", told[0])
    # A killed run's record says nothing of who writes now.
    path = project.workspace.run_record("d")
    stale = orjson.loads(path.read_bytes()) | {"state": "running", "updated_at": "2026-01-01T00:00:00.000000Z"}
    path.write_bytes(orjson.dumps(stale))
    with held(project.workspace.root / "locks" / "d.lock", "it"):
        (row,) = project.status(["d"])
    assert row["writer"] is not None
    assert row["progress"] is None
