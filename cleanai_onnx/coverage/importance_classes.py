"""Importance-Driven Coverage class by class, and as the authors' code computes it.

Gerasimou et al., Importance-Driven Deep Learning System Testing (ICSE 2020), analyse one class at a
time: the neurons that are important for images of the class, the clusters of their activations over
these images, and the combinations that the class's images in the suite cover.

``--compat deepimportance-2020`` adds the figure that the authors' code of that time gives. It
departs from the definition in three places:

* clusters are those of the m neurons in the order of their index, and the activations that are
  looked up in them are those of the same neurons in the order of their relevance;
* centroids are rounded to two decimals;
* k is from 2 to 4, whatever is asked for, and the figure is the mean over the classes.

Their relevance differs too (no ReLU after convolutions, LRP-0): it is that of a profile learnt with
``--relevance-rules deepimportance-2020``. Clusters here are the best ones; theirs are what
scikit-learn's k-means ends in, from random beginnings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cleanai_onnx.coverage.combinations import combinations_of, require_few
from cleanai_onnx.coverage.metric import Card, Definition, TableBody, ratio
from cleanai_onnx.coverage.profiled import LearntRelevance, Observed, ProfileParameters
from cleanai_onnx.importance import ImportantNeuron, important_neurons
from cleanai_onnx.result import Cell, Column

__all__ = [
    "BY_CLASS",
    "COMPAT",
    "ClassSubject",
    "by_class_body",
    "class_subjects",
    "compat_body",
    "covered_by",
    "without_classes",
]

MOST_CLASSES = 100
_SOURCE = "Gerasimou et al., Importance-Driven Deep Learning System Testing (ICSE 2020)"
BY_CLASS = Definition(
    id="idc-classes",
    title="Importance-Driven Coverage of each class",
    definition=(
        "As idc, for one class at a time: relevance is summed over the training images that the "
        "model puts into the class, clusters are those of their activations, and the images that "
        "cover combinations are those of the suite that the model puts into the class. The total "
        "is the mean over layers and classes that were learnt, for the first m."
    ),
    card=Card("suite", True, True, True, f"{_SOURCE}, section 4", needs_profile=True),
)
COMPAT = Definition(
    id="idc-deepimportance-2020",
    title="Importance-Driven Coverage as in the authors' code",
    definition=(
        "The mean over the classes of idc-classes, with three departures: the clusters of the m "
        "neurons by index are paired with their activations by relevance, centroids are rounded to "
        "two decimals, and k is from 2 to 4."
    ),
    card=Card("suite", True, True, True, f"{_SOURCE}; their code of 2020", needs_profile=True),
)
_COMPAT_CLUSTERS = (2, 4)


@dataclass(frozen=True, eq=False)
class ClassSubject:
    """The important neurons of one layer for one class and m, and what was covered.

    `leading` says whether m is the first that was asked for, `columns` which neuron's activations
    are looked up in the clusters of each of `neurons`.
    """

    layer: LearntRelevance
    number: int
    leading: bool
    training: int
    compat: bool
    neurons: tuple[ImportantNeuron, ...]
    columns: tuple[int, ...]
    covered: npt.NDArray[np.int64]
    images: int = 0

    @property
    def combinations(self) -> int:
        """How many there are."""
        return math.prod(len(neuron.centroids) for neuron in self.neurons)


def class_subjects(
    layers: Sequence[LearntRelevance], parameters: ProfileParameters
) -> tuple[ClassSubject, ...]:
    """Return the subjects of every layer, class and m before the first input."""
    found: list[ClassSubject] = []
    for layer in layers:
        if layer.by_class is None or len(layer.by_class) > MOST_CLASSES:
            continue
        for number in range(len(layer.by_class)):
            found += _of_class(layer, number, parameters, compat=False)
            if parameters.compat != "none":
                found += _of_class(layer, number, parameters, compat=True)
    return tuple(found)


def without_classes(layers: Sequence[LearntRelevance]) -> str | None:
    """Return why there is no analysis by class, where the model has classes and there is none."""
    most = max((len(one.by_class) for one in layers if one.by_class is not None), default=0)
    if most <= MOST_CLASSES:
        return None
    return f"idc-classes is not computed for {most:,} classes, only for up to {MOST_CLASSES}."


def _of_class(
    layer: LearntRelevance, number: int, parameters: ProfileParameters, *, compat: bool
) -> list[ClassSubject]:
    assert layer.by_class is not None
    own = layer.traces[layer.trace_classes == number]
    neurons = important_neurons(
        layer.by_class[number],
        own,
        max(parameters.important),
        _COMPAT_CLUSTERS if compat else parameters.clusters,
        drop_zeros=layer.fully_connected,
    )
    subjects = []
    for m in dict.fromkeys(min(m, len(neurons)) for m in parameters.important):
        chosen = neurons[:m]
        columns = tuple(neuron.index for neuron in chosen)
        if compat:
            chosen = tuple(
                replace(neuron, centroids=np.round(neuron.centroids, 2))
                for neuron in sorted(chosen, key=lambda neuron: neuron.index)
            )
        require_few(m, chosen)
        leading = m == min(parameters.important[0], len(neurons))
        empty = np.zeros(0, np.int64)
        subjects.append(
            ClassSubject(layer, number, leading, len(own), compat, chosen, columns, empty)
        )
    return subjects


def covered_by(subjects: tuple[ClassSubject, ...], observed: Observed) -> tuple[ClassSubject, ...]:
    """Cover the combinations of a batch."""
    if observed.classes is None:
        return subjects
    found = []
    for subject in subjects:
        own = observed.classes == subject.number
        values = observed.channels[own][:, subject.layer.columns]
        numbers, known = combinations_of(subject.neurons, subject.columns, values)
        found.append(
            replace(
                subject,
                covered=np.union1d(subject.covered, numbers[known]),
                images=subject.images + int(own.sum()),
            )
        )
    return tuple(found)


def by_class_body(subjects: Sequence[ClassSubject]) -> TableBody:
    """Return the table of `idc-classes`."""
    rows: list[tuple[Cell, ...]] = [
        (
            subject.layer.name,
            len(subject.neurons),
            subject.number,
            subject.training,
            subject.images,
            len(subject.covered),
            subject.combinations,
            ratio(len(subject.covered), subject.combinations),
        )
        for subject in subjects
        if not subject.compat
    ]
    notes = tuple(
        f"{name}, m = {m}: the mean over {len(shares)} classes is "
        f"{sum(shares) / len(shares):.1%}, from {min(shares):.1%} to {max(shares):.1%}."
        for (name, m), shares in _shares(subjects, compat=False).items()
    )
    columns = (
        Column("layer", "text"),
        Column("m", "count"),
        Column("class", "count"),
        Column("training images", "count"),
        Column("images", "count"),
        Column("covered", "count"),
        Column("combinations", "count"),
        Column("coverage", "ratio"),
    )
    leading = _leading(subjects, compat=False)
    total: tuple[Cell, ...] = ("mean", None, *(None,) * 5, leading)
    return TableBody(columns, tuple(rows), total, notes)


def compat_body(subjects: Sequence[ClassSubject]) -> TableBody:
    """Return the table of `idc-deepimportance-2020`."""
    rows: list[tuple[Cell, ...]] = [
        (name, m, len(shares), sum(shares) / len(shares), min(shares), max(shares))
        for (name, m), shares in _shares(subjects, compat=True).items()
    ]
    columns = (
        Column("layer", "text"),
        Column("m", "count"),
        Column("classes", "count"),
        Column("mean coverage", "ratio"),
        Column("lowest", "ratio"),
        Column("highest", "ratio"),
    )
    leading = _leading(subjects, compat=True)
    total: tuple[Cell, ...] = ("mean", None, None, leading, None, None)
    return TableBody(columns, tuple(rows), total)


def _leading(subjects: Sequence[ClassSubject], *, compat: bool) -> float | None:
    """Return the mean over the classes and layers for the first m."""
    shares = [
        len(subject.covered) / subject.combinations
        for subject in subjects
        if subject.compat == compat and subject.training and subject.leading
    ]
    return sum(shares) / len(shares) if shares else None


def _shares(
    subjects: Sequence[ClassSubject], *, compat: bool
) -> dict[tuple[str, int], list[float]]:
    """Return the coverage of the classes that were learnt, for each layer and m."""
    found: dict[tuple[str, int], list[float]] = {}
    for subject in subjects:
        if subject.compat == compat and subject.training and subject.combinations:
            shares = found.setdefault((subject.layer.name, len(subject.neurons)), [])
            shares.append(len(subject.covered) / subject.combinations)
    return found
