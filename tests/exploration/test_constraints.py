"""Constraints against loops over pixels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanai_onnx.exploration import constraints

RANDOM = np.random.default_rng(3)
GRADIENT = RANDOM.standard_normal((6, 7, 9, 2)).astype(np.float32)
CORNERS = np.array([[0, 0], [4, 5], [1, 2], [3, 0], [0, 5], [2, 2]], np.int32)
SIZE = (3, 4)


def test_light() -> None:
    found = np.asarray(constraints.light(GRADIENT))
    for one, gradient in zip(found, GRADIENT, strict=True):
        np.testing.assert_allclose(one, np.full_like(gradient, gradient.mean()), rtol=1e-4)


def inside(corner: np.ndarray) -> np.ndarray:
    mask = np.zeros(GRADIENT.shape[1:], bool)
    mask[corner[0] : corner[0] + SIZE[0], corner[1] : corner[1] + SIZE[1]] = True
    return mask


def test_occlusion() -> None:
    found = np.asarray(constraints.occlusion(GRADIENT, CORNERS, SIZE))
    for one, gradient, corner in zip(found, GRADIENT, CORNERS, strict=True):
        np.testing.assert_array_equal(one, np.where(inside(corner), gradient, 0))


def test_blackout_only_darkens_and_only_where_that_is_up() -> None:
    gradient = GRADIENT.copy()
    gradient[::2] -= 1
    gradient[1::2] += 1
    found = np.asarray(constraints.blackout(gradient, CORNERS, SIZE))
    for row, (one, corner) in enumerate(zip(found, CORNERS, strict=True)):
        up = gradient[row][inside(corner)].mean() < 0
        np.testing.assert_array_equal(one, -1.0 * (inside(corner) & up))
        assert up == (row % 2 == 0)


def test_corners_are_within_the_image_and_everywhere() -> None:
    keys = jax.random.split(jax.random.key(0), 500)
    found = np.asarray(constraints.corners(keys, (7, 9, 2), SIZE))
    assert set(map(tuple, found.tolist())) == {(y, x) for y in range(5) for x in range(6)}


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 2.0), st.integers(0, 2**31))
@pytest.mark.parametrize(("kind", "order"), [("linf", np.inf), ("l2", 2)])
def test_balls(kind: str, order: float, radius: float, chance: int) -> None:
    random = np.random.default_rng(chance)
    seed = random.random((4, 3, 3, 1)).astype(np.float32)
    x = seed + random.standard_normal(seed.shape).astype(np.float32) * radius
    found = np.asarray(constraints.within_ball(jnp.asarray(x), seed, kind, radius))
    for one, start, given_ in zip(found, seed, x, strict=True):
        length = np.linalg.norm((one - start).ravel(), order)
        assert length <= radius * (1 + 1e-4) + 1e-6
        if np.linalg.norm((given_ - start).ravel(), order) < radius * (1 - 1e-4):
            np.testing.assert_allclose(one, given_, atol=1e-6)
        elif kind == "l2":
            assert length == pytest.approx(radius, rel=1e-3)
