"""Init, update, merge: the life of a measurement; `evidence` has the end of it, compute.

The state is explicit and does not grow with the number of inputs. Counts of each input leave the
device as int32 and are added up on the host as Python integers, so that they are exact at any
scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from cleanai_onnx.coverage.exact import Exact, exact_sums
from cleanai_onnx.coverage.kernels import (
    Kernels,
    LayerState,
    RowExtrema,
    initial_state,
    kernels_for,
)
from cleanai_onnx.coverage.metric import BOTH_VIEWS
from cleanai_onnx.coverage.pairs import PairCounts, count_pair
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.coverage.registry import METRICS
from cleanai_onnx.result import LayerFacts, View
from cleanai_onnx.runtime.compilation import current_platform
from cleanai_onnx.runtime.lanes import beside

__all__ = [
    "InputFigures",
    "PairEvidence",
    "State",
    "ViewTotals",
    "channel_matrix",
    "channel_state",
    "channel_values",
    "count_pairs",
    "counter_names",
    "firing",
    "following",
    "init",
    "merge",
    "rows_of",
    "update",
]


COMMON_WIDTH = 2048
"""Layers of up to this many channels are padded to the widest of them, and measured together."""


class ViewTotals(NamedTuple):
    """Sums over the inputs in one view, exact: a row for each layer."""

    counted: tuple[tuple[int, ...], ...]
    top_sum: tuple[Exact, ...]


@dataclass(frozen=True)
class State:
    """The state of a measurement of `layers` with `parameters`, after `inputs` inputs.

    `units` and `channels` hold arrays on the device: `units` those of each layer, `channels` those
    of each of the `groups` of layers. Where every unit is a channel of its own (a vector), `units`
    has None and the views coincide. `fired` counts, for each channel of each layer, the inputs on
    which one of its units was above zero (int64, on the host). For each layer, `nan_values` counts
    the values that were not a number, and `nan_inputs` the inputs whose mean was not one.
    `before` counts the inputs of the suite that came before these and set bounds of `nbc` (see
    `following`). `one_sequence` is False for a state merged from parts that do not follow each
    other, whose `nbc` has no common bounds.
    """

    layers: tuple[LayerFacts, ...]
    parameters: Parameters
    inputs: int
    units: tuple[LayerState | None, ...]
    channels: tuple[LayerState, ...]
    fired: tuple[np.ndarray, ...]
    unit_totals: ViewTotals
    channel_totals: ViewTotals
    nan_values: tuple[int, ...]
    nan_inputs: tuple[int, ...]
    before: int = 0
    one_sequence: bool = True


class InputFigures(NamedTuple):
    """The figures of each input of one batch.

    `counts[view]` is ``(B, layers, counters)`` int32, in the order of `counter_names`;
    `top_sum[view]` and `mean[view]` are ``(B, layers)`` float32. `channels` are the values of the
    channels of each of the `groups` of layers, on the device: see `channel_matrix`. `facts` has,
    for each group, the mean of every layer and the extrema of its units (None where these are its
    channels), ``(B,)`` each, on the device.
    """

    counts: dict[View, np.ndarray]
    top_sum: dict[View, np.ndarray]
    mean: dict[View, np.ndarray]
    channels: tuple[Array, ...]
    facts: tuple[tuple[list[Array], list[RowExtrema | None]], ...]


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


class Group(NamedTuple):
    """Layers whose channels are measured by one kernel, padded to a common width."""

    layers: tuple[int, ...]
    width: int


@cache
def groups(layers: tuple[LayerFacts, ...]) -> tuple[Group, ...]:
    """Return the groups of layers: all of ordinary width, then each wider one by itself.

    What a layer has in its channels is little, and many small kernels cost more than their work.
    """
    common = [i for i, layer in enumerate(layers) if layer.channels <= COMMON_WIDTH]
    wide = [Group((i,), layer.channels) for i, layer in enumerate(layers) if i not in common]
    if not common:
        return tuple(wide)
    return (Group(tuple(common), max(layers[i].channels for i in common)), *wide)


def channel_state(state: State, index: int) -> LayerState:
    """Return the state of the channels of a layer, without its group: a row of each array."""
    for group, arrays in zip(groups(state.layers), state.channels, strict=True):
        if index in group.layers:
            row = group.layers.index(index)
            return LayerState(*(array[row : row + 1] for array in arrays))
    raise IndexError(index)


def init(
    layers: Sequence[LayerFacts], parameters: Parameters, device: jax.Device | None = None
) -> State:
    """Return the state before the first input, on `device`; it is the identity of `merge`."""
    device = device or jax.devices()[0]
    zeros = ViewTotals(
        tuple((0,) * len(counter_names(parameters)) for _ in layers), (0,) * len(layers)
    )
    return State(
        layers=tuple(layers),
        parameters=parameters,
        inputs=0,
        units=tuple(
            None if is_vector(layer) else initial_state(1, layer.units, device) for layer in layers
        ),
        channels=tuple(
            initial_state(len(group.layers), group.width, device) for group in groups(tuple(layers))
        ),
        fired=tuple(np.zeros(layer.channels, np.int64) for layer in layers),
        unit_totals=zeros,
        channel_totals=zeros,
        nan_values=(0,) * len(layers),
        nan_inputs=(0,) * len(layers),
    )


def following(state: State) -> State:
    """Return the state before the first input of a part that follows the inputs of `state`.

    It knows the bounds of `nbc` as far as these inputs set them, and nothing else of them. Merged
    with the state of what comes before, it makes one sequence.
    """

    def bounded(fresh: LayerState, used: LayerState) -> LayerState:
        return fresh._replace(bounds=used.bounds)

    device = next(iter(state.channels[0].bounds.devices()))
    empty = init(state.layers, state.parameters, device)
    return replace(
        empty,
        units=tuple(
            None if fresh is None or used is None else bounded(fresh, used)
            for fresh, used in zip(empty.units, state.units, strict=True)
        ),
        channels=tuple(map(bounded, empty.channels, state.channels)),
        before=state.before + state.inputs,
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
    kernels, platform = kernels_for(state.parameters), current_platform()
    rows = np.int32(valid)
    seen = state.before + state.inputs
    bound_rows = np.int32(min(max(state.parameters.bounds_from - seen, 0), valid))
    flat = [a if a.ndim == 2 else a.reshape(a.shape[0], -1) for a in activations]
    units, channels = list(state.units), []
    # What each kernel found of each input: counts and sums, and which channels fired.
    of_units: list[Any] = [None] * len(flat)
    of_groups, all_values, facts = [], [], []
    for group, of_group in zip(groups(state.layers), state.channels, strict=True):
        values = kernels.empty(shape=(len(group.layers), flat[0].shape[0], group.width))
        means, running = [], {}
        for place, index in enumerate(group.layers):
            values, mean = kernels.channel_means(
                values, flat[index], np.int32(place), **_form(state.layers[index])
            )
            means.append(mean)
            before = units[index]
            if before is not None:
                running[place] = beside(
                    platform, kernels.units, before, flat[index], mean, rows, bound_rows
                )
        scales: list[RowExtrema | None] = [None] * len(means)
        for place, future in running.items():
            index = group.layers[place]
            units[index], counts, sums, scales[place] = future.result()
            of_units[index] = counts, sums
        all_values.append(values)
        facts.append((means, scales))
        after, *found = kernels.channels(of_group, values, means, scales, rows, bound_rows)
        channels.append(after)
        of_groups.append(found)

    # One wait for the whole batch; what comes over are a few numbers for each input and layer.
    of_units, of_groups = jax.device_get((of_units, of_groups))
    arrived: list[Any] = [None] * len(flat)
    fired = list(state.fired)
    for group, (counts, sums, active) in zip(groups(state.layers), of_groups, strict=True):
        for place, index in enumerate(group.layers):
            layer, of_channels = state.layers[index], (counts[place], sums[place])
            arrived[index] = *(of_units[index] or of_channels), *of_channels
            fires = active[place, : layer.channels]
            mean, low = arrived[index][1][:valid, 0], arrived[index][1][:valid, 2]
            if not is_vector(layer) and (np.isnan(mean) | (low < 0)).any():
                # With units on both sides of zero, or with a NaN, the mean does not tell whether a
                # unit is above zero.
                fires = np.asarray(kernels.fired(flat[index], rows, **_form(layer)))
            fired[index] = fired[index] + fires
    figures = _figures(arrived, valid)._replace(channels=tuple(all_values), facts=tuple(facts))
    # The memory of the activations is free again when everything that reads it has ended.
    jax.block_until_ready((units, channels))
    new = replace(
        state,
        inputs=state.inputs + valid,
        units=tuple(units),
        channels=tuple(channels),
        fired=tuple(fired),
        unit_totals=_added(state.unit_totals, figures, "unit"),
        channel_totals=_added(state.channel_totals, figures, "channel"),
        nan_values=_nan_values(state, flat, figures, kernels),
        nan_inputs=_sums(state.nan_inputs, np.isnan(figures.mean["unit"]).sum(axis=0).tolist()),
    )
    return new, figures


def _form(layer: LayerFacts) -> dict[str, Any]:
    """Return what the kernels of channels must know of a layer's shape."""
    return {"shape": layer.shape, "channel_axis": layer.channel_axis}


