"""Importance-Driven Coverage: which combinations of the important neurons' behaviours were seen.

Gerasimou et al., Importance-Driven Deep Learning System Testing (ICSE 2020), section 3.3, equation
6: the m most relevant neurons of a layer each have clusters of activations, learnt in training. An
input covers the combination of the clusters whose centroids are nearest to its activations.

    idc = combinations covered by the suite / product over the m neurons of their clusters
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.container import UnfitError, array_in, list_in, whole_in
from cleanai_onnx.coverage.combinations import combinations_of, require_few
from cleanai_onnx.coverage.importance_classes import (
    BY_CLASS,
    COMPAT,
    ClassSubject,
    by_class_body,
    class_subjects,
    compat_body,
    covered_by,
    without_classes,
)
from cleanai_onnx.coverage.metric import Card, Definition, TableBody, ratio
from cleanai_onnx.coverage.profiled import (
    Items,
    Learnt,
    LearntRelevance,
    Observed,
    ProfiledMetric,
    ProfileParameters,
)
from cleanai_onnx.importance import ImportantNeuron, important_neurons
from cleanai_onnx.result import (
    Cell,
    Column,
    CombinationFacts,
    ImportantLayerFacts,
    ImportantNeuronFacts,
    Table,
)

__all__ = ["IMPORTANCE", "ImportanceState", "important_layers"]

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
_NAMED = 5
"""So many combinations that are missing are named in a table's note,"""
_LISTED = 25
"""and so many are listed."""


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
    by_class: tuple[ClassSubject, ...] = ()

    @property
    def leading(self) -> tuple[Subject, ...]:
        """The subjects of the first m, one for each layer: combinations of several m do not add."""
        return self.subjects[:: len(self.parameters.important)]

    @property
    def layers(self) -> tuple[tuple[Subject, ...], ...]:
        """The subjects of each layer; once where several m are more neurons than it has."""
        several = len(self.parameters.important)
        return tuple(
            tuple(
                {len(one.neurons): one for one in self.subjects[first : first + several]}.values()
            )
            for first in range(0, len(self.subjects), several)
        )


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
            require_few(m, neurons[:m])
            subjects.append(Subject(layer, neurons[:m], np.zeros(0, np.int64)))
    by_class = class_subjects(learnt.relevance, parameters)
    return ImportanceState(learnt, parameters, tuple(subjects), by_class)


def update(
    state: ImportanceState, observed: Observed
) -> tuple[ImportanceState, npt.NDArray[np.float64]]:
    """Cover the combinations of a batch; the score is how many of the first m an input added."""
    scores = np.zeros((len(observed.channels), len(_NAMES)))
    subjects = []
    for subject in state.subjects:
        number, known = _combinations(subject, observed)
        new, first = np.unique(number[known], return_index=True)
        fresh = ~np.isin(new, subject.covered)
        if subject in state.leading:
            scores[np.flatnonzero(known)[first[fresh]], 0] += 1
        subjects.append(replace(subject, covered=np.union1d(subject.covered, new)))
    by_class = covered_by(state.by_class, observed)
    return replace(state, subjects=tuple(subjects), by_class=by_class), scores


