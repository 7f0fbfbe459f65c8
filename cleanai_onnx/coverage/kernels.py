"""The compiled kernels: all questions of all metrics, asked in the same few sweeps.

One kernel is compiled for each length of a layer (not for each shape) and batch size, and one for
the channels of all layers together: of channels there are few, and what many small kernels would
cost is not their work. The kernels keep their state in place (the old state is donated).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cleanai_onnx.coverage.metric import Counter, Facts, Mark
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.coverage.registry import METRICS
from cleanai_onnx.coverage.selection import top_k
from cleanai_onnx.coverage.sweeps import (
    NO_NUMBERS,
    Predicate,
    count_rows,
    lower,
    row_extrema,
    upper,
    widen,
)
from cleanai_onnx.runtime.compilation import current_platform
from cleanai_onnx.runtime.programs import KeptFunction

__all__ = [
    "SELECTED_BIT",
    "STATE_BYTES",
    "Kernels",
    "LayerState",
    "RowExtrema",
    "initial_state",
    "kernels_for",
]

SELECTED_BIT = 7
"""The bit of `LayerState.marks` for the k largest; the bits below are the metrics' marks."""


STATE_BYTES = 9
"""Bytes that the state keeps for each neuron, in each view."""


class LayerState(NamedTuple):
    """What is kept of L layers of N neurons in one view: a fixed number of bytes for each neuron.

    `extrema` is ``(L, N)`` complex64: the minimum as the real part, the maximum as the imaginary
    one. `marks` is ``(L, N)`` uint8. `bounds` is ``(L, 2)`` float32: the bounds of `nbc`.
    """

    extrema: Array
    marks: Array
    bounds: Array


class RowExtrema(NamedTuple):
    """Extrema of the activations, and of their absolute values, for each input: ``(B,)`` each."""

    low: Array
    high: Array
    absolute_low: Array
    absolute_high: Array


class Kernels(NamedTuple):
    """The compiled functions for one choice of parameters; scalars may be numpy's."""

    empty: Callable[..., Array]
    channel_means: Callable[..., tuple[Array, Array]]
    units: Callable[..., tuple[LayerState, Array, Array, RowExtrema]]
    channels: Callable[..., tuple[LayerState, Array, Array, Array]]
    cover: Callable[..., tuple[Array, Array]]
    fired: Callable[..., Array]
    merge: Callable[[LayerState, LayerState], LayerState]
    count_nan: Callable[[Array], Array]
    row: Callable[[Array, Any], Array]


def initial_state(layers: int, size: int, device: jax.Device | None = None) -> LayerState:
    """Return the state of `layers` layers of `size` neurons before the first input.

    Committed to a device like everything that follows, so that kernels are compiled only once.
    """
    extrema = np.full((layers, size), NO_NUMBERS, np.complex64)
    bounds = np.tile(np.array([np.inf, -np.inf], np.float32), (layers, 1))
    arrays = (extrema, np.zeros((layers, size), np.uint8), bounds)
    return LayerState(*jax.device_put(arrays, device or jax.devices()[0]))


def kernels_for(parameters: Parameters) -> Kernels:
    """Return the kernels for `parameters` on JAX's default device of this moment.

    Each is compiled when it first meets a shape.
    """
    return _kernels(parameters, current_platform())


