"""Exact sums, against rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cleanai_onnx.coverage.exact import exact_sums, rounded

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 9), st.just(3)), elements=finite))
def test_equal_to_rational_arithmetic_in_any_order(values: np.ndarray) -> None:
    wanted = [sum(map(Fraction, column), Fraction(0)) for column in values.T.tolist()]
    forth, back = exact_sums(values), exact_sums(values[::-1])
    assert forth == back
    assert [Fraction(total, 2**149) for total in forth] == wanted
    assert [rounded(total) for total in forth] == [float(total) for total in wanted]


@given(hnp.arrays(np.float32, (8, 1), elements=finite), st.integers(0, 8))
def test_parts_add_up(values: np.ndarray, cut: int) -> None:
    (one,), (other,) = exact_sums(values[:cut]), exact_sums(values[cut:])
    assert (one + other,) == exact_sums(values)


def test_what_is_not_finite_stays_so() -> None:
    values = np.array([[math.inf, -math.inf, math.nan, math.inf], [1, 1, 1, -math.inf]], np.float32)
    found = [rounded(total) for total in exact_sums(values)]
    assert found[:2] == [math.inf, -math.inf]
    assert math.isnan(found[2]) and math.isnan(found[3])
    (most,) = exact_sums(np.full((1000, 1), np.finfo(np.float32).max))
    assert rounded(most + math.inf) == math.inf
