"""Moments of all units against numpy in float64 on all values at once."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cleanai_onnx.profiles.moments import Moments
from cleanai_onnx.profiles.unit_moments import UNIT_BYTES, UnitMoments
from tests.coverage.suites import thorough


def gathered(layers: Sequence[np.ndarray], batch: int) -> UnitMoments:
    """Feed ``(n, N)`` values of each layer in batches, the last one padded as the runner does."""
    found = UnitMoments([values.shape[1] for values in layers])
    for first in range(0, len(layers[0]), batch):
        parts = [values[first : first + batch] for values in layers]
        valid = len(parts[0])
        padded = [np.concatenate([part, np.repeat(part[-1:], batch - valid, 0)]) for part in parts]
        found.add([jnp.asarray(part) for part in padded], valid)
    return found


def check(moments: Moments, values: np.ndarray) -> None:
    """Check against numpy: mean and deviation to 1e-6 of the deviation or of the rounding."""
    wanted = Moments.of(values)
    for name in ("count", "low", "high"):
        np.testing.assert_array_equal(getattr(moments, name), getattr(wanted, name))
    np.testing.assert_array_equal(moments.ranged, wanted.ranged)
    with np.errstate(invalid="ignore"):
        known = np.isfinite(wanted.deviation) & (wanted.count > 0)
    assert not np.isfinite(moments.deviation[~known & (wanted.count > 0)]).any()
    mean, deviation = wanted.mean[known], wanted.deviation[known]
    np.testing.assert_allclose(moments.deviation[known], deviation, rtol=1e-6, atol=1e-19)
    error = np.abs(moments.mean[known] - mean)
    assert (error <= 1e-6 * np.maximum(deviation, 1e-6 * np.abs(mean))).all()


NUMBERS = st.floats(-1e3, 1e3, width=32) | st.sampled_from([0.0, np.nan, np.inf, 1e20, -3e38])


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=NUMBERS),
    st.sampled_from([1, 4]),
)
@thorough(200)
def test_whatever_comes(values: np.ndarray, batch: int) -> None:
    check(gathered([values[:, :2], values[:, 2:]], batch).moments(), values)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("offset", [0, 1e3, -1e6])
@pytest.mark.parametrize("ordered", [False, True])
def test_many_inputs(batch: int, sparse: bool, offset: float, ordered: bool) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1203, 50)) * 10.0 ** rng.integers(-3, 3, 50)
    if sparse:
        # Units that fire once in a hundred inputs, and among them on the first.
        values *= rng.random(values.shape) < 0.01
        values[0] = 100
    if ordered:
        # As images that come class by class: each window is unlike what came before.
        values.sort(axis=0)
    values[:, :3] = [0, 0.1, 3]
    values = (values + offset).astype(np.float32)
    moments = gathered([values], batch).moments()
    check(moments, values)
    assert not moments.deviation[:3].any()


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_values_that_jump_and_stay(batch: int) -> None:
    # The same square is added again and again, and so the same rounding.
    rng = np.random.default_rng(2)
    values = np.concatenate([np.zeros((64, 90)), np.full((1500, 90), 0.7)])
    values += rng.normal(size=values.shape) * 1e-3
    values = values.astype(np.float32)
    check(gathered([values, -values], batch).moments(), np.concatenate([values, -values], axis=1))


def test_it_goes_on_after_it_was_asked() -> None:
    values = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    found = UnitMoments([4])
    for first in range(0, 60, 10):
        found.add([jnp.asarray(values[first : first + 10])], 10)
        check(found.moments(), values[: first + 10])


def test_nothing_came() -> None:
    moments = UnitMoments([2, 3]).moments()
    np.testing.assert_array_equal(moments.count, np.zeros(5))
    assert (moments.low == np.inf).all()


@pytest.mark.parametrize("odd", [0, np.nan])
def test_memory_for_each_unit(odd: float) -> None:
    values = np.ones((20, 1000), np.float32)
    found = gathered([values, np.full_like(values, odd)], 10)
    moments = found.moments()
    # What the platform's arrays take, and those that are returned; broadcast ones take nothing.
    kept = sum(array.nbytes for layer in found._layers for array in layer._state)
    fields = (moments.count, moments.low, moments.high, moments.mean, moments.squares)
    given = sum(field.nbytes for field in fields if field.strides != (0,))
    assert UNIT_BYTES - 8 <= (kept + given) / 2000 <= UNIT_BYTES
