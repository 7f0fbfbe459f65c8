"""Importance-Driven Coverage: which combinations of the important neurons' behaviours were seen.

Gerasimou et al., Importance-Driven Deep Learning System Testing (ICSE 2020), section 3.3, equation
6: the m most relevant neurons of a layer each have clusters of activations, learnt in training. An
input covers the combination of the clusters whose centroids are nearest to its activations.

    idc = combinations covered by the suite / product over the m neurons of their clusters
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cleanai_onnx.coverage.metric import Card, Definition, TableBody, ratio
from cleanai_onnx.coverage.profiled import (
    Learnt,
    LearntRelevance,
    Observed,
    ProfiledMetric,
    ProfileParameters,
)
from cleanai_onnx.errors import UsageError
from cleanai_onnx.importance import UNKNOWN, ImportantNeuron, important_neurons, nearest
from cleanai_onnx.result import Cell, Column, Table

__all__ = ["IMPORTANCE", "ImportanceState"]

_SOURCE = "Gerasimou et al., Importance-Driven Deep Learning System Testing (ICSE 2020)"
_IDC = Definition(
    id="idc",
    title="Importance-Driven Coverage",
    definition=(
        "The m neurons of a layer with the largest relevance over the training images each have "
        "clusters of activations, as many as give the largest silhouette. An image covers the "
        "combination of the nearest centroids. Combinations covered by the suite, over all "
        "combinations; of several m, the total is of the first. Neurons are channels; activations "
        "of exactly 0 are left out of the clusters of fully connected layers."
    ),
    card=Card("suite", True, True, True, f"{_SOURCE}, section 3.3", needs_profile=True),
)
_NEURONS = Definition(
    id="idc-neurons",
    title="Important neurons",
    definition=(
        "The neurons of each layer with the largest relevance, summed over the training images; "
        "share is of the sum of the layer's positive relevance. Centroids of the clusters of their "
        "activations, ascending."
    ),
    card=Card("suite", True, True, True, f"{_SOURCE}, sections 3.1 and 3.2", needs_profile=True),
)
_NAMES = ("adds idc",)
_MISSING = 5
"""So many combinations that are missing are named."""
MOST_COMBINATIONS = 2**62


@dataclass(frozen=True, eq=False)
class Subject:
    """The important neurons of one layer for one m, and the combinations that were covered.

    `covered` is sorted int64: combinations as numbers in mixed radix, the most relevant neuron
    first.
    """

    layer: LearntRelevance
    neurons: tuple[ImportantNeuron, ...]
    covered: npt.NDArray[np.int64]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of clusters of each neuron."""
        return tuple(len(neuron.centroids) for neuron in self.neurons)


@dataclass(frozen=True, eq=False)
class ImportanceState:
    """What was covered, for each layer and m."""

    learnt: Learnt
    parameters: ProfileParameters
    subjects: tuple[Subject, ...]

    @property
    def leading(self) -> tuple[Subject, ...]:
        """The subjects of the first m, one for each layer: combinations of several m do not add."""
        return self.subjects[:: len(self.parameters.important)]


def init(learnt: Learnt, parameters: ProfileParameters) -> ImportanceState:
    """Return the state before the first input.

    Raises
    ------
    UsageError
        If there are more combinations than can be numbered.
    """
    subjects = []
    for layer in learnt.relevance:
        neurons = important_neurons(
            layer.relevance,
            layer.traces,
            max(parameters.important),
            parameters.clusters,
            drop_zeros=layer.fully_connected,
        )
        for m in parameters.important:
            subject = Subject(layer, neurons[:m], np.zeros(0, np.int64))
            if math.prod(subject.sizes) > MOST_COMBINATIONS:
                raise UsageError(
                    f"--important {m}: {math.prod(subject.sizes):.1e} combinations are too many: "
                    "choose fewer neurons or --clusters."
                )
            subjects.append(subject)
    return ImportanceState(learnt, parameters, tuple(subjects))


def update(
    state: ImportanceState, observed: Observed
) -> tuple[ImportanceState, npt.NDArray[np.float64]]:
    """Cover the combinations of a batch; the score is how many of the first m an input added."""
    scores = np.zeros((len(observed.channels), len(_NAMES)))
    subjects = []
    for subject in state.subjects:
        values = observed.channels[:, subject.layer.columns]
        number = np.zeros(len(values), np.int64)
        known = np.ones(len(values), np.bool_)
        for neuron in subject.neurons:
            clusters = nearest(neuron.centroids, values[:, neuron.index])
            number = number * len(neuron.centroids) + clusters
            known &= clusters != UNKNOWN
        new, first = np.unique(number[known], return_index=True)
        fresh = ~np.isin(new, subject.covered)
        if subject in state.leading:
            scores[np.flatnonzero(known)[first[fresh]], 0] += 1
        subjects.append(replace(subject, covered=np.union1d(subject.covered, new)))
    return replace(state, subjects=tuple(subjects)), scores


