"""Init, update, merge: the life of a measurement; `evidence` has the end of it, compute.

The state is explicit and does not grow with the number of inputs. Counts of each input leave the
device as int32 and are added up on the host as Python integers, so that they are exact at any
scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from cleanai_onnx.coverage.kernels import (
    Kernels,
    LayerState,
    initial_state,
    kernels_for,
)
from cleanai_onnx.coverage.metric import BOTH_VIEWS
from cleanai_onnx.coverage.pairs import PairCounts, count_pair
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.coverage.registry import METRICS
from cleanai_onnx.result import LayerFacts, View

__all__ = [
    "InputFigures",
    "PairEvidence",
    "State",
    "ViewTotals",
    "count_pairs",
    "counter_names",
    "firing",
    "init",
    "merge",
    "rows_of",
    "update",
]


COMMON_WIDTH = 2048
"""Layers of up to this many channels are padded to the widest of them."""


class ViewTotals(NamedTuple):
    """Sums over the inputs in one view: a row for each layer."""

    counted: tuple[tuple[int, ...], ...]
    top_sum: tuple[float, ...]


@dataclass(frozen=True)
class State:
    """The state of a measurement of `layers` with `parameters`, after `inputs` inputs.

    `units` and `channels` hold the arrays of each layer on the device; where every unit is a
    channel of its own (a vector), `units` has None and the views coincide. The arrays of channels
    are padded to `channel_width`. `fired` counts, for each channel, the inputs on which one of its
    units was above zero (int32). For each layer, `nan_values` counts the values that were not a
    number, and `nan_inputs` the inputs whose mean was not one. `one_sequence` is False for a state
    merged from parts, whose `nbc` has no common bounds.
    """

    layers: tuple[LayerFacts, ...]
    parameters: Parameters
    inputs: int
    units: tuple[LayerState | None, ...]
    channels: tuple[LayerState, ...]
    fired: tuple[Array, ...]
    unit_totals: ViewTotals
    channel_totals: ViewTotals
    nan_values: tuple[int, ...]
    nan_inputs: tuple[int, ...]
    one_sequence: bool = True


class InputFigures(NamedTuple):
    """The figures of each input of one batch.

    `counts[view]` is ``(B, layers, counters)`` int32, in the order of `counter_names`;
    `top_sum[view]` and `mean[view]` are ``(B, layers)`` float32.
    """

    counts: dict[View, np.ndarray]
    top_sum: dict[View, np.ndarray]
    mean: dict[View, np.ndarray]


class PairEvidence(NamedTuple):
    """The counts of one pair of inputs: a `PairCounts` for each layer and view."""

    names: tuple[str, str]
    units: tuple[PairCounts, ...]
    channels: tuple[PairCounts, ...]


def counter_names(parameters: Parameters) -> tuple[tuple[str, int], ...]:
    """Return, for each counter, the metric's id and the counter's number within the metric."""
    return tuple(
        (metric.id, number)
        for metric in METRICS.values()
        for number in range(len(metric.counters(parameters)))
    )


def is_vector(layer: LayerFacts) -> bool:
    """Return whether every unit of the layer is a channel of its own."""
    return layer.units == layer.channels


def channel_width(layer: LayerFacts, layers: Sequence[LayerFacts]) -> int:
    """Return to how many channels the layer's arrays are padded.

    All layers of ordinary width share one width, and so one compiled kernel.
    """
    if layer.channels > COMMON_WIDTH:
        return layer.channels
    return max(one.channels for one in layers if one.channels <= COMMON_WIDTH)


def init(
    layers: Sequence[LayerFacts], parameters: Parameters, device: jax.Device | None = None
) -> State:
    """Return the state before the first input, on `device`; it is the identity of `merge`."""
    device = device or jax.devices()[0]
    zeros = ViewTotals(
        tuple((0,) * len(counter_names(parameters)) for _ in layers), (0.0,) * len(layers)
    )
    return State(
        layers=tuple(layers),
        parameters=parameters,
        inputs=0,
        units=tuple(
            None if is_vector(layer) else initial_state(layer.units, device) for layer in layers
        ),
        channels=tuple(initial_state(channel_width(layer, layers), device) for layer in layers),
        fired=tuple(
            jax.device_put(np.zeros(channel_width(layer, layers), np.int32), device)
            for layer in layers
        ),
        unit_totals=zeros,
        channel_totals=zeros,
        nan_values=(0,) * len(layers),
        nan_inputs=(0,) * len(layers),
    )


def update(state: State, activations: Sequence[Array], valid: int) -> tuple[State, InputFigures]:
    """Measure a batch.

    Parameters
    ----------
    state : State
        Its arrays are given up (donated) and must not be used again.
    activations : sequence of Array
        For each layer ``(B, ...)`` float32, B the same for all batches, so that nothing is compiled
        again.
    valid : int
        How many of the B rows are inputs; the others are padding and count for nothing.

    Returns
    -------
    state : State
    figures : InputFigures
        Of the `valid` inputs.
    """
    kernels = kernels_for(state.parameters)
    rows = np.int32(valid)
    bound_rows = np.int32(min(max(state.parameters.bounds_from - state.inputs, 0), valid))
    flat = [a if a.ndim == 2 else a.reshape(a.shape[0], -1) for a in activations]
    units, channels, channel_values, pending = [], [], [], []
    for layer, unit_state, channel_state, a in zip(
        state.layers, state.units, state.channels, flat, strict=True
    ):
        values, mean = kernels.channels(a, **_form(layer, state.layers))
        scale = None
        if unit_state is not None:
            unit_state, unit_counts, unit_sums, scale = kernels.units(
                unit_state, a, mean, rows, bound_rows, None
            )
        channel_state, channel_counts, channel_sums = kernels.channel_values(
            channel_state, values, mean, rows, bound_rows, scale
        )
        if unit_state is None:
            unit_counts, unit_sums = channel_counts, channel_sums
        units.append(unit_state)
        channels.append(channel_state)
        channel_values.append(values)
        pending.append((unit_counts, unit_sums, channel_counts, channel_sums))

    # One wait for the whole batch; what comes over are a few numbers for each input and layer.
    arrived = jax.device_get(pending)
    figures = _figures(arrived, valid)
    fired = []
    for index, layer in enumerate(state.layers):
        values = channel_values[index]
        mean, low = arrived[index][1][:valid, 0], arrived[index][1][:valid, 2]
        if not is_vector(layer) and (np.isnan(mean) | (low < 0)).any():
            # With units on both sides of zero, or with a NaN, the mean does not tell whether a unit
            # is above zero.
            values = kernels.peaks(flat[index], **_form(layer, state.layers))
        fired.append(kernels.fired(state.fired[index], values, rows))
    # The memory of the activations is free again when everything that reads it has ended.
    jax.block_until_ready((units, channels, fired))
    new = replace(
        state,
        inputs=state.inputs + valid,
        units=tuple(units),
        channels=tuple(channels),
        fired=tuple(fired),
        unit_totals=_added(state.unit_totals, figures, "unit"),
        channel_totals=_added(state.channel_totals, figures, "channel"),
        nan_values=_nan_values(state, activations, figures, kernels),
        nan_inputs=_sums(state.nan_inputs, np.isnan(figures.mean["unit"]).sum(axis=0).tolist()),
    )
    return new, figures


def _form(layer: LayerFacts, layers: Sequence[LayerFacts]) -> dict[str, Any]:
    """Return what the kernels of channels must know of a layer's shape."""
    return {
        "shape": layer.shape,
        "channel_axis": layer.channel_axis,
        "width": channel_width(layer, layers),
    }


