"""Compute: from the state of a measurement to the evidence of each metric, and to its tables."""

from __future__ import annotations

import jax
import numpy as np

from cleanai_onnx.coverage.engine import PairEvidence, State, channel_state, counter_names
from cleanai_onnx.coverage.exact import rounded
from cleanai_onnx.coverage.kernels import SELECTED_BIT, LayerState
from cleanai_onnx.coverage.metric import BOTH_VIEWS, Evidence, LayerEvidence, UnitState
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.coverage.registry import METRICS
from cleanai_onnx.result import Table, View

__all__ = ["compute"]


def compute(
    state: State,
    pair: PairEvidence | None = None,
    adjacency: tuple[tuple[int, int], ...] | None = None,
) -> tuple[Table, ...]:
    """Return the tables of all metrics in both views, metric by metric.

    `adjacency` lists the pairs of layers (by number) that interaction metrics look at; by default
    each layer and the next one, as in CleanAI.
    """
    if adjacency is None:
        adjacency = tuple((k, k + 1) for k in range(len(state.layers) - 1))
    of_view = {view: _evidence(state, view, pair, adjacency) for view in BOTH_VIEWS}
    return tuple(
        metric.table(view, of_view[view][metric.id], state.parameters)
        for metric in METRICS.values()
        # What a pair is compared in is no part of the state, and does not care how it came about.
        if state.one_sequence or metric.card.mergeable or metric.card.scope == "pair"
        for view in metric.views
    )


def _evidence(
    state: State, view: View, pair: PairEvidence | None, adjacency: tuple[tuple[int, int], ...]
) -> dict[str, Evidence]:
    totals = state.unit_totals if view == "unit" else state.channel_totals
    arrays = [
        jax.device_get(channel_state(state, index) if view == "channel" or units is None else units)
        for index, units in enumerate(state.units)
    ]
    sizes = [layer.size(view) for layer in state.layers]
    complete = [state.inputs - nan for nan in state.nan_inputs]
    covered = [
        _covered(array, size, state.parameters, of_layer)
        for array, size, of_layer in zip(arrays, sizes, complete, strict=True)
    ]
    names = counter_names(state.parameters)

    def of_layer(metric: str, index: int) -> LayerEvidence:
        layer = state.layers[index]
        return LayerEvidence(
            name=layer.name,
            size=sizes[index],
            counted=tuple(
                count
                for (owner, _), count in zip(names, totals.counted[index], strict=True)
                if owner == metric
            ),
            covered=covered[index].get(metric, 0),
            top_sum=rounded(totals.top_sum[index]),
            bound_low=float(arrays[index].bounds[0, 0]),
            bound_high=float(arrays[index].bounds[0, 1]),
            complete=complete[index],
        )

    after_bounds = state.before + state.inputs - state.parameters.bounds_from
    after_bounds = min(max(after_bounds, 0), state.inputs)
    of_pair = None if pair is None else (pair.units if view == "unit" else pair.channels)
    return {
        metric: Evidence(
            inputs=state.inputs,
            after_bounds=after_bounds,
            layers=tuple(of_layer(metric, index) for index in range(len(state.layers))),
            pair=of_pair,
            pair_names=None if pair is None else pair.names,
            adjacency=adjacency,
        )
        for metric in METRICS
    }


def _covered(array: LayerState, size: int, parameters: Parameters, complete: int) -> dict[str, int]:
    """Count the neurons of a layer that each metric of the suite covers, by the metric's id."""
    counts, first_bit = {}, 0
    extrema, marks = np.asarray(array.extrema)[0, :size], np.asarray(array.marks)[0, :size]
    for metric in METRICS.values():
        bits = range(first_bit, first_bit + len(metric.marks(parameters)))
        first_bit = bits.stop
        if metric.covers is not None:
            neurons = UnitState(
                low=extrema.real,
                high=extrema.imag,
                marked=tuple((marks >> bit) & 1 == 1 for bit in bits),
                selected=marks >> SELECTED_BIT == 1,
                complete=complete,
            )
            counts[metric.id] = int(np.count_nonzero(metric.covers(neurons, parameters)))
    return counts
