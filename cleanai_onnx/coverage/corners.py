"""Boundary coverage of DeepGauge: neurons that left the range they had on the training images.

For a neuron with the range [low, high] and the standard deviation sd over the training images, and
a margin of k deviations (Ma et al., DeepGauge, ASE 2018, section 3.2):

* its lower corner is covered if a < low - k·sd for some input of the suite,
* its upper corner is covered if a > high + k·sd for some input.

`nbc-suite` is (lower + upper corners covered) / 2N, `snac` upper corners covered / N. Comparisons
are strict: with ≤ and ≥, every ReLU that was ever 0 in training would cover its lower corner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.container import array_in
from cleanai_onnx.coverage.metric import Card, Definition, TableBody, ratio
from cleanai_onnx.coverage.profiled import (
    Items,
    Learnt,
    Observed,
    ProfiledMetric,
    ProfileParameters,
    rows_of_flags,
)
from cleanai_onnx.coverage.tabulation import coverage_body
from cleanai_onnx.result import Column, Table

__all__ = ["CORNERS", "CornerState"]

_SOURCE = "Ma et al., DeepGauge (ASE 2018), section 3.2"
_NBC = Definition(
    id="nbc-suite",
    title="Neuron boundary coverage of the suite",
    definition=(
        "Each neuron has a lower corner, below low - k·sd, and an upper corner, above high + "
        "k·sd, where low, high and sd are its minimum, maximum and standard deviation over the "
        "training images. Corners reached by at least one image, over 2N."
    ),
    card=Card("suite", True, True, True, f"{_SOURCE}, NBC", needs_profile=True),
)
_SNAC = Definition(
    id="snac",
    title="Strong neuron activation coverage",
    definition=(
        "Neurons above high + k·sd for at least one image, over all neurons, where high and sd "
        "are the maximum and the standard deviation over the training images."
    ),
    card=Card("suite", True, True, True, f"{_SOURCE}, SNAC", needs_profile=True),
)
_NAMES = ("outside training range", "adds nbc-suite")


@dataclass(frozen=True, eq=False)
class CornerState:
    """Which corners were covered: two arrays of ``(N,)`` booleans."""

    learnt: Learnt
    margin: float
    below: npt.NDArray[np.bool_]
    above: npt.NDArray[np.bool_]


def init(learnt: Learnt, parameters: ProfileParameters) -> CornerState:
    """Return the state before the first input."""
    none = np.zeros(sum(learnt.sizes), np.bool_)
    return CornerState(learnt, parameters.margin, none, none.copy())


def update(state: CornerState, observed: Observed) -> tuple[CornerState, npt.NDArray[np.float64]]:
    """Look for corners in a batch; the scores are how many an input reached, and added."""
    values = observed.values
    below, above = _corners(state, values)
    scores = np.empty((len(values), len(_NAMES)))
    scores[:, 0] = below.sum(axis=1) + above.sum(axis=1)
    seen_below, seen_above = state.below, state.above
    for row in range(len(values)):
        scores[row, 1] = (below[row] & ~seen_below).sum() + (above[row] & ~seen_above).sum()
        seen_below |= below[row]
        seen_above |= above[row]
    return replace(state, below=seen_below, above=seen_above), scores


def _corners(
    state: CornerState, values: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which neurons are below and which above their ranges, ``(B, N)`` booleans each."""
    learnt = state.learnt
    width = state.margin * learnt.deviation
    # A neuron that was never a number in training has no range to leave.
    known = learnt.low <= learnt.high
    return (values < learnt.low - width) & known, (values > learnt.high + width) & known


def items(state: CornerState) -> dict[str, tuple[int, ...]]:
    """Return how many corners there are: lower and upper ones, and upper ones."""
    neurons = len(state.below)
    return {_NBC.id: (neurons, neurons), _SNAC.id: (neurons,)}


def covered_by_each(state: CornerState, observed: Observed) -> dict[str, tuple[Items, ...]]:
    """Return the neurons of whose corners each input reached."""
    below, above = map(rows_of_flags, _corners(state, observed.values))
    return {_NBC.id: (below, above), _SNAC.id: (above,)}


def merge(a: CornerState, b: CornerState) -> CornerState:
    """Return the state of both suites together."""
    return replace(a, below=a.below | b.below, above=a.above | b.above)


def compute(state: CornerState) -> tuple[Table, Table]:
    """Return the tables of `nbc-suite` and `snac`."""
    learnt, sizes = state.learnt, state.learnt.sizes
    below, above = learnt.by_layer(state.below), learnt.by_layer(state.above)
    rows = tuple(
        (name, low, high, 2 * size, ratio(low + high, 2 * size))
        for name, low, high, size in zip(learnt.layers, below, above, sizes, strict=True)
    )
    lower, upper, neurons = sum(below), sum(above), sum(sizes)
    unseen = int((learnt.low > learnt.high).sum())
    notes = (
        (f"{unseen:,} neurons were never a number in training: they have no range to leave.",)
        if unseen
        else ()
    )
    columns = (
        Column("layer", "text"),
        Column("below", "count"),
        Column("above", "count"),
        Column("corners", "count"),
        Column("coverage", "ratio"),
    )
    total = ("all layers", lower, upper, 2 * neurons, ratio(lower + upper, 2 * neurons))
    upper_only = list(zip(learnt.layers, above, sizes, strict=True))
    parameters = {"k": state.margin}
    return (
        _NBC.table(learnt.view, parameters, TableBody(columns, rows, total, notes)),
        _SNAC.table(learnt.view, parameters, coverage_body(upper_only, notes)),
    )


def stored(state: CornerState) -> dict[str, Any]:
    """Return the corners that were covered."""
    return {"below": state.below, "above": state.above}


def restored(state: CornerState, tree: Mapping[str, Any]) -> CornerState:
    """Return the state with the corners that `stored` returned."""
    below, above = (array_in(tree, name, np.bool_, len(state.below)) for name in ("below", "above"))
    return replace(state, below=below, above=above)


CORNERS = ProfiledMetric(
    metrics=(_NBC, _SNAC),
    parameters=lambda parameters: {"k": parameters.margin},
    scores=lambda _: _NAMES,
    init=init,
    update=update,
    merge=merge,
    compute=compute,
    items=items,
    covered_by_each=covered_by_each,
    stored=stored,
    restored=restored,
)
