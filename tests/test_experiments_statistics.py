"""Statistics of experiments: laws that hold for all answers, known values, and claims checked by simulation."""

from __future__ import annotations

import doctest
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment_answers import answers, cell_of, experiment, written
from teacherlm.evaluate.intervals import mcnemar, over_runs, paired
from teacherlm.experiments import conclusions, statistics, two_levels, words
from teacherlm.experiments.comparing import Compared
from teacherlm.experiments.conclusions import conclude, sentence
from teacherlm.experiments.results import Outcome, Results
from teacherlm.experiments.statistics import compare, detectable, estimate, estimates, holm
from teacherlm.experiments.two_levels import spreads

if TYPE_CHECKING:
    from teacherlm.experiments.two_levels import Floats

DRAWS = 400
SIDES = {"kinds": ["none", "chain"]}
PLAIN = [{"vary": "kinds", "baseline": "none", "test": "sums"}]
SWAPPED = [{"vary": "kinds", "baseline": "chain", "test": "sums"}]

RUNS = st.integers(1, 4).flatmap(
    lambda seeds: st.lists(
        st.tuples(st.tuples(*[st.booleans()] * seeds), st.tuples(*[st.booleans()] * seeds), st.integers(0, 8)),
        min_size=1,
        max_size=40,
    )
)
"""Of each question: of each seed whether the first side has it right; the second; its content."""


def sides(
    runs: Sequence[tuple[tuple[bool, ...], tuple[bool, ...], int]], comparisons: list[dict[str, str]]
) -> Compared:
    seeds = len(runs[0][0])
    declared = experiment(factors=SIDES, comparisons=comparisons, seeds=list(range(seeds)))
    outcomes, items = [], {}
    for level, side in (("chain", [run[0] for run in runs]), ("none", [run[1] for run in runs])):
        for seed in range(seeds):
            cell = f"{level}{seed}"
            made = written(cell, "sums", "writing", [right[seed] for right in side])
            items[cell, "sums", "writing"] = tuple(
                type(item)(**{**{name: getattr(item, name) for name in item.__slots__}, "cluster": str(run[2])})
                for item, run in zip(made, runs, strict=True)
            )
            outcomes.append(
                Outcome(experiment="made", cell=cell, factors={"kinds": level}, seed=seed, test="sums", way="writing")
            )
    (one,) = compare(declared, Results(tuple(outcomes), items), resamples=DRAWS)
    return one


@settings(deadline=None, max_examples=60)
@given(RUNS)
def test_sides_that_change_places_change_the_sign_alone(
    runs: list[tuple[tuple[bool, ...], tuple[bool, ...], int]],
) -> None:
    one, other = sides(runs, PLAIN), sides(runs, SWAPPED)
    assert one.difference == -other.difference and one.p == pytest.approx(other.p)
    assert one.p_of_models == other.p_of_models
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)
    assert one.effect == pytest.approx(-other.effect) and one.detectable == pytest.approx(other.detectable)
    turned = {"better": "worse", "worse": "better"}
    assert one.verdict == turned.get(other.verdict, other.verdict)
    assert (one.first, one.second) == (other.second, other.first)


@settings(deadline=None, max_examples=60)
@given(RUNS)
def test_what_a_comparison_says_holds_together(runs: list[tuple[tuple[bool, ...], tuple[bool, ...], int]]) -> None:
    one = sides(runs, PLAIN)
    assert one.difference == pytest.approx(one.first.mean - one.second.mean)
    assert one.questions == len(runs) and one.clusters == len({run[2] for run in runs})
    assert 0 < one.p_of_models <= one.p <= one.p_adjusted <= 1 and -1 <= one.low <= one.high <= 1
    for side in (one.first, one.second):
        assert 0 <= side.low <= side.mean <= side.high <= 1
        assert side.mean == pytest.approx(sum(side.runs) / len(side.runs))
    if one.verdict != "not significant":
        assert one.p_adjusted < 0.05 and (one.low > 0 or one.high < 0)
    assert one.detectable is not None and 0 < one.detectable <= 1


