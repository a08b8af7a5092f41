"""`plan --probe`: the forecast is near the truth, nothing is asked twice, and what it says of itself holds."""

from __future__ import annotations

import heapq
import math
import random
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import teacherlm
from latent import Latent, latent
from recipes import parquet, recipe
from scripted import GOLD, sensible, teacher
from teacherlm.api.forecast import Array, Estimate, Forecast, Pace, estimate, pace, time_left
from teacherlm.api.runs import read_runs
from teacherlm.cli.main import main
from teacherlm.core.errors import Mistake
from unkind import says, unkind_in_a_thread

NEAR = 0.1
"""What a forecast may be off."""


def off(found: Estimate | None, truth: float) -> float:
    assert found is not None
    return abs(found.expected / truth - 1)


# In virtual time: a run of 5,000 samples, its probe, and what the probe says of it.


def played(lengths: list[int], most: int, chance: random.Random) -> tuple[Array, Array, Array]:
    """A run against a server that takes 0.05 s and 0.02 s a token: when each call was sent and done, and its tokens.

    The number in flight begins with 8 and grows with each answer up to `most`, as a learnt limit does.
    """
    sent: list[float] = []
    done: list[float] = []
    flying: list[float] = []
    now, places = 0.0, 8.0
    for length in lengths:
        while len(flying) >= int(places):
            now = heapq.heappop(flying)
            places = min(most, places + 1)
        sent.append(now)
        done.append(now + 0.05 + 0.02 * length * chance.uniform(0.9, 1.1))
        heapq.heappush(flying, done[-1])
    return np.array(sent), np.array(done), np.array(lengths, dtype=float)


def test_a_run_of_5000_samples_is_forecast_from_200() -> None:
    samples, drawn, most = 5000, 200, 96
    within = {"tokens": 0, "time": 0}
    for seed in range(20):
        chance = random.Random(seed)
        lengths = [[max(1, round(60 * chance.lognormvariate(-0.18, 0.6))) for _ in range(3)] for _ in range(samples)]
        probe, rest = lengths[:drawn], lengths[drawn:]
        sent, done, work = played([n for sample in probe for n in sample], most, chance)
        ones = np.ones(drawn)
        parts = [(np.array([float(sample[kind]) for sample in probe]), ones, float(len(rest))) for kind in range(3)]
        tokens = estimate(parts, len(rest))
        truth = sum(map(sum, rest))
        found = pace(sent, done, work)
        assert found is not None
        assert found.is_steady
        seconds = time_left([(found, tokens, float(work.sum()))], float(done.max()), drawn - 1)
        whole = float(played([n for sample in rest for n in sample], most, chance)[1].max())
        assert off(tokens, truth) < NEAR
        assert off(seconds, whole) < NEAR
        assert seconds is not None
        within["tokens"] += tokens.low <= truth <= tokens.high
        within["time"] += seconds.low <= whole <= seconds.high
    assert within["tokens"] >= 17  # of 20, where 19 are promised
    assert within["time"] >= 17


def test_a_probe_that_never_fills_the_teacher_says_so() -> None:
    found = pace(*played([50] * 30, 96, random.Random(1)))
    assert isinstance(found, Pace)
    assert not found.is_steady


def test_a_rising_and_falling_number_in_flight_is_measured_where_it_is_full() -> None:
    """Twice as many places for a moment at first, as a limit that looks too far."""
    sent = np.concatenate([np.zeros(64), np.arange(400) / 40 + 1.0])
    done = sent + 0.8
    found = pace(sent, done, np.ones(len(sent)))
    assert found is not None
    assert found.in_flight == pytest.approx(32, rel=0.1)
    assert found.rate == pytest.approx(40, rel=0.1)


def test_estimates_where_there_is_little_to_go_by() -> None:
    assert pace(np.zeros(1), np.ones(1), np.ones(1)) is None
    assert pace(np.zeros(3), np.zeros(3), np.ones(3)) is None
    same = estimate([(np.full(10, 7.0), np.ones(10), 90.0)], 90)
    assert same == Estimate(expected=630.0, low=630.0, high=630.0)
    assert estimate([(np.zeros(10), np.zeros(10), 90.0)], 90).expected == 0.0
    two = estimate([(np.array([1.0, 3.0]), np.ones(2), 10.0)], 10)
    assert two.low == 0.0 < two.expected == 20.0 < two.high
    assert time_left([(None, same, 0.0)], 1.0, 9) is None
    nothing = Estimate(expected=0.0, low=0.0, high=0.0)
    assert time_left([(None, nothing, 0.0)], 1.0, 9) == nothing


