"""Channel means, and the counts of how often channels fire."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from cleanai_onnx import coverage
from cleanai_onnx.coverage.kernels import channel_means
from tests.coverage import brute_force
from tests.coverage.measuring import compiled_here, measured
from tests.coverage.suites import LARGE, PACKED, TINY, activations, small_suites, thorough

means = compiled_here(channel_means, static_argnames=("shape", "channel_axis"))

FORMS = [
    ((7,), 0),
    ((6, 5, 5), 0),
    ((5, 5, 6), 2),
    ((5, 7, 9), 1),
    ((2, 3, 4, 5), 0),
    ((4, 3, 5, 6), 1),
    ((4, 1, 1), 0),
    ((3, 5003), 0),
    ((5003, 3), 1),
    ((4830,), 0),
]


def both(a: np.ndarray, axis: int, width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    shape = a.shape[1:]
    before = np.full((3, len(a), shape[axis] if width is None else width), 7, np.float32)
    values, mean = means(
        jnp.asarray(before),
        jnp.asarray(a.reshape(len(a), -1)),
        np.int32(1),
        shape=shape,
        channel_axis=axis,
    )
    # The values of the other layers stay as they were.
    np.testing.assert_array_equal(values[::2], before[::2])
    return np.asarray(values[1]), np.asarray(mean)


@pytest.mark.parametrize(("shape", "axis"), FORMS)
def test_means_are_exact_where_the_sums_are(shape: tuple[int, ...], axis: int) -> None:
    a = activations(np.random.default_rng(0), shape, "any", 3)
    values, mean = both(a, axis)
    np.testing.assert_array_equal(values, brute_force.neurons(a, axis, "channel"))
    np.testing.assert_array_equal(mean, brute_force.layer_means(a))


@pytest.mark.parametrize(("shape", "axis"), FORMS)
def test_means_do_not_depend_on_the_batch(shape: tuple[int, ...], axis: int) -> None:
    """To the last bit, on floats whose sums are rounded."""
    a = np.random.default_rng(1).standard_normal((8, *shape)).astype(np.float32)
    values, mean = both(a, axis)
    for batch in (1, 3):
        for first in range(0, 9 - batch, batch):
            part = slice(first, first + batch)
            of_part, mean_of_part = both(a[part], axis)
            np.testing.assert_array_equal(of_part, values[part])
            np.testing.assert_array_equal(mean_of_part, mean[part])
    exact = a.astype(np.float64).reshape(8, -1).mean(axis=1)
    np.testing.assert_allclose(mean, exact, atol=1e-6)


@pytest.mark.parametrize("count", [7, 41, 49, 55, 83, 107, 14641])
def test_division_rounds_once(count: int) -> None:
    """A product with the reciprocal of these counts would round twice."""
    values, mean = both(np.full((2, 3, count), 0.75, np.float32), 0)
    assert (values == 0.75).all() and (mean == 0.75).all()


def test_channels_beyond_the_layers_own_are_nan() -> None:
    values, mean = both(np.ones((2, 3, 2, 2), np.float32), 0, width=5)
    np.testing.assert_array_equal(values, [[1, 1, 1, math.nan, math.nan]] * 2)
    assert mean.tolist() == [1, 1]


def test_nan_stays_in_its_channel_and_input() -> None:
    a = np.ones((2, 3, 4, 4), np.float32)
    a[1, 2, 3, 3] = math.nan
    values, mean = both(a, 0)
    np.testing.assert_array_equal(values, [[1, 1, 1], [1, 1, math.nan]])
    np.testing.assert_array_equal(mean, [1, math.nan])


# How often channels fire.


def firing_by_hand(arrays: list[np.ndarray], layers: tuple) -> tuple[tuple[int, ...], ...]:
    """Count, for each channel, the inputs on which at least one of its units is above zero."""
    by_channel = [
        np.moveaxis(a, 1 + of.channel_axis, 1).reshape(len(a), of.channels, -1)
        for of, a in zip(layers, arrays, strict=True)
    ]
    return tuple(tuple((a > 0).any(axis=2).sum(axis=0).tolist()) for a in by_channel)


@thorough(15)
@given(small_suites())
def test_firing_counts_inputs_with_a_unit_above_zero(arrays: list[np.ndarray]) -> None:
    state, _ = measured(TINY, arrays, garbage=1e9)
    assert coverage.firing(state) == firing_by_hand(arrays, TINY)


def test_firing_of_large_layers_and_of_wide_vectors() -> None:
    kinds = ("any", "rectified", "with NaN", "zeros")
    for layers, kind in zip((PACKED, PACKED, PACKED, LARGE), kinds, strict=True):
        arrays = [activations(np.random.default_rng(2), of.shape, kind, 4) for of in layers]
        state, _ = measured(layers, arrays, garbage=1e9)
        fired = coverage.firing(state)
        assert fired == firing_by_hand(arrays, layers)
        assert [len(counts) for counts in fired] == [of.channels for of in layers]


@pytest.mark.parametrize("batch", [1, 3])
def test_firing_where_the_mean_says_otherwise(batch: int) -> None:
    layers = (TINY[2],)
    a = np.zeros((4, 2, 3, 3), np.float32)
    a[0, 0], a[0, 0, 1, 1] = -1, 0.5  # one unit above zero, a mean below
    a[1, 0], a[1, 0, 1, 1] = 1, math.nan  # a mean that is not a number
    a[2, 1] = math.nan
    a[3, 1] = -1
    state, _ = measured(layers, [a], batch=batch)
    assert coverage.firing(state) == ((2, 0),)


def test_firing_is_added_up_when_states_are_merged() -> None:
    arrays = [activations(np.random.default_rng(3), of.shape, "any", 5) for of in TINY]
    whole, _ = measured(TINY, arrays)
    first, _ = measured(TINY, [a[:2] for a in arrays])
    second, _ = measured(TINY, [a[2:] for a in arrays])
    assert coverage.firing(coverage.merge(first, second)) == coverage.firing(whole)