@settings(deadline=None, max_examples=40)
@given(RUNS)
def test_equal_answers_do_not_differ(runs: list[tuple[tuple[bool, ...], tuple[bool, ...], int]]) -> None:
    one = sides([(first, first, content) for first, _, content in runs], PLAIN)
    assert (one.difference, one.p, one.p_adjusted, one.effect) == (0, 1, 1, 0)
    assert one.low <= 0 <= one.high and one.verdict == "not significant"


def test_more_questions_and_more_seeds_tell_more() -> None:
    def wide(seeds: int, clusters: int) -> float:
        # Three seeds tell little of how far seeds differ, so one interval may well be wider than another.
        random = np.random.default_rng(2)
        tables = [_leads(random, seeds, clusters, 0.1, gain=0.3) for _ in range(40)]
        return float(np.mean([one.high - one.low for one in spreads(tables, np.ones(clusters), resamples=DRAWS)]))

    assert wide(3, 800) < 0.75 * wide(3, 200) < 0.75 * 0.75 * wide(3, 50)
    assert wide(8, 100) < 0.8 * wide(4, 100)


def test_a_comparison_and_its_reverse_are_one() -> None:
    """Holm's correction would count it twice."""
    twice = experiment(factors=SIDES, seeds=[1], comparisons=[*PLAIN, *SWAPPED])
    (one,) = compare(twice, answers(twice, lambda levels, _: 0.7 if levels["kinds"] == "chain" else 0.5, questions=99))
    assert one.difference > 0


def test_questions_of_one_content_count_as_one() -> None:
    declared = experiment(factors=SIDES, seeds=[1], comparisons=PLAIN)
    alone = answers(declared, lambda levels, _: 0.6 if levels["kinds"] == "chain" else 0.4, questions=100)
    again = Results(
        alone.outcomes,
        {
            key: written(*key, [item.correct for item in items for _ in range(3)], per_content=3)
            for key, items in alone.items.items()
        },
    )
    (one,), (other,) = compare(declared, alone), compare(declared, again)
    assert (other.questions, other.clusters) == (300, 100)
    assert (one.difference, one.low, one.high) == pytest.approx((other.difference, other.low, other.high))
    assert one.p == pytest.approx(other.p)


def test_one_seed_is_the_paired_test_of_questions() -> None:
    declared = experiment(factors=SIDES, seeds=[1], comparisons=PLAIN)
    found = answers(declared, lambda levels, _: 0.7 if levels["kinds"] == "chain" else 0.5, questions=300)
    (one,) = compare(declared, found)
    first, second = (
        [item.correct for item in found.items[cell_of({"kinds": kind}, 1), "sums", "writing"]]
        for kind in ("chain", "none")
    )
    known = paired(first, second, seed=3)
    assert (one.low, one.high) == pytest.approx((known.low, known.high), abs=0.01)
    assert one.p == pytest.approx(mcnemar(known.only_first, known.only_second))
    stats = pytest.importorskip("scipy.stats")
    assert one.p == pytest.approx(stats.binomtest(known.only_first, known.only_first + known.only_second).pvalue)


def test_seeds_alone_give_students_interval() -> None:
    # Every question is answered alike, so that nothing but the seed matters.
    table = np.outer([0.2, 0.5, 0.35], np.full(50, 4.0))
    (found,) = spreads([table], np.full(50, 4.0))
    known = over_runs([0.2, 0.5, 0.35])
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.005)
    stats = pytest.importorskip("scipy.stats")
    low, high = stats.t.interval(0.95, 2, loc=0.35, scale=0.15 / math.sqrt(3))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.005)


def test_many_seeds_and_questions_give_what_theory_says() -> None:
    random = np.random.default_rng(1)
    # Rows, columns and noise of known variances, as Clark 1973 has them.
    seeds, clusters = 40, 400
    table = random.normal(0, 0.02, (seeds, 1)) + random.normal(0, 0.3, (1, clusters))
    table = table + random.normal(0, 0.5, (seeds, clusters))
    (found,) = spreads([table], np.ones(clusters))
    error = math.sqrt(0.02**2 / seeds + 0.3**2 / clusters + 0.5**2 / seeds / clusters)
    assert found.error == pytest.approx(error, rel=0.1)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.12)
    assert found.noise == pytest.approx(0.5 / math.sqrt(clusters), rel=0.1)


