"""Perturbations: attacks against torch-free references, noise where it belongs."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from cleanai_onnx.exploration.perturbations import (
    ascend_signs,
    loss_gradient,
    noisy,
    random_pixels,
    relevant_pixels,
)

RANDOM = np.random.default_rng(1)
IMAGES = RANDOM.random((5, 4, 4, 1)).astype(np.float32)
WEIGHT = RANDOM.standard_normal((16, 3))
LABELS = np.array([0, 1, 2, 0, 1])


def loss(x: np.ndarray, label: int) -> float:
    scores = x.reshape(-1).astype(np.float64) @ WEIGHT
    return float(np.log(np.exp(scores).sum()) - scores[label])


def gradient(x: np.ndarray) -> np.ndarray:
    """Return the gradient of a linear classifier's cross entropy, from its formula."""
    scores = x.reshape(len(x), -1).astype(np.float64) @ WEIGHT
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return ((shares - np.eye(3)[LABELS]) @ WEIGHT.T).reshape(x.shape)


def test_the_gradient_is_that_of_the_cross_entropy() -> None:
    found = loss_gradient(lambda x: x.reshape(len(x), -1) @ jnp.asarray(WEIGHT, jnp.float32))
    np.testing.assert_allclose(found(IMAGES, LABELS), gradient(IMAGES), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 7])
def test_attacks_stay_in_reach_and_raise_the_loss(steps: int) -> None:
    found = ascend_signs(gradient, IMAGES, 0.1, steps)
    assert np.abs(found - IMAGES).max() <= 0.1 + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    for before, after, label in zip(IMAGES, found, LABELS, strict=True):
        assert loss(after, label) > loss(before, label)
    if steps == 1:
        wanted = np.clip(IMAGES + 0.1 * np.sign(gradient(IMAGES)), 0, 1)
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_masks() -> None:
    relevance = RANDOM.standard_normal((5, 10, 10))
    masks = relevant_pixels(relevance, 0.05)
    assert masks.reshape(5, -1).sum(axis=1).tolist() == [5] * 5
    for mask, values in zip(masks, relevance, strict=True):
        assert values[mask].min() > values[~mask].max()
    anywhere = random_pixels(masks, np.random.default_rng(0))
    assert anywhere.reshape(5, -1).sum(axis=1).tolist() == [5] * 5
    assert (anywhere != masks).any()


def test_noise_is_where_the_mask_is_and_valid() -> None:
    masks = np.zeros((400, 4, 4, 1), bool)
    masks[:, 1] = True
    images = np.full(masks.shape, 0.5, np.float32)
    found = noisy(images, masks, 0.1, np.random.default_rng(0))
    assert (found[~masks] == 0.5).all()
    assert found[masks].std() == pytest.approx(0.1, rel=0.1)
    assert noisy(images, True, 5.0, np.random.default_rng(0)).min() == 0
    assert noisy(images, True, 5.0, np.random.default_rng(0)).max() == 1
