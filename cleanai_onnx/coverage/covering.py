"""What each image of a batch covers by itself: the items that a subset of the suite has to keep.

A coverage of a suite is made of items (a neuron above the threshold, a section of its range, a
combination), and the suite covers what its images cover one by one. Of the metrics in `UNIONS` and
`PROFILED` this is true; what takes a pair of images (`sc-suite`, `vc-suite`) is no item of either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax
import numpy as np
import numpy.typing as npt
from jax import Array

from cleanai_onnx.coverage.engine import InputFigures, State, groups, is_vector
from cleanai_onnx.coverage.kernels import SELECTED_BIT, kernels_for
from cleanai_onnx.coverage.metric import UnitState
from cleanai_onnx.coverage.profiled import Items, rows_of_flags
from cleanai_onnx.coverage.registry import METRICS
from cleanai_onnx.result import View

__all__ = ["UNIONS", "covered_by_each"]

UNIONS: tuple[str, ...] = tuple(metric.id for metric in METRICS.values() if metric.union)
"""Metrics without a profile whose items single images cover: the neurons of a view."""


def covered_by_each(
    state: State,
    figures: InputFigures,
    activations: Sequence[Array],
    view: View,
    metrics: Sequence[str],
) -> dict[str, Items]:
    """Return the neurons that each input of a batch covers, for each of some `UNIONS`.

    The questions are those that `update` asks of the whole suite, with the same arithmetic.

    Parameters
    ----------
    state, figures
        What `update` returned for the batch.
    activations : sequence of Array
        For each layer ``(B, ...)``, as they were given to `update`; only the unit view reads them.
    view : View
    metrics : sequence of str

    Returns
    -------
    dict of str to Items
        For each metric and input, numbers of neurons, ascending; the layers' neurons are numbered
        one layer after the other.
    """
    valid = len(figures.mean["unit"])
    flags: dict[str, list[npt.NDArray[np.bool_]]] = {metric: [] for metric in metrics}
    for values, marks in _by_layer(state, figures, activations, view):
        found = _covered(state, values[:valid], marks[:valid], metrics)
        for metric in metrics:
            flags[metric].append(found[metric])
    return {metric: rows_of_flags(np.concatenate(parts, axis=1)) for metric, parts in flags.items()}


def _by_layer(
    state: State, figures: InputFigures, activations: Sequence[Array], view: View
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]]:
    """Yield the values and the marks of each layer's neurons, ``(B, N)``, in the layers' order."""
    kernels = kernels_for(state.parameters)
    of_groups = jax.device_get(
        [
            kernels.cover(values, *facts)
            for values, facts in zip(figures.channels, figures.facts, strict=True)
        ]
    )
    place = {
        index: (number, row)
        for number, group in enumerate(groups(state.layers))
        for row, index in enumerate(group.layers)
    }
    for index, layer in enumerate(state.layers):
        number, row = place[index]
        if view == "unit" and not is_vector(layer):
            a = activations[index]
            mean = figures.facts[number][0][row]
            values, marks = kernels.cover(a.reshape(1, a.shape[0], -1), [mean], [None])
            yield np.asarray(values)[0], np.asarray(marks)[0]
        else:
            values, marks = of_groups[number]
            yield values[row, :, : layer.channels], marks[row, :, : layer.channels]


def _covered(
    state: State,
    values: npt.NDArray[np.float32],
    marks: npt.NDArray[np.uint8],
    metrics: Sequence[str],
) -> dict[str, npt.NDArray[np.bool_]]:
    """Ask each metric which neurons a suite of one input covers, for each input: ``(B, N)``."""
    missing = np.isnan(values)
    low, high = values, values
    if missing.any():
        low, high = np.where(missing, np.inf, values), np.where(missing, -np.inf, values)
    found, first_bit = {}, 0
    for metric in METRICS.values():
        bits = range(first_bit, first_bit + len(metric.marks(state.parameters)))
        first_bit = bits.stop
        if metric.id in metrics and metric.covers is not None:
            neurons = UnitState(
                low=low,
                high=high,
                marked=tuple((marks >> bit) & 1 == 1 for bit in bits),
                selected=marks >> SELECTED_BIT == 1,
                complete=1,
            )
            found[metric.id] = metric.covers(neurons, state.parameters)
    return found
