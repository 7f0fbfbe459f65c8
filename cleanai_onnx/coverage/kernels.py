"""The compiled kernels: all questions of all metrics, asked in the same few sweeps.

One kernel is compiled for each length of a layer (not for each shape) and batch size. The kernels
keep their state in place (the old state is donated).
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
    """What is kept of a layer in one view: a fixed number of bytes for each neuron.

    `extrema` is ``(N,)`` complex64: the minimum as the real part, the maximum as the imaginary one.
    `marks` is ``(N,)`` uint8. `bounds` is ``(2,)`` float32: the bounds of `nbc`.
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

    channels: Callable[..., tuple[Array, Array]]
    units: Callable[..., tuple[LayerState, Array, Array, RowExtrema]]
    channel_values: Callable[..., tuple[LayerState, Array, Array]]
    peaks: Callable[..., Array]
    fired: Callable[..., Array]
    merge: Callable[[LayerState, LayerState], LayerState]
    count_nan: Callable[[Array], Array]
    row: Callable[[Array, Any], Array]


def initial_state(size: int, device: jax.Device | None = None) -> LayerState:
    """Return the state of a layer of `size` neurons before the first input.

    Committed to a device like everything that follows, so that kernels are compiled only once.
    """
    extrema = np.full(size, NO_NUMBERS, np.complex64)
    bounds = np.array([np.inf, -np.inf], np.float32)
    arrays = (extrema, np.zeros(size, np.uint8), bounds)
    return LayerState(*jax.device_put(arrays, device or jax.devices()[0]))


def kernels_for(parameters: Parameters) -> Kernels:
    """Return the kernels for `parameters` on JAX's default device of this moment.

    Each is compiled when it first meets a shape.
    """
    device = getattr(jax.config, "jax_default_device", None)
    return _kernels(parameters, getattr(device, "platform", None) or jax.default_backend())


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
        scale: RowExtrema | None,
    ) -> tuple[LayerState, Array, Array, RowExtrema]:
        low, high, block_high = row_extrema(a)
        # A mean lies between the extrema; rounding must not put a constant layer above its mean.
        mean = jnp.clip(mean, low, high)
        extrema = _absolute_extrema(a, low, high)
        values, indices = top_k(a, block_high, min(parameters.top_k, a.shape[1]))
        bounds, bound_low, bound_high = _bounds(state.bounds, low, high, valid, bound_rows)
        facts = Facts(mean, *(extrema if scale is None else scale), bound_low, bound_high)

        counts = count_rows(a, _for_rows(counters, facts))
        unit_extrema, flags = _fold_inputs(state, a, facts, marks, valid)
        marked = state.marks | flags
        used = jnp.arange(a.shape[0])[:, None] < valid
        targets = jnp.where(used & (values > -jnp.inf), indices, a.shape[1]).reshape(-1)
        selected = jnp.uint8(1 << SELECTED_BIT)
        old = marked.at[targets].get(mode="fill", fill_value=0)
        marked = marked.at[targets].set(old | selected, mode="drop")
        top_sum = jnp.sum(jnp.where(values > -jnp.inf, values, 0), axis=1)
        new = LayerState(unit_extrema, marked, bounds)
        return new, counts, jnp.stack([mean, top_sum, low], axis=1), extrema

    def channel_values(
        state: LayerState,
        a: Array,
        mean: Array,
        valid: Array,
        bound_rows: Array,
        scale: RowExtrema | None,
    ) -> tuple[LayerState, Array, Array]:
        if scale is not None:
            # A mean lies between the extrema; rounding must not put a constant layer outside them.
            a = jnp.clip(a, scale.low[:, None], scale.high[:, None])
        new, counts, sums, _ = measure(state, a, mean, valid, bound_rows, scale)
        return new, counts, sums

    compile_ = partial(compiled, platform=platform)
    return Kernels(
        channels=compile_(channel_means, static_argnames=("shape", "channel_axis", "width")),
        units=compile_(measure, donate_argnums=0),
        channel_values=compile_(channel_values, donate_argnums=0),
        peaks=compile_(channel_peaks, static_argnames=("shape", "channel_axis", "width")),
        fired=compile_(_fired, donate_argnums=0),
        merge=compile_(_merge),
        count_nan=compile_(lambda a: jnp.sum(jnp.isnan(a), axis=1, dtype=jnp.int32)),
        row=compile_(lambda a, index: lax.dynamic_slice_in_dim(a, index, 1)),
    )


