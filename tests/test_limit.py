"""The limit against simulated servers, in virtual time: what it finds, how fast, and what it costs the server."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulated import Batching, Client, Job, Outcome, Slots, Work, World, about, play, steady
from teacherlm.teacher.limit import CEILING, SHARE, START, Limit

MEAN_S = 0.15
UNBOUNDED = 1 << 30
WORKS = {"all alike": steady(MEAN_S), "some longer": about(MEAN_S, 0.3), "very different": about(MEAN_S, 0.7)}

# --- overload --------------------------------------------------------------------------------------------------------

PHASES = [(0.0, 8), (10.0, 32), (20.0, 4)]
IDEAL = 10 * (8 + 32 + 4) / MEAN_S


@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
@pytest.mark.parametrize("queue", [0, UNBOUNDED], ids=["refusing", "queueing silently"])
@pytest.mark.parametrize("seed", range(3))
def test_overload(work: Work, queue: int, seed: int) -> None:
    """Slots 8, 32, 4: at least 85 % of the throughput, under 5 % of the calls refused."""
    outcome = play(30, lambda world: Slots(world, PHASES, work, queue=queue), seed=seed)
    assert len(outcome.answers) >= 0.85 * IDEAL
    assert outcome.refused_share < 0.05


@pytest.mark.parametrize("answer_s", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("queue", [0, UNBOUNDED], ids=["refusing", "queueing silently"])
def test_overload_at_any_pace(answer_s: float, queue: int) -> None:
    """What counts is how many answers a phase holds, not seconds."""
    phase_s = 70 * answer_s
    phases = [(0.0, 8), (phase_s, 32), (2 * phase_s, 4)]
    outcome = play(3 * phase_s, lambda world: Slots(world, phases, about(answer_s, 0.3), queue=queue))
    assert len(outcome.answers) >= 0.85 * phase_s * 44 / answer_s
    assert outcome.refused_share < 0.05


def test_a_wall_is_held() -> None:
    """Neither left nor run into."""
    outcome = play(60, lambda world: Slots(world, [(0, 32)], about(MEAN_S), queue=0))
    assert 29 <= outcome.places(10, 60) <= 33
    assert outcome.refused_share < 0.03


@pytest.mark.parametrize("seed", range(3))
def test_a_silent_queue_stays_short(seed: int) -> None:
    outcome = play(60, lambda world: Slots(world, [(0, 8)], about(MEAN_S, 0.3), queue=UNBOUNDED), seed=seed)
    assert len(outcome.answers) >= 0.95 * 60 * 8 / MEAN_S
    assert 8 <= outcome.places(20, 60) <= 4 * 8


def test_a_queue_that_was_there_from_the_beginning_does_not_grow() -> None:
    """Two slots are fewer than the limit starts with: even the first latency was waiting."""
    outcome = play(60, lambda world: Slots(world, [(0, 2)], about(MEAN_S, 0.2), queue=UNBOUNDED))
    assert outcome.places(30, 60) < 1.5 * START


# --- servers that batch ----------------------------------------------------------------------------------------------


def tokens(mean: int, spread: float) -> Work:
    def draw(chance: random.Random) -> Job:
        return max(1, round(mean * chance.lognormvariate(-(spread**2) / 2, spread))), 0.0

    return draw


@pytest.mark.parametrize(
    ("base_s", "each_s", "most"),
    [(0.02, 0.0002, 128), (0.02, 0.001, 128), (0.02, 0.00005, 256), (0.02, 0.0002, 64), (0.03, 0.0005, 1000)],
)
@pytest.mark.parametrize("spread", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(2))
def test_a_gpu_that_batches_is_filled(base_s: float, each_s: float, most: int, spread: float, seed: int) -> None:
    """More in flight makes each answer slower, up to ninefold here, and all together faster: no overload."""
    made: list[Batching] = []

    def server(world: World) -> Batching:
        made.append(Batching(world, tokens(100, spread), base_s=base_s, each_s=each_s, most=most))
        return made[0]

    outcome = play(240, server, seed=seed)
    best = 140 * made[0].best(100, CEILING)
    assert outcome.answered(since=100) >= 0.9 * best
    assert outcome.refused == 0


def test_a_server_that_becomes_slower_is_not_throttled() -> None:
    """Every answer takes four times as long, with no queue: fewer in flight would only be fewer answers."""
    factor = [1.0]

    def work(chance: random.Random) -> Job:
        return 50, MEAN_S * factor[0] * chance.lognormvariate(-0.045, 0.3)

    def server(world: World) -> Slots:
        world.after(15, lambda: factor.__setitem__(0, 4.0))
        return Slots(world, [(0, 40)], work)

    outcome = play(90, server)
    assert outcome.answered(since=25) >= 0.9 * 65 * 40 / (4 * MEAN_S)


# --- refusals that are not about room --------------------------------------------------------------------------------


@pytest.mark.parametrize("busy", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_random_refusals_do_not_throttle(busy: float, seed: int) -> None:
    """A fixed concurrency of 64, answers in 20 ms: as many requests as without them, within 1.3 times the time."""

    def requests(busy: float) -> int:
        faulty = play(
            3,
            lambda world: Slots(world, [(0, 1000)], steady(0.02), busy=busy, broken=busy / 4),
            concurrency=64,
            seed=seed,
        )
        return faulty.requests

    assert requests(busy) * 1.3 >= requests(0.0)


def test_a_wall_is_seen_through_random_refusals() -> None:
    """32 slots, later 4, and every tenth request refused for no reason."""
    outcome = play(60, lambda world: Slots(world, [(0, 32), (30, 4)], about(MEAN_S), queue=0, busy=0.1))
    assert outcome.answered(until=30) >= 0.5 * 30 * 32 / MEAN_S
    assert outcome.places(50, 60) <= 8


# --- sharing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_two_clients_share_a_server_that_refuses(seed: int) -> None:
    world = World(seed)
    server = Slots(world, [(0, 32)], about(MEAN_S, 0.3), queue=0)
    first, second = (Client(world, Limit.learn(None, None), server) for _ in range(2))
    first.send()
    second.send()
    world.run(90)
    shares = [client.outcome.answered(since=30) / (60 * 32 / MEAN_S) for client in (first, second)]
    assert sum(shares) >= 0.9
    assert min(shares) >= 0.2
    assert max(client.outcome.refused_share for client in (first, second)) < 0.05


# --- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("queue", [0, UNBOUNDED])
def test_a_number_that_the_user_fixed(queue: int) -> None:
    """Taken at once, never exceeded; a queue is the user's own will, and refusals lower it only while they last."""
    phases = [(0.0, 100), (5.0, 10), (10.0, 100)]
    outcome = play(30, lambda world: Slots(world, phases, about(MEAN_S), queue=queue), concurrency=40)
    assert outcome.trace[0][2] == 40
    assert max(places for _, places, _ in outcome.trace) == 40
    assert outcome.places(8, 10) == pytest.approx(40 if queue else 10, abs=1)
    assert outcome.places(25, 30) == 40