@cache
def _kernels(parameters: Parameters, platform: str) -> Kernels:
    counters = [c for metric in METRICS.values() for c in metric.counters(parameters)]
    marks = [m for metric in METRICS.values() for m in metric.marks(parameters)]
    if len(marks) > SELECTED_BIT:
        raise AssertionError("more marks than bits: widen LayerState.marks")

    def measure(
        state: LayerState,
        a: Array,
        mean: Array,
        valid: Array,
        bound_rows: Array,
        scale: RowExtrema | None = None,
    ) -> tuple[LayerState, Array, Array, RowExtrema]:
        """Measure ``(L, B, N)``; `mean` and `scale` are ``(L * B,)``, `scale` NaN for its own."""
        layers, inputs, size = a.shape
        rows = a.reshape(layers * inputs, size)
        low, high, levels = row_extrema(rows)
        # A mean lies between the extrema; rounding must not put a constant layer above its mean.
        mean = jnp.clip(mean, low, high)
        extrema = _absolute_extrema(rows, low, high)
        values, indices = top_k(rows, levels, min(parameters.top_k, size))
        bounds, bound_low, bound_high = _bounds(state.bounds, low, high, valid, bound_rows)
        scale = extrema if scale is None else RowExtrema(*map(_given_or, scale, extrema))
        facts = Facts(mean, *scale, bound_low, bound_high)

        counts = count_rows(rows, _for_rows(counters, facts))
        unit_extrema, flags = _fold_inputs(a, facts, marks, valid)
        marked = _select(state.marks | flags, values, indices, valid)
        top_sum = jnp.sum(jnp.where(values > -jnp.inf, values, 0), axis=1)
        new = LayerState(widen(state.extrema, unit_extrema), marked, bounds)
        return new, counts, jnp.stack([mean, top_sum, low], axis=1), extrema

    def units(
        state: LayerState, a: Array, mean: Array, valid: Array, bound_rows: Array
    ) -> tuple[LayerState, Array, Array, RowExtrema]:
        return measure(state, a[None], mean, valid, bound_rows)

    def channels(
        state: LayerState,
        values: Array,
        means: Sequence[Array],
        scales: Sequence[RowExtrema | None],
        valid: Array,
        bound_rows: Array,
    ) -> tuple[LayerState, Array, Array, Array]:
        layers, inputs, _ = values.shape
        used = jnp.arange(inputs)[:, None] < valid
        fired = jnp.sum((values > 0) & used, axis=1, dtype=jnp.int32)
        rows, scale = _within(values, scales)
        new, counts, sums, _ = measure(
            state, rows.reshape(values.shape), jnp.concatenate(means), valid, bound_rows, scale
        )
        shape = (layers, inputs, -1)
        return new, counts.reshape(shape), sums.reshape(shape), fired

    def cover(
        values: Array, means: Sequence[Array], scales: Sequence[RowExtrema | None]
    ) -> tuple[Array, Array]:
        """Ask of each input alone what `channels`, or `units` of one layer, asks of them all."""
        rows, scale = _within(values, scales)
        low, high, levels = row_extrema(rows)
        extrema = _absolute_extrema(rows, low, high)
        scale = RowExtrema(*map(_given_or, scale, extrema))
        mean = jnp.clip(jnp.concatenate(means), low, high)
        unbounded = jnp.full_like(low, jnp.inf)
        facts = Facts(mean, *scale, -unbounded, unbounded)
        columns = Facts(*(fact[:, None] for fact in facts))
        flags = jnp.zeros(rows.shape, jnp.uint8)
        for bit, holds in enumerate(marks):
            flags |= jnp.where(holds(rows, columns), jnp.uint8(1 << bit), jnp.uint8(0))
        selected, indices = top_k(rows, levels, min(parameters.top_k, rows.shape[1]))
        # Each row is a layer of one input.
        flags = _select(flags, selected, indices, jnp.int32(1))
        return rows.reshape(values.shape), flags.reshape(values.shape)

    compile_ = partial(
        KeptFunction, platform=platform, identity=f"kernels {parameters} {list(METRICS)}"
    )
    return Kernels(
        empty=compile_(_empty, static_argnames="shape"),
        channel_means=compile_(
            channel_means, static_argnames=("shape", "channel_axis"), donate_argnums=0
        ),
        units=compile_(units, wide=True, donate_argnums=0),
        channels=compile_(channels, wide=True, donate_argnums=0),
        cover=compile_(cover, wide=True),
        fired=compile_(_fired, static_argnames=("shape", "channel_axis")),
        merge=compile_(_merge),
        count_nan=compile_(_count_nan),
        row=compile_(_row),
    )


def _empty(*, shape: tuple[int, ...]) -> Array:
    return jnp.zeros(shape, jnp.float32)


def _count_nan(a: Array) -> Array:
    return jnp.sum(jnp.isnan(a), axis=1, dtype=jnp.int32)


def _row(a: Array, index: Array) -> Array:
    return lax.dynamic_slice_in_dim(a, index, 1)


