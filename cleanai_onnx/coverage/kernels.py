"""The compiled kernels: all questions of all metrics, asked in the same few sweeps.

One kernel is compiled for each length of a layer (not for each shape) and batch size. The kernels
keep their state in place (the old state is donated).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cleanai_onnx.coverage.metric import Facts, Mark, UnitState
from cleanai_onnx.coverage.pairs import count_pair
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.coverage.registry import METRICS
from cleanai_onnx.coverage.selection import top_k
from cleanai_onnx.coverage.sweeps import (
    CHUNKS,
    chunked,
    count_plainly,
    count_rows,
    lower,
    reduce_rows,
    row_extrema,
    upper,
    valid_rows,
)

__all__ = [
    "STATE_BYTES",
    "Kernels",
    "LayerState",
    "RowExtrema",
    "initial_state",
    "kernels_for",
]

SELECTED_BIT = 7
"""The bit of `LayerState.marks` for the k largest; the bits below are the metrics' marks."""


SMALL = 2**18
"""Elements of a batch up to which a layer is folded by a reduction over the batch."""
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
    channel_values: Callable[..., tuple[LayerState, Array, Array, Array]]
    fired: Callable[..., Array]
    covered: Callable[..., Array]
    merge: Callable[[LayerState, LayerState], LayerState]
    pair: Callable[..., Array]
    count_nan: Callable[[Array], Array]
    row: Callable[[Array, Any], Array]


def initial_state(size: int, device: jax.Device | None = None) -> LayerState:
    """Return the state of a layer of `size` neurons before the first input.

    Committed to a device like everything that follows, so that kernels are compiled only once.
    """
    extrema = np.full(size, complex(np.inf, -np.inf), np.complex64)
    bounds = np.array([np.inf, -np.inf], np.float32)
    arrays = (extrema, np.zeros(size, np.uint8), bounds)
    return LayerState(*jax.device_put(arrays, device or jax.devices()[0]))


@cache
def kernels_for(parameters: Parameters) -> Kernels:
    """Return the kernels for `parameters`, each compiled when it first meets a shape."""
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
        low, high, block_high = row_extrema(a, valid)
        # A mean lies between the extrema; rounding must not put a constant layer above its mean.
        mean = jnp.clip(mean, low, high)
        extrema = _absolute_extrema(a, low, high, valid)
        values, indices = top_k(a, block_high, min(parameters.top_k, a.shape[1]))
        bounds, bound_low, bound_high = _bounds(state.bounds, low, high, valid, bound_rows)
        facts = Facts(mean, *(extrema if scale is None else scale), bound_low, bound_high)

        columns = Facts(*(fact[:, None] for fact in facts))
        counts = count_rows(
            [a], [lambda part, holds=holds: holds(part, columns) for holds in counters], valid
        )
        unit_low, unit_high, marked = _fold_inputs(state, a, facts, marks, valid)
        used = jnp.arange(a.shape[0])[:, None] < valid
        targets = jnp.where(used & (values > -jnp.inf), indices, a.shape[1]).reshape(-1)
        selected = jnp.uint8(1 << SELECTED_BIT)
        old = marked.at[targets].get(mode="fill", fill_value=0)
        marked = marked.at[targets].set(old | selected, mode="drop")
        top_sum = jnp.sum(jnp.where(values > -jnp.inf, values, 0), axis=1)
        new = LayerState(lax.complex(unit_low, unit_high), marked, bounds)
        return new, counts, jnp.stack([mean, top_sum], axis=1), extrema

    def channel_values(
        state: LayerState,
        fired: Array,
        a: Array,
        mean: Array,
        valid: Array,
        bound_rows: Array,
        scale: RowExtrema,
    ) -> tuple[LayerState, Array, Array, Array]:
        new, counts, sums, _ = measure(state, a, mean, valid, bound_rows, scale)
        return new, _fired(fired, a, valid), counts, sums

    def covered(state: LayerState, inputs: Array, has_nan: Array) -> Array:
        return _covered(state, inputs, has_nan, parameters)

    return Kernels(
        channels=compiled(channel_means, static_argnames=("shape", "channel_axis")),
        units=compiled(measure, donate_argnums=0),
        channel_values=compiled(channel_values, donate_argnums=(0, 1)),
        fired=compiled(_fired, donate_argnums=0),
        covered=compiled(covered),
        merge=compiled(_merge),
        pair=compiled(lambda a, b: count_pair(a, b, parameters.value_threshold)),
        count_nan=compiled(lambda a: jnp.sum(jnp.isnan(a), axis=1, dtype=jnp.int32)),
        row=compiled(lambda a, index: lax.dynamic_slice_in_dim(a, index, 1)),
    )