def _combinations(
    subject: Subject, observed: Observed
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the combination of each input, and whether it has one: ``(B,)`` each."""
    values = observed.channels[:, subject.layer.columns]
    columns = [neuron.index for neuron in subject.neurons]
    return combinations_of(subject.neurons, columns, values)


def items(state: ImportanceState) -> dict[str, tuple[int, ...]]:
    """Return how many combinations each layer has for each m."""
    return {_IDC.id: tuple(math.prod(subject.sizes) for subject in state.subjects)}


def covered_by_each(state: ImportanceState, observed: Observed) -> dict[str, tuple[Items, ...]]:
    """Return the combination of each input, for each layer and m."""
    parts = []
    for subject in state.subjects:
        number, known = _combinations(subject, observed)
        parts.append([number[i : i + 1][known[i : i + 1]] for i in range(len(number))])
    return {_IDC.id: tuple(parts)}


def merge(a: ImportanceState, b: ImportanceState) -> ImportanceState:
    """Return the state of both suites together."""
    return replace(
        a,
        subjects=tuple(
            replace(one, covered=np.union1d(one.covered, other.covered))
            for one, other in zip(a.subjects, b.subjects, strict=True)
        ),
        by_class=tuple(
            replace(
                one,
                covered=np.union1d(one.covered, other.covered),
                images=one.images + other.images,
            )
            for one, other in zip(a.by_class, b.by_class, strict=True)
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
    for subject in (subject for layer in state.layers for subject in layer):
        name, m = subject.layer.name, len(subject.neurons)
        covered, total = len(subject.covered), math.prod(subject.sizes)
        rows.append((name, m, covered, total, ratio(covered, total)))
        missing = ["-".join(map(str, each)) for each in _missing(subject, _NAMED)]
        if missing:
            numbers = ", ".join(str(neuron.index) for neuron in subject.neurons)
            notes.append(
                f"{name}, m = {m}: {total - covered:,} of {total:,} combinations are missing; the "
                f"first are the clusters {', '.join(missing)} of the neurons {numbers}."
            )
    unclassed = without_classes(learnt.relevance)
    if unclassed is not None:
        notes.append(unclassed)
    covered = sum(len(subject.covered) for subject in state.leading)
    combinations = sum(math.prod(subject.sizes) for subject in state.leading)
    m = parameters.important[0]
    whole = ("all layers", m, covered, combinations, ratio(covered, combinations))
    tables = [
        _IDC.table("channel", shown, TableBody(_COLUMNS, tuple(rows), whole, tuple(notes))),
        _NEURONS.table("channel", shown, _neurons(state)),
    ]
    if state.by_class:
        tables.append(BY_CLASS.table("channel", shown, by_class_body(state.by_class)))
        if parameters.compat != "none":
            fixed = {"m": shown["m"], "clusters": "2 to 4"}
            tables.append(COMPAT.table("channel", fixed, compat_body(state.by_class)))
    return tuple(tables)


_COLUMNS = (
    Column("layer", "text"),
    Column("m", "count"),
    Column("covered", "count"),
    Column("combinations", "count"),
    Column("coverage", "ratio"),
)


def _missing(subject: Subject, most: int) -> list[tuple[int, ...]]:
    """Return the first combinations that the suite lacks: a cluster, from 1, of each neuron."""
    total = math.prod(subject.sizes)
    # Among the first numbers there are enough, however many combinations there are.
    some = np.arange(min(total, len(subject.covered) + most))
    absent = some[~np.isin(some, subject.covered)][:most]
    return [
        tuple(int(part) + 1 for part in np.unravel_index(number, subject.sizes))
        for number in absent
    ]


def important_layers(state: ImportanceState) -> tuple[ImportantLayerFacts, ...]:
    """Return what reports show of the important neurons, and of their combinations."""
    return tuple(
        ImportantLayerFacts(
            subjects[0].layer.name,
            tuple(
                _facts(neuron, subjects[0].layer)
                for neuron in max((subject.neurons for subject in subjects), key=len)
            ),
            tuple(
                CombinationFacts(
                    len(subject.neurons),
                    len(subject.covered),
                    math.prod(subject.sizes),
                    tuple(_missing(subject, _LISTED)),
                )
                for subject in subjects
            ),
        )
        for subjects in state.layers
    )


def _facts(neuron: ImportantNeuron, layer: LearntRelevance) -> ImportantNeuronFacts:
    return ImportantNeuronFacts(
        neuron=neuron.index,
        relevance=neuron.relevance,
        share=_share(neuron, layer),
        values=neuron.values,
        zeros=neuron.zeros,
        not_finite=neuron.not_finite,
        centroids=tuple(neuron.centroids.tolist()) if neuron.values else (),
        borders=tuple(neuron.borders.tolist()),
        silhouettes={str(k): score for k, score in neuron.silhouettes.items()},
        low=neuron.low if neuron.values else None,
        high=neuron.high if neuron.values else None,
        histogram=neuron.histogram,
    )


def _share(neuron: ImportantNeuron, layer: LearntRelevance) -> float | None:
    whole = float(np.maximum(layer.relevance, 0).sum())
    return max(neuron.relevance, 0.0) / whole if whole else None


def _neurons(state: ImportanceState) -> TableBody:
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    for layer in state.layers:
        subject = max(layer, key=lambda subject: len(subject.neurons))
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
                    _share(neuron, subject.layer),
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


def stored(state: ImportanceState) -> dict[str, Any]:
    """Return the combinations that were covered."""
    return {
        "covered": [subject.covered for subject in state.subjects],
        "covered by class": [subject.covered for subject in state.by_class],
        "images by class": [subject.images for subject in state.by_class],
    }


def restored(state: ImportanceState, tree: Mapping[str, Any]) -> ImportanceState:
    """Return the state with the combinations that `stored` returned."""
    covered = list_in(tree, "covered", len(state.subjects))
    by_class = list_in(tree, "covered by class", len(state.by_class))
    images = list_in(tree, "images by class", len(state.by_class))
    return replace(
        state,
        subjects=tuple(
            replace(subject, covered=_restored(one, math.prod(subject.sizes)))
            for subject, one in zip(state.subjects, covered, strict=True)
        ),
        by_class=tuple(
            replace(
                subject,
                covered=_restored(one, subject.combinations),
                images=whole_in({"images": count}, "images"),
            )
            for subject, one, count in zip(state.by_class, by_class, images, strict=True)
        ),
    )


def _restored(numbers: Any, combinations: int) -> npt.NDArray[np.int64]:
    found = array_in({"combinations": numbers}, "combinations", np.int64, None)
    if (found[1:] <= found[:-1]).any() or (found < 0).any() or (found >= combinations).any():
        raise UnfitError("its combinations are none of those that there are")
    return found


IMPORTANCE = ProfiledMetric(
    metrics=(_IDC, _NEURONS, BY_CLASS, COMPAT),
    parameters=named_parameters,
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
