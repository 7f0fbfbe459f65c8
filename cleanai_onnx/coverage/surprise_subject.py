"""The training traces of a layer, prepared so that the surprise of inputs is measured quickly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cleanai_onnx.coverage.profiled import LearntTraces, Observed
from cleanai_onnx.surprise import ClassDensity, NearestTraces, varying_columns

__all__ = ["Subject", "subject_of"]


@dataclass(frozen=True, eq=False)
class Subject:
    """What is known of one layer's training traces.

    Attributes
    ----------
    layer : LearntTraces
    traces, labels : array
        Its finite training traces, and their classes.
    kept : array
        The channels that densities are of.
    nearest : NearestTraces or None
        None where there are no two classes.
    classes : tuple of int
        Those that have training traces.
    not_finite : int
        Training traces that were left out because they are not finite.
    """

    layer: LearntTraces
    traces: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    kept: npt.NDArray[np.intp]
    nearest: NearestTraces | None
    classes: tuple[int, ...]
    not_finite: int

    @cached_property
    def densities(self) -> Mapping[int, ClassDensity]:
        """Of each class that has one. They take seconds, which a state that is merged saves."""
        each = {
            label: ClassDensity.of(self.traces[self.labels == label][:, self.kept])
            for label in self.classes
        }
        return {label: density for label, density in each.items() if density is not None}

    def surprise(self, observed: Observed) -> npt.NDArray[np.float64]:
        """Return lsa, dsa and mdsa of each input, ``(B, 3)``; NaN where there is none."""
        traces = observed.channels[:, self.layer.columns]
        classes = observed.classes
        if classes is None:
            classes = np.zeros(len(traces), np.int64)
        found = np.full((len(traces), 3), np.nan)
        for label in np.unique(classes):
            density = self.densities.get(int(label))
            if density is not None:
                own = np.flatnonzero(classes == label)
                of_class = density.surprise(traces[own][:, self.kept])
                # A channel that is left out may be the one that is not finite.
                known = np.isfinite(traces[own]).all(axis=1)
                found[own, 0], found[own, 2] = np.where(known, of_class, np.nan)
        if self.nearest is not None:
            found[:, 1] = self.nearest.surprise(traces, classes)
        return found


def subject_of(layer: LearntTraces) -> Subject:
    """Return what is to be known of a layer's training traces, once for all inputs."""
    traces, classes = layer.traces, layer.classes
    finite = np.isfinite(traces).all(axis=1)
    if not finite.all():
        traces, classes = traces[finite], classes[finite]
    labels = tuple(int(label) for label in np.unique(classes))
    return Subject(
        layer,
        traces,
        classes,
        varying_columns(traces, classes),
        NearestTraces(traces, classes) if len(labels) > 1 else None,
        labels,
        int((~finite).sum()),
    )
