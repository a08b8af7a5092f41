"""`cost`: its sums are what the teacher counted, across resumes, kills, cut answers and copies; and run records."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

import teacherlm
from recipes import parquet, recipe
from scripted import teacher
from teacherlm.api.augment import Augmented
from teacherlm.api.cost import total
from teacherlm.api.runs import read_runs
from teacherlm.cli.main import main
from teacherlm.core.clock import now
from teacherlm.core.errors import Mistake
from teacherlm.teacher.answered import EXHAUSTED, REFUSED
from teacherlm.teacher.calls import failure_lines, make_call
from teacherlm.teacher.errors import TeacherLost
from teacherlm.teacher.ledger import Ledger
from teacherlm.teacher.wire import Info
from unkind import DEADLINE_S, INCOMPLETE, TOO_LONG, Asked, Reply, fails, says, unkind_in_a_thread

PROMPT = 7  # tokens that the unkind server counts for each prompt
ROWS = [{"q": f"What comes after {n}?", "a": f"{n + 1}", "why": f"{n} + 1" if n % 2 else None} for n in range(20)]
CONCURRENCY = 4


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> teacherlm.Project:
    monkeypatch.chdir(tmp_path)
    parquet(tmp_path / "builders" / "rows.parquet", ROWS)
    return declared(tmp_path)


def declared(folder: Path, **entries: Any) -> teacherlm.Project:
    recipe(folder, **({"max_new_tokens": 16} | entries))
    opened = teacherlm.open(folder, workspace=folder / "workspace")
    opened.build("d")
    return opened


def sums(project: teacherlm.Project, *by: str) -> dict[Any, tuple[int, int, int]]:
    """Answers and tokens of each group."""
    rows = project.cost(by=by)
    return {
        tuple(row[name] for name in by): (row["calls"], row["prompt_tokens"], row["generated_tokens"]) for row in rows
    }


def moody(asked: Asked) -> Reply:
    """Decided by the prompt: some answers are cut, some are refused, some need a second request."""
    chance = random.Random(asked.prompt)
    mood = chance.random()
    if mood < 0.1:
        return TOO_LONG
    if mood < 0.2 and asked.attempt == 1:
        return INCOMPLETE
    if mood < 0.4 and asked.budget == 16:
        return says("One has to", "length", 16)
    return says("One has to count on.", tokens=chance.randint(3, 12))


def counted(server: Any) -> tuple[int, int, int]:
    """What the server knows of its answers, as `sums`."""
    replies = [reply for asked in server.seen if (reply := moody(asked)).text is not None]
    return len(replies), PROMPT * len(replies), sum(reply.tokens for reply in replies)


def test_the_sums_are_what_the_teacher_counted(project: teacherlm.Project) -> None:
    assert project.cost() == []
    with unkind_in_a_thread(moody) as server:
        for limit in (5, 12, None):
            project.augment("d", teacher=server.url, limit=limit, concurrency=CONCURRENCY)
        assert sums(project)[()] == counted(server)
        assert sums(project, "dataset") == {("d",): counted(server)}
        (row,) = project.cost(by=["dataset"])
        assert row["requests"] == len(server.seen)
        assert row["failed"] == sum(moody(asked) is TOO_LONG for asked in server.seen) > 0
        for by in (["kind"], ["run"], ["dataset", "kind", "teacher", "run"]):
            parts = project.cost(by=by)
            assert total(parts)["prompt_tokens"] == row["prompt_tokens"]
            assert total(parts)["hours"] == pytest.approx(row["hours"])
            assert len(parts) == {1: 3, 4: 9}[len(by)]
        by_run = {run: counts for (run,), counts in sums(project, "run").items()}
        for run in read_runs(project.workspace, "d"):
            calls, prompt_tokens, generated_tokens = by_run[run["run"]]
            assert (prompt_tokens, generated_tokens) == (run["prompt_tokens"], run["generated_tokens"])
            assert calls <= run["requests"]


def test_texts_that_are_taken_up_again_were_paid_once(project: teacherlm.Project, tmp_path: Path) -> None:
    with teacher() as served:
        for tokens in (16, 20, 16, 20):
            state = declared(tmp_path, max_new_tokens=tokens).augment("d", teacher=served.url)
        assert state.taken_up_again == 60
        assert len(served.prompts) == 120
        calls, prompt_tokens, _ = sums(project)[()]
        assert (calls, prompt_tokens) == (120, 9 * 120)
        assert [row["calls"] for row in project.cost(by=["run"])] == [60, 60]
        (lines,) = project.sql("SELECT count(*) FROM ledger").fetchall()[0]
        assert lines == 240


def test_calls_that_were_given_up_count_their_requests_each_time(project: teacherlm.Project) -> None:
    """The same key fails in two runs; a refusal that is recorded once more was one request."""
    info = Info("made", None)
    given_up, refused = (
        make_call(
            sample_id=f"d/train/{number}",
            dataset="d",
            split="train",
            kind="fundamentals",
            repeat=0,
            prompt="Why?",
            parameters={"max_new_tokens": 8},
            stops=(),
            info=info,
        )
        for number in range(2)
    )
    copied = failure_lines(refused, f"{REFUSED}too long", 1)[0]
    with Ledger(project.workspace.rationales("d")) as ledger:
        for _ in range(2):
            ledger.append(failure_lines(given_up, f"{EXHAUSTED}overloaded", 6)[0])
            ledger.append({**copied, "created_at": now()})
    (row,) = project.cost(by=["dataset"])
    assert (row["calls"], row["failed"], row["requests"], row["generated_tokens"]) == (0, 3, 13, 0)
    assert row["tokens_per_answer"] is None


def test_human_texts_cost_nothing(project: teacherlm.Project, tmp_path: Path) -> None:
    fields = {"question": "q", "answer": "a", "human_rationale": "why"}
    parquet(tmp_path / "builders" / "rows.parquet", ROWS)
    recipe(tmp_path, fields, human="chain_of_thought")
    opened = teacherlm.open(tmp_path, workspace=tmp_path / "workspace")
    opened.build("d")
    with teacher() as served:
        opened.augment("d", teacher=served.url)
        assert {kind: counts[0] for (kind,), counts in sums(opened, "kind").items()} == {
            "fundamentals": 20,
            "chain_of_thought": 10,
            "common_mistakes": 20,
        }
        assert sums(opened)[()][0] == len(served.prompts) == 50


def test_money_is_that_of_the_run(project: teacherlm.Project, tmp_path: Path) -> None:
    def prices(price: int | None) -> str:
        told = f", price_per_million_input: {price}, price_per_million_output: {10 * (price or 0)}" if price else ""
        return f"teachers:\n  lab: {{url: {served.url!r}{told}}}\n"

    with teacher() as served:
        costs = []
        for price, limit in ((1000, 5), (2000, 10), (None, None)):
            (tmp_path / "catalog.yaml").write_text(prices(price))
            opened = teacherlm.open(tmp_path, workspace=project.workspace.root)
            opened.augment("d", teacher="lab", limit=limit)
            costs.append(opened.cost(by=["run"])[-1])
    first, second, third = costs
    for row, each in ((first, 1e-3), (second, 2e-3)):
        assert row["cost"] == pytest.approx(each * row["prompt_tokens"] + 10 * each * row["generated_tokens"])
    assert (third["cost"], third["unpriced"]) == (None, 30)
    (whole,) = project.cost(by=["teacher"])
    assert (whole["teacher"], whole["model"], whole["calls"]) == ("lab", "tests/scripted", 60)
    assert (whole["cost"], whole["unpriced"]) == (None, 30)
    runs = read_runs(project.workspace, "d")
    assert [run["cost"] for run in runs] == [pytest.approx(first["cost"]), pytest.approx(second["cost"]), None]
    assert runs[0]["orders"][0]["price_of_generated_token"] == pytest.approx(0.01)


def test_a_run_without_a_record_has_tokens_and_no_more(project: teacherlm.Project) -> None:
    with teacher() as served:
        project.augment("d", teacher=served.url, limit=5)
        for path in project.workspace.run_record("d").parent.rglob("*.json"):
            path.unlink()
        project.augment("d", teacher=served.url)
    unknown, known = project.cost(by=["run"])
    assert (unknown["run"], unknown["calls"], unknown["hours"], unknown["cost"]) == (None, 15, None, None)
    assert (known["calls"], known["state"]) == (45, "done")
    assert known["hours"] > 0
    assert [(row["teacher"], row["calls"]) for row in project.cost(by=["teacher"])] == [(None, 15), (served.url, 45)]


def test_a_record_is_there_from_the_start_and_tells_how_a_run_ended(project: teacherlm.Project) -> None:
    seen: list[dict[str, Any]] = []

    def watch(state: Augmented) -> None:
        seen.extend(read_runs(project.workspace, "d")[-1:])

    with teacher() as served:
        project.augment("d", teacher=served.url, limit=5, watch=watch)
        assert {run["state"] for run in seen} == {"running"}
        project.augment("d", teacher=served.url, max_calls=20)
    with unkind_in_a_thread([fails(401)]) as server, pytest.raises(TeacherLost):
        project.augment("d", teacher=server.url)
    runs = read_runs(project.workspace, "d")
    assert [(run["state"], run["stopped_by"]) for run in runs] == [
        ("done", None),
        ("stopped", "max_calls"),
        ("failed", None),
    ]
    assert [run["requests"] for run in runs[:2]] == [15, 20]
    assert runs[1]["limits"] == {"max_calls": 20}
    first = runs[0]["orders"][0]
    assert (first["teacher"], first["endpoints"], first["model"]) == (served.url, [served.url], "tests/scripted")
    assert (first["prompts"], first["strategy"], first["limit"]) == ("paper", "explain", 5)
    assert first["parameters"] == {"do_sample": False, "max_new_tokens": 16}
    assert orjson.loads(project.workspace.run_record("d").read_bytes()) == runs[-1]


# Kills.


@contextmanager
def augmenting(project: teacherlm.Project, url: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "teacherlm", "augment", "d", "--teacher", url]
    command += ["--project", str(project.files.root), "--workspace", str(project.workspace.root)]
    command += ["--concurrency", str(CONCURRENCY)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_kills_change_the_sums_by_what_was_in_flight(project: teacherlm.Project) -> None:
    victim: list[subprocess.Popen[bytes]] = []
    fatal = 0

    def deadly(asked: Asked) -> Reply:
        if asked.number == fatal:
            victim[-1].send_signal(signal.SIGKILL)
        return moody(asked)

    kills = 3
    with unkind_in_a_thread(deadly) as server:
        for _ in range(kills):
            fatal = len(server.seen) + 17
            with augmenting(project, server.url) as process:
                victim.append(process)
                assert process.wait(DEADLINE_S) == -signal.SIGKILL
            calls, _, tokens = sums(project)[()]
            lost = CONCURRENCY * len(victim)
            assert counted(server)[0] - lost <= calls <= counted(server)[0]
            assert counted(server)[2] - 16 * lost <= tokens <= counted(server)[2]
        fatal = 0
        with augmenting(project, server.url) as process:
            assert process.wait(DEADLINE_S) == 0
        calls, prompt_tokens, tokens = sums(project)[()]
        assert counted(server)[0] - lost <= calls <= counted(server)[0]
        assert counted(server)[2] - 16 * lost <= tokens <= counted(server)[2]
        assert prompt_tokens == PROMPT * calls
    rows = project.cost(by=["run"])
    assert [row["state"] for row in rows] == ["killed"] * kills + ["done"]
    assert all(row["calls"] > 0 and row["hours"] > 0 for row in rows)
    assert total(rows)["calls"] == calls


def test_one_answer_of_several_kinds_stands_with_the_first(project: teacherlm.Project, tmp_path: Path) -> None:
    def answer(prompt: str) -> str:
        kinds = ("fundamentals", "chain_of_thought", "common_mistakes")
        return orjson.dumps(dict.fromkeys(kinds, "a text of some words")).decode()

    opened = declared(tmp_path, prompts="one-call")
    with unkind_in_a_thread(lambda asked: says(answer(asked.prompt))) as server:
        opened.augment("d", teacher=server.url)
        assert sums(opened)[()] == (20, 20 * PROMPT, 20 * 3)
        assert len(server.seen) == 20
    assert sums(opened, "kind") == {("fundamentals",): (20, 20 * PROMPT, 60)}


# What a person sees.


def command(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()
    assert (ended.value.code or 0) == code, shown
    return shown.out, shown.err


def test_the_command(project: teacherlm.Project, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, told = command(capsys, "cost")
    assert "nobody was asked yet" in told
    with teacher() as served:
        prices = "price_per_million_input: 1000, price_per_million_output: 10000"
        (tmp_path / "catalog.yaml").write_text(f"teachers:\n  lab: {{url: {served.url!r}, {prices}}}\n")
        command(capsys, "augment", "d", "--teacher", "lab")
    shown, _ = command(capsys, "cost")
    lines = shown.splitlines()
    assert lines[0].split() == ["kind", "answers", "tokens", "in", "tokens", "out", "per", "answer", "cost", "time"]
    assert lines[1].split()[:4] == ["chain_of_thought", "20", "180", "560"]
    assert lines[-1].split()[:5] == ["in", "all", "60", "540", "1,380"]
    assert "14.34" in lines[-1]  # 540 * 0.001 + 1380 * 0.01
    shown, _ = command(capsys, "cost", "d", "--by", "run")
    assert "done" in shown
    rows = orjson.loads(command(capsys, "cost", "--by", "dataset", "--format", "json")[0])["rows"]
    assert [(row["dataset"], row["calls"], row["cost"]) for row in rows] == [("d", 60, pytest.approx(14.34))]
    for arguments, words in (
        (("--by", "week"), "groups are dataset, kind, teacher, run"),
        (("--by", ","), "names no group"),
        (("dd",), "`dd` is not in"),
    ):
        assert words in command(capsys, "cost", *arguments, code=2)[1]


@pytest.mark.parametrize("text", ["{", "", "[1, 2]", '{"run": "x"}'])
def test_a_damaged_record_hides_no_answer(
    project: teacherlm.Project, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with teacher() as served:
        project.augment("d", teacher=served.url, limit=1)
    (path,) = project.workspace.run_record("d").parent.glob("runs/*.json")
    path.write_text(text)
    project.workspace.run_record("d").write_text(text)
    assert "no run on record" in command(capsys, "cost")[0]
    assert project.status(["d"])[0]["state"] == "augmented"


def test_unknown_groups_and_datasets(project: teacherlm.Project) -> None:
    with pytest.raises(Mistake, match='is "week"'):
        project.cost(by=["week"])
    with pytest.raises(Mistake, match="`e` is not in"):
        project.cost(["e"])
