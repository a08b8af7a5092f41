"""What settings tell each other of how far seeds differ: laws, and what it brings in simulated experiments."""

from __future__ import annotations

import doctest
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment_answers import answers, experiment
from teacherlm.experiments import seed_variance
from teacherlm.experiments.conclusions import conclude
from teacherlm.experiments.results import Results
from teacherlm.experiments.seed_variance import NOTHING, Prior, Variance, as_sure_as, prior, priors
from teacherlm.experiments.statistics import compare, estimates

VARIANCES = st.lists(st.tuples(st.floats(1e-8, 1e4), st.integers(1, 9)), max_size=30)
ARMS = [f"k{place}" for place in range(12)]
VERSUS = {"vary": "kinds", "baseline": "k0", "test": "sums"}


@given(VARIANCES, st.floats(0, 1e4), st.integers(0, 9))
def test_no_variance_is_made_smaller_and_no_seed_counts_less(
    known: list[tuple[float, int]], own: float, freedom: int
) -> None:
    found = prior(known)
    assert 0 <= found.freedom <= sum(of for _, of in known)
    taken = found.with_own(Variance(own, freedom))
    assert taken.value >= (own if freedom else 0)
    # A setting whose seeds differ by more keeps what is its own.
    assert taken.freedom == freedom + found.freedom or taken == Variance(own, freedom)
    lead = as_sure_as(taken, Variance(2.0, 3.0), Variance(1.0, 4.0), freedom)
    assert lead.value == taken.value and freedom <= lead.freedom <= max(freedom, min(taken.freedom, 7.001))


@given(VARIANCES, st.floats(0.01, 100))
def test_other_units_change_the_variance_alone(known: list[tuple[float, int]], times: float) -> None:
    one, other = prior(known), prior([(times * value, freedom) for value, freedom in known])
    assert one.freedom == pytest.approx(other.freedom, rel=1e-4)
    assert times * one.variance == pytest.approx(other.variance, rel=1e-4)


@pytest.mark.parametrize(("freedom", "variance"), [(2.0, 1.0), (6.0, 25.0)])
def test_what_variances_were_drawn_from_is_found_again(freedom: float, variance: float) -> None:
    random = np.random.default_rng(1)
    true = variance * freedom / random.chisquare(freedom, 20_000)
    found = prior([(float(one), 2) for one in true * random.chisquare(2, 20_000) / 2])
    assert found.freedom == pytest.approx(freedom, rel=0.15) and found.variance == pytest.approx(variance, rel=0.05)


def test_equal_variances_are_worth_all_that_was_measured_and_unlike_ones_little() -> None:
    assert prior([(2.0, 2)] * 20).freedom == 40
    assert prior([(10.0**place, 2) for place in range(-6, 6)]).freedom < 0.5
    # Agreeing to the last answer tells nothing of others, and two settings do not tell whether they are alike.
    assert prior([(0.0, 2)] * 9 + [(1.0, 2)] * 2) == NOTHING
    assert priors([("test", [0.5]), ("test", [0.2, 0.3])]) == {"test": NOTHING}
    # Nor do those that agree but for rounding.
    assert prior([(1e-33, 2)] * 9 + [(1.0, 2)] * 2) == NOTHING
    assert NOTHING.with_own(Variance(3.0, 2)) == Variance(3.0, 2)
    assert Prior(2.0, 5.0).with_own(Variance(0.0, 0)) == Variance(2.0, 5.0)


def test_a_setting_of_one_seed_learns_from_the_others_how_unsure_it_is() -> None:
    declared = experiment(factors={"kinds": ARMS}, comparisons=[])
    random = np.random.default_rng(2)
    skills = {(arm, seed): float(random.uniform(0.3, 0.7)) for arm in ARMS for seed in (1, 2, 3)}
    found = answers(
        declared,
        lambda levels, seed: skills[levels["kinds"], seed],
        questions=600,
        lacking={"k0-2": None, "k0-3": None},
    )
    alone = Results(tuple(one for one in found.outcomes if one.factors["kinds"] == "k0"), found.items)
    (taught,), (untaught,) = (
        [row for row in estimates(declared, results, resamples=400) if row.factors["kinds"] == "k0"]
        for results in (found, alone)
    )
    assert taught.spread and untaught.spread and taught.estimate and untaught.estimate
    assert taught.spread.freedom and not untaught.spread.freedom
    width = [one.estimate.high - one.estimate.low for one in (taught, untaught) if one.estimate]
    # Questions alone: 4 points on either side. Seeds move it by 11 (standard deviation).
    assert width[0] > 3 * width[1]


def test_of_one_seed_where_several_were_wanted_there_is_no_verdict() -> None:
    """Cells that fail make nothing better."""
    keys = {"factors": {"kinds": ["none", "chain"]}, "comparisons": [{**VERSUS, "baseline": "none"}]}
    declared = experiment(**keys)
    failed = {"chain-2": "out of memory", "chain-3": "out of memory"}
    found = answers(
        declared, lambda levels, _: 0.8 if levels["kinds"] == "chain" else 0.3, questions=400, lacking=failed
    )
    (one,) = compare(declared, found, resamples=400)
    assert one.p_adjusted < 0.001 and one.low > 0 and one.verdict == "not significant"
    other = replace(one, level="mistakes")
    told = conclude(declared, [one, other]).paragraph
    assert "Of one seed: chain and mistakes." in told and "failed with seeds 2, 3: out of memory" in told
    alone = experiment(**keys, seeds=[1])
    (one,) = compare(alone, found, resamples=400)
    assert one.verdict == "better"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("usual", "other"), [(0.0, {}), (0.15, {}), (0.01, {"k0": 0.15}), (0.01, {"k5": 0.15})],
    ids=["seeds do not matter", "they do", "of the baseline alone", "of one alone"],
)  # fmt: skip
def test_experiments_of_many_equal_methods_seldom_hold_a_verdict(usual: float, other: dict[str, float]) -> None:
    """Eleven comparisons with one baseline."""
    declared = experiment(factors={"kinds": ARMS}, comparisons=[VERSUS], seeds=[1, 2, 3])
    random, tries, told, covered, several = np.random.default_rng(4), 120, 0, 0, 0
    noisy = [place for place, arm in enumerate(ARMS[1:]) if not other or "k0" in other or arm in other]
    for place in range(tries):
        skills = {
            (arm, seed): min(1.0, max(0.0, random.normal(0.5, other.get(arm, usual))))
            for arm in ARMS
            for seed in (1, 2, 3)
        }
        made = answers(declared, lambda levels, seed, of=skills: of[levels["kinds"], seed], questions=80, seed=place)  # type: ignore[misc]
        found = compare(declared, made, resamples=300)
        told += any(one.verdict != "not significant" for one in found)
        covered += sum(found[one].low <= 0 <= found[one].high for one in noisy)
        several += len(noisy)
    assert told / tries < 0.05 + 2 * (0.05 * 0.95 / tries) ** 0.5
    # 0.95, by three standard deviations of as many tries: comparisons of one experiment are not independent.
    assert covered / several > 0.95 - 3 * (0.95 * 0.05 / tries) ** 0.5


def test_the_examples_hold() -> None:
    assert doctest.testmod(seed_variance).failed == 0
