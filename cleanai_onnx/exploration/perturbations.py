"""Perturbed suites, for measuring how a coverage reacts: noise, noise on chosen pixels, attacks.

Gerasimou et al., Importance-Driven Deep Learning System Testing (ICSE 2020), sections 4.2 and 4.3:
Gaussian noise on all pixels, on random ones and on the most relevant ones; the fast gradient sign
method (Goodfellow et al., ICLR 2015) and its iterated form (BIM; Kurakin et al., 2017).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

__all__ = [
    "BIM_STEPS",
    "PERTURBATIONS",
    "Perturbation",
    "ascend_signs",
    "loss_gradient",
    "noisy",
    "random_pixels",
    "relevant_pixels",
]

Array: TypeAlias = Any
Floats: TypeAlias = npt.NDArray[np.float32]
Masks: TypeAlias = npt.NDArray[np.bool_]
Perturbation = Literal["gaussian", "pixels", "relevant", "fgsm", "bim"]
PERTURBATIONS: tuple[Perturbation, ...] = get_args(Perturbation)
BIM_STEPS = 10


def relevant_pixels(relevance: npt.NDArray[Any], share: float) -> Masks:
    """Return masks of the most relevant pixels of each image.

    Parameters
    ----------
    relevance
        ``(N, ...)``.
    share
        Which part of the pixels, from 0 to 1: those above this quantile from above.
    """
    flat = relevance.reshape(len(relevance), -1)
    limit = np.quantile(flat, 1 - share, axis=1, keepdims=True)
    return (flat > limit).reshape(relevance.shape)


def random_pixels(masks: Masks, rng: np.random.Generator) -> Masks:
    """Return masks of as many pixels of each image, anywhere."""
    flat = masks.reshape(len(masks), -1)
    order = rng.random(flat.shape).argsort(axis=1).argsort(axis=1)
    return (order < flat.sum(axis=1, keepdims=True)).reshape(masks.shape)


def noisy(
    images: Floats,
    masks: Masks | bool,
    deviation: float,
    rng: np.random.Generator,
    low: float = 0.0,
    high: float = 1.0,
) -> Floats:
    """Return images with Gaussian noise on some pixels, cut off at black and white."""
    noise = rng.normal(0, deviation, images.shape).astype(np.float32)
    return np.clip(images + noise * masks, low, high).astype(np.float32)


def loss_gradient(scores: Callable[..., Array]) -> Callable[..., Array]:
    """Return the compiled gradient of the cross entropy of each image.

    Parameters
    ----------
    scores
        ``(images, *further) -> (N, classes)``, before softmax.

    Returns
    -------
    callable
        ``(images, labels, *further) -> gradient``.
    """

    def loss(images: Array, labels: Array, *further: Any) -> Array:
        logarithms = jax.nn.log_softmax(scores(images, *further))
        return -jnp.take_along_axis(logarithms, labels[:, None], axis=1).sum()

    return jax.jit(jax.grad(loss))


def ascend_signs(
    gradient: Callable[[Array], Array],
    images: Floats,
    reach: float,
    steps: int = 1,
    low: float = 0.0,
    high: float = 1.0,
) -> Floats:
    """Return images moved up the gradient by its signs: FGSM with one step, BIM with several.

    Parameters
    ----------
    gradient
        Of the loss at images.
    images
        ``(N, ...)``.
    reach
        The largest change of a pixel.
    steps
        Each is of ``reach / steps``.
    low, high
        The smallest and largest valid value.
    """
    original = moved = jnp.asarray(images)
    for _ in range(steps):
        moved = moved + reach / steps * jnp.sign(gradient(moved))
        moved = jnp.clip(jnp.clip(moved, original - reach, original + reach), low, high)
    return np.asarray(moved, np.float32)