def test_all_teachers_are_asked_at_once_and_the_slowest_counts() -> None:
    exact = Estimate(expected=100.0, low=100.0, high=100.0)
    fast, slow = (Pace(8.0, rate, 0.0, True) for rate in (50.0, 10.0))
    found = time_left([(fast, exact, 50.0), (slow, exact, 50.0)], 6.0, 30)
    assert found is not None
    assert found.expected == pytest.approx(100 / 10 + 6.0 - 50 / 10)


# Against servers.


def project_of(folder: Path, samples: int, **entries: Any) -> teacherlm.Project:
    chance = random.Random(samples)
    rows = [
        {"q": f"What comes after {n}{' and then' * chance.randrange(12)}?", "a": f"{n + 1}"} for n in range(samples)
    ]
    parquet(folder / "builders" / "rows.parquet", rows)
    recipe(folder, **({"max_new_tokens": 64} | entries))
    opened = teacherlm.open(folder, workspace=folder / "workspace")
    opened.build("d")
    return opened


def priced(folder: Path, url: str) -> None:
    prices = "price_per_million_input: 1, price_per_million_output: 10"
    (folder / "catalog.yaml").write_text(f"teachers:\n  lab: {{url: {url!r}, {prices}}}\n")


def compared(folder: Path, samples: int, probe: int, served: Latent, time_near: float) -> Forecast:
    """Probe, run, and hold the one to the other."""
    project = project_of(folder, samples)
    priced(folder, served.url)
    project = teacherlm.open(folder, workspace=project.workspace.root)
    forecast = project.plan("d", teacher="lab", probe=probe).probe
    assert forecast is not None
    before = served.answered, served.prompt_tokens, served.generated_tokens
    assert (forecast.calls, forecast.tokens_in, forecast.tokens_out) == before
    state = project.augment("d", teacher="lab")
    assert state.already == 3 * probe  # the probe's answers count
    calls, tokens_in, tokens_out = (
        now - then
        for now, then in zip((served.answered, served.prompt_tokens, served.generated_tokens), before, strict=True)
    )
    assert off(forecast.calls_left, calls) < NEAR
    assert off(forecast.tokens_in_left, tokens_in) < NEAR
    assert off(forecast.tokens_out_left, tokens_out) < NEAR
    assert off(forecast.cost_left, (tokens_in + 10 * tokens_out) / 1e6) < NEAR
    assert off(forecast.seconds_left, state.seconds) < time_near
    return forecast


def test_a_forecast_is_near_the_truth(tmp_path: Path) -> None:
    """Of the time little is asked here: the machine has other things to do, and a second of them is much."""
    with latent(Latent(places=16, tokens_a_second=400.0, spread=0.3)) as served:
        forecast = compared(tmp_path, 300, 60, served, time_near=1.0)
    assert forecast.concurrency is not None
    assert forecast.tokens_per_second is not None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_forecast_of_5000_samples_is_within_a_tenth_of_the_truth(tmp_path: Path) -> None:
    with latent(Latent(places=64, tokens_a_second=100.0)) as served:
        forecast = compared(tmp_path, 5000, 200, served, time_near=NEAR)
    assert forecast.is_steady


def test_the_same_probe_asks_nothing_anew_and_says_the_same(tmp_path: Path) -> None:
    project = project_of(tmp_path, 60)
    with latent(Latent(tokens_a_second=4000.0)) as served:
        first = project.plan("d", teacher=served.url, probe=20).probe
        asked = served.requests
        again = project.plan("d", teacher=served.url, probe=20).probe
        assert served.requests == asked
        assert first is not None and again is not None
        assert (again.calls, again.tokens_out, again.texts_left) == (0, 0, first.texts_left)
        assert again.tokens_out_left == first.tokens_out_left
        assert again.seconds_left is not None and first.seconds_left is not None
        # Answers are summed up in the order in which the ledger tells them.
        assert asdict(again.seconds_left) == pytest.approx(asdict(first.seconds_left))
        assert [run["probe"] for run in read_runs(project.workspace, "d")] == [20, 20]
        whole = project.plan("d", teacher=served.url, probe=1000).probe
        assert whole is not None
        assert (whole.samples, whole.texts_left, whole.calls_left.expected) == (60, 0, 0.0)
        seen = served.requests
        assert project.augment("d", teacher=served.url).tally.requests == 0 == served.requests - seen


def test_a_probe_draws_from_the_samples_that_would_be_asked(tmp_path: Path) -> None:
    project = project_of(tmp_path, 60)
    with latent(Latent(tokens_a_second=4000.0)) as served:
        forecast = project.plan("d", teacher=served.url, probe=5, limit=10, kinds=["fundamentals"]).probe
        assert forecast is not None
        assert (forecast.samples, forecast.texts_left) == (5, 5)
        state = project.augment("d", teacher=served.url, limit=10, kinds=["fundamentals"])
        assert state.already == 5