def test_one_content_tells_nothing_of_others() -> None:
    (found,) = spreads([np.array([[3.0], [2.0]])], np.array([4.0]))
    assert (found.low, found.mean, found.high) == (-1.0, 0.625, 1.0)
    with pytest.raises(ValueError, match="do not match 2 clusters"):
        spreads([np.ones((2, 3))], np.ones(2))
    assert spreads([], np.ones(2)) == []
    with pytest.raises(ValueError, match="0 tests"):
        detectable(found, tests=0)


@given(st.lists(st.floats(1e-6, 1), max_size=12), st.floats(0.001, 0.2))
def test_holms_correction_refuses_as_the_procedure_does(values: list[float], level: float) -> None:
    corrected = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, corrected, strict=True))
    assert [q for _, q in sorted(zip(values, corrected, strict=True))] == sorted(corrected)
    refused, ordered = set(), sorted(range(len(values)), key=values.__getitem__)
    for rank, place in enumerate(ordered):
        if (len(values) - rank) * values[place] > level:
            break
        refused.add(place)
    assert refused == {place for place, q in enumerate(corrected) if q <= level}


def test_a_verdict_takes_the_seeds_too() -> None:
    declared = experiment(factors=SIDES, comparisons=PLAIN)
    lucky = {1: 0.9, 2: 0.5, 3: 0.48}
    found = answers(declared, lambda levels, seed: lucky[seed] if levels["kinds"] == "chain" else 0.5, questions=400)
    (one,) = compare(declared, found)
    assert one.p_of_models < 0.001 and one.low < 0 < one.high
    assert one.p_adjusted > 0.05 and one.verdict == "not significant"
    assert "their seeds do so too" in sentence(declared, one)
    both = conclude(declared, [one, replace(one, level="other", p_of_models=0.5)]).paragraph
    assert both.endswith("Of these the models of chain do differ, but other seeds might turn it.")
    alone = replace(one, low=0.01, high=0.2)
    assert "it would by itself, but not among all comparisons" in sentence(declared, alone)
    both = conclude(declared, [alone, replace(one, level="other", p_of_models=0.5)]).paragraph
    assert both.endswith("Significant by itself, but not among all comparisons: chain.")


def test_equal_trainings_are_compared_once_and_not_with_themselves() -> None:
    declared = experiment(
        comparisons=[*PLAIN, {"vary": "order", "baseline": "first", "test": "sums"}],
    )
    found = compare(declared, answers(declared, lambda levels, _: 0.5), resamples=DRAWS)
    told = [(one.vary, one.level, dict(one.fixed), one.verdict) for one in found]
    # `none` is one training in both orders, and each of the others is set against it once.
    assert [one[:3] for one in told] == [
        ("kinds", "chain", {"order": "first"}),
        ("kinds", "chain", {"order": "last"}),
        ("kinds", "mistakes", {"order": "first"}),
        ("kinds", "mistakes", {"order": "last"}),
        ("order", "last", {"kinds": "none"}),
        ("order", "last", {"kinds": "chain"}),
        ("order", "last", {"kinds": "mistakes"}),
    ]
    (same,) = [one for one in found if one.verdict == "not tested"]
    assert same.why == "both sides are the same training, so there is nothing to compare"
    assert (same.difference, same.p, same.first) == (0, 1, same.second) and same.detectable is None
    # Holm counts what is tested: six.
    smallest = min(one.p for one in found)
    assert min(one.p_adjusted for one in found) == pytest.approx(min(1, 6 * smallest))


def test_pairs_that_a_grid_names_twice_are_tested_once() -> None:
    declared = experiment(comparisons=[*PLAIN, *PLAIN, {"vary": "kinds", "baseline": "none", "test": "sums"}])
    assert len(compare(declared, answers(declared, lambda levels, _: 0.5), resamples=DRAWS)) == 4


