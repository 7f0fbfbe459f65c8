"""Sweeps: the few loops over a layer's activations that all metrics share.

A layer's activations are far larger than a processor's cache, so what costs time is how often they
are read. XLA's CPU back end compiles a reduction along a row to a scalar loop, but a reduction over
a few long chunks of the row (a middle axis) to a vector loop. The sweeps below therefore fold a row
chunk by chunk, and what several metrics count in the same reading is packed into one word: eight
counters of four bits.

On a GPU the same code compiles to the same few passes. All functions are pure and are traced under
``jax.jit``; shapes are static. What is reduced here are extrema and integers, whose order does not
matter: XLA's order depends on the batch size, and sums of floats would (see `kernels`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

__all__ = [
    "NO_NUMBERS",
    "Predicate",
    "count_rows",
    "fold_chunks",
    "lower",
    "reduce_rows",
    "row_extrema",
    "upper",
    "widen",
]

CHUNKS = 16
COUNTERS = 8
"""Counters in a word of 32 bits; also the chunks of a counting sweep, so that none passes 8."""
SHORT = 512
"""Rows up to this length are reduced directly."""
FEW = 4096
"""Rows up to this length are not worth packing counters for."""

NO_NUMBERS = complex(np.inf, -np.inf)
"""Minimum and maximum of nothing, as the parts of a complex number."""

Operation = Callable[[Array, Array], Array]
Predicate = Callable[[Array], Array]


def lower(bound: Array, a: Array) -> Array:
    """Return the smaller of both; a NaN in `a` is ignored, `bound` is never NaN."""
    return lax.select(lax.lt(a, bound), a, bound)


def upper(bound: Array, a: Array) -> Array:
    """Return the larger of both; a NaN in `a` is ignored, `bound` is never NaN."""
    return lax.select(lax.gt(a, bound), a, bound)


def widen(bounds: Array, value: Array) -> Array:
    """Return complex `bounds` (minimum, maximum) widened to hold those of `value`, NaN ignored."""
    return lax.complex(lower(bounds.real, value.real), upper(bounds.imag, value.imag))


def fold_chunks(
    op: Operation, a: Array, start: complex, chunks: int = CHUNKS
) -> tuple[Array, Array]:
    """Fold the contiguous chunks of each row onto one another.

    Parameters
    ----------
    op : callable
        The operation; `start` is its identity.
    a : Array
        ``(B, N)``.
    chunks : int

    Returns
    -------
    folded : Array
        ``(B, N // chunks)``: entry j combines the elements j, j + N // chunks, j + 2 (N // chunks)…
    rest : Array
        ``(B, N % chunks)``: the last elements, which are in no chunk.
    """
    width = a.shape[1] // chunks
    whole = lax.slice_in_dim(a, 0, chunks * width, axis=1)
    identity = np.asarray(start, a.dtype)
    folded = lax.reduce(whole.reshape(a.shape[0], chunks, width), identity, op, (1,))
    return folded, lax.slice_in_dim(a, chunks * width, a.shape[1], axis=1)


def reduce_rows(op: Operation, a: Array, start: float) -> Array:
    """Reduce each row of ``(B, N)`` with `op` to ``(B,)``, in an order that XLA chooses."""
    if a.shape[1] == 1:
        # XLA leaves `start` out of a reduction of one element, and so would let a NaN through.
        return op(jnp.full(a.shape[:1], start, a.dtype), a[:, 0])
    if a.shape[1] <= SHORT:
        return lax.reduce(a, np.asarray(start, a.dtype), op, (1,))
    folded, rest = fold_chunks(op, a, start)
    total = reduce_rows(op, folded, start)
    return op(total, reduce_rows(op, rest, start)) if rest.shape[1] else total


def row_extrema(a: Array) -> tuple[Array, Array, Array]:
    """Return the extrema of each row, NaN ignored, and the maxima of its blocks.

    Parameters
    ----------
    a : Array
        ``(B, N)`` float32.

    Returns
    -------
    low, high : Array
        ``(B,)`` each; +inf and -inf for a row that is NaN throughout.
    block_high : Array
        ``(B, N // 16)``: entry j is the maximum of the elements j, j + N // 16, j + 2 (N // 16), …;
        the last N % 16 elements are in no block.
    """
    # Both extrema in one complex number: one loop, and a reduction that XLA cannot merge with the
    # next one, as it does with a maximum of maxima, only to run the slower form of it.
    blocks, rest = fold_chunks(widen, lax.complex(a, a), NO_NUMBERS)
    block_high = blocks.imag
    low = reduce_rows(lower, blocks.real, jnp.inf)
    high = reduce_rows(upper, block_high, -jnp.inf)
    if rest.shape[1]:
        low = lower(low, reduce_rows(lower, rest.real, jnp.inf))
        high = upper(high, reduce_rows(upper, rest.imag, -jnp.inf))
    return low, high, block_high


def count_rows(a: Array, predicates: Sequence[Predicate]) -> Array:
    """Count, in each row, the elements for which each predicate holds.

    Parameters
    ----------
    a : Array
        ``(B, N)``, N below 2**31.
    predicates : sequence of callables
        Each maps ``(B, M)`` or ``(B, K, M)`` elements to booleans of that shape.

    Returns
    -------
    Array
        ``(B, len(predicates))`` int32, exact.
    """
    if a.shape[1] <= FEW:
        return _count_plainly(a, predicates)
    words = [
        _count_packed(a, predicates[first : first + COUNTERS])
        for first in range(0, len(predicates), COUNTERS)
    ]
    return jnp.concatenate(words, axis=1)


def _count_packed(a: Array, predicates: Sequence[Predicate]) -> Array:
    width = a.shape[1] // COUNTERS
    whole = lax.slice_in_dim(a, 0, COUNTERS * width, axis=1)
    whole = whole.reshape(a.shape[0], COUNTERS, width)
    words = jnp.zeros(whole.shape, jnp.uint32)
    for lane, holds in enumerate(predicates):
        words = lax.select(holds(whole), words | jnp.uint32(1 << (4 * lane)), words)
    # Nibbles of at most 8; sixteen of them make bytes of at most 128, sixteen of those half words.
    by_nibble = lax.reduce(words, np.uint32(0), lax.add, (1,))
    by_byte = _add_lanes(_lanes(by_nibble, 4, 0x0F0F0F0F))
    by_half = _add_lanes([lane for word in by_byte for lane in _lanes(word, 8, 0x00FF00FF)])
    counts = [
        reduce_rows(lax.add, half.astype(jnp.int32), 0)
        for word in by_half
        for half in _lanes(word, 16, 0x0000FFFF)
    ]
    rest = lax.slice_in_dim(a, COUNTERS * width, a.shape[1], axis=1)
    place_of_lane = (0, 4, 2, 6, 1, 5, 3, 7)
    packed = jnp.stack([counts[place_of_lane[lane]] for lane in range(len(predicates))], axis=1)
    return packed + _count_plainly(rest, predicates) if rest.shape[1] else packed


def _count_plainly(a: Array, predicates: Sequence[Predicate]) -> Array:
    counts = [jnp.sum(holds(a), axis=1, dtype=jnp.int32) for holds in predicates]
    return jnp.stack(counts, axis=1)


def _lanes(words: Array, bits: int, mask: int) -> list[Array]:
    """Split each word into its even and its odd lanes of `bits`, with room to grow."""
    return [words & jnp.uint32(mask), (words >> bits) & jnp.uint32(mask)]


def _add_lanes(words: Sequence[Array]) -> list[Array]:
    """Add up sixteen chunks of each; the few columns left over are appended as they are."""
    folded = [fold_chunks(lax.add, word, 0) for word in words]
    return [jnp.concatenate(parts, axis=1) if parts[1].shape[1] else parts[0] for parts in folded]
