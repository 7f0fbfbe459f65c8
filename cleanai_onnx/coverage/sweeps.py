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


def row_extrema(a: Array) -> tuple[Array, Array, list[Array]]:
    """Return the extrema of each row, NaN ignored, and those of its blocks.

    Parameters
    ----------
    a : Array
        ``(B, N)`` float32.

    Returns
    -------
    low, high : Array
        ``(B,)`` each; +inf and -inf for a row that is NaN throughout.
    levels : list of Array
        ``(B, M // 16)`` complex64 each, where M is N for the first level and the length of the
        level before for each other one. Entry j is the minimum (real part) and maximum (imaginary
        part) of the elements j, j + M // 16, j + 2 (M // 16), …; the last M % 16 elements are in no
        block. There is no level for a row of up to 512 elements, nor one above such a level.
    """
    # Both extrema in one complex number: one loop, and a reduction that XLA cannot merge with the
    # next one, as it does with a maximum of maxima, only to run the slower form of it.
    level = lax.complex(a, a)
    levels, loose = [], []
    while level.shape[1] > SHORT:
        level, rest = fold_chunks(widen, level, NO_NUMBERS)
        levels.append(level)
        loose.append(rest)
    ends = jnp.concatenate([level, *loose], axis=1)
    return reduce_rows(lower, ends.real, jnp.inf), reduce_rows(upper, ends.imag, -jnp.inf), levels


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
    counts = lax.reduce(words, np.uint32(0), lax.add, (1,))
    counts = _add_chunks(_lanes(counts, 4, 0x0F0F0F0F))
    counts = _add_chunks(_lanes(counts, 8, 0x00FF00FF))
    counts = jnp.sum(_lanes(counts, 16, 0x0000FFFF).astype(jnp.int32), axis=-1)
    # The axes say which half of a byte, of a half word, and of a word a counter was in.
    counts = counts.transpose(0, 3, 2, 1).reshape(a.shape[0], COUNTERS)[:, : len(predicates)]
    rest = lax.slice_in_dim(a, COUNTERS * width, a.shape[1], axis=1)
    return counts + _count_plainly(rest, predicates) if rest.shape[1] else counts


def _count_plainly(a: Array, predicates: Sequence[Predicate]) -> Array:
    counts = [jnp.sum(holds(a), axis=1, dtype=jnp.int32) for holds in predicates]
    return jnp.stack(counts, axis=1)


def _lanes(words: Array, bits: int, mask: int) -> Array:
    """Split words ``(..., M)`` into their even and odd lanes ``(..., 2, M)``, with room to grow."""
    shifts = lax.broadcasted_iota(jnp.uint32, (*words.shape[:-1], 2, 1), words.ndim - 1) * bits
    return (words[..., None, :] >> shifts) & jnp.uint32(mask)


def _add_chunks(words: Array) -> Array:
    """Add up the sixteen chunks of ``(..., M)``; the few words left over are appended."""
    rows = words.reshape(-1, words.shape[-1])
    folded, rest = fold_chunks(lax.add, rows, 0)
    added = jnp.concatenate([folded, rest], axis=1) if rest.shape[1] else folded
    return added.reshape(*words.shape[:-1], -1)
