"""Budgets: a run stops at its limit, with at most what was in flight on top, and everything answered is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

import teacherlm
from recipes import parquet, recipe
from scripted import teacher
from teacherlm.cli.main import main
from teacherlm.core.errors import Mistake
from teacherlm.schemas.records import KINDS
from teacherlm.teacher.asker import Asker
from teacherlm.teacher.budget import Budget
from teacherlm.teacher.calls import Call, make_call
from teacherlm.teacher.client import Retry, Teacher
from teacherlm.teacher.errors import TeacherLost
from teacherlm.teacher.profile import TeacherProfile
from teacherlm.teacher.tally import Tally
from teacherlm.teacher.wire import Info
from unkind import BUSY, DROP, INFO, Asked, Behaviour, Reply, Unkind, cut, says

FREE = TeacherProfile(url="http://127.0.0.1:1")
PRICED = TeacherProfile(url="http://127.0.0.1:1", price_per_million_input=1e6, price_per_million_output=1e7)
CONCURRENCY = 4
PROMPT, WRITTEN = 7, 3  # tokens of each answer of the unkind server


def calls(count: int) -> list[Call]:
    return [
        make_call(
            sample_id=f"made/train/{number}",
            dataset="made",
            split="train",
            kind=KINDS[number % 3],
            repeat=0,
            prompt=f"Q: {number}",
            parameters={"max_new_tokens": 8},
            stops=(),
            info=Info(str(INFO["model_id"]), str(INFO["model_sha"])),
        )
        for number in range(count)
    ]


async def spend(
    behaviour: Behaviour, budget: Budget, profile: TeacherProfile = FREE, count: int = 60
) -> tuple[Tally, int, list[Mapping[str, Any]]]:
    lines: list[Mapping[str, Any]] = []
    async with Unkind(behaviour) as server, Teacher(server.url, retry=Retry(first_s=0.0)) as asked:
        share = budget.share("made", profile)
        asker = Asker(asked, share.recording(lines.append), CONCURRENCY, allowance=share)
        return await asker.run(iter(calls(count))), len(server.seen), lines


def test_requests_are_never_exceeded_and_repeated_ones_count() -> None:
    def moody(asked: Asked) -> Reply:
        return (BUSY, DROP, says("So."))[asked.number % 3]

    for limit in (1, 2, 7, 30):
        budget = Budget(max_calls=limit)
        tally, seen, lines = asyncio.run(spend(moody, budget))
        assert seen == tally.requests == budget.calls == limit
        assert budget.stopped_by == "max_calls"
        assert len(lines) == tally.settled == limit - sum(tally.faults.values())


def test_a_limit_that_is_just_enough_stops_nothing() -> None:
    budget = Budget(max_calls=60)
    tally, seen, _ = asyncio.run(spend([says("So.")], budget))
    assert (tally.answered, seen, budget.stopped_by) == (60, 60, None)


@pytest.mark.parametrize("limit", [1, 10, 95, 100])
def test_tokens_are_exceeded_by_what_is_in_flight_at_most(limit: int) -> None:
    budget = Budget(max_tokens=limit)
    tally, _, lines = asyncio.run(spend([says("So.")], budget))
    took = sum(line["prompt_tokens"] + line["generated_tokens"] for line in lines)
    assert limit <= took == budget.tokens < limit + CONCURRENCY * (PROMPT + WRITTEN)
    assert (budget.stopped_by, tally.answered) == ("max_tokens", len(lines))


def test_money_goes_by_the_prices_of_each_teacher() -> None:
    each = PROMPT * 1.0 + WRITTEN * 10.0
    budget = Budget(max_cost=5 * each)
    _, _, lines = asyncio.run(spend([says("So.")], budget, PRICED))
    assert budget.stopped_by == "budget"
    assert budget.cost == pytest.approx(each * len(lines))
    assert 5 * each <= budget.cost < (5 + CONCURRENCY) * each
    hours = TeacherProfile(url="http://127.0.0.1:1", gpu_hour=3.6, tokens_per_second=10)
    Budget.of(None, None, 1.0).share("hours", hours).spent(100, 1000)
    shared = Budget(max_cost=1e9)
    shared.share("tokens", PRICED).spent(1, 1)
    shared.share("hours", hours).spent(100, 1000)
    assert shared.tokens == 1102
    assert shared.cost == pytest.approx(11.0 + 0.1)


def test_answers_that_are_cut_and_asked_again_count_twice() -> None:
    budget = Budget(max_calls=10)
    tally, seen, lines = asyncio.run(spend([cut("So much")], budget))
    assert seen == len(lines) == 10
    assert tally.truncated <= 5


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ((0, None, None), "is 0"),
        ((None, -1, None), "is -1"),
        ((None, None, 0.0), "is 0"),
        ((None, None, float("nan")), "is nan"),
    ],
)
def test_limits_that_let_nothing_through(limits: tuple[Any, Any, Any], words: str) -> None:
    with pytest.raises(Mistake, match=words):
        Budget.of(*limits)


def test_money_needs_prices() -> None:
    with pytest.raises(Mistake, match="`lab` has no prices") as mistake:
        Budget(max_cost=1.0).share("lab", FREE)
    assert "price_per_million_input" in mistake.value.remedy
    Budget(max_tokens=1).share("lab", FREE)


def test_a_server_that_counts_nothing_cannot_be_held_to_tokens() -> None:
    """`/generate` tells the tokens of a prompt in a header, which some proxies strip."""
    answer = b'{"generated_text": "So.", "details": {"finish_reason": "eos_token", "generated_tokens": 3}}'
    bare = Reply(200, answer, (("content-type", "application/json"),))
    for budget, profile in ((Budget(max_tokens=50), FREE), (Budget(max_cost=50.0), PRICED)):
        with pytest.raises(TeacherLost, match="does not tell how many tokens prompts have"):
            asyncio.run(spend([bare], budget, profile))
    hours = TeacherProfile(url="http://127.0.0.1:1", gpu_hour=3600, tokens_per_second=1)
    budget = Budget(max_cost=30.0)  # 3 tokens at 1 each: prompts cost nothing by the hour
    _, _, lines = asyncio.run(spend([bare], budget, hours))
    assert 10 <= len(lines) < 10 + CONCURRENCY
    assert budget.stopped_by == "budget"


# The whole way.

ROWS = [{"q": f"What comes after {n}?", "a": f"{n + 1}"} for n in range(30)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> teacherlm.Project:
    monkeypatch.chdir(tmp_path)
    parquet(tmp_path / "builders" / "rows.parquet", ROWS)
    recipe(tmp_path)
    recipe(tmp_path, name="e")
    opened = teacherlm.open(tmp_path, workspace=tmp_path / "workspace")
    opened.build("d")
    opened.build("e")
    return opened


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def lines_of(project: teacherlm.Project) -> int:
    (count,) = project.sql("SELECT count(*) FROM ledger").fetchall()[0]
    return int(count)


def test_the_next_run_goes_on_where_the_budget_ended_and_has_one_of_its_own(project: teacherlm.Project) -> None:
    with teacher() as served:
        for asked in (40, 80):
            state = project.augment("d", teacher=served.url, max_calls=40)
            assert (state.stopped_by, state.tally.requests) == ("max_calls", 40)
            assert len(served.prompts) == lines_of(project) == state.done == asked
        state = project.augment("d", teacher=served.url, max_calls=40)
        assert (state.stopped_by, state.tally.requests, state.done) == (None, 10, 90)
        assert len(served.prompts) == len(set(served.prompts)) == 90


def test_teachers_of_a_run_share_its_budget(project: teacherlm.Project, tmp_path: Path) -> None:
    prices = "price_per_million_input: 1, price_per_million_output: 1"
    kinds = "{fundamentals: a, chain_of_thought: b, common_mistakes: b}"
    with teacher() as one, teacher() as other:
        (tmp_path / "catalog.yaml").write_text(
            f"teachers:\n  a: {{url: {one.url!r}, {prices}}}\n  b: {{url: {other.url!r}}}\n  both: {{kinds: {kinds}}}\n"
        )
        opened = teacherlm.open(tmp_path, workspace=project.workspace.root)
        state = opened.augment("d", teacher="both", max_calls=21)
        assert state.stopped_by == "max_calls"
        assert len(one.prompts) + len(other.prompts) == 21
        assert min(len(one.prompts), len(other.prompts)) > 0
        with pytest.raises(Mistake, match="`b` has no prices"):
            opened.augment("d", teacher="both", budget=1.0)


def test_a_stop_is_told_exits_with_0_and_ends_the_command(
    project: teacherlm.Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with teacher() as served:
        assert command("augment", "d", "e", "--teacher", served.url, "--max-calls", "20") == 0
        told = capsys.readouterr()
        assert "stopped by --max-calls 20 (20 requests, " in told.err
        assert "20 of 90 texts are in the ledger, 70 are left. Run the same command again to go on." in told.err
        # One budget for all datasets of a command: the first needs 70 more, the second gets the rest.
        assert command("augment", "d", "e", "--teacher", served.url, "--max-calls", "100", "--format", "json") == 0
        envelope = orjson.loads(capsys.readouterr().out)
        assert envelope["ok"]
        assert [(row["dataset"], row["stopped_by"]) for row in envelope["rows"]] == [("d", None), ("e", "max_calls")]
        assert len(served.prompts) == lines_of(project) == 120


def test_a_run_that_stops_checks_and_publishes_nothing(
    project: teacherlm.Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("run", "d", "--to", "published", "--format", "json")
    with teacher() as served:
        assert command(*arguments, "--teacher", served.url, "--max-tokens", "300") == 0
        (row,) = orjson.loads(capsys.readouterr().out)["rows"]
        assert (row["stopped_by"], row["passed"]) == ("max_tokens", None)
        assert project.run("d", teacher=served.url, max_calls=1).report is None
    assert not (tmp_path / "published").exists()
    assert not project.workspace.report("d").exists()


def test_what_cannot_be_held_is_refused(project: teacherlm.Project, capsys: pytest.CaptureFixture[str]) -> None:
    with teacher() as served:
        assert command("augment", "d", "--teacher", served.url, "--budget", "1") == 2
        assert "price_per_million_input" in capsys.readouterr().err
        assert command("augment", "d", "--teacher", served.url, "--max-tokens", "0") == 2
        assert "--max-tokens   is 0" in capsys.readouterr().err
        assert command("augment", "d", "--teacher", served.url, "--max-calls", "9", "--workers", "2") == 2
        assert "--max-calls   holds for runs in this process alone" in capsys.readouterr().err
        assert not served.prompts
