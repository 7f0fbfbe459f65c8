"""Sign coverage and value coverage: neurons that react when the input changes.

=============  ================================================================================
`sc`           a·b <= 0 for the pair (CleanAI: 0·0 counts as a sign change)
`sc-strict`    sign in {-, 0, +} differs for the pair
`vc`           abs(a - b) > t for the pair
`sc-suite`     a·b <= 0 for SOME pair of different inputs of the suite
`vc-suite`     abs(a - b) > t for SOME pair of the suite
=============  ================================================================================

Over a suite, no pair needs to be formed: a neuron takes values on both sides of zero (or zero
itself, with at least two inputs) exactly when min <= 0 <= max, and two of its values differ by more
than t exactly when max - min > t. One pass, two numbers for each neuron. (A product of two numbers
of one sign that underflows to 0 is a change of sign for `sc`, as in CleanAI, and none for
`sc-suite`.)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cleanai_onnx.coverage.metric import Card, Evidence, Metric, TableBody, UnitState
from cleanai_onnx.coverage.pairs import PairCounts
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.coverage.tabulation import coverage_body

__all__ = ["METRICS", "NO_PAIR", "pair_parameters"]

NO_PAIR = (
    "Not computed: a pair metric needs two images, and the suite has fewer, or an image of --pair "
    "was skipped."
)


def _of_pair(count: Callable[[PairCounts], int]) -> Callable[[Evidence, Parameters], TableBody]:
    def tabulate(evidence: Evidence, _: Parameters) -> TableBody:
        if evidence.pair is None:
            return coverage_body([], (NO_PAIR,))
        rows = [
            (layer.name, count(counts), counts.size)
            for layer, counts in zip(evidence.layers, evidence.pair, strict=True)
        ]
        return coverage_body(rows, pair_note(evidence))

    return tabulate


def pair_note(evidence: Evidence) -> tuple[str, ...]:
    """Say which two images a pair metric compares."""
    if evidence.pair_names is None:
        return ()
    first, second = evidence.pair_names
    return (f"Pair: {first} and {second}.",)


def _of_suite(evidence: Evidence, _: Parameters) -> TableBody:
    rows = [(layer.name, layer.covered, layer.size) for layer in evidence.layers]
    few = evidence.inputs < 2
    return coverage_body(rows, ("A suite of fewer than two images has no pair.",) if few else ())


def _sign_of_suite(evidence: Evidence, parameters: Parameters) -> TableBody:
    body = _of_suite(evidence, parameters)
    if evidence.inputs < 2 or all(layer.complete > 1 for layer in evidence.layers):
        return body
    note = (
        "A lower bound: where all images but one at most give values that are not a number in a "
        "layer, its neurons that are zero throughout are not counted."
    )
    return body._replace(notes=(*body.notes, note))


def _sign_for_some_pair(state: UnitState, _: Parameters) -> np.ndarray:
    # A neuron that is zero throughout needs two inputs to make a pair, and a NaN makes none.
    partner = (state.low < state.high) | (state.complete > 1)
    return (state.low <= 0) & (state.high >= 0) & partner


def _value_for_some_pair(state: UnitState, parameters: Parameters) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return state.high - state.low > np.float32(parameters.value_threshold)


def pair_parameters(parameters: Parameters) -> dict[str, float]:
    """Return the threshold of the value change."""
    return {"t": parameters.value_threshold}


_CLEANAI = "CleanAI (ESOGU-SRLAB)"

METRICS = (
    Metric(
        id="sc",
        title="Sign coverage",
        definition="For a pair of images: neurons with a·b <= 0, so that 0·0 counts as a change.",
        card=Card("pair", False, False, False, f"{_CLEANAI}, sign coverage"),
        tabulate=_of_pair(lambda counts: counts.sign),
    ),
    Metric(
        id="sc-strict",
        title="Sign coverage, strict",
        definition="For a pair of images: neurons whose sign, one of -, 0 and +, differs.",
        card=Card("pair", False, False, False, "Ours, beside CleanAI's sign coverage"),
        tabulate=_of_pair(lambda counts: counts.sign_strict),
    ),
    Metric(
        id="vc",
        title="Value coverage",
        definition="For a pair of images: neurons with |a - b| > t.",
        card=Card("pair", False, False, False, f"{_CLEANAI}, value coverage"),
        tabulate=_of_pair(lambda counts: counts.value),
        parameters=pair_parameters,
    ),
    Metric(
        id="sc-suite",
        title="Sign coverage of the suite",
        definition=(
            "Neurons with a·b <= 0 for some pair of different images of the suite: those with "
            "min <= 0 <= max. Unlike in sc, a product that underflows to 0 does not count."
        ),
        card=Card("suite", True, True, True, "Ours: exact closure of CleanAI's metric over pairs"),
        tabulate=_sign_of_suite,
        covers=_sign_for_some_pair,
    ),
    Metric(
        id="vc-suite",
        title="Value coverage of the suite",
        definition=(
            "Neurons with |a - b| > t for some pair of images of the suite: exactly those with "
            "max - min > t."
        ),
        card=Card("suite", True, True, True, "Ours: exact closure of CleanAI's metric over pairs"),
        tabulate=_of_suite,
        parameters=pair_parameters,
        covers=_value_for_some_pair,
    ),
)
