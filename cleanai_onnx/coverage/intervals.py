"""Multisection neuron coverage of CleanAI (`mnc`): how many activations lie in given intervals.

For each interval: #{low <= a <= high}, both ends inclusive, summed over the inputs. An activation
on a common end of two intervals is counted in both.
"""

from __future__ import annotations

from jax import Array

from cleanai_onnx.coverage.metric import Card, Counter, Evidence, Facts, Metric, TableBody
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.result import Cell, Column

__all__ = ["METRICS"]


def _within(parameters: Parameters) -> tuple[Counter, ...]:
    def counter(low: float, high: float) -> Counter:
        def holds(a: Array, _: Facts) -> Array:
            return (a >= low) & (a <= high)

        return holds

    return tuple(counter(low, high) for low, high in parameters.intervals)


def _tabulate(evidence: Evidence, parameters: Parameters) -> TableBody:
    columns = (
        Column("layer", "text"),
        *(Column(f"[{low:g}, {high:g}]", "count") for low, high in parameters.intervals),
        Column("total", "count"),
    )
    numbers = [(*layer.counted, layer.size * evidence.inputs) for layer in evidence.layers]
    rows: list[tuple[Cell, ...]] = [
        (layer.name, *row) for layer, row in zip(evidence.layers, numbers, strict=True)
    ]
    sums = (sum(column) for column in zip(*numbers, strict=True))
    return TableBody(columns, tuple(rows), ("all layers", *sums))


METRICS = (
    Metric(
        id="mnc",
        title="Multisection neuron coverage",
        definition=(
            "Per input and layer, for each interval: neurons with low <= a <= high, both ends "
            "inclusive; summed over the suite."
        ),
        card=Card(
            "input", False, True, True, "CleanAI (ESOGU-SRLAB), multisection neuron coverage"
        ),
        tabulate=_tabulate,
        parameters=lambda parameters: {"intervals": [list(pair) for pair in parameters.intervals]},
        counters=_within,
    ),
)