def _figures(arrived: list[tuple[np.ndarray, ...]], valid: int) -> InputFigures:
    counts, top_sum, mean = {}, {}, {}
    for view, place in zip(BOTH_VIEWS, (0, 2), strict=True):
        counts[view] = np.stack([layer[place][:valid] for layer in arrived], axis=1)
        sums = np.stack([layer[place + 1][:valid] for layer in arrived], axis=1)
        mean[view], top_sum[view] = sums[..., 0], sums[..., 1]
    return InputFigures(counts, top_sum, mean)


def _added(totals: ViewTotals, figures: InputFigures, view: View) -> ViewTotals:
    counted = figures.counts[view].sum(axis=0, dtype=np.int64).tolist()
    top_sum = figures.top_sum[view].sum(axis=0, dtype=np.float64).tolist()
    return _merged_totals(totals, ViewTotals(tuple(map(tuple, counted)), tuple(top_sum)))


def _sums(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _nan_values(
    state: State, activations: Sequence[Array], figures: InputFigures, kernels: Kernels
) -> tuple[int, ...]:
    """Count values that are not a number, looking only where a layer's mean is not one."""
    found = list(state.nan_values)
    means = figures.mean["unit"]
    for index in np.flatnonzero(np.isnan(means).any(axis=0)).tolist():
        flat = activations[index].reshape(activations[index].shape[0], -1)
        found[index] += int(np.asarray(kernels.count_nan(flat))[: means.shape[0]].sum())
    return tuple(found)


def rows_of(state: State, activations: Sequence[Array], row: int) -> list[Array]:
    """Return copies of one input's activations, ``(1, N)`` for each layer, complete on return."""
    kernels = kernels_for(state.parameters)
    return jax.block_until_ready([kernels.row(layer, np.int32(row)) for layer in activations])


def firing(state: State) -> tuple[tuple[int, ...], ...]:
    """Return, for each layer and channel, on how many inputs one of its units was above zero."""
    return tuple(
        tuple(np.asarray(fired)[: layer.channels].tolist())
        for layer, fired in zip(state.layers, state.fired, strict=True)
    )


def count_pairs(
    state: State, names: tuple[str, str], first: Sequence[Array], second: Sequence[Array]
) -> PairEvidence:
    """Count what differs between two inputs, given each layer's activations ``(1, ...)``."""
    threshold = state.parameters.value_threshold
    units, channels = [], []
    for layer, one, other in zip(state.layers, first, second, strict=True):
        a, b = np.asarray(one).reshape(layer.shape), np.asarray(other).reshape(layer.shape)
        units.append(count_pair(a.ravel(), b.ravel(), threshold))
        if is_vector(layer):
            channels.append(units[-1])
        else:
            others = tuple(i for i in range(len(layer.shape)) if i != layer.channel_axis)
            mean_a, mean_b = a.mean(others, np.float32), b.mean(others, np.float32)
            channels.append(count_pair(mean_a, mean_b, threshold))
    return PairEvidence(names, tuple(units), tuple(channels))


def merge(a: State, b: State) -> State:
    """Return the state of both suites together.

    Associative and commutative, with `init` as identity, for every metric whose card says that it
    is mergeable. Pair metrics are not part of the state; `nbc` is dropped from a merged state.

    Raises
    ------
    ValueError
        If the states are of different layers or parameters.
    """
    if a.layers != b.layers or a.parameters != b.parameters:
        raise ValueError("states of different layers or parameters cannot be merged")
    if not (a.inputs and b.inputs):
        return a if a.inputs else b
    kernels = kernels_for(a.parameters)
    return replace(
        a,
        inputs=a.inputs + b.inputs,
        units=tuple(
            None if x is None or y is None else kernels.merge(x, y)
            for x, y in zip(a.units, b.units, strict=True)
        ),
        channels=tuple(kernels.merge(x, y) for x, y in zip(a.channels, b.channels, strict=True)),
        fired=tuple(x + y for x, y in zip(a.fired, b.fired, strict=True)),
        unit_totals=_merged_totals(a.unit_totals, b.unit_totals),
        channel_totals=_merged_totals(a.channel_totals, b.channel_totals),
        nan_values=_sums(a.nan_values, b.nan_values),
        nan_inputs=_sums(a.nan_inputs, b.nan_inputs),
        one_sequence=False,
    )


def _merged_totals(a: ViewTotals, b: ViewTotals) -> ViewTotals:
    return ViewTotals(
        tuple(_sums(left, right) for left, right in zip(a.counted, b.counted, strict=True)),
        tuple(x + y for x, y in zip(a.top_sum, b.top_sum, strict=True)),
    )
