r"""Maximum pooling as winner-take-all: the relevance of a window goes to its maximum.

A tie goes to the first maximum in the order of the window, last axis fastest (Bach et al. 2015,
section 2.5 leave the choice open; frameworks' gradients choose so).
"""

from __future__ import annotations

import itertools
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.relevance.geometry import Geometry, overlaid, window

__all__ = ["max_pool", "winner"]

Array: TypeAlias = Any


def max_pool(relevance: Array, x: Array, g: Geometry) -> Array:
    """Return the relevance of the input of a MaxPool.

    Parameters
    ----------
    relevance
        ``(B, *small, C)``.
    x
        ``(B, *large, C)``.
    g
        The windows.
    """
    offsets = list(itertools.product(*(range(k) for k in g.kernel)))
    pads = [(b, a, 0) for b, a in zip(g.before, g.after, strict=True)]
    lowest = jnp.asarray(-jnp.inf, x.dtype)
    padded = lax.pad(x, lowest, [(0, 0, 0), *pads, (0, 0, 0)])
    best = window(padded, offsets[0], g)
    index = jnp.zeros(best.shape, jnp.int32)
    for number, offset in enumerate(offsets[1:], start=1):
        here = window(padded, offset, g)
        index = jnp.where(here > best, number, index)
        best = jnp.maximum(best, here)
    # Kept in memory: XLA would otherwise search each window again for each of its elements.
    index = lax.optimization_barrier(index)
    parts = (
        (offset, jnp.where(index == number, relevance, 0)) for number, offset in enumerate(offsets)
    )
    return overlaid(parts, g)


def winner(relevance: Array, x: Array, axes: tuple[int, ...]) -> Array:
    """Return the relevance of the input of a maximum over whole axes.

    Parameters
    ----------
    relevance
        Of the maxima, the reduced axes kept with size 1.
    x
        The input.
    axes
        The reduced axes, none negative.
    """
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    order = (*kept, *axes)
    moved = jnp.transpose(x, order)
    size = int(np.prod([x.shape[axis] for axis in axes]))
    rows = moved.reshape(*(x.shape[axis] for axis in kept), size)
    first = jnp.argmax(rows, axis=-1)
    chosen = jnp.arange(size) == first[..., None]
    back = jnp.transpose(relevance, order).reshape(*rows.shape[:-1], 1)
    out = jnp.where(chosen, back, 0).reshape(moved.shape)
    return jnp.transpose(out, [order.index(axis) for axis in range(x.ndim)])
