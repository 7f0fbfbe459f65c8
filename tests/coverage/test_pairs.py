"""Sign and value changes of one pair, to the letter of IEEE float32."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.coverage.pairs import PairCounts, count_pair
from tests.coverage import brute_force
from tests.coverage.suites import thorough


def one(a: float, b: float, t: float = 0.75) -> PairCounts:
    return count_pair(np.float32([a]), np.float32([b]), t)


@pytest.mark.parametrize(
    ("a", "b", "changes"),
    [
        (0, 0, True),
        (0, 1, True),
        (1, 0, True),
        (1, 1, False),
        (-1, 1, True),
        (-1, -1, False),
        (0, -1, True),
        (-0.0, 1, True),
        (1e-30, 1e-30, True),  # the product underflows to 0
        (-1e-30, -1e-30, True),
        (1e-19, 1e-19, False),  # a normal product
        (1e-22, 1e-22, False),  # a subnormal product
        (3e38, 3e38, False),  # the product overflows
        (3e38, -3e38, True),
        (math.inf, 0, False),  # the product is NaN
        (math.nan, 1, False),
        (math.nan, -1, False),
        (math.nan, 0, False),
    ],
)
def test_sign_change_is_a_product_of_at_most_zero(a: float, b: float, changes: bool) -> None:
    assert one(a, b).sign == one(b, a).sign == changes


@pytest.mark.parametrize(
    ("a", "b", "changes"),
    [
        (0, 0, False),
        (-0.0, 0.0, False),
        (0, 1, True),
        (0, -1, True),
        (1, 2, False),
        (-1, -2, False),
        (-1, 1, True),
        (1e-30, 1e-30, False),
        (math.nan, 1, False),
        (math.nan, 0, False),
        (math.nan, -1, False),
        (math.nan, math.nan, False),
    ],
)
def test_strict_sign_change_is_one_of_sign(a: float, b: float, changes: bool) -> None:
    assert one(a, b).sign_strict == one(b, a).sign_strict == changes


@pytest.mark.parametrize(
    ("a", "b", "t", "changes"),
    [
        (1.0, 0.25, 0.75, False),  # exactly the threshold
        (1.0, 0.249, 0.75, True),
        (0.1, 0.0, 0.1, False),  # float32(0.1) against 0.1
        (-1, 1, 1.9, True),
        (0, 0, 0, False),
        (3e38, -3e38, 0.75, True),
        (math.inf, math.inf, 0.75, False),
        (math.nan, 0, 0.0, False),
    ],
)
def test_value_change_is_a_distance_above_the_threshold(
    a: float, b: float, t: float, changes: bool
) -> None:
    assert one(a, b, t).value == one(b, a, t).value == changes


ANY = st.floats(width=32, allow_subnormal=False)


@thorough(100)
@given(st.lists(st.tuples(ANY, ANY), min_size=1, max_size=40), st.sampled_from([0, 0.05, 0.75]))
def test_all_counts_on_any_floats(pairs: list[tuple[float, float]], t: float) -> None:
    a, b = np.float32(pairs).T
    found = count_pair(a, b, t)
    sign, value = brute_force.sign_change(a, b), brute_force.value_change(a, b, t)
    small = brute_force.value_change(a, b, 0.05)
    assert found == PairCounts(
        size=len(pairs),
        sign=sign.sum(),
        sign_strict=brute_force.strict_sign_change(a, b).sum(),
        value=value.sum(),
        value_and_sign=(value & sign).sum(),
        compat_value=small.sum(),
        compat_value_and_sign=(small & sign).sum(),
    )
    assert found.value_only == (value & ~sign).sum()
    assert found.compat_value_only == (small & ~sign).sum()
    assert all(type(count) is int for count in found)
