"""The best of every few distances, while a block of them is still in the processor's cache.

One compiled function multiplies a block of training traces with queries, and keeps the two smallest
of every few products, which are distances but for a constant of each query.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array, lax

from cleanai_onnx.runtime.compilation import compiled

__all__ = ["BLOCK", "FOLDED", "Nearest", "kernel", "nothing"]

BLOCK = 512
"""Training traces in one product, so few that it stays in the cache of one core."""
FOLDED = 16
"""Distances of which the best and the second best are kept; a power of 2."""


class Nearest(NamedTuple):
    """What the kernel keeps: ``(BLOCK / FOLDED, Q)`` int32 each, one row for each lane.

    In a lane are the training traces whose places in their blocks leave the same remainder. A
    distance is never negative, and so its bits, read as an integer, are in the same order. The
    last bits are replaced by where in its lane a trace is: `best` says which trace of the block is
    meant, `block` the row that this starts with, and `second` is the next larger one of the lane.
    """

    best: Array | npt.NDArray[np.int32]
    block: Array | npt.NDArray[np.int32]
    second: Array | npt.NDArray[np.int32]


def nothing(queries: int) -> Nearest:
    """Return what is known before the first block."""
    shape = (BLOCK // FOLDED, queries)
    none = np.full(shape, np.inf, np.float32).view(np.int32)
    return Nearest(none, np.zeros(shape, np.int32), none)


@cache
def kernel(platform: str) -> Callable[..., Nearest]:
    """Return `_fold`, compiled for one core: searches run side by side, each on its own."""
    return compiled(_fold, platform, wide=True, alone=True, static_argnames="same")


def _fold(
    nearest: Nearest,
    part: Array,
    of_part: Array,
    row: Array,
    first: Array,
    last: Array,
    mixed: Array,
    columns: Array,
    classes: Array,
    *,
    same: bool,
) -> Nearest:
    """Fold the blocks `first` to `last` of a part that starts with `row` into what is nearest.

    Parameters
    ----------
    nearest
        What is known so far.
    part, of_part
        ``(R, C)`` float32, the training traces, and ``(R, 1)`` int32, their classes.
    row, first, last
        int32.
    mixed
        ``(R / BLOCK,)`` booleans: whether a block has traces that some query does not look at.
    columns, classes
        ``(C, Q)`` float32, the queries, and ``(1, Q)`` int32, their classes.
    same
        Whether queries look at the traces of their class, or at all others.
    """
    lanes = BLOCK // FOLDED

    def fold(number: Array, kept: Nearest, *, masked: bool) -> Nearest:
        start = number * BLOCK
        traces = lax.dynamic_slice_in_dim(part, start, BLOCK)
        distances = lax.dot(traces, columns, precision=lax.Precision.HIGHEST)
        if masked:
            theirs = lax.dynamic_slice_in_dim(of_part, start, BLOCK)
            distances = jnp.where((theirs == classes) == same, distances, jnp.inf)
        bits = lax.bitcast_convert_type(distances, jnp.int32).reshape(FOLDED, lanes, -1)
        best, second = bits[0] & -FOLDED, jnp.full_like(bits[0], jnp.iinfo(jnp.int32).max)
        for place in range(1, FOLDED):
            one = (bits[place] & -FOLDED) | place
            second = jnp.minimum(second, jnp.maximum(best, one))
            best = jnp.minimum(best, one)
        # As one complex number, so that XLA makes both in one loop.
        both = lax.optimization_barrier(lax.complex(_as_float(best), _as_float(second)))
        best, second = _as_bits(lax.real(both)), _as_bits(lax.imag(both))
        return Nearest(
            jnp.minimum(kept.best, best),
            jnp.where(best < kept.best, row + start, kept.block),
            jnp.minimum(jnp.minimum(kept.second, second), jnp.maximum(kept.best, best)),
        )

    def either(number: Array, kept: Nearest) -> Nearest:
        branches = partial(fold, masked=True), partial(fold, masked=False)
        found: Nearest = lax.cond(mixed[number], *branches, number, kept)
        return found

    return lax.fori_loop(first, last, either, nearest)


def _as_float(bits: Array) -> Array:
    return lax.bitcast_convert_type(bits, jnp.float32)


def _as_bits(numbers: Array) -> Array:
    return lax.bitcast_convert_type(numbers, jnp.int32)