@pytest.mark.parametrize(("told", "ceiling"), [(None, CEILING), (128, 102), (10, 8), (1, 1)])
def test_what_the_server_tells_is_not_used_up(told: int | None, ceiling: int) -> None:
    outcome = play(40, lambda world: Slots(world, [(0, 1000)], steady(MEAN_S)), told=told)
    assert outcome.trace[0][1] == min(START, ceiling)
    assert max(places for _, places, _ in outcome.trace) == ceiling
    assert outcome.places(20, 40) >= 0.95 * ceiling


def test_the_first_burst_of_refusals_tells_what_the_server_holds() -> None:
    limit = Limit.learn(100, None)
    for in_flight in range(100, 30, -1):
        limit.refused(sent_at=1.0, now=2.0, in_flight=in_flight)
    assert limit.places == 30
    drive(limit, 20, since=3.0)
    assert limit.places == 30  # and it stays there
    limit.refused(sent_at=3.5, now=12.0, in_flight=30)
    assert limit.places == 26  # refused again, though nothing more was asked: nine tenths of 29


def test_too_few_calls_say_nothing() -> None:
    """A limit that is not used is neither confirmed nor raised."""
    limit = Limit.learn(None, None)
    for moment in range(500):
        limit.answered(float(moment), moment + 1.0, 2, 50)
    assert limit.places == START