@pytest.mark.parametrize(
    ("lacking", "seeds", "verdict", "why"),
    [
        ({"chain-1": "out of memory"}, (2, 3), "not significant", "kinds=chain failed with seed 1: out of memory"),
        ({"none-2": None}, (1, 3), "not significant", "kinds=none was not run with seed 2"),
        (dict.fromkeys(("none-1", "none-2", "none-3"), "boom"), (), "not tested", "failed with seeds 1, 2, 3: boom"),
        ({"chain-1": None, "none-2": None, "none-3": None}, (), "not tested", "kinds=none was not run with seeds 2, 3"),
    ],
)  # fmt: skip
def test_what_is_lacking_is_said(
    lacking: dict[str, str | None], seeds: tuple[int, ...], verdict: str, why: str
) -> None:
    declared = experiment(factors=SIDES, comparisons=PLAIN)
    (one,) = compare(declared, answers(declared, lambda levels, _: 0.5, lacking=lacking), resamples=DRAWS)
    assert (one.seeds, one.verdict) == (seeds, verdict) and why in str(one.why)
    assert why in sentence(declared, one)
    if verdict == "not tested":
        assert math.isnan(one.difference) and one.p == one.p_adjusted == 1
        assert one.first.runs and not math.isnan(one.first.mean)
    else:
        assert len(one.first.runs) == len(one.cells) == len(seeds)


def test_nothing_was_run_yet() -> None:
    declared = experiment(
        comparisons=[*PLAIN, {"vary": "order", "baseline": "last", "test": "sums"}], grids=[{"kinds": "all"}]
    )
    found = compare(declared, Results(()))
    assert [one.verdict for one in found] == ["not tested"] * 3
    assert "was not run with seeds 1, 2, 3" in str(found[0].why)
    assert found[2].why == "the grids have no two cells that differ in `order` alone, one of them last"
    assert all(math.isnan(one.first.mean) and one.first.runs == () for one in found)
    assert all(row.estimate is None and row.absent == (1, 2, 3) for row in estimates(declared, Results(())))
    assert "none could be tested" in conclude(declared, found).paragraph


def test_named_sides_and_ways() -> None:
    both = {"sums": {"procedural": {"count": 1, "seed": 1}}}
    chain, plain = {"levels": {"kinds": "chain", "order": "last"}}, {"levels": {"kinds": "none"}, "way": "options"}
    ways = [
        {"first": {"levels": {"kinds": "chain"}}, "second": {"levels": {"kinds": "chain"}, "way": "options"},
         "test": "sums"},
        {"first": chain, "second": plain, "test": "sums"},
        {"first": {"levels": {"kinds": "mistakes", "order": "last"}}, "second": chain, "test": "sums"},
    ]  # fmt: skip
    declared = experiment(tests=both, comparisons=ways, grids=[{"kinds": ["none", "chain"], "order": "all"}])
    by_way, across, unplanned = compare(declared, answers(declared, lambda levels, _: 0.5), resamples=DRAWS)
    assert (by_way.vary, by_way.level, by_way.baseline) == ("way", "writing", "options")
    assert by_way.verdict != "not tested" and by_way.cells == by_way.baseline_cells
    assert (across.vary, across.level) == ("kinds + order + way", "chain + last + writing")
    assert (across.baseline, across.baseline_way) == ("none + first + options", "options")
    assert unplanned.why == "no grid has kinds=mistakes, order=last"


def test_only_questions_that_all_have_are_compared() -> None:
    declared = experiment(factors=SIDES, seeds=[1], comparisons=PLAIN)
    found = answers(declared, lambda levels, _: 0.5, questions=40)
    items = dict(found.items)
    key = ("none-1", "sums", "writing")
    items[key] = tuple(reversed(items[key][:30]))
    (one,) = compare(declared, Results(found.outcomes, items), resamples=DRAWS)
    right = [sum(item.correct for item in items[cell, "sums", "writing"][:40] if int(item.sample_id[1:]) < 30)
             for cell in ("chain-1", "none-1")]  # fmt: skip
    assert one.questions == 30 and one.difference == pytest.approx((right[0] - right[1]) / 30)
    items[key] = written(*key, [True] * 5, names=[f"other{place}" for place in range(5)])
    (one,) = compare(declared, Results(found.outcomes, items), resamples=DRAWS)
    assert one.verdict == "not tested" and one.why == "the two sides have no question in common"


