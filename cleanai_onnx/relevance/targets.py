"""Where relevance starts: the value of the class that is explained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from cleanai_onnx.errors import UsageError
from cleanai_onnx.relevance.redistribution import per_image

__all__ = ["PREDICTED", "Target", "class_indices", "start_relevance"]

Array: TypeAlias = Any
Target: TypeAlias = int | str | Sequence[int] | npt.NDArray[Any] | None

PREDICTED = -1
"""Stands for the class that the model predicts."""


def start_relevance(z: Array, targets: Array, class_axis: int | None) -> tuple[Array, Array, Array]:
    """Return the relevance at the start: the value of the target, zero elsewhere.

    Parameters
    ----------
    z
        The tensor that relevance starts from, ``(B, ...)``.
    targets
        ``(B,)`` int32: the class of each image, or `PREDICTED`.
    class_axis
        The axis that counts classes, at least 1; None starts with every element. Where there are
        further axes (segmentation), each position starts with the class at that position.

    Returns
    -------
    relevance : Array
        Of the shape of `z`.
    started : Array
        ``(B,)``, its sums.
    targets : Array
        The classes, of the shape of `z` without the axis of classes; zeros without one.
    """
    if class_axis is None:
        return z, per_image(z), jnp.zeros(z.shape[:1], jnp.int32)
    predicted = jnp.argmax(z, axis=class_axis).astype(jnp.int32)
    given = targets.reshape(-1, *(1,) * (predicted.ndim - 1))
    chosen = jnp.where(given == PREDICTED, predicted, given)
    shape = [1] * z.ndim
    shape[class_axis] = z.shape[class_axis]
    numbers = jnp.arange(z.shape[class_axis]).reshape(shape)
    relevance = jnp.where(numbers == jnp.expand_dims(chosen, class_axis), z, 0)
    return relevance, per_image(relevance), chosen


def class_indices(target: Target, images: int, classes: int | None) -> npt.NDArray[np.int32]:
    """Return a target for each image as ``(images,)`` int32.

    Parameters
    ----------
    target
        None for the predicted class, a class for all images, or one for each; -1 stands for the
        predicted class.
    images
        How many images there are.
    classes
        How many classes; None if the output has no axis of classes, when no target can be chosen.

    Raises
    ------
    UsageError
        If there are not as many targets as images, or no such class.
    """
    if target is None or (isinstance(target, str) and target == "output"):
        return np.full(images, PREDICTED, np.int32)
    array = np.asarray(target)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise UsageError(
            "target must be a class number, one for each image, 'output' or None (the predicted "
            f"class), not {str(target)[:60]!r}."
        )
    if array.ndim == 1 and len(array) != images:
        raise UsageError(f"target has {len(array)} classes for {images} images: give one for each.")
    if classes is None:
        raise UsageError(
            "the model's output is one value for each image, which is what is explained: leave "
            "target out."
        )
    if array.size and not -1 <= array.min() <= array.max() < classes:
        wrong = int(array.max() if array.max() >= classes else array.min())
        raise UsageError(
            f"target {wrong} is no class of this model: classes are 0 to {classes - 1}."
        )
    return np.broadcast_to(array.astype(np.int32), (images,)).copy()
