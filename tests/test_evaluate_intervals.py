"""Intervals and paired tests: known values, and laws that hold for all counts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm.evaluate.intervals import mcnemar, over_runs, paired, share, student_quantile

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