def test_estimates_say_what_each_setting_came_to() -> None:
    declared = experiment()
    found = answers(
        declared, lambda levels, _: 1.0 if levels["kinds"] == "chain" else 0.5, lacking={"mistakes-last-2": "boom"},
        parameters=430_000, tokens=1_000, loss=0.5, train_seconds=2.0,
    )  # fmt: skip
    rows = estimates(declared, found, resamples=DRAWS)
    assert [row.setting for row in rows][:2] == ["kinds=none, order=first", "kinds=none, order=last"]
    by_setting = {row.setting: row for row in rows}
    whole, failed = by_setting["kinds=chain, order=last"], by_setting["kinds=mistakes, order=last"]
    assert (whole.estimate and whole.estimate.mean) == 1.0
    # All right: still no certainty. Wilson's bound for as many as there are contents.
    assert whole.estimate and whole.estimate.high == 1.0 and 0.9 < whole.estimate.low < 0.95
    assert (whole.parameters, whole.tokens, whole.loss, whole.train_seconds) == (430_000, 1_000, 0.5, 2.0)
    assert (failed.seeds, failed.failed, failed.absent) == ((1, 3), (2,), ())
    assert failed.estimate and len(failed.estimate.runs) == 2
    group = [one for one in found.outcomes if one.factors == {"kinds": "chain", "order": "last"}]
    assert estimate(found, group, resamples=DRAWS) == whole.estimate
    assert estimate(found, []) is None


def _leads(random: np.random.Generator, seeds: int, clusters: int, seed_spread: float, gain: float) -> Floats:
    """Two sides of one population: questions of different difficulty, sides and seeds with likings of their own."""
    question = random.normal(0, 1, clusters)
    shares = []
    for more in (gain, 0.0):
        liking = random.normal(0, 0.7, clusters) + seed_spread * random.normal(size=(seeds, 1))
        odds = -0.5 + question + liking + more
        shares.append(random.random((seeds, clusters)) < 1 / (1 + np.exp(-odds)))
    lead: Floats = shares[0].astype(float) - shares[1]
    return lead


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("seed_spread", [0.0, 0.2, 0.6, 1.5])
def test_the_interval_covers_what_it_promises(seeds: int, seed_spread: float) -> None:
    random, tries, clusters = np.random.default_rng(5), 600, 100
    tables = [_leads(random, seeds, clusters, seed_spread, gain=0.0) for _ in range(tries)]
    covered = sum(one.low <= 0 <= one.high for one in spreads(tables, np.ones(clusters), resamples=1_000))
    # 0.95, by two standard deviations of so many tries.
    assert covered / tries > 0.95 - 2 * math.sqrt(0.95 * 0.05 / tries)


def test_drawing_three_seeds_from_three_would_not() -> None:
    """Why the interval is none of the plain two-level bootstrap: where seeds differ much it covers far less."""
    random, tries, clusters, draws = np.random.default_rng(5), 300, 100, 1_000
    seeds = random.multinomial(3, [1 / 3] * 3, size=draws)
    contents = random.multinomial(clusters, [1 / clusters] * clusters, size=draws)
    covered = 0
    for _ in range(tries):
        table = _leads(random, 3, clusters, 1.5, gain=0.0)
        low, high = np.quantile(((contents @ table.T) * seeds).sum(axis=1) / (3 * clusters), [0.025, 0.975])
        covered += low <= 0 <= high
    assert covered / tries < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("seed_spread", [0.0, 0.5, 1.5])
def test_equal_methods_are_seldom_told_apart(seed_spread: float) -> None:
    """The size of the verdict, where both sides are the same method with other seeds."""
    random, told, tries = np.random.default_rng(9), 0, 400
    for _ in range(tries):
        lead = _leads(random, 3, 80, seed_spread, gain=0.0)
        told += _of_leads(lead).verdict != "not significant"
    assert told / tries < 0.05 + 2 * math.sqrt(0.05 * 0.95 / tries)


