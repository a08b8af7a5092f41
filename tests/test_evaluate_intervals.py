"""Intervals and paired tests: known values, and laws that hold for all counts."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm.evaluate.intervals import (
    alike,
    clustered_share,
    mcnemar,
    over_runs,
    paired,
    share,
    sign_flips,
    student_quantile,
)

COUNTS = st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@given(COUNTS)
def test_wilsons_interval_holds_the_share_and_mirrors(counts: tuple[int, int]) -> None:
    count, total = counts
    one, other = share(count, total), share(total - count, total)
    assert 0 <= one.low <= one.share <= one.high <= 1
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))
    assert share(count, total, 0.99).high >= one.high


def test_known_intervals() -> None:
    # Newcombe 1998, table I, method 3.
    for count, total, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        found = share(count, total)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    with pytest.raises(ValueError, match="no share"):
        share(1, 0)


@pytest.mark.parametrize(
    ("p", "freedom", "value"),
    # Abramowitz and Stegun, table 26.10.
    [(0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 4, 2.776), (0.995, 9, 3.250), (0.95, 30, 1.697)],
)
def test_students_quantiles(p: float, freedom: int, value: float) -> None:
    assert student_quantile(p, freedom) == pytest.approx(value, abs=6e-4)


def test_one_run_has_no_interval() -> None:
    one = over_runs([0.7])
    assert (one.mean, one.deviation, one.low, one.high) == (0.7, None, None, None)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test(a: int, b: int) -> None:
    p = mcnemar(a, b)
    assert p == mcnemar(b, a)
    tail = sum(math.comb(a + b, k) for k in range(min(a, b) + 1)) / 2 ** (a + b)
    assert p == pytest.approx(min(1.0, 2 * tail), abs=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60), st.integers(0, 9))
def test_paired_differences_are_seeded_and_antisymmetric(items: list[tuple[bool, bool]], seed: int) -> None:
    first, second = [a for a, _ in items], [b for _, b in items]
    one, again = (paired(first, second, seed=seed, resamples=500) for _ in range(2))
    other = paired(second, first, seed=seed, resamples=500)
    assert one == again
    assert (one.difference, one.p) == (-other.difference, other.p)
    assert one.low - 1e-9 <= one.difference <= one.high + 1e-9 or len(items) < 10
    assert one.difference == pytest.approx((sum(first) - sum(second)) / len(items))


def test_the_bootstrap_covers_what_theory_says() -> None:
    first, second = [True] * 300 + [False] * 100, [True] * 250 + [False] * 150
    found = paired(first, second, seed=1)
    error = math.sqrt((0.125 - 0.125**2) / 400)
    assert (found.low, found.high) == pytest.approx((0.125 - 1.96 * error, 0.125 + 1.96 * error), abs=0.004)
    with pytest.raises(ValueError, match="in pairs"):
        paired([True], [], seed=0)


CLUSTERED = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 12)), min_size=1, max_size=60)


@given(CLUSTERED)
def test_a_share_of_clusters_is_never_surer_than_one_of_items(items: list[tuple[bool, bool, int]]) -> None:
    right, keys = [one for one, _, _ in items], [key for _, _, key in items]
    found, plain = clustered_share(right, keys), share(sum(right), len(right))
    assert (found.count, found.total, found.clusters) == (plain.count, plain.total, len(set(keys)))
    assert found.low <= plain.low + 1e-12 and plain.high <= found.high + 1e-12
    assert 0 <= found.low <= found.share <= found.high <= 1
    other = clustered_share([not one for one in right], keys)
    assert (found.low, found.high) == pytest.approx((1 - other.high, 1 - other.low))


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.integers(2, 5))
def test_items_said_again_tell_nothing_new(right: list[bool], times: int) -> None:
    keys = list(range(len(right)))
    once, alone = clustered_share(right, keys), share(sum(right), len(right))
    assert (once.low, once.high) == (alone.low, alone.high)
    again = clustered_share(right * times, keys * times)
    if sum(right) in (0, len(right)):
        assert (again.low, again.high) == (alone.low, alone.high)
    else:
        # By m / (m - 1), the design effect is a little above the number of times.
        worth = share(sum(right), len(right), effective=len(right) - 1)
        assert (again.low, again.high) == pytest.approx((worth.low, worth.high))
    assert alike(keys * times) == pytest.approx(len(right))


def test_a_known_design_effect() -> None:
    # Four clusters of two, one of which is wrong: 4 * 0.4^2 + 1.6^2 = 3.2, times 5/4, beside 10 * 0.8 * 0.2.
    found = clustered_share([True] * 8 + [False] * 2, [place // 2 for place in range(10)])
    worth = share(8, 10, effective=10 / 2.5)
    assert (found.low, found.high) == pytest.approx((worth.low, worth.high))
    with pytest.raises(ValueError, match="do not match"):
        clustered_share([True], [1, 2])


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_the_sign_flip_test_counts_every_flip(leads: list[int]) -> None:
    flips = [abs(sum(sign * lead for sign, lead in zip(signs, leads, strict=True)))
             for signs in product((1, -1), repeat=len(leads))]  # fmt: skip
    p = sign_flips(leads)
    assert p == pytest.approx(sum(flip >= abs(sum(leads)) for flip in flips) / len(flips))
    assert p == pytest.approx(sign_flips([-lead for lead in leads]))


@given(st.integers(0, 60), st.integers(0, 60))
def test_sign_flips_of_single_items_are_mcnemars_test(a: int, b: int) -> None:
    assert sign_flips([1] * a + [-1] * b) == pytest.approx(mcnemar(a, b), rel=1e-9)


def test_no_p_is_zero() -> None:
    assert 0 < mcnemar(10, 500) == mcnemar(500, 10) < 1e-100
    assert mcnemar(10, 500) == pytest.approx(2 * sum(math.comb(510, k) for k in range(11)) * 2.0**-510)
    assert mcnemar(0, 5000) > 0 and sign_flips([2] * 3000) > 0


@given(CLUSTERED, st.integers(0, 9))
def test_pairs_in_clusters(items: list[tuple[bool, bool, int]], seed: int) -> None:
    first, second, keys = (list(column) for column in zip(*items, strict=True))
    one = paired(first, second, seed=seed, clusters=keys, resamples=300)
    other = paired(second, first, seed=seed, clusters=keys, resamples=300)
    assert one == paired(first, second, seed=seed, clusters=keys, resamples=300)
    assert one.difference == -other.difference and one.p == pytest.approx(other.p)
    assert one.clusters == len(set(keys)) and 0 < one.p <= 1
    alone, single = paired(first, second, seed=seed), paired(first, second, seed=seed, clusters=range(len(items)))
    assert (alone.low, alone.high, alone.p) == (single.low, single.high, single.p)


def test_the_bootstrap_of_clusters_is_as_wide_as_the_clusters_alone() -> None:
    first, second = [True] * 60 + [False] * 40, [True] * 40 + [False] * 60
    alone = paired(first, second, seed=1)
    again = paired(first * 4, second * 4, seed=1, clusters=list(range(100)) * 4)
    assert (again.low, again.high) == pytest.approx((alone.low, alone.high), abs=0.02)
    assert again.p == pytest.approx(alone.p) and paired(first * 4, second * 4, seed=1).p < again.p
