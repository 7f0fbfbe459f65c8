"""k-multisection neuron coverage of DeepGauge: which parts of its range each neuron was in.

The range [low, high] of a neuron over the training images is cut into k sections of equal width;
a section is covered if an activation of the suite lies in it (Ma et al., DeepGauge, ASE 2018,
section 3.2, KMNC). The range is closed at both ends: low lies in the first section, high in the
last, a border between two in the upper one. Activations outside the range cover nothing and are
counted apart. A neuron of zero range has no sections; it is left out and counted.

The state is one bit for each section: 2.8 MB for the 22,720 channels of a ResNet-50 at k = 1000.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.container import UnfitError, array_in
from cleanai_onnx.coverage.metric import Card, Definition, TableBody, ratio
from cleanai_onnx.coverage.profiled import (
    Items,
    Learnt,
    Observed,
    ProfiledMetric,
    ProfileParameters,
)
from cleanai_onnx.errors import UsageError
from cleanai_onnx.result import Column, Table

__all__ = ["SECTIONS", "SectionState", "section_of"]

_KMNC = Definition(
    id="kmnc",
    title="k-multisection neuron coverage",
    definition=(
        "The range of each neuron over the training images is cut into k sections of equal "
        "width, closed at both ends. Sections that hold an activation of the suite, over all "
        "sections. Neurons of zero range have none and are left out; activations outside the "
        "range are counted apart."
    ),
    card=Card(
        "suite",
        True,
        True,
        True,
        "Ma et al., DeepGauge (ASE 2018), section 3.2, KMNC",
        needs_profile=True,
    ),
)
_NAMES = ("adds kmnc",)
MOST_BYTES = 2**30
"""Of the state; more is refused."""


@dataclass(frozen=True, eq=False)
class SectionState:
    """Which sections were covered.

    `hit` is ``(M, ceil(k / 8))`` uint8 for the M neurons that have a range, bit s % 8 of byte
    s // 8 for section s; `outside` is ``(M,)`` int64, how many activations lay outside the range.
    """

    learnt: Learnt
    sections: int
    neurons: npt.NDArray[np.intp]
    hit: npt.NDArray[np.uint8]
    outside: npt.NDArray[np.int64]


def init(learnt: Learnt, parameters: ProfileParameters) -> SectionState:
    """Return the state before the first input.

    Raises
    ------
    UsageError
        If the state would take more than `MOST_BYTES`.
    """
    neurons = np.flatnonzero(learnt.ranged)
    width = -(-parameters.sections // 8)
    if len(neurons) * width > MOST_BYTES:
        raise UsageError(
            f"kmnc with {parameters.sections:,} sections for each of {len(neurons):,} neurons "
            f"needs {len(neurons) * width / 2**30:.1f} GiB: give fewer --sections, or a profile "
            "of channels.",
            slug="memory",
        )
    return SectionState(
        learnt,
        parameters.sections,
        neurons,
        np.zeros((len(neurons), width), np.uint8),
        np.zeros(len(neurons), np.int64),
    )


def section_of(
    values: npt.NDArray[np.float32],
    low: npt.NDArray[np.float32],
    high: npt.NDArray[np.float32],
    sections: int,
) -> npt.NDArray[np.int64]:
    """Return the section of each value, -1 where it lies outside the range or is not a number.

    Parameters
    ----------
    values
        ``(B, M)``.
    low, high
        ``(M,)``, low < high, finite.
    sections
        k.
    """
    inside = (values >= low) & (values <= high)
    start = low.astype(np.float64)
    share = (np.where(inside, values, low) - start) / (high - start)
    found = np.minimum((share * sections).astype(np.int64), sections - 1)
    return np.where(inside, found, -1)


def update(state: SectionState, observed: Observed) -> tuple[SectionState, npt.NDArray[np.float64]]:
    """Mark the sections of a batch; the score is how many an input added."""
    measured, found = _found(state, observed.values)
    scores = np.empty((len(measured), len(_NAMES)))
    for row, sections in enumerate(found):
        # An input is in one section of a neuron at most, so no byte is written twice.
        inside = np.flatnonzero(sections >= 0)
        place = inside, sections[inside] >> 3
        bit = np.left_shift(1, sections[inside] & 7).astype(np.uint8)
        before = state.hit[place]
        scores[row, 0] = np.count_nonzero(before & bit == 0)
        state.hit[place] = before | bit
    outside = state.outside + ((found < 0) & ~np.isnan(measured)).sum(axis=0)
    return replace(state, outside=outside), scores


def _found(
    state: SectionState, values: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the values of the neurons that have a range, and their sections: ``(B, M)`` each."""
    learnt, neurons = state.learnt, state.neurons
    measured = values[:, neurons]
    return measured, section_of(measured, learnt.low[neurons], learnt.high[neurons], state.sections)


def items(state: SectionState) -> dict[str, tuple[int, ...]]:
    """Return how many sections there are."""
    return {_KMNC.id: (state.sections * len(state.neurons),)}


def covered_by_each(state: SectionState, observed: Observed) -> dict[str, tuple[Items, ...]]:
    """Return the sections that each input was in, numbered neuron by neuron."""
    _, found = _found(state, observed.values)
    first = np.arange(len(state.neurons), dtype=np.int64) * state.sections
    return {_KMNC.id: ([(first + row)[row >= 0] for row in found],)}


def merge(a: SectionState, b: SectionState) -> SectionState:
    """Return the state of both suites together."""
    return replace(a, hit=a.hit | b.hit, outside=a.outside + b.outside)


def compute(state: SectionState) -> tuple[Table]:
    """Return the table of `kmnc`."""
    learnt, neurons, k = state.learnt, state.neurons, state.sections

    def by_layer(per_neuron: npt.NDArray[np.int64]) -> list[int]:
        whole = np.zeros(sum(learnt.sizes), np.int64)
        whole[neurons] = per_neuron
        return learnt.by_layer(whole)

    covered = by_layer(np.bitwise_count(state.hit).sum(axis=1, dtype=np.int64))
    ranged = by_layer(np.ones(len(neurons), np.int64))
    outside = by_layer(state.outside)
    rows = tuple(
        (name, hit, k * count, ratio(hit, k * count), size - count, out)
        for name, hit, count, size, out in zip(
            learnt.layers, covered, ranged, learnt.sizes, outside, strict=True
        )
    )
    hit, count, size = sum(covered), sum(ranged), sum(learnt.sizes)
    columns = (
        Column("layer", "text"),
        Column("covered", "count"),
        Column("sections", "count"),
        Column("coverage", "ratio"),
        Column("left out", "count"),
        Column("outside", "count"),
    )
    total = ("all layers", hit, k * count, ratio(hit, k * count), size - count, sum(outside))
    return (_KMNC.table(learnt.view, {"k": k}, TableBody(columns, rows, total)),)


def stored(state: SectionState) -> dict[str, Any]:
    """Return the sections that were covered."""
    return {"hit": state.hit, "outside": state.outside}


def restored(state: SectionState, tree: Mapping[str, Any]) -> SectionState:
    """Return the state with the sections that `stored` returned."""
    hit = array_in(tree, "hit", np.uint8, *state.hit.shape)
    unused = -state.sections % 8
    if unused and (hit[:, -1] >> (8 - unused)).any():
        raise UnfitError("more sections are covered than there are")
    return replace(state, hit=hit, outside=array_in(tree, "outside", np.int64, len(hit)))


SECTIONS = ProfiledMetric(
    metrics=(_KMNC,),
    parameters=lambda parameters: {"k": parameters.sections},
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
