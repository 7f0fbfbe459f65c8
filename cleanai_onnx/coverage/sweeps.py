"""Sweeps: the few loops over a layer's activations that all metrics share.

A layer's activations are far larger than a processor's cache, so what costs time is how often they
are read. XLA's CPU back end compiles a row reduction to a scalar loop, but an elementwise
expression to a vector loop over memory, with one output array for each loop. The sweeps below are
therefore written as elementwise expressions over a few long, contiguous chunks of each row, and
what several metrics need from the same reading is packed into one output word:

* `row_extrema` packs a minimum and a maximum into one complex number;
* `count_rows` packs eight counters of four bits into one 32-bit word.

On a GPU the same code compiles to the same few passes. All functions are pure and are traced under
``jax.jit``; shapes are static. The order of every floating-point reduction depends on the length of
the row alone, so that results do not depend on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

__all__ = [
    "Predicate",
    "chunked",
    "count_plainly",
    "count_rows",
    "lower",
    "materialised",
    "reduce_rows",
    "row_extrema",
    "upper",
    "valid_rows",
]

COUNTER_CHUNKS = 8
"""Chunks of one counting sweep: each counter reaches at most 8 and fits in 4 bits."""
CHUNKS = 16
SHORT = 512
"""Rows up to this length are reduced directly."""
FEW = 4096
"""Rows up to this length are not worth packing counters for."""

Predicate = Callable[..., Array]


def lower(bound: Array, a: Array) -> Array:
    """Return the smaller of both; a NaN in `a` is ignored, `bound` is never NaN."""
    return lax.select(lax.lt(a, bound), a, bound)


def upper(bound: Array, a: Array) -> Array:
    """Return the larger of both; a NaN in `a` is ignored, `bound` is never NaN."""
    return lax.select(lax.gt(a, bound), a, bound)


def chunked(a: Array, count: int) -> tuple[list[Array], Array]:
    """Split ``(B, N)`` into `count` contiguous chunks ``(B, N // count)`` and what is left over."""
    width = a.shape[1] // count
    parts = [lax.slice_in_dim(a, i * width, (i + 1) * width, axis=1) for i in range(count)]
    return parts, lax.slice_in_dim(a, count * width, a.shape[1], axis=1)


def materialised(sweep: Callable[..., Array], valid: Array, *operands: Array) -> Array:
    """Return ``sweep(*operands)`` as an array in memory that later steps read.

    XLA would otherwise inline the sweep into each of its readers, look through the packing, and run
    it again for every one of them (``lax.optimization_barrier`` is dropped before that happens).
    A branch of a conditional is never inlined, and `valid`, the number of rows in use, is never 0.
    """
    form = jax.eval_shape(sweep, *operands)
    return lax.cond(valid > 0, sweep, lambda *_: jnp.zeros(form.shape, form.dtype), *operands)


def reduce_rows(op: Callable[[Array, Array], Array], a: Array, start: float) -> Array:
    """Reduce each row of ``(B, N)`` with `op` to ``(B,)``, in an order that depends on N alone."""
    if a.shape[1] <= SHORT:
        return lax.reduce(a, jnp.asarray(start, a.dtype), op, (1,))
    parts, rest = chunked(a, CHUNKS)
    folded = jnp.full_like(parts[0], start)
    for part in parts:
        folded = op(folded, part)
    total = reduce_rows(op, folded, start)
    return op(total, reduce_rows(op, rest, start)) if rest.shape[1] else total


def row_extrema(a: Array, valid: Array) -> tuple[Array, Array, Array]:
    """Return the extrema of each row, NaN ignored, and the maxima of its blocks.

    Parameters
    ----------
    a : Array
        ``(B, N)`` float32.
    valid : Array
        Number of rows in use, int32; see `materialised`.

    Returns
    -------
    low, high : Array
        ``(B,)`` each; +inf and -inf for a row that is NaN throughout.
    block_high : Array
        ``(B, N // 16)``: entry j is the maximum of the elements j, j + N // 16, j + 2 (N // 16), …;
        the last N % 16 elements are in no block.
    """

    def sweep(a: Array) -> Array:
        parts, _ = chunked(a, CHUNKS)
        low = jnp.full_like(parts[0], jnp.inf)
        high = jnp.full_like(parts[0], -jnp.inf)
        for part in parts:
            low, high = lower(low, part), upper(high, part)
        return lax.complex(low, high)

    blocks = materialised(sweep, valid, a)
    rest = a[:, CHUNKS * blocks.shape[1] :]
    block_high = blocks.imag
    low = reduce_rows(lower, blocks.real, jnp.inf)
    high = reduce_rows(upper, block_high, -jnp.inf)
    if rest.shape[1]:
        low = lower(low, reduce_rows(lower, rest, jnp.inf))
        high = upper(high, reduce_rows(upper, rest, -jnp.inf))
    return low, high, block_high


def valid_rows(a: Array, valid: Array) -> list[Array]:
    """Return the rows ``(N,)`` of ``(B, N)``, those past the first `valid` as NaN.

    Every fold ignores NaN, and so ignores the padding of a short batch.
    """
    nan = jnp.full(a.shape[1:], jnp.nan, a.dtype)
    rows = [lax.index_in_dim(a, b, keepdims=False) for b in range(a.shape[0])]
    return [lax.select(b < valid, row, nan) for b, row in enumerate(rows)]


def count_rows(arrays: Sequence[Array], predicates: Sequence[Predicate], valid: Array) -> Array:
    """Count, in each row, the elements for which each predicate holds.

    Parameters
    ----------
    arrays : sequence of Array
        ``(B, N)`` each, N below 2**31.
    predicates : sequence of callables
        Each maps columns ``(B, M)`` of all the `arrays` to booleans of that shape.
    valid : Array
        Number of rows in use, int32; see `materialised`.

    Returns
    -------
    Array
        ``(B, len(predicates))`` int32, exact.
    """
    if arrays[0].shape[1] <= FEW:
        return count_plainly(arrays, predicates)
    return jnp.concatenate(
        [
            _count_packed(arrays, predicates[first : first + COUNTER_CHUNKS], valid)
            for first in range(0, len(predicates), COUNTER_CHUNKS)
        ],
        axis=1,
    )


def count_plainly(arrays: Sequence[Array], predicates: Sequence[Predicate]) -> Array:
    """Do what `count_rows` does in its obvious form, which compiles faster and runs slower."""
    counts = [jnp.sum(holds(*arrays), axis=1, dtype=jnp.int32) for holds in predicates]
    return jnp.stack(counts, axis=1)


def _count_packed(arrays: Sequence[Array], predicates: Sequence[Predicate], valid: Array) -> Array:
    def sweep(*arrays: Array) -> Array:
        columns = zip(*(chunked(a, COUNTER_CHUNKS)[0] for a in arrays), strict=True)
        words = none = jnp.zeros(
            (arrays[0].shape[0], arrays[0].shape[1] // COUNTER_CHUNKS), jnp.uint32
        )
        flags = [
            jnp.full(words.shape, 1 << (4 * lane), jnp.uint32) for lane in range(len(predicates))
        ]
        for parts in columns:
            word = none
            for lane, holds in enumerate(predicates):
                word = lax.select(holds(*parts), word | flags[lane], word)
            words = lax.add(words, word)
        return words

    words = materialised(sweep, valid, *arrays)
    nibbles, bytes_ = jnp.uint32(0x0F0F0F0F), jnp.uint32(0x00FF00FF)
    # Nibbles of at most 8; sixteen of them make bytes of at most 128.
    by_byte = [_add_chunks(words & nibbles), _add_chunks((words >> 4) & nibbles)]
    # Bytes of at most 128; sixteen of them make half words of at most 2048.
    by_half = [
        _add_chunks(lane) for word in by_byte for lane in (word & bytes_, (word >> 8) & bytes_)
    ]
    lanes = [
        reduce_rows(jnp.add, half.astype(jnp.int32), 0)
        for word in by_half
        for half in (word & 0xFFFF, word >> 16)
    ]
    nibble_of_lane = (0, 4, 2, 6, 1, 5, 3, 7)
    counts = [lanes[nibble_of_lane[lane]] for lane in range(len(predicates))]
    rest = [chunked(a, COUNTER_CHUNKS)[1] for a in arrays]
    if rest[0].shape[1]:
        counts = [
            count + jnp.sum(holds(*rest), axis=1, dtype=jnp.int32)
            for count, holds in zip(counts, predicates, strict=True)
        ]
    return jnp.stack(counts, axis=1)


def _add_chunks(words: Array) -> Array:
    """Add up sixteen chunks; the few columns left over are appended as they are."""
    parts, rest = chunked(words, CHUNKS)
    total = parts[0]
    for part in parts[1:]:
        total += part
    return jnp.concatenate([total, rest], axis=1)