def test_of_large_datasets_some_samples_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teacherlm.api.probe.LOOKED_AT", 100)
    project = project_of(tmp_path, 400)
    with latent(Latent(tokens_a_second=4000.0)) as served:
        project.augment("d", teacher=served.url, limit=200)
        forecast = project.plan("d", teacher=served.url, probe=20).probe
        assert forecast is not None
        state = project.augment("d", teacher=served.url)
    assert forecast.texts_left == pytest.approx(state.tally.settled, rel=0.1)


def wavering(prompt: str) -> str:
    """Draws that miss the answer in a third of the cases."""
    found = GOLD.search(prompt)
    if found is None and zlib.crc32(prompt.encode()) % 3 == 0:
        return " We guess. So the answer is nothing of the kind."
    if found is None:
        number = int(prompt.split("after ")[1].split()[0].rstrip("?"))
        return f" One more than {number} is {number + 1}. So the answer is {number + 1}."
    return sensible(prompt)


@pytest.mark.parametrize("strategy", ["star", "explain"])
def test_what_follows_wrong_answers_is_forecast(tmp_path: Path, strategy: str) -> None:
    project = project_of(tmp_path, 300)
    with teacher(wavering) as served:
        options: dict[str, Any] = {"teacher": served.url, "strategy": strategy, "kinds": ["chain_of_thought"]}
        forecast = project.plan("d", probe=100, **options).probe
        assert forecast is not None
        before = len(served.prompts)
        project.augment("d", **options)
        truth = len(served.prompts) - before
    assert truth == 200 if strategy == "explain" else truth > 230
    assert off(forecast.calls_left, truth) < NEAR


def test_human_texts_and_all_kinds_in_one_call(tmp_path: Path) -> None:
    rows = [{"q": f"Why {n}?", "a": "so", "why": "since" if n % 2 else None} for n in range(40)]
    parquet(tmp_path / "builders" / "rows.parquet", rows)
    fields = {"question": "q", "answer": "a", "human_rationale": "why"}
    kinds = ("fundamentals", "chain_of_thought", "common_mistakes")
    text = orjson.dumps(dict.fromkeys(kinds, "a text of words")).decode()
    for prompts in ("paper", "one-call"):
        recipe(tmp_path, fields, human="chain_of_thought", prompts=prompts)
        project = teacherlm.open(tmp_path, workspace=tmp_path / prompts)
        project.build("d")
        with unkind_in_a_thread(lambda asked: says(text)) as served:
            forecast = project.plan("d", teacher=served.url, probe=10).probe
            assert forecast is not None
            truth = project.augment("d", teacher=served.url).tally.requests
        assert forecast.calls + truth == {"paper": 40 * 2 + 20, "one-call": 40}[prompts]
        assert forecast.texts_left == truth
        assert forecast.calls_left.expected == pytest.approx(truth)
        assert math.isclose(forecast.calls_left.low, truth)


def test_probes_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEACHERLM_TEACHER", raising=False)
    project = project_of(tmp_path, 3)
    with latent(Latent()) as served:
        with pytest.raises(Mistake, match="is 1"):
            project.plan("d", teacher=served.url, probe=1)
        with pytest.raises(Mistake, match="no teacher was named"):
            project.plan("d", probe=5)
        unbuilt = teacherlm.open(tmp_path, workspace=tmp_path / "elsewhere")
        with pytest.raises(Mistake, match="has no samples"):
            unbuilt.plan("d", teacher=served.url, probe=5)
        recipe(tmp_path, given=[{"q": "Why?", "a": "so"}], expect=[{"answer": "not so"}])
        with pytest.raises(Mistake, match="nothing was run"):
            project.plan("d", teacher=served.url, probe=5)
        with pytest.raises(TypeError, match="no option `prob`; it has teacher, "):
            project.plan("d", prob=5)  # type: ignore[call-arg]
        assert served.requests == 0


def test_what_a_person_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project_of(tmp_path, 60)
    monkeypatch.chdir(tmp_path)
    with latent(Latent(tokens_a_second=4000.0)) as served:
        priced(tmp_path, served.url)
        arguments = ["plan", "d", "--teacher", "lab", "--probe", "20", "--shown", "0"]
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code
        shown = capsys.readouterr().out
        for words in ("probe of 20 samples: ", "left to ask", "tokens out", "cost", "requests in flight"):
            assert words in shown
        with pytest.raises(SystemExit):
            main([*arguments, "--format", "json"])
        (row,) = orjson.loads(capsys.readouterr().out)["rows"]
        assert row["probe"]["samples"] == 20
        assert set(row["probe"]["cost_left"]) == {"expected", "low", "high"}