def merge(a: ImportanceState, b: ImportanceState) -> ImportanceState:
    """Return the state of both suites together."""
    return replace(
        a,
        subjects=tuple(
            replace(one, covered=np.union1d(one.covered, other.covered))
            for one, other in zip(a.subjects, b.subjects, strict=True)
        ),
    )


def compute(state: ImportanceState) -> tuple[Table, ...]:
    """Return the table of `idc`, and that of the important neurons."""
    learnt, parameters = state.learnt, state.parameters
    shown = named_parameters(parameters)
    if not state.subjects:
        note = f"Not computed: {learnt.without_relevance}."
        body = TableBody(_COLUMNS, (), None, (note,))
        return (_IDC.table("channel", shown, body),)
    rows: list[tuple[Cell, ...]] = []
    notes = list(learnt.remarks)
    for subject in state.subjects:
        name, m = subject.layer.name, len(subject.neurons)
        covered, total = len(subject.covered), math.prod(subject.sizes)
        rows.append((name, m, covered, total, ratio(covered, total)))
        missing = _missing(subject)
        if missing:
            notes.append(
                f"{name}, m = {m}: missing, among others, the clusters {'; '.join(missing)} of its "
                "neurons "
                f"{', '.join(str(neuron.index) for neuron in subject.neurons)}."
            )
    covered = sum(len(subject.covered) for subject in state.leading)
    combinations = sum(math.prod(subject.sizes) for subject in state.leading)
    m = parameters.important[0]
    whole = ("all layers", m, covered, combinations, ratio(covered, combinations))
    return (
        _IDC.table("channel", shown, TableBody(_COLUMNS, tuple(rows), whole, tuple(notes))),
        _NEURONS.table("channel", shown, _neurons(state)),
    )


_COLUMNS = (
    Column("layer", "text"),
    Column("m", "count"),
    Column("covered", "count"),
    Column("combinations", "count"),
    Column("coverage", "ratio"),
)


def _missing(subject: Subject) -> list[str]:
    """Return the first combinations that the suite lacks, a cluster's number for each neuron."""
    total = math.prod(subject.sizes)
    # Among the first numbers there are enough, however many combinations there are.
    some = np.arange(min(total, len(subject.covered) + _MISSING))
    absent = some[~np.isin(some, subject.covered)][:_MISSING]
    return [
        " ".join(str(int(part) + 1) for part in np.unravel_index(number, subject.sizes))
        for number in absent
    ]


def _neurons(state: ImportanceState) -> TableBody:
    largest = max(state.parameters.important)
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    for subject in state.subjects:
        if len(subject.neurons) < min(largest, len(subject.layer.relevance)):
            continue
        whole = float(np.maximum(subject.layer.relevance, 0).sum())
        not_finite = sum(neuron.not_finite for neuron in subject.neurons)
        if not_finite:
            notes.append(
                f"{subject.layer.name}: {not_finite:,} training activations of its important "
                "neurons are not finite and were left out of the clusters."
            )
        for rank, neuron in enumerate(subject.neurons, 1):
            rows.append(
                (
                    subject.layer.name,
                    rank,
                    neuron.index,
                    neuron.relevance,
                    max(neuron.relevance, 0.0) / whole if whole else None,
                    ", ".join(f"{centroid:.4g}" for centroid in neuron.centroids),
                    max(neuron.silhouettes.values(), default=None),
                )
            )
    columns = (
        Column("layer", "text"),
        Column("rank", "count"),
        Column("neuron", "count"),
        Column("relevance", "value"),
        Column("share", "value"),
        Column("centroids", "text"),
        Column("silhouette", "value"),
    )
    return TableBody(columns, tuple(rows), None, tuple(notes))


def named_parameters(parameters: ProfileParameters) -> dict[str, object]:
    """Return what the figures depend on."""
    low, high = parameters.clusters
    return {"m": list(parameters.important), "clusters": f"{low} to {high}"}


IMPORTANCE = ProfiledMetric(
    metrics=(_IDC, _NEURONS),
    parameters=named_parameters,
    scores=_NAMES,
    init=init,
    update=update,
    merge=merge,
    compute=compute,
)