def test_refused_prompts_are_no_fast_answers() -> None:
    """They come back at once, without a token, and must not become the measure of latency."""

    def after(refusals: int) -> int:
        limit, now = Limit.learn(None, None), 0.0
        for number in range(4000):
            now += 0.01
            is_refused = number % 10 < refusals
            limit.answered(now - (0.001 if is_refused else 1.0), now, limit.places, 0 if is_refused else 50)
        return limit.places

    assert after(5) == after(0) == CEILING


def drive(limit: Limit, answers: int, *, latency_s: float = 1.0, since: float = 0.0) -> float:
    """So many answers, one after the other, with all places taken."""
    now = since
    for _ in range(answers):
        now += latency_s / limit.places
        limit.answered(now - latency_s, now, limit.places, 50)
    return now


NEWS = st.lists(
    st.tuples(st.sampled_from(["answered", "refused"]), st.floats(0, 5), st.integers(1, 600), st.integers(0, 900)),
    max_size=60,
)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(NEWS, st.none() | st.integers(1, 40), st.integers(1, 80))
def test_the_limit_keeps_its_bounds(
    news: list[tuple[str, float, int, int]], concurrency: int | None, server: int
) -> None:
    limit = Limit.learn(concurrency, server)
    ceiling = concurrency or max(1, int(server * SHARE))
    assert limit.places == (concurrency or min(START, ceiling))
    now = 0.0
    for what, late, in_flight, tokens in news:
        now += 0.1
        if what == "answered":
            limit.answered(now - late, now, in_flight, tokens)
        else:
            limit.refused(now - late, now, in_flight)
        assert 1 <= limit.places <= ceiling
    # Whatever there was: it finds back while all goes well.
    most = 0
    for _ in range(60):
        now = drive(limit, ceiling, since=now)
        most = max(most, limit.places)
    assert most == ceiling


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([-6, -1, 3, 10]), st.sampled_from([0, UNBOUNDED]))
def test_only_ratios_of_times_count(seed: int, doublings: int, queue: int) -> None:
    """The same events at another pace lead to the same places."""

    def places(scale: float) -> list[int]:
        now, limit, chance, found = 0.0, Limit.learn(None, None), random.Random(seed), []
        for _ in range(400):
            now += chance.random() * scale
            late = chance.random() * scale * limit.places
            if queue == 0 and limit.places > 20 and chance.random() < 0.3:
                limit.refused(now - scale / 50, now, limit.places)
            else:
                limit.answered(now - late, now, limit.places, chance.randint(1, 99))
            found.append(limit.places)
        return found

    assert places(1.0) == places(2.0**doublings)


def test_the_simulation_itself() -> None:
    """Servers do what they promise, else the rest proves nothing."""

    def fixed(places: int, server: Callable[[World], Slots | Batching]) -> Outcome:
        return play(100, server, concurrency=places)

    assert len(fixed(8, lambda w: Slots(w, [(0, 8)], steady(0.1))).answers) == pytest.approx(8000, rel=0.05)
    waiting = fixed(16, lambda w: Slots(w, [(0, 8)], steady(0.1)))
    assert len(waiting.answers) == pytest.approx(8000, rel=0.02)
    assert waiting.latencies[-1][1] == pytest.approx(0.2, rel=0.05)
    gpu = fixed(16, lambda w: Batching(w, tokens(100, 0.0), base_s=0.01, each_s=0.001, most=64))
    assert len(gpu.answers) == pytest.approx(100 * 16 / (100 * 0.026), rel=0.05)
    assert gpu.latencies[-1][1] == pytest.approx(2.6, rel=0.05)
    flaky = fixed(8, lambda w: Slots(w, [(0, 8)], steady(0.1), busy=0.2, broken=0.1))
    assert flaky.refused_share == pytest.approx(0.2, abs=0.03)
    assert flaky.failed / flaky.requests == pytest.approx(0.08, abs=0.02)
