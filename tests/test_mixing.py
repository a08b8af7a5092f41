"""How many samples each dataset gives: laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm.builders.mixing import Mixing, sizes

available = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(0, 300), min_size=1, max_size=9)
targets = st.integers(1, 1500)
caps = st.none() | st.integers(1, 200)
mixings = st.sampled_from(["capped", "proportional"])


@given(available, targets, caps, mixings)
def test_the_sizes_sum_up_and_nobody_gives_more_than_it_has_or_may(
    there: dict[str, int], target: int, at_most: int | None, mixing: Mixing
) -> None:
    found = sizes(there, target, at_most=at_most, mixing=mixing)
    limits = {name: min(count, at_most or count) for name, count in there.items()}
    assert list(found) == list(there)
    assert all(0 <= found[name] <= limits[name] for name in there)
    assert sum(found.values()) == min(target, sum(limits.values()))


@given(available, targets, caps, mixings)
def test_the_order_of_the_datasets_does_not_matter(
    there: dict[str, int], target: int, at_most: int | None, mixing: Mixing
) -> None:
    names = sorted(there, reverse=True)
    turned = {name: there[name] for name in names}
    assert sizes(turned, target, at_most=at_most, mixing=mixing) == sizes(there, target, at_most=at_most, mixing=mixing)


@given(available, targets, caps)
def test_capped_gives_all_the_same_number_or_all_they_have(
    there: dict[str, int], target: int, at_most: int | None
) -> None:
    found = sizes(there, target, at_most=at_most, mixing="capped")
    level = max(found.values())
    for name, size in found.items():
        assert size in (level, level - 1) or size == min(there[name], at_most or there[name])


@given(available, targets)
def test_proportional_gives_all_the_same_share(there: dict[str, int], target: int) -> None:
    found = sizes(there, target, mixing="proportional")
    whole = sum(there.values())
    if target < whole:
        for name, size in found.items():
            assert abs(size - target * there[name] / whole) < 1


@given(available, targets, st.integers(1, 200), caps)
def test_a_larger_target_takes_less_of_nobody_under_capped(
    there: dict[str, int], target: int, more: int, at_most: int | None
) -> None:
    """Largest remainders break this law for `proportional` (the Alabama paradox), by one sample."""
    before, after = (sizes(there, goal, at_most=at_most) for goal in (target, target + more))
    assert all(after[name] >= before[name] for name in there)


@given(available, targets, caps, st.data())
def test_rows_added_to_a_dataset_never_take_from_it_nor_give_to_others(
    there: dict[str, int], target: int, at_most: int | None, data: st.DataObject
) -> None:
    grown = data.draw(st.sampled_from(sorted(there)))
    before = sizes(there, target, at_most=at_most)
    after = sizes({**there, grown: there[grown] + data.draw(st.integers(1, 300))}, target, at_most=at_most)
    assert after[grown] >= before[grown]
    assert all(after[name] <= before[name] for name in there if name != grown)


@given(available, targets, caps, st.data())
def test_under_proportional_a_dataset_that_grows_gives_no_less(
    there: dict[str, int], target: int, at_most: int | None, data: st.DataObject
) -> None:
    grown = data.draw(st.sampled_from(sorted(there)))
    before = sizes(there, target, at_most=at_most, mixing="proportional")
    added = {**there, grown: there[grown] + data.draw(st.integers(1, 300))}
    after = sizes(added, target, at_most=at_most, mixing="proportional")
    assert after[grown] >= before[grown]


def test_without_a_target_each_gives_what_it_may() -> None:
    assert sizes({"a": 5, "b": 50}, None, at_most=10) == {"a": 5, "b": 10}
    assert sizes({"a": 5, "b": 50}, None) == {"a": 5, "b": 50}


@pytest.mark.parametrize(
    ("mixing", "found"),
    [("capped", {"wsc": 554, "boolq": 4723, "qqp": 4723}), ("proportional", {"wsc": 15, "boolq": 252, "qqp": 9733})],
)
def test_a_portrait(mixing: Mixing, found: dict[str, int]) -> None:
    assert sizes({"wsc": 554, "boolq": 9427, "qqp": 363_846}, 10_000, mixing=mixing) == found