def channel_means(a: Array, *, shape: tuple[int, ...], channel_axis: int) -> tuple[Array, Array]:
    """Return the value of each channel (its spatial mean) and the mean of the layer.

    Parameters
    ----------
    a : Array
        ``(B, N)`` float32, each row of the `shape` of one input, flattened.
    shape : tuple of int
    channel_axis : int
        The axis of `shape` that counts channels.

    Returns
    -------
    values : Array
        ``(B, C)`` float32.
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
        # A product with ones is the fastest sum along contiguous memory.
        sums = lax.dot_general(
            sums.reshape(-1, after),
            jnp.ones((after,), jnp.float32),
            (((1,), (0,)), ((), ())),
            precision=lax.Precision.HIGHEST,
        )
    sums = jnp.sum(sums.reshape(rows, before, channels), axis=1)
    return sums / (size // channels), reduce_rows(jnp.add, sums, 0) / size


def _fired(fired: Array, values: Array, valid: Array) -> Array:
    """Add, for each channel, the inputs of the batch on which its value is above zero."""
    used = jnp.arange(values.shape[0])[:, None] < valid
    return fired + jnp.sum((values > 0) & used, axis=0, dtype=jnp.int32)


def _fold_inputs(
    state: LayerState, a: Array, facts: Facts, marks: Sequence[Mark], valid: Array
) -> tuple[Array, Array, Array]:
    """Fold the inputs of a batch into each neuron's minimum, maximum and marks.

    A reduction over the batch reads a large array with long strides, so there the inputs are folded
    one by one in a single elementwise loop; for a small array the reduction compiles faster.
    """
    low, high, marked = state.extrema.real, state.extrema.imag, state.marks

    def flags(elements: Array, of: Facts) -> Array:
        found = jnp.zeros(elements.shape, jnp.uint8)
        for bit, holds in enumerate(marks):
            found |= jnp.where(holds(elements, of), jnp.uint8(1 << bit), jnp.uint8(0))
        return found

    if a.size <= SMALL:
        numbers = jnp.where(jnp.arange(a.shape[0])[:, None] < valid, a, jnp.nan)
        found = flags(numbers, Facts(*(fact[:, None] for fact in facts)))
        return (
            lower(low, lax.reduce(numbers, jnp.float32(jnp.inf), lower, (0,))),
            upper(high, lax.reduce(numbers, jnp.float32(-jnp.inf), upper, (0,))),
            marked | lax.reduce(found, jnp.uint8(0), lax.bitwise_or, (0,)),
        )
    for index, row in enumerate(valid_rows(a, valid)):
        low, high = lower(low, row), upper(high, row)
        marked |= flags(row, Facts(*(fact[index] for fact in facts)))
    return low, high, marked


def _absolute_extrema(a: Array, low: Array, high: Array, valid: Array) -> RowExtrema:
    """Complete the extrema; only rows with both signs need another sweep."""

    def sweep(a: Array) -> Array:
        parts, rest = chunked(a, CHUNKS)
        smallest = jnp.full_like(parts[0], jnp.inf)
        for part in parts:
            smallest = lower(smallest, jnp.abs(part))
        total = reduce_rows(lower, smallest, jnp.inf)
        if rest.shape[1]:
            total = lower(total, reduce_rows(lower, jnp.abs(rest), jnp.inf))
        return total

    mixed = (low < 0) & (high > 0)
    crossing = lax.cond(jnp.any(mixed), sweep, lambda a: jnp.zeros(a.shape[:1], a.dtype), a)
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


def _covered(state: LayerState, inputs: Array, has_nan: Array, parameters: Parameters) -> Array:
    """Count the neurons that each metric of the suite covers: ``(metrics with covers,)`` int32."""

    def predicate(metric_id: str, first_bit: int, bits: int) -> Callable[..., Array]:
        cover = METRICS[metric_id].covers

        def holds(low: Array, high: Array, marks: Array) -> Array:
            marked = tuple(((marks >> (first_bit + bit)) & 1) == 1 for bit in range(bits))
            selected = (marks >> SELECTED_BIT) == 1
            units = UnitState(low, high, marked, selected, inputs, has_nan)
            return cover(units, parameters)  # type: ignore[misc]

        return holds

    predicates, first_bit = [], 0
    for metric in METRICS.values():
        bits = len(metric.marks(parameters))
        if metric.covers is not None:
            predicates.append(predicate(metric.id, first_bit, bits))
        first_bit += bits
    # Once in a run: what counts is how fast this compiles.
    arrays = [state.extrema.real[None], state.extrema.imag[None], state.marks[None]]
    return count_plainly(arrays, predicates)[0]


def _merge(a: LayerState, b: LayerState) -> LayerState:
    return LayerState(
        lax.complex(lower(a.extrema.real, b.extrema.real), upper(a.extrema.imag, b.extrema.imag)),
        a.marks | b.marks,
        jnp.stack([jnp.minimum(a.bounds[0], b.bounds[0]), jnp.maximum(a.bounds[1], b.bounds[1])]),
    )


@cache
def _compiler_options() -> dict[str, str] | None:
    """Return the XLA options that make the sweeps fast, where this jaxlib knows them.

    jaxlib 0.10's CPU back end hands reductions to a fusion library that is slower here; an unknown
    option raises when something is compiled with it.
    """
    if jax.default_backend() != "cpu":
        return None
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda: jnp.int32(0), compiler_options=options).lower().compile()
    except Exception:  # the type that jaxlib raises for an unknown option differs by version
        return None
    return options


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Return `function` compiled by JAX with this project's compiler options."""
    return jax.jit(function, compiler_options=_compiler_options(), **options)