def _figures(arrived: list[tuple[np.ndarray, ...]], valid: int) -> InputFigures:
    counts, top_sum, mean = {}, {}, {}
    for view, place in zip(BOTH_VIEWS, (0, 2), strict=True):
        counts[view] = np.stack([layer[place][:valid] for layer in arrived], axis=1)
        sums = np.stack([layer[place + 1][:valid] for layer in arrived], axis=1)
        mean[view], top_sum[view] = sums[..., 0], sums[..., 1]
    return InputFigures(counts, top_sum, mean, (), ())


def channel_values(
    layers: tuple[LayerFacts, ...], activations: Sequence[Array], parameters: Parameters
) -> tuple[Array, ...]:
    """Return the values of all channels, where nothing else of a batch is wanted.

    The arguments are those of `update`, the values those of `InputFigures.channels`.
    """
    kernels = kernels_for(parameters)
    found = []
    for group in groups(layers):
        values = kernels.empty(shape=(len(group.layers), activations[0].shape[0], group.width))
        for place, index in enumerate(group.layers):
            a = activations[index]
            a = a if a.ndim == 2 else a.reshape(a.shape[0], -1)
            values, _ = kernels.channel_means(values, a, np.int32(place), **_form(layers[index]))
        found.append(values)
    return tuple(found)


