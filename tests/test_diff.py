"""Diff: two builds side by side, as numbers, as a table, and as a page in a real browser where there is one."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from chromium import Browser, chromium, find
from hub_samples import publication
from loopback_hub import loopback_hub
from teacherlm.api.check import read_report
from teacherlm.api.diff import diff
from teacherlm.api.workspace import Workspace
from teacherlm.cli import output
from teacherlm.cli.main import main
from teacherlm.core.errors import Mistake
from teacherlm.hub.folder import publish_folder
from teacherlm.quality.augmented import augment_view
from test_view import rows_of, summary_of
from view_rows import make_rows, workspace_of, write_workspace

GOLDEN = Path(__file__).parent / "golden"

COUNT = 60

Rows = tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workspace_of(tmp_path_factory.mktemp("before"), "everyday", COUNT)


def changed() -> tuple[Rows, dict[str, int]]:
    """The rows of `before` with one change of each sort, and how many of each."""
    samples, rationales, verdicts, findings = copy.deepcopy(make_rows("everyday", COUNT))
    gone, renamed, mended = samples[7], samples[9], samples[11]
    keys = [(line["sample_id"], line["kind"], line["repeat"]) for line in rationales]
    left = sum(key[0] == gone["sample_id"] for key in keys)
    others = [
        at for at, key in enumerate(keys) if key[0] != gone["sample_id"] and verdicts[at]["verdict"] == "accepted"
    ]
    text, verdict, score, dropped = others[3], others[20], others[40], others[60]
    mended["question"] = mended["question"].replace("What happens", "What will happen")
    renamed["answer"] = f"{renamed['answer']} soon"
    rationales[text]["text"] = rationales[text]["text"].replace(" ", " very ", 1)
    verdicts[verdict] |= {"verdict": "rejected", "flags": ["runs_on"]}
    key = {name: verdicts[verdict][name] for name in ("sample_id", "dataset", "split", "kind", "repeat", "call_key")}
    findings.append({**key, "rule": "runs_on", "severity": "reject", "reason": "another question begins"})
    verdicts[score]["score"] = 0.123
    away = [at for at, k in enumerate(keys) if k[0] == gone["sample_id"]] + [dropped]
    lost = {keys[at] for at in away}

    def kept(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [line for line in lines if (line["sample_id"], line["kind"], line["repeat"]) not in lost]

    samples.remove(gone)
    rows = (samples, kept(rationales), kept(verdicts), kept(findings))
    return rows, {"changed": 2, "removed": 1, "gone_rationales": left + 1}


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_workspace(tmp_path_factory.mktemp("after"), "everyday", *changed()[0])


def test_each_sort_of_change_is_counted_once(before: Path, after: Path) -> None:
    found = diff(before, after)
    (line,) = found.datasets
    expected = changed()[1]
    assert (found.level, line.is_same) == ("rationales", False)
    assert (line.samples, line.added, line.removed, line.changed) == ((60, 59), 0, 1, expected["changed"])
    assert (line.new_rationales, line.gone_rationales) == (0, expected["gone_rationales"])
    assert (line.texts_changed, line.verdicts_changed, line.scores_changed) == (1, 1, 1)
    (move,) = line.moves
    assert (move["was"], move["verdict"], move["count"]) == ("accepted", "rejected", 1)
    assert read_report(Workspace(after), "everyday") is not None
    assert line.gates["max_rejected"][0]["value"] < line.gates["max_rejected"][1]["value"]
    rule = next(rule for rule in line.rules if rule["rule"] == "runs_on")
    assert rule["hits"] == rule["was"] + 1


def test_the_other_way_round_is_the_mirror_image(before: Path, after: Path) -> None:
    (there,), (back,) = diff(before, after).datasets, diff(after, before).datasets
    assert (there.added, there.removed, there.samples) == (back.removed, back.added, back.samples[::-1])
    assert there.gone_rationales == back.new_rationales and there.texts_changed == back.texts_changed
    assert back.moves[0]["was"] == "rejected" and back.moves[0]["verdict"] == "accepted"
    assert {name: pair[::-1] for name, pair in there.gates.items()} == dict(back.gates)


def test_a_build_is_the_same_as_itself(before: Path, tmp_path: Path) -> None:
    found = diff(before, before, to=tmp_path / "page.html")
    assert [line.is_same for line in found.datasets] == [True] and found.differing == 0
    assert rows_of(tmp_path / "page.html") == []


def test_the_page_holds_both_sides_of_what_differs(before: Path, after: Path, tmp_path: Path) -> None:
    found = diff(before, after, to=tmp_path / "page.html")
    rows = rows_of(tmp_path / "page.html")
    assert len(rows) == found.differing == found.shown
    assert sorted(mark for row in rows for mark in row["z"]) == ["changed", "changed", "removed"]
    items = [item for row in rows for item in row["r"]]
    told = [mark for item in items for mark in item["c"]]
    expected = {"text": 1, "verdict": 1, "score": 1, "gone": changed()[1]["gone_rationales"]}
    assert {mark: told.count(mark) for mark in set(told)} == expected
    (item,) = (item for item in items if "text" in item["c"])
    assert item["a"]["t"] != item["b"]["t"] == item["a"]["t"].replace(" ", " very ", 1)
    assert {key for row in rows for key in row.get("was", ())} == {"q", "a"}
    made = diff(before, after, to=tmp_path / "short.html", rows=2)
    assert (made.shown, len(rows_of(tmp_path / "short.html"))) == (2, 2)
    assert summary_of(tmp_path / "short.html")["total"] == found.differing


def augmented(workspace: Path) -> Path:
    """Write the augmented table of a workspace whose verdicts are there, as `check` does."""
    from teacherlm.api.session import open_session

    con = open_session(Workspace(workspace))
    con.execute("drop view augmented")
    augment_view(con)
    for (split,) in con.execute("select distinct split from samples").fetchall():
        folder = workspace / "augmented" / "everyday" / split
        folder.mkdir(parents=True, exist_ok=True)
        con.execute(f"copy (from augmented where split = '{split}') to '{folder}/00000.parquet' (format parquet)")
    con.close()
    return workspace


def test_published_folders_are_compared_by_what_was_accepted(tmp_path: Path) -> None:
    publish_folder([publication(tmp_path / "1", train=5)], tmp_path / "a")
    publish_folder([publication(tmp_path / "2", train=6)], tmp_path / "b")
    found = diff(tmp_path / "a", tmp_path / "b", to=tmp_path / "page.html")
    (line,) = found.datasets
    assert found.level == "augmented" and "accepted rationales" in found.notes[0]
    assert (line.samples[1] - line.samples[0], line.added, line.removed) == (1, 1, 0)
    assert line.new_rationales == 2 - 5 % 2 and line.texts_changed == 0
    assert line.counts["chain_of_thought"]["accepted"] == (2_290, 2_290), "from the manifests"
    assert len(rows_of(tmp_path / "page.html")) == 1


def test_a_workspace_and_what_was_published_of_it_meet_in_the_augmented_table(
    before: Path, after: Path, tmp_path: Path
) -> None:
    publish_folder([publication(tmp_path / "1", "creak")], tmp_path / "a")
    with pytest.raises(Mistake, match="`everyday` was not checked there"):
        diff(before, tmp_path / "a", ["everyday"])
    # A published folder beside two augmented tables: nothing of `everyday` was published.
    (line,) = diff(augmented(before), tmp_path / "a", ["everyday"]).datasets
    assert (line.samples, line.removed) == ((60, 0), 60)


def test_revisions_on_the_hub_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    for branch, count in (("main", 4), ("old", 3)):
        publish_folder([publication(tmp_path / f"{branch}1", train=count)], tmp_path / branch)
    with loopback_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        for branch in ("main", "old"):
            files = (path for path in (tmp_path / branch).rglob("*") if path.is_file())
            held = {path.relative_to(tmp_path / branch).as_posix(): path.read_bytes() for path in files}
            hub.put("org/explained", held, branch)
        (line,) = diff("hf://datasets/org/explained@old", "hf://datasets/org/explained", ["creak"]).datasets
        assert (line.added, line.removed) == (1, 0)
        (line,) = diff("hf://datasets/org/explained@old", tmp_path / "old").datasets
        assert line.is_same
        with pytest.raises(Mistake, match="no such repository or revision"):
            diff("hf://datasets/org/explained@gone", tmp_path / "old")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere", "there is no such folder"),
        (".", "holds no samples"),
        ("hf://models/x", "names no dataset repository"),
    ],
)
def test_a_place_that_is_none_is_a_mistake(before: Path, tmp_path: Path, place: str, said: str) -> None:
    given = place if "://" in place else str(tmp_path / place)
    with pytest.raises(Mistake, match=said):
        diff(before, given)
    with pytest.raises(Mistake, match="neither side has creak"):
        diff(before, before, ["creak"])


def test_the_command_reads_as_in_the_golden_file_and_exits_0(
    before: Path, after: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output.out, "width", 100)
    with pytest.raises(SystemExit) as ended:
        main(["diff", str(before), str(after), "-o", "diff.html"])
    shown = capsys.readouterr()
    assert ended.value.code == 0 and (tmp_path / "diff.html").is_file()
    text = "\n".join(line.rstrip() for line in shown.out.splitlines()) + "\n"
    assert text == (GOLDEN / "diff.txt").read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["diff", str(before), str(before), "--format", "json"])
    answer = orjson.loads(capsys.readouterr().out)
    assert (ended.value.code, answer["ok"], answer["rows"][0]["same"]) == (0, True, True)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find()
    assert program
    with chromium(program, tmp_path_factory.mktemp("profile")) as started:
        yield started


def edited(text: str, rng: random.Random) -> str:
    """A text with words taken away, put in and changed."""
    words = text.split(" ")
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(words))
        what = rng.choice(["", "altered", "two words", "漢字", "\n", "word,"])
        words[at : at + rng.randint(0, 3)] = [what] if what else []
        words = words or ["x"]
    return " ".join(words)


@pytest.mark.skipif(find() is None, reason="no chromium or chrome on this machine")
def test_what_is_struck_and_what_is_put_in_give_both_texts_back(browser: Browser, tmp_path: Path) -> None:
    rng = random.Random(3)
    rows = make_rows("everyday", 40)
    rows = (rows[0], rows[1], [{**line, "verdict": "accepted", "flags": []} for line in rows[2]], [])
    for line in rows[1]:
        line |= {"status": "ok", "failure": None, "text": line["text"] or "Nothing."}
    write_workspace(tmp_path / "a", "everyday", *rows)
    altered = [{**line, "text": edited(line["text"], rng)} for line in rows[1]]
    write_workspace(tmp_path / "b", "everyday", rows[0], altered, rows[2])
    found = diff(tmp_path / "a", tmp_path / "b", to=tmp_path / "page.html")
    page = browser.page(tmp_path / "page.html")
    assert page.complaints() == [] and len(page.requests()) == 1
    without = "((node, tag) => { const copy = node.cloneNode(true); "
    without += "copy.querySelectorAll(tag).forEach((part) => part.remove()); return copy.textContent; })"
    pairs = page.do(
        f"[...document.querySelectorAll('.diff')].map((node) => [{without}(node, 'ins'), {without}(node, 'del')])"
    )
    page.close()
    shown = {
        (item["a"]["t"], item["b"]["t"]) for row in rows_of(tmp_path / "page.html") for item in row["r"] if item["c"]
    }
    first = {pair for pair in shown if list(pair) in pairs}
    assert found.datasets[0].texts_changed >= len(pairs) > 80
    assert len(first) == len({tuple(pair) for pair in pairs})


@pytest.mark.skipif(find() is None, reason="no chromium or chrome on this machine")
def test_changes_are_filters(browser: Browser, before: Path, after: Path, tmp_path: Path) -> None:
    diff(before, after, to=tmp_path / "page.html")
    for chip, samples in (("text", 1), ("verdict", 1), ("score", 1), ("gone", 2), ("changed", 2), ("removed", 1)):
        page = browser.page(tmp_path / "page.html", at=f"chip={chip}")
        assert page.do("document.querySelectorAll('.card').length") == samples, chip
        assert page.complaints() == []
        page.close()
    page = browser.page(tmp_path / "page.html", at="chip=verdict", width=600)
    chips = "[...document.querySelectorAll('.cell.changed .chip')].map((chip) => chip.lastChild.data)"
    assert page.do(chips) == ["accepted", "rejected"]
    assert page.do("document.documentElement.scrollWidth <= innerWidth")
    page.close()


@pytest.mark.skipif(find() is None, reason="no chromium or chrome on this machine")
def test_a_sample_opens_at_the_repeat_that_changed_and_gates_are_shown_that_decide_otherwise(
    browser: Browser, tmp_path: Path
) -> None:
    rows = make_rows("everyday", 4)
    texts = [line for line in rows[1] if line["kind"] == "fundamentals"][:1]
    kept = {key: texts[0][key] for key in ("sample_id", "kind", "repeat")}
    first = [{**texts[0], "status": "ok", "failure": None, "repeat": repeat, "text": "It is."} for repeat in (0, 1)]
    said = [{**line, "verdict": "accepted", "flags": []} for line in rows[2] if {k: line[k] for k in kept} == kept]
    judged = [{**said[0], "repeat": repeat} for repeat in (0, 1)]
    write_workspace(tmp_path / "a", "everyday", rows[0], first, judged)
    write_workspace(tmp_path / "b", "everyday", rows[0], [first[0], {**first[1], "text": "It was."}], judged)
    found = diff(tmp_path / "a", tmp_path / "b", to=tmp_path / "page.html")
    page = browser.page(tmp_path / "page.html")
    differ = [name for name, (was, now) in found.datasets[0].gates.items() if was["passed"] != now["passed"]]
    captions = page.do("[...document.querySelectorAll('caption')].map((caption) => caption.textContent)")
    assert found.datasets[0].gates and not differ and not [text for text in captions if "Gates" in text]
    assert page.do("document.querySelector('.repeat[aria-pressed=true]').textContent") == "1"
    assert page.do("document.querySelectorAll('.state.same').length") == 0
    assert page.complaints() == []
    page.close()
