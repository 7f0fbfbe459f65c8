"""Neuron boundary coverage of CleanAI (`nbc`): activations outside the bounds of their layer.

The bounds are the minimum and the maximum of the whole layer over the first n images; each later
image is counted: #{a < low or a > high}, strict. (DeepGauge's criterion of the same name has bounds
for each neuron, from the training images; it needs a profile.)
"""

from __future__ import annotations

from jax import Array

from cleanai_onnx.coverage.metric import (
    Card,
    Counter,
    Evidence,
    Facts,
    Metric,
    TableBody,
    ratio,
)
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.result import Column

__all__ = ["METRICS"]


def _outside(_: Parameters) -> tuple[Counter, ...]:
    def holds(a: Array, facts: Facts) -> Array:
        return (a < facts.bound_low) | (a > facts.bound_high)

    return (holds,)


def _tabulate(evidence: Evidence, parameters: Parameters) -> TableBody:
    after = evidence.after_bounds
    rows = tuple(
        (
            layer.name,
            layer.bound_low,
            layer.bound_high,
            layer.counted[0],
            layer.size * after,
            ratio(layer.counted[0], layer.size * after),
        )
        for layer in evidence.layers
    )
    outside = sum(layer.counted[0] for layer in evidence.layers)
    total = sum(layer.size for layer in evidence.layers) * after
    notes = (
        (
            f"Not computed: the first {parameters.bounds_from} images set the bounds and no image "
            "is left to be counted. Choose fewer with --bounds-from, or give more images.",
        )
        if not after
        else ()
    )
    return TableBody(
        (
            Column("layer", "text"),
            Column("lower bound", "value"),
            Column("upper bound", "value"),
            Column("outside", "count"),
            Column("total", "count"),
            Column("coverage", "ratio"),
        ),
        rows,
        ("all layers", None, None, outside, total, ratio(outside, total)),
        notes,
    )


METRICS = (
    Metric(
        id="nbc",
        title="Neuron boundary coverage",
        definition=(
            "Bounds: minimum and maximum of a whole layer over the first n images. Counted over "
            "the later images: neurons with a < lower bound or a > upper bound."
        ),
        card=Card("input", False, False, False, "CleanAI (ESOGU-SRLAB), neuron boundary coverage"),
        tabulate=_tabulate,
        parameters=lambda parameters: {"n": parameters.bounds_from},
        counters=_outside,
    ),
)
