"""Convolutions by windows, and tiles of maxima, against XLA's own and their gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cleanai_onnx.lowering import lower
from cleanai_onnx.lowering.operators.windows import convolve_windows, pays
from tests.cli.material import build, node

RANDOM = np.random.default_rng(2)
CASES = [
    ((2, 1, 9, 8), (3, 1, 5, 5), ((2, 2), (2, 2))),
    ((3, 4, 7, 7), (5, 4, 3, 2), ((0, 1), (2, 0))),
    ((1, 2, 6, 5), (2, 2, 2, 4), ((0, 0), (0, 0))),
]


def own(x: jax.Array, w: jax.Array, pads: tuple[tuple[int, int], ...]) -> jax.Array:
    return lax.conv_general_dilated(
        x, w, (1, 1), pads, dimension_numbers=("NCHW", "OIHW", "NCHW"), precision="highest"
    )


@pytest.mark.parametrize(("shape", "filters", "pads"), CASES)
def test_convolution_and_both_gradients(
    shape: tuple[int, ...], filters: tuple[int, ...], pads: tuple[tuple[int, int], ...]
) -> None:
    x = jnp.asarray(RANDOM.standard_normal(shape), jnp.float32)
    w = jnp.asarray(RANDOM.standard_normal(filters), jnp.float32)
    assert pays(w, (1, 1), (1, 1), 1) == (jax.default_backend() == "cpu")
    wanted, back = jax.vjp(lambda x, w: own(x, w, pads), x, w)
    found, ours = jax.vjp(lambda x, w: convolve_windows(x, w, pads), x, w)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    arriving = jnp.asarray(RANDOM.standard_normal(wanted.shape), jnp.float32)
    for one, other in zip(ours(arriving), back(arriving), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_equal_windows_have_equal_values() -> None:
    x = jnp.full((2, 1, 12, 12), 0.7, jnp.float32)
    w = jnp.asarray(RANDOM.standard_normal((4, 1, 5, 5)), jnp.float32)
    found = np.asarray(convolve_windows(x, w, ((0, 0), (0, 0))))
    assert (found == found[:, :, :1, :1]).all()


def test_the_gradient_of_a_maximum_goes_to_the_first_of_equals() -> None:
    model = lower(build([node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])]))
    x = jnp.asarray(RANDOM.integers(0, 3, (2, 1, 8, 8)), jnp.float32)
    found = np.asarray(jax.grad(lambda x: model({}, x)["y"].sum())(x))
    wanted = np.zeros_like(found)
    for n, i, j in np.ndindex(2, 4, 4):
        window = np.asarray(x)[n, 0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        place = np.unravel_index(window.argmax(), (2, 2))
        wanted[n, 0, 2 * i + place[0], 2 * j + place[1]] = 1
    np.testing.assert_array_equal(found, wanted)


def test_a_maximum_with_a_value_that_is_no_number_is_none() -> None:
    model = lower(build([node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])]))
    for place in range(4):
        x = np.zeros((1, 1, 8, 8), np.float32)
        x[0, 0, place // 2, place % 2] = np.nan
        assert np.isnan(np.asarray(model({}, x)["y"])[0, 0, 0, 0])
