"""Moments against numpy on all values at once, however they are split."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cleanai_onnx.profiles.moments import Moments
from tests.coverage.suites import thorough

NUMBERS = st.floats(-1e3, 1e3, width=32) | st.sampled_from([0.0, np.nan])
VALUES = hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=NUMBERS)


@given(VALUES, st.integers(0, 12), st.integers(0, 12))
@thorough(200)
def test_parts_merge_into_the_whole(values: np.ndarray, first: int, second: int) -> None:
    low, high = sorted((min(first, len(values)), min(second, len(values))))
    parts = [Moments.of(part) for part in (values[:low], values[low:high], values[high:])]
    whole = Moments.none(values.shape[1])
    for part in parts:
        whole = whole.merged(part)
    check(whole, values)
    check(parts[2].merged(parts[0].merged(parts[1])), values)


def check(moments: Moments, values: np.ndarray) -> None:
    for column in range(values.shape[1]):
        numbers = values[:, column][~np.isnan(values[:, column])].astype(np.float64)
        assert moments.count[column] == len(numbers)
        if not len(numbers):
            assert moments.low[column] == np.inf and moments.high[column] == -np.inf
            continue
        assert moments.low[column] == numbers.min() and moments.high[column] == numbers.max()
        scale = 1 + np.abs(numbers).max()
        np.testing.assert_allclose(moments.mean[column], numbers.mean(), atol=1e-12 * scale)
        np.testing.assert_allclose(
            moments.deviation[column], numbers.std(), rtol=1e-6, atol=1e-6 * scale
        )
        assert moments.ranged[column] == (numbers.min() < numbers.max())


def test_none_is_the_identity() -> None:
    moments = Moments.of(np.array([[1, np.nan], [3, 2]], np.float32))
    for merged in (moments.merged(Moments.none(2)), Moments.none(2).merged(moments)):
        for name in ("count", "low", "high", "mean", "squares"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(moments, name))


def test_an_infinite_activation_has_a_count_and_no_range() -> None:
    moments = Moments.of(np.array([[np.inf], [1]], np.float32))
    assert moments.count[0] == 2 and moments.high[0] == np.inf and not moments.ranged[0]
