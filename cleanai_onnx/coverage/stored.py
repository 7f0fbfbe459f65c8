"""The state of a measurement as a tree of arrays and whole numbers, and back.

What comes back is checked against the layers and the parameters: a tree that does not fit them is
refused before anything is made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cleanai_onnx.container import UnfitError, array_in, list_in, whole_in
from cleanai_onnx.coverage.engine import State, ViewTotals, counter_names, groups, is_vector
from cleanai_onnx.coverage.exact import Exact
from cleanai_onnx.coverage.kernels import LayerState
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.result import LayerFacts

__all__ = ["restored", "stored"]


def stored(state: State) -> dict[str, Any]:
    """Return the state as a tree for `cleanai_onnx.container`."""
    units, channels = jax.device_get((state.units, state.channels))
    return {
        "inputs": state.inputs,
        "before": state.before,
        "one sequence": int(state.one_sequence),
        "units": [None if one is None else _arrays(one) for one in units],
        "channels": [_arrays(one) for one in channels],
        "fired": list(state.fired),
        "unit totals": _totals(state.unit_totals),
        "channel totals": _totals(state.channel_totals),
        "nan values": list(state.nan_values),
        "nan inputs": list(state.nan_inputs),
    }


def _arrays(state: LayerState) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in state._asdict().items()}


def _totals(totals: ViewTotals) -> dict[str, Any]:
    # JSON has whole numbers of any length, and no literal for an infinite sum.
    top_sum = [one if isinstance(one, int) else str(one) for one in totals.top_sum]
    return {"counted": [list(row) for row in totals.counted], "top sum": top_sum}


def restored(
    tree: Mapping[str, Any],
    layers: Sequence[LayerFacts],
    parameters: Parameters,
    device: jax.Device | None = None,
) -> State:
    """Return the state that `stored` returned as a tree, on `device`.

    Raises
    ------
    UnfitError
        If the tree is no state of these layers and parameters.
    """
    layers = tuple(layers)
    device = device or jax.devices()[0]
    units = [
        None if is_vector(layer) else _layer_state(one, 1, layer.units, device)
        for layer, one in zip(layers, list_in(tree, "units", len(layers)), strict=True)
    ]
    of_groups = groups(layers)
    channels = [
        _layer_state(one, len(group.layers), group.width, device)
        for group, one in zip(of_groups, list_in(tree, "channels", len(of_groups)), strict=True)
    ]
    fired = [
        array_in({"fired": one}, "fired", np.int64, layer.channels)
        for layer, one in zip(layers, list_in(tree, "fired", len(layers)), strict=True)
    ]
    inputs = whole_in(tree, "inputs")
    if any((one < 0).any() or (one > inputs).any() for one in fired):
        raise UnfitError("channels fired on more images than there are")
    return State(
        layers=layers,
        parameters=parameters,
        inputs=inputs,
        units=tuple(units),
        channels=tuple(channels),
        fired=tuple(fired),
        unit_totals=_restored_totals(tree, "unit totals", len(layers), parameters),
        channel_totals=_restored_totals(tree, "channel totals", len(layers), parameters),
        nan_values=_counts(tree, "nan values", len(layers)),
        nan_inputs=_counts(tree, "nan inputs", len(layers)),
        before=whole_in(tree, "before"),
        one_sequence=bool(whole_in(tree, "one sequence")),
    )


def _layer_state(tree: Any, layers: int, size: int, device: jax.Device) -> LayerState:
    if not isinstance(tree, dict):
        raise UnfitError("a layer has no state")
    arrays = (
        array_in(tree, "extrema", np.complex64, layers, size),
        array_in(tree, "marks", np.uint8, layers, size),
        array_in(tree, "bounds", np.float32, layers, 2),
    )
    return LayerState(*jax.device_put(arrays, device))


def _restored_totals(
    tree: Mapping[str, Any], name: str, layers: int, parameters: Parameters
) -> ViewTotals:
    totals = tree.get(name)
    if not isinstance(totals, dict):
        raise UnfitError(f"it has no {name}")
    counters = len(counter_names(parameters))
    rows = [_counts({name: row}, name, counters) for row in list_in(totals, "counted", layers)]
    return ViewTotals(tuple(rows), tuple(map(_sum, list_in(totals, "top sum", layers))))


def _sum(value: Any) -> Exact:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if value in ("inf", "-inf", "nan"):
        return math.nan if value == "nan" else float(value)
    raise UnfitError("a sum is no number")


def _counts(tree: Mapping[str, Any], name: str, length: int) -> tuple[int, ...]:
    values = list_in(tree, name, length)
    return tuple(whole_in({name: value}, name) for value in values)