def channel_means(
    a: Array, *, shape: tuple[int, ...], channel_axis: int, width: int
) -> tuple[Array, Array]:
    """Return the value of each channel (its spatial mean) and the mean of the layer.

    Parameters
    ----------
    a : Array
        ``(B, N)`` float32, each row of the `shape` of one input, flattened.
    shape : tuple of int
    channel_axis : int
        The axis of `shape` that counts channels.
    width : int
        At least the number of channels. Layers of different sizes get a common width, so that one
        kernel serves them all.

    Returns
    -------
    values : Array
        ``(B, width)`` float32, NaN beyond the channels.
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
    padding = ((0, 0, 0), (0, width - channels, 0))
    values = lax.pad(_divided(sums, size // channels), np.float32(np.nan), padding)
    return values, _divided(_summed(sums), size)


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


def channel_peaks(a: Array, *, shape: tuple[int, ...], channel_axis: int, width: int) -> Array:
    """Return the largest unit of each channel: ``(B, width)``, NaN beyond the channels.

    The arguments are those of `channel_means`. A channel of nothing but NaN gives -inf.
    """
    others = tuple(1 + axis for axis in range(len(shape)) if axis != channel_axis)
    peaks = lax.reduce(a.reshape(-1, *shape), np.float32(-np.inf), upper, others)
    padding = ((0, 0, 0), (0, width - peaks.shape[1], 0))
    return lax.pad(peaks, np.float32(np.nan), padding)


def _fired(fired: Array, values: Array, valid: Array) -> Array:
    """Count, for each channel, the inputs in use on which its value ``(B, width)`` is above 0."""
    used = jnp.arange(values.shape[0])[:, None] < valid
    return fired + jnp.sum((values > 0) & used, axis=0, dtype=jnp.int32)


def _for_rows(counters: Sequence[Counter], facts: Facts) -> list[Predicate]:
    """Return the counters as predicates of elements ``(B, ...)``, with the facts of each row."""
    by_rank = {
        rank: Facts(*(fact.reshape(-1, *(1,) * (rank - 1)) for fact in facts)) for rank in (2, 3)
    }

    def predicate(holds: Counter) -> Predicate:
        return lambda elements: holds(elements, by_rank[elements.ndim])

    return [predicate(holds) for holds in counters]


def _fold_inputs(
    state: LayerState, a: Array, facts: Facts, marks: Sequence[Mark], valid: Array
) -> tuple[Array, Array]:
    """Fold the inputs of a batch into each neuron's extrema and marks.

    Minimum and maximum are the parts of one complex number, so that one loop makes both.
    """
    used = lax.broadcast_in_dim(jnp.arange(a.shape[0]) < valid, a.shape, (0,))
    # Every comparison with NaN is false: the padding of a short batch changes nothing.
    numbers = lax.select(used, a, jnp.full_like(a, jnp.nan))

    extrema = lax.reduce(lax.complex(numbers, numbers), np.complex64(NO_NUMBERS), widen, (0,))

    columns = Facts(*(fact[:, None] for fact in facts))
    flags = jnp.zeros(a.shape, jnp.uint8)
    for bit, holds in enumerate(marks):
        # Of `a` and not of `numbers`, which XLA would then write to memory for both its readers.
        flags |= jnp.where(used & holds(a, columns), jnp.uint8(1 << bit), jnp.uint8(0))
    return widen(state.extrema, extrema), lax.reduce(flags, np.uint8(0), lax.bitwise_or, (0,))


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


def _bounds(
    bounds: Array, low: Array, high: Array, valid: Array, bound_rows: Array
) -> tuple[Array, Array, Array]:
    """Return the bounds of `nbc` and, for each row, those that it is measured against."""
    setting = jnp.arange(low.shape[0]) < jnp.minimum(bound_rows, valid)
    lowest = jnp.minimum(bounds[0], jnp.min(jnp.where(setting, low, jnp.inf)))
    highest = jnp.maximum(bounds[1], jnp.max(jnp.where(setting, high, -jnp.inf)))
    # Rows that set the bounds are not counted; nor is anything where no number set them.
    exempt = setting | (lowest > highest)
    return (
        jnp.stack([lowest, highest]),
        jnp.where(exempt, -jnp.inf, lowest),
        jnp.where(exempt, jnp.inf, highest),
    )


def _merge(a: LayerState, b: LayerState) -> LayerState:
    return LayerState(
        lax.complex(lower(a.extrema.real, b.extrema.real), upper(a.extrema.imag, b.extrema.imag)),
        a.marks | b.marks,
        jnp.stack([jnp.minimum(a.bounds[0], b.bounds[0]), jnp.maximum(a.bounds[1], b.bounds[1])]),
    )


@cache
def _compiler_options(platform: str) -> dict[str, str] | None:
    """Return the XLA options that make the sweeps fast, where this jaxlib knows them.

    jaxlib 0.10's CPU back end hands reductions to a fusion library that is slower here; an unknown
    option raises when something is compiled with it.
    """
    if platform != "cpu":
        return None
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda: jnp.int32(0), compiler_options=options).lower().compile()
    except Exception:  # the type that jaxlib raises for an unknown option differs by version
        return None
    return options


def compiled(function: Callable[..., Any], platform: str, **options: Any) -> Callable[..., Any]:
    """Return `function` compiled by JAX with this project's compiler options."""
    return jax.jit(function, compiler_options=_compiler_options(platform), **options)