def channel_matrix(
    layers: tuple[LayerFacts, ...], channels: Sequence[Array], valid: int
) -> np.ndarray:
    """Bring the values of the groups of layers to the host, and into the order of the layers.

    Parameters
    ----------
    layers : tuple of LayerFacts
    channels : sequence of Array
        ``(L, B, width)`` for each of the `groups`, from `update` or `channel_values`.
    valid : int
        How many of the B rows are inputs.

    Returns
    -------
    array
        ``(valid, C)`` float32, C the channels of all layers, one layer after the other.
    """
    found: list[Any] = [None] * len(layers)
    for group, values in zip(groups(layers), jax.device_get(tuple(channels)), strict=True):
        for place, index in enumerate(group.layers):
            found[index] = values[place, :valid, : layers[index].channels]
    return np.concatenate(found, axis=1)


def _added(totals: ViewTotals, figures: InputFigures, view: View) -> ViewTotals:
    counted = figures.counts[view].sum(axis=0, dtype=np.int64).tolist()
    top_sum = exact_sums(figures.top_sum[view])
    return _merged_totals(totals, ViewTotals(tuple(map(tuple, counted)), top_sum))


def _sums(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _nan_values(
    state: State, flat: Sequence[Array], figures: InputFigures, kernels: Kernels
) -> tuple[int, ...]:
    """Count values that are not a number, looking only where a layer's mean is not one."""
    found = list(state.nan_values)
    means = figures.mean["unit"]
    for index in np.flatnonzero(np.isnan(means).any(axis=0)).tolist():
        found[index] += int(np.asarray(kernels.count_nan(flat[index]))[: means.shape[0]].sum())
    return tuple(found)


def rows_of(state: State, activations: Sequence[Array], row: int) -> list[Array]:
    """Return copies of one input's activations, ``(1, N)`` for each layer, complete on return."""
    kernels = kernels_for(state.parameters)
    return jax.block_until_ready([kernels.row(layer, np.int32(row)) for layer in activations])


def firing(state: State) -> tuple[tuple[int, ...], ...]:
    """Return, for each layer and channel, on how many inputs one of its units was above zero."""
    return tuple(tuple(fired.tolist()) for fired in state.fired)


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
    is mergeable. Pair metrics are not part of the state; `nbc` is dropped from a merged state,
    unless `b` is of a part that was `following` that of `a`.

    Raises
    ------
    ValueError
        If the states are of different layers or parameters.
    """
    if a.layers != b.layers or a.parameters != b.parameters:
        raise ValueError("states of different layers or parameters cannot be merged")
    if not (a.inputs and b.inputs):
        return a if a.inputs or not b.inputs else b
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
        one_sequence=a.one_sequence and b.one_sequence and _follows(a, b),
    )


def _follows(a: State, b: State) -> bool:
    """Return whether the inputs of `b` were measured with the bounds that those of `a` set."""
    return b.before >= min(a.before + a.inputs, a.parameters.bounds_from)


def _merged_totals(a: ViewTotals, b: ViewTotals) -> ViewTotals:
    return ViewTotals(
        tuple(_sums(left, right) for left, right in zip(a.counted, b.counted, strict=True)),
        tuple(x + y for x, y in zip(a.top_sum, b.top_sum, strict=True)),
    )
