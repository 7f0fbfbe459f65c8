"""Exact selection of the k largest activations of a layer, ties to the lowest index."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

from cleanai_onnx.coverage.sweeps import CHUNKS

__all__ = ["top_k"]

WINDOW = 4096
"""Ties are looked for in windows of at least this many elements, from the front of the row."""
WINDOWS = 64
"""And in this many windows at most."""


def top_k(a: Array, levels: Sequence[Array], k: int) -> tuple[Array, Array]:
    """Select the k largest elements of each row.

    Selects what a stable sort by falling value puts first: of equal elements, those with the lower
    index. NaN counts as -inf.

    Parameters
    ----------
    a : Array
        ``(B, N)`` float32.
    levels : sequence of Array
        The extrema of its blocks, of blocks of blocks, and so on, from `sweeps.row_extrema`.
    k : int
        How many; at most N.

    Returns
    -------
    values : Array
        ``(B, k)`` float32, falling.
    indices : Array
        ``(B, k)`` int32, as a set; in no particular order among equal values.

    Notes
    -----
    The k largest elements below a level lie within its k largest nodes, so the search descends
    through 16 children of each. It follows k + 1 nodes: if the k-th value is tied, the candidates
    that it ends with have more of its equals than were selected.
    """
    candidates, places = _descend(a, levels, k + 1)
    values, order = lax.top_k(candidates, k)
    indices = jnp.take_along_axis(places, order, axis=1, mode="clip")
    # Not a slice of `values`: XLA would then sort the candidates to take two slices of them.
    smallest = jnp.min(values, axis=1, keepdims=True)
    tied = jnp.sum(candidates == smallest, axis=1) > jnp.sum(values == smallest, axis=1)
    tied &= smallest[:, 0] > -jnp.inf
    return values, _lowest_ties(a, values, smallest, indices, tied)


def _numbers(level: Array) -> Array:
    """Return what is compared: the elements, or the maxima of the blocks."""
    a = level.imag if jnp.iscomplexobj(level) else level
    # XLA orders -0 below 0; here they are equal.
    return jnp.where(jnp.isnan(a), -jnp.inf, jnp.where(a == 0, 0, a))


def _descend(a: Array, levels: Sequence[Array], count: int) -> tuple[Array, Array]:
    """Return elements with the `count` largest of each row among them, and their places."""
    level = levels[-1] if levels else a
    nodes, places = _numbers(level), lax.broadcasted_iota(jnp.int32, level.shape, 1)
    for below in (*reversed(levels[:-1]), a) if levels else ():
        _, order = lax.top_k(nodes, min(count, nodes.shape[1]))
        parents = jnp.take_along_axis(places, order, axis=1, mode="clip")
        width = below.shape[1] // CHUNKS
        steps = jnp.arange(CHUNKS, dtype=jnp.int32) * width
        children = (parents[:, :, None] + steps).reshape(a.shape[0], -1)
        # The last elements of a level that fill no block are looked at directly.
        loose = jnp.arange(CHUNKS * width, below.shape[1], dtype=jnp.int32)
        loose = jnp.broadcast_to(loose, (a.shape[0], loose.shape[0]))
        places = jnp.concatenate([children, loose], axis=1)
        nodes = _numbers(jnp.take_along_axis(below, places, axis=1, mode="clip"))
    return nodes, places


def _lowest_ties(a: Array, values: Array, smallest: Array, indices: Array, tied: Array) -> Array:
    """Replace, in tied rows, the indices of the elements equal to the k-th by the lowest such ones.

    Ties are mostly many (zeros after a ReLU, saturated units), so that the first window has enough.
    Without a tie the loop does not run.
    """
    size, k = a.shape[1], values.shape[1]
    wanted = (values == smallest) & tied[:, None]
    needed = jnp.sum(wanted, axis=1)
    # Values fall, so the wanted slots are the last ones; this is each one's turn.
    turn = jnp.arange(k) - (k - needed)[:, None]
    window = min(max(WINDOW, -(-size // WINDOWS)), size)
    most = min(k, window)
    # One row for all: outside the loop XLA writes it to memory, also where the loop does not run.
    column = lax.broadcasted_iota(jnp.int32, (1, window), 1)

    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        _, have, start = carry
        return jnp.any(have < needed) & (start < size)

    def search(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        indices, have, start = carry
        first = jnp.minimum(start, size - window)
        elements = lax.dynamic_slice_in_dim(a, first, window, axis=1)
        equal = (elements == smallest) & (column + first >= start)
        # The lowest columns are the largest of their negatives.
        found = -lax.top_k(jnp.where(equal, -column.astype(jnp.float32), -jnp.inf), most)[0]
        slot = jnp.clip(turn - have[:, None], 0, most - 1)
        tie = jnp.take_along_axis(found, slot, axis=1)
        here = wanted & (turn >= have[:, None]) & (turn < have[:, None] + most) & (tie < window)
        indices = jnp.where(here, tie.astype(jnp.int32) + first, indices)
        return indices, have + jnp.sum(here, axis=1), start + window

    start = (indices, jnp.zeros(a.shape[:1], jnp.int32), jnp.int32(0))
    return lax.while_loop(unfinished, search, start)[0]