def channel_means(
    values: Array, a: Array, place: Array, *, shape: tuple[int, ...], channel_axis: int
) -> tuple[Array, Array]:
    """Write the value of each channel (its spatial mean), and return the mean of the layer.

    Parameters
    ----------
    values : Array
        ``(L, B, width)`` float32, for the channels of several layers; it is given up (donated).
    a : Array
        ``(B, N)`` float32, each row of the `shape` of one input, flattened.
    place : Array
        Which of the L layers this one is, a scalar of int32.
    shape : tuple of int
    channel_axis : int
        The axis of `shape` that counts channels.

    Returns
    -------
    values : Array
        ``(L, B, width)`` float32, at `place` NaN beyond the channels.
    mean : Array
        ``(B,)`` float32.
    """
    rows, size = a.shape
    channels = shape[channel_axis]
    after = 1
    for length in shape[channel_axis + 1 :]:
        after *= length
    before = size // (channels * after)
    sums = a.reshape(rows, before * channels, after)
    if after > 1:
        sums = _summed(sums)
    sums = jnp.sum(sums.reshape(rows, before, channels), axis=1)
    padding = ((0, 0, 0), (0, values.shape[2] - channels, 0))
    means = lax.pad(_divided(sums, size // channels), np.float32(np.nan), padding)
    values = lax.dynamic_update_index_in_dim(values, means, place, 0)
    return values, _divided(_summed(sums), size)


def _within(values: Array, scales: Sequence[RowExtrema | None]) -> tuple[Array, RowExtrema]:
    """Return ``(L, B, N)`` as rows ``(L * B, N)`` between the extrema of their layers' units.

    `scales` has these extrema for each layer, or None where the values are the units themselves.
    The second result are those of the rows, NaN for None.
    """
    layers, inputs, width = values.shape
    rows = values.reshape(layers * inputs, width)
    unscaled = RowExtrema(*(jnp.full(inputs, jnp.nan) for _ in RowExtrema._fields))
    given = [unscaled if one is None else one for one in scales]
    scale = RowExtrema(*(jnp.concatenate(field) for field in zip(*given, strict=True)))
    # A mean lies between the extrema; rounding must not put a constant layer outside them.
    rows = jnp.where(rows < scale.low[:, None], scale.low[:, None], rows)
    return jnp.where(rows > scale.high[:, None], scale.high[:, None], rows), scale


def _summed(a: Array) -> Array:
    """Sum ``(B, ..., N)`` along its last axis, in an order that does not depend on B.

    A product with ones is the fastest sum along contiguous memory. There is one product for each
    input, because the order of the additions depends on the number of rows of a product; and it is
    no reduction, which XLA might merge with another one.
    """
    return lax.dot_general(
        a,
        jnp.ones((a.shape[0], a.shape[-1]), jnp.float32),
        (((a.ndim - 1,), (1,)), ((0,), (0,))),
        precision=lax.Precision.HIGHEST,
    )


def _divided(sums: Array, count: int) -> Array:
    """Return ``sums / count``, rounded once.

    XLA turns a division of all elements by one number into a multiplication by its reciprocal,
    which is rounded twice: a channel that is 0.75 throughout could have a mean above 0.75. It
    leaves a divisor alone that is chosen for each element.
    """
    return sums / jnp.where(jnp.isnan(sums), jnp.nan, jnp.float32(count))


def _fired(a: Array, valid: Array, *, shape: tuple[int, ...], channel_axis: int) -> Array:
    """Count, for each channel, the inputs in use on which one of its units is above 0.

    The arguments are those of `channel_means`; `valid` is how many of the inputs are in use.
    """
    others = tuple(1 + axis for axis in range(len(shape)) if axis != channel_axis)
    peaks = lax.reduce(a.reshape(-1, *shape), np.float32(-np.inf), upper, others)
    used = jnp.arange(peaks.shape[0])[:, None] < valid
    return jnp.sum((peaks > 0) & used, axis=0, dtype=jnp.int32)


def _for_rows(counters: Sequence[Counter], facts: Facts) -> list[Predicate]:
    """Return the counters as predicates of elements ``(B, ...)``, with the facts of each row."""
    by_rank = {
        rank: Facts(*(fact.reshape(-1, *(1,) * (rank - 1)) for fact in facts)) for rank in (2, 3)
    }

    def predicate(holds: Counter) -> Predicate:
        return lambda elements: holds(elements, by_rank[elements.ndim])

    return [predicate(holds) for holds in counters]


def _fold_inputs(
    a: Array, facts: Facts, marks: Sequence[Mark], valid: Array
) -> tuple[Array, Array]:
    """Fold the inputs of a batch ``(L, B, N)`` to each neuron's extrema and marks ``(L, N)``.

    One reduction of pairs makes both in one reading of the activations. Minimum and maximum are the
    parts of one complex number: a reduction of three arrays is slower than one of two.
    """
    used = lax.broadcast_in_dim(jnp.arange(a.shape[1]) < valid, a.shape, (1,))
    # Every comparison with NaN is false: the padding of a short batch changes nothing.
    numbers = lax.select(used, a, jnp.full_like(a, jnp.nan))
    columns = Facts(*(fact.reshape(*a.shape[:2], 1) for fact in facts))
    flags = jnp.zeros(a.shape, jnp.uint8)
    for bit, holds in enumerate(marks):
        flags |= jnp.where(holds(numbers, columns), jnp.uint8(1 << bit), jnp.uint8(0))

    def fold(x: tuple[Array, Array], y: tuple[Array, Array]) -> tuple[Array, Array]:
        return widen(x[0], y[0]), x[1] | y[1]

    start = np.complex64(NO_NUMBERS), np.uint8(0)
    return lax.reduce((lax.complex(numbers, numbers), flags), start, fold, (1,))


def _select(marks: Array, values: Array, indices: Array, valid: Array) -> Array:
    """Set the bit of the k largest in `marks` ``(L, N)``.

    `values` and `indices` are ``(L * B, k)``, of the first `valid` of each layer's B inputs.
    """
    layers = marks.shape[0]
    shape = (layers, -1, values.shape[1])
    values, indices = values.reshape(shape), indices.reshape(shape)
    layer = lax.broadcasted_iota(jnp.int32, values.shape, 0)
    used = lax.broadcasted_iota(jnp.int32, values.shape, 1) < valid
    chosen = used & (values > -jnp.inf)
    # Selected neurons are few: their marks are read, and written back with one bit more.
    place = (jnp.where(chosen, layer, layers).reshape(-1), indices.reshape(-1))
    old = marks.at[place].get(mode="fill", fill_value=0)
    return marks.at[place].set(old | jnp.uint8(1 << SELECTED_BIT), mode="drop")


def _absolute_extrema(a: Array, low: Array, high: Array) -> RowExtrema:
    """Complete the extrema; only rows with both signs need another sweep."""
    mixed = (low < 0) & (high > 0)
    crossing = lax.cond(
        jnp.any(mixed),
        lambda: row_extrema(jnp.abs(a))[0],
        lambda: jnp.zeros(a.shape[:1], a.dtype),
    )
    absolute_low = jnp.where(mixed, crossing, jnp.where(low >= 0, low, -high))
    return RowExtrema(low, high, absolute_low, jnp.maximum(jnp.abs(low), jnp.abs(high)))


def _given_or(given: Array, own: Array) -> Array:
    return jnp.where(jnp.isnan(given), own, given)


def _bounds(
    bounds: Array, low: Array, high: Array, valid: Array, bound_rows: Array
) -> tuple[Array, Array, Array]:
    """Return the bounds of `nbc` ``(L, 2)``, and those that each row is measured against."""
    low, high = low.reshape(bounds.shape[0], -1), high.reshape(bounds.shape[0], -1)
    setting = jnp.arange(low.shape[1]) < jnp.minimum(bound_rows, valid)
    lowest = jnp.minimum(bounds[:, 0], jnp.min(jnp.where(setting, low, jnp.inf), axis=1))
    highest = jnp.maximum(bounds[:, 1], jnp.max(jnp.where(setting, high, -jnp.inf), axis=1))
    # Rows that set the bounds are not counted; nor is anything where no number set them.
    exempt = setting | (lowest > highest)[:, None]
    return (
        jnp.stack([lowest, highest], axis=1),
        jnp.where(exempt, -jnp.inf, lowest[:, None]).reshape(-1),
        jnp.where(exempt, jnp.inf, highest[:, None]).reshape(-1),
    )


def _merge(a: LayerState, b: LayerState) -> LayerState:
    return LayerState(
        lax.complex(lower(a.extrema.real, b.extrema.real), upper(a.extrema.imag, b.extrema.imag)),
        a.marks | b.marks,
        jnp.stack(
            [
                jnp.minimum(a.bounds[:, 0], b.bounds[:, 0]),
                jnp.maximum(a.bounds[:, 1], b.bounds[:, 1]),
            ],
            axis=1,
        ),
    )
