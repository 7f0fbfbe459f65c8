"""Exact selection of the k largest activations of a layer, ties to the lowest index."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from cleanai_onnx.coverage.sweeps import CHUNKS, chunked, reduce_rows, upper

__all__ = ["top_k"]

DIRECT = 4096
"""Layers up to this length, and those with few blocks for each selected element, are sorted."""


def top_k(a: Array, block_high: Array, k: int) -> tuple[Array, Array]:
    """Return the k largest elements of each row and where they are.

    Equal to a stable sort by falling value: of equal elements the one with the lower index comes
    first. NaN counts as -inf.

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
        ``(B, k)`` int32.

    Notes
    -----
    The k largest lie within the k groups of blocks that have the largest maxima, so only those
    groups (256 elements each) are searched. Where the k-th largest value occurs more often than
    it is needed, the lowest indices are found by further sweeps.
    """
    size = a.shape[1]
    groups = block_high.shape[1] // CHUNKS
    if size <= DIRECT or groups <= 2 * k:
        return _sorted(a, k)
    parts, _ = chunked(block_high, CHUNKS)
    group_high = parts[0]
    for part in parts[1:]:
        group_high = upper(group_high, part)
    best, group = lax.top_k(group_high, k + 1)

    blocks = size // CHUNKS
    steps = jnp.arange(CHUNKS, dtype=jnp.int32)
    within = (steps[:, None] * blocks + steps[None, :] * groups).reshape(-1)
    loose = [
        step * blocks + block
        for step in range(CHUNKS)
        for block in range(CHUNKS * groups, blocks)
    ] + list(range(CHUNKS * blocks, size))
    rows = a.shape[0]
    candidates = (group[:, :k, None] + within).reshape(rows, -1)
    if loose:
        tail = jnp.broadcast_to(jnp.asarray(loose, jnp.int32), (rows, len(loose)))
        candidates = jnp.concatenate([candidates, tail], axis=1)
    found = jnp.take_along_axis(a, candidates, axis=1)
    found = jnp.where(jnp.isnan(found), -jnp.inf, found)
    values, position = lax.top_k(found, k)
    indices = jnp.take_along_axis(candidates, position, axis=1)

    smallest = values[:, -1:]
    needed = k - jnp.sum(values > smallest, axis=1)
    tied = (jnp.sum(found == smallest, axis=1) > needed) | (best[:, k] >= smallest[:, 0])
    indices = lax.cond(
        jnp.any(tied), lambda: _lowest_ties(a, values, indices), lambda: indices
    )
    return values, indices


def _sorted(a: Array, k: int) -> tuple[Array, Array]:
    values, indices = lax.top_k(jnp.where(jnp.isnan(a), -jnp.inf, a), k)
    return values, indices.astype(jnp.int32)


def _lowest_ties(a: Array, values: Array, indices: Array) -> Array:
    """Replace the indices of the elements equal to the k-th largest by the lowest such ones."""
    smallest = values[:, -1:]
    place = lax.broadcasted_iota(jnp.int32, a.shape, 1)
    size = a.shape[1]

    def next_tie(slot: int | Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        indices, last = carry
        # NaN compares unequal, so a row with fewer than k numbers keeps what the search found.
        open_ = (a == smallest) & (place > last[:, None])
        lowest = reduce_rows(jnp.minimum, jnp.where(open_, place, size), size)
        here = (values[:, slot] == smallest[:, 0]) & (lowest < size)
        indices = indices.at[:, slot].set(jnp.where(here, lowest, indices[:, slot]))
        return indices, jnp.where(here, lowest, last)

    start = (indices, jnp.full(a.shape[:1], -1, jnp.int32))
    return lax.fori_loop(0, values.shape[1], next_tie, start)[0]
