"""Exact selection of the k largest activations of a layer, ties to the lowest index."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from cleanai_onnx.coverage.sweeps import CHUNKS, fold_chunks, reduce_rows, upper

__all__ = ["top_k"]

DIRECT = 4096
"""Rows up to this length are searched as they are."""
WINDOW = 4096
"""Ties are looked for in windows of at least this many elements, from the front of the row."""


def top_k(a: Array, block_high: Array, k: int) -> tuple[Array, Array]:
    """Select the k largest elements of each row.

    Selects what a stable sort by falling value puts first: of equal elements, those with the lower
    index. NaN counts as -inf.

    Parameters
    ----------
    a : Array
        ``(B, N)`` float32.
    block_high : Array
        ``(B, N // 16)``: the maxima of its blocks, from `sweeps.row_extrema`.
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
    The blocks' maxima are reduced to maxima of blocks of blocks, and so on. The k largest elements
    below a level lie within its k largest nodes, so the search descends through 16 children of
    each. It looks for k + 1 elements: if the last two are equal, the k-th value is tied.
    """
    if a.shape[1] <= max(DIRECT, 2 * CHUNKS * (k + 1)):
        values, indices = lax.top_k(_numbers(a), k)
        return values, indices.astype(jnp.int32)
    found, places = _descend(a, block_high, k + 1)
    values, indices = found[:, :k], places[:, :k]
    tied = (found[:, k] == found[:, k - 1]) & (found[:, k] > -jnp.inf)
    return values, _lowest_ties(a, values, indices, tied)


def _numbers(a: Array) -> Array:
    # XLA orders -0 below 0; here they are equal.
    return jnp.where(jnp.isnan(a), -jnp.inf, jnp.where(a == 0, 0, a))


def _descend(a: Array, block_high: Array, count: int) -> tuple[Array, Array]:
    """Return the `count` largest values of each row, falling, and one place of each."""
    levels = [a, block_high]
    while levels[-1].shape[1] > max(DIRECT, 2 * CHUNKS * count):
        levels.append(fold_chunks(upper, levels[-1], -jnp.inf)[0])
    # The last elements of a level that fill no block are looked at directly.
    values, places = lax.top_k(_numbers(levels[-1]), min(count, levels[-1].shape[1]))
    for level in reversed(levels[:-1]):
        width = level.shape[1] // CHUNKS
        steps = jnp.arange(CHUNKS, dtype=jnp.int32) * width
        children = (places[:, :, None] + steps).reshape(a.shape[0], -1)
        loose = jnp.arange(CHUNKS * width, level.shape[1], dtype=jnp.int32)
        loose = jnp.broadcast_to(loose, (a.shape[0], loose.shape[0]))
        children = jnp.concatenate([children, loose], axis=1)
        values, order = lax.top_k(
            _numbers(jnp.take_along_axis(level, children, axis=1, mode="clip")), count
        )
        places = jnp.take_along_axis(children, order, axis=1, mode="clip")
    return values, places


def _lowest_ties(a: Array, values: Array, indices: Array, tied: Array) -> Array:
    """Replace, in tied rows, the indices of the elements equal to the k-th by the lowest such ones.

    Ties are mostly many (zeros after a ReLU, saturated units), so that the first window has enough.
    Without a tie the loop does not run.
    """
    size, k = a.shape[1], values.shape[1]
    smallest = values[:, -1:]
    wanted = (values == smallest) & tied[:, None]
    needed = jnp.sum(wanted, axis=1)
    # Values fall, so the wanted slots are the last ones; this is each one's turn.
    turn = jnp.arange(k) - (k - needed)[:, None]
    window = min(max(WINDOW, -(-size // CHUNKS)), size)
    column = lax.broadcasted_iota(jnp.int32, (a.shape[0], window), 1)

    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        _, have, start = carry
        return jnp.any(have < needed) & (start < size)

    def search(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        indices, have, start = carry
        first = jnp.minimum(start, size - window)
        elements = lax.dynamic_slice_in_dim(a, first, window, axis=1)
        equal = (elements == smallest) & (column + first >= start)

        def next_tie(_: int | Array, found: tuple[Array, Array, Array]) -> tuple[Array, ...]:
            indices, have, last = found
            later = jnp.where(equal & (column > last[:, None]), column, window)
            lowest = reduce_rows(lax.min, later, window)
            here = lowest < window
            slot = wanted & (turn == have[:, None]) & here[:, None]
            indices = jnp.where(slot, (lowest + first)[:, None], indices)
            return indices, have + here, jnp.where(here, lowest, window)

        nothing = jnp.full(a.shape[:1], -1, jnp.int32)
        indices, have, _ = lax.fori_loop(0, k, next_tie, (indices, have, nothing))
        return indices, have, start + window

    start = (indices, jnp.zeros(a.shape[:1], jnp.int32), jnp.int32(0))
    return lax.while_loop(unfinished, search, start)[0]