@pytest.mark.slow
def test_what_is_detectable_is_found_about_four_times_of_five() -> None:
    random, tries = np.random.default_rng(3), 150
    none = [_of_leads(_leads(random, 5, 150, 0.1, gain=0.0)) for _ in range(60)]
    wanted = float(np.median([one.detectable or 1.0 for one in none]))
    gains = np.linspace(0, 4, 41)
    means = [np.mean([_leads(random, 5, 400, 0.1, gain).mean() for _ in range(20)]) for gain in gains]
    gain = float(np.interp(wanted, means, gains))
    found = sum(_of_leads(_leads(random, 5, 150, 0.1, gain)).verdict == "better" for _ in range(tries))
    assert 0.6 < found / tries < 0.95


def _of_leads(lead: Floats) -> Compared:
    """A comparison with these leads: where both are alike, both are wrong."""
    runs = [
        (tuple(bool(one > 0) for one in column), tuple(bool(one < 0) for one in column), place)
        for place, column in enumerate(lead.T)
    ]
    return sides(runs, PLAIN)


def test_thirty_cells_take_seconds() -> None:
    import time

    factors = {"kinds": [f"k{place}" for place in range(10)]}
    declared = experiment(factors=factors, comparisons=[{"vary": "kinds", "baseline": "k0", "test": "sums"}])
    found = answers(declared, lambda levels, _: 0.5, questions=600)
    began = time.process_time()
    assert len(compare(declared, found)) == 9 and len(estimates(declared, found)) == 10
    assert time.process_time() - began < 10


def test_sentences_say_what_was_found() -> None:
    declared = experiment(
        comparisons=[{"vary": "kinds", "baseline": "none", "where": {"order": ["last"]}, "test": "sums"}],
        paper=[{"says": "It helps.", "source": "arXiv 2310.19019"}],
    )

    def skill(levels: object, _: int) -> float:
        return 0.8 if levels == {"kinds": "chain", "order": "last"} else 0.25

    compared = compare(declared, answers(declared, skill, questions=400))
    said = conclude(declared, compared)
    gain, no = said.sentences
    one = compared[0]
    assert gain == (
        f"With chain in place of none (kinds; order last, asked by writing), accuracy on sums rises by "
        f"{100 * one.difference:.1f} points ({100 * one.low:.1f} to {100 * one.high:.1f}; p = 0.001 after Holm's "
        f"correction, h = {one.effect:.2f}): {100 * one.first.mean:.1f} % against {100 * one.second.mean:.1f} %."
    )
    assert "accuracy on sums does not differ significantly (" in no
    assert no.endswith(" points could well have been missed.")
    assert said.paper == ("It helps. (arXiv 2310.19019)",)
    assert said.paragraph.startswith(
        "Of 2 comparisons against none (kinds, asked by writing), accuracy on sums is significantly higher in 1 and "
        "not significantly different in 1. Higher: chain (order last) by "
    )
    worse = compare(experiment(**{"factors": SIDES, "comparisons": SWAPPED}), answers(
        experiment(factors=SIDES), lambda levels, _: 0.8 if levels["kinds"] == "chain" else 0.25, questions=400,
    ))  # fmt: skip
    fall = sentence(experiment(factors=SIDES), worse[0])
    assert "accuracy on sums falls by " in fall and "−" not in fall.split(":")[0].split("; p")[0]
    assert conclude(experiment(comparisons=[]), []).paragraph == "No comparison was planned."


@pytest.mark.parametrize("module", [statistics, words, conclusions, two_levels])
def test_examples_in_docstrings_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_all_orders_of_p_are_formatted() -> None:
    for p, said in ((1e-300, "p < 0.001"), (0.001, "p = 0.001"), (0.0999, "p = 0.100"), (0.5, "p = 0.50")):
        assert words.p_value(p) == said
    for low, high in product((-0.031, 0.0), (0.018, math.nan)):
        assert words.bounds(low, high) == ("–" if math.isnan(high) else f"{words.plain(low)} to 1.8")
