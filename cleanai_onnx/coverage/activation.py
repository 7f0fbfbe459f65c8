"""Neuron coverage and threshold coverage: how many neurons are active.

========================  =====================================================================
`nc`                      a > mean(a) of the layer for this input; summed over inputs (CleanAI)
`tc`                      a > t; summed over inputs (CleanAI)
`nc-suite`                a > t for some input (DeepGauge's reading of DeepXplore)
`nc-suite-scaled`         (a - min) / (max - min) > t for some input (DeepXplore's code)
`nc-suite-scaled-abs`     the same on abs(a)
========================  =====================================================================

All comparisons are strict. The scaled variants compare ``a - min > t (max - min)`` in float32, with
the extrema of the layer's units for the same input; a layer that is constant for an input has no
spread and covers nothing. In the channel view the value is the spatial mean and `nc` takes the mean
over the channels; the scaled variants keep the extrema of the units, as DeepXplore does.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from cleanai_onnx.coverage.metric import Card, Counter, Facts, Mark, Metric, UnitState
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.coverage.tabulation import per_input_coverage, suite_coverage

__all__ = ["METRICS"]


def _above_mean(_: Parameters) -> tuple[Counter, ...]:
    return (lambda a, facts: a > facts.mean,)


def _above_threshold(parameters: Parameters) -> tuple[Counter, ...]:
    return (lambda a, facts: a > parameters.threshold,)


def _ever_above_threshold(state: UnitState, parameters: Parameters) -> np.ndarray:
    # Some a > t exactly when the largest is.
    return state.high > np.float32(parameters.threshold)


def _scaled(parameters: Parameters) -> tuple[Mark, ...]:
    def mark(a: Array, facts: Facts) -> Array:
        return a - facts.low > parameters.threshold * (facts.high - facts.low)

    return (mark,)


def _scaled_absolute(parameters: Parameters) -> tuple[Mark, ...]:
    def mark(a: Array, facts: Facts) -> Array:
        spread = facts.absolute_high - facts.absolute_low
        return jnp.abs(a) - facts.absolute_low > parameters.threshold * spread

    return (mark,)


def _ever_marked(state: UnitState, _: Parameters) -> np.ndarray:
    return state.marked[0]


def _threshold(parameters: Parameters) -> dict[str, float]:
    return {"t": parameters.threshold}


METRICS = (
    Metric(
        id="nc",
        title="Neuron coverage",
        definition=(
            "Per input and layer: neurons with a > mean(a), the mean in float32 over the layer. "
            "Over the suite: sum of covered / sum of totals, an average and not a union."
        ),
        card=Card("input", False, True, True, "CleanAI (ESOGU-SRLAB), neuron coverage"),
        tabulate=per_input_coverage,
        counters=_above_mean,
    ),
    Metric(
        id="tc",
        title="Threshold coverage",
        definition=(
            "Per input and layer: neurons with a > t. "
            "Over the suite: sum of covered / sum of totals, an average and not a union."
        ),
        card=Card("input", False, True, True, "CleanAI (ESOGU-SRLAB), threshold coverage"),
        tabulate=per_input_coverage,
        parameters=_threshold,
        counters=_above_threshold,
    ),
    Metric(
        id="nc-suite",
        title="Neuron coverage of the suite",
        definition="Neurons with a > t for at least one input, over all neurons.",
        card=Card(
            "suite",
            True,
            True,
            True,
            "Pei et al., DeepXplore (SOSP 2017), section 4.1, "
            "on raw values as in Ma et al., DeepGauge (ASE 2018), section 5",
        ),
        tabulate=suite_coverage,
        parameters=_threshold,
        covers=_ever_above_threshold,
        union=True,
    ),
    Metric(
        id="nc-suite-scaled",
        title="Neuron coverage of the suite, scaled",
        definition=(
            "Neurons with (a - min) / (max - min) > t for at least one input, where min and max "
            "are over the units of the layer for the same input."
        ),
        card=Card("suite", True, True, True, "Pei et al., DeepXplore (SOSP 2017), its code"),
        tabulate=suite_coverage,
        parameters=_threshold,
        marks=_scaled,
        covers=_ever_marked,
        union=True,
    ),
    Metric(
        id="nc-suite-scaled-abs",
        title="Neuron coverage of the suite, scaled, of absolute values",
        definition=(
            "Neurons with (|a| - min|a|) / (max|a| - min|a|) > t for at least one input, so that a "
            "strongly negative activation counts as active. The absolute value is taken first: "
            "after scaling to 0..1 it would change nothing."
        ),
        card=Card(
            "suite",
            True,
            True,
            True,
            "MathWorks, Neuron Coverage for Deep Learning (2022), which speaks of absolute values",
        ),
        tabulate=suite_coverage,
        parameters=_threshold,
        marks=_scaled_absolute,
        covers=_ever_marked,
        union=True,
    ),
)
