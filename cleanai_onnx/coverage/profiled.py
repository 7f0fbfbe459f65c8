"""Metrics that measure a suite against what the training images taught.

They look at the same few values of each input (its channels, or its units where the profile is of
units), so they are numpy on the host: there is nothing to compile, and every comparison is IEEE's.
A metric is `init`, `update`, `merge` and `compute` over an explicit state of fixed size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cleanai_onnx.coverage.metric import Definition
from cleanai_onnx.errors import UsageError
from cleanai_onnx.result import Table, View

__all__ = [
    "Items",
    "Learnt",
    "LearntRelevance",
    "LearntTraces",
    "Observed",
    "ProfileParameters",
    "ProfiledMetric",
    "rows_of_flags",
]

Items = Sequence[npt.NDArray[np.int64]]
"""For each input of a batch, the numbers of the items that it covers."""

MOST_SECTIONS = 100_000
MOST_IMPORTANT = 50
COMPATS = ("none", "deepimportance-2020")


@dataclass(frozen=True)
class ProfileParameters:
    """What the user may choose of the metrics that need a profile.

    Attributes
    ----------
    sections : int
        k of `kmnc`: into how many equal sections a neuron's range is divided.
    margin : float
        The bounds of `nbc-suite` and `snac` are widened by so many standard deviations.
    important : tuple of int
        m of `idc`: how many neurons of a layer are important; several are measured in one run.
    clusters : (int, int)
        The least and the largest number of clusters of an important neuron's activations.
    compat : {"none", "deepimportance-2020"}
        Also measure `idc` as the authors' code did; see `cleanai_onnx.coverage.importance_classes`.
    surprise_buckets : int
        Into how many equal buckets the range of surprise is divided by `lsc` and `dsc`.
    surprise_bounds : (float, float)
        The upper ends of these ranges, of `lsc` and of `dsc`; the lower end is 0.

    Raises
    ------
    UsageError
        If a value cannot be used; the sentence names the flag.
    """

    sections: int = 1000
    margin: float = 0.0
    important: tuple[int, ...] = (6,)
    clusters: tuple[int, int] = (2, 4)
    compat: str = "none"
    surprise_buckets: int = 1000
    surprise_bounds: tuple[float, float] = (2000.0, 2.0)

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if not isinstance(self.sections, int) or not 1 <= self.sections <= MOST_SECTIONS:
            raise UsageError(
                f"--sections must be a whole number from 1 to {MOST_SECTIONS:,}, not "
                f"{self.sections!r}."
            )
        if not isinstance(self.margin, int | float) or not 0 <= self.margin < np.inf:
            raise UsageError(f"--margin must be a number of at least 0, not {self.margin!r}.")
        if self.compat not in COMPATS:
            raise UsageError(f"--compat must be one of {', '.join(COMPATS)}, not {self.compat!r}.")
        if not 1 <= self.surprise_buckets <= MOST_SECTIONS:
            raise UsageError(
                f"--surprise-buckets must be a whole number from 1 to {MOST_SECTIONS:,}, not "
                f"{self.surprise_buckets!r}."
            )
        object.__setattr__(self, "surprise_bounds", tuple(map(float, self.surprise_bounds)))
        if len(self.surprise_bounds) != 2 or not all(0 < u < np.inf for u in self.surprise_bounds):
            raise UsageError(
                "--surprise-bounds must be two numbers above 0, of lsc and of dsc, not "
                f"{list(self.surprise_bounds)}."
            )
        object.__setattr__(self, "important", tuple(self.important))
        object.__setattr__(self, "clusters", tuple(self.clusters))
        if not self.important or any(not 1 <= m <= MOST_IMPORTANT for m in self.important):
            raise UsageError(
                f"--important must be whole numbers from 1 to {MOST_IMPORTANT}, not "
                f"{list(self.important)}."
            )
        if len(self.clusters) != 2 or not 2 <= self.clusters[0] <= self.clusters[1] <= 20:
            raise UsageError(
                f"--clusters must be two numbers from 2 to 20, the smaller one first, not "
                f"{list(self.clusters)}."
            )


class Observed(NamedTuple):
    """What is looked at of the inputs of a batch.

    Attributes
    ----------
    values : array
        ``(B, N)`` float32, the neurons of all layers in the view of the profile.
    channels : array
        ``(B, C)`` float32, the channels of all layers.
    classes : array, optional
        ``(B,)`` int64, the class that the model predicts; None where it has none.
    """

    values: npt.NDArray[np.float32]
    channels: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class LearntRelevance:
    """What a profile says of the relevance of one layer's C channels.

    Attributes
    ----------
    name : str
    columns : slice
        Where its channels are among those of all layers.
    fully_connected : bool
        Whether each channel is one unit.
    relevance : array
        ``(C,)`` float64, summed over training images.
    traces : array
        ``(n, C)`` float32, their activations over these images, or a sample of them.
    by_class : array, optional
        ``(K, C)`` float64, the relevance summed over the images of each class; None without
        classes.
    trace_classes : array, optional
        ``(n,)`` int64, the class that the model predicted for each trace.
    """

    name: str
    columns: slice
    fully_connected: bool
    relevance: npt.NDArray[np.float64]
    traces: npt.NDArray[np.float32]
    by_class: npt.NDArray[np.float64] | None = None
    trace_classes: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class LearntTraces:
    """The activation traces of one layer's C channels over training images.

    Attributes
    ----------
    name : str
    columns : slice
        Where its channels are among those of all layers.
    traces : array
        ``(n, C)`` float32.
    classes : array
        ``(n,)`` int64, the class that the model predicted for each; 0 where it has no classes.
    """

    name: str
    columns: slice
    traces: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a profile says of the N neurons of all layers, one layer after the other.

    Attributes
    ----------
    view : View
        The neurons' view.
    layers : tuple of str
        Names.
    sizes : tuple of int
        How many of the neurons belong to each layer.
    low, high : array
        ``(N,)`` float32, their extrema over the training images.
    deviation : array
        ``(N,)`` float64, their standard deviations.
    ranged : array
        ``(N,)`` booleans: whether they took at least two different, finite values.
    relevance : tuple of LearntRelevance
        Of the layers for which it was summed.
    without_relevance : str
        Why there is none, where there is none.
    remarks : tuple of str
        What is to be said of the relevance.
    traces : tuple of LearntTraces
        Of the traced layers.
    has_classes : bool
        Whether the model has classes.
    """

    view: View
    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float64]
    ranged: npt.NDArray[np.bool_]
    relevance: tuple[LearntRelevance, ...] = ()
    without_relevance: str = "the profile has no relevance"
    remarks: tuple[str, ...] = ()
    traces: tuple[LearntTraces, ...] = ()
    has_classes: bool = True

    def by_layer(self, per_neuron: npt.NDArray[Any]) -> list[int]:
        """Sum whole numbers or booleans ``(N,)`` within each layer, exactly."""
        ends = np.cumsum((0, *self.sizes))
        sums = np.concatenate([[0], np.cumsum(per_neuron, dtype=np.int64)])
        return np.diff(sums[ends]).tolist()


@dataclass(frozen=True)
class ProfiledMetric:
    """A family of metrics that share a state.

    Attributes
    ----------
    metrics : tuple of Definition
        The metrics of the family.
    parameters : callable
        Those that the figures depend on, by name.
    scores : callable
        ``(learnt) -> names`` of what `update` says of each input.
    init : callable
        ``(learnt, parameters) -> state``, the identity of `merge`.
    update : callable
        ``(state, observed) -> (state, scores)``; the scores are ``(B, names)`` float64, and the
        arrays of the old state are given up.
    merge : callable
        ``(state, state) -> state``, associative and commutative.
    compute : callable
        ``(state) -> tables``.
    items : callable
        ``(state) -> {metric: (n, ...)}``: how many items there are to cover, in one part or
        several. A suite covers the items that its images cover.
    covered_by_each : callable
        ``(state, observed) -> {metric: (Items, ...)}``: the items, of each part, that each input
        covers.
    stored : callable
        ``(state) -> tree``: what `update` has changed, for `cleanai_onnx.container`.
    restored : callable
        ``(state, tree) -> state``: that of `init` with what `stored` returned; raises UnfitError if
        it does not fit.
    gathered : bool
        Whether `update` is faster for many inputs at once, and looks at channels and classes only:
        inputs of several batches may then be gathered for it.
    """

    metrics: tuple[Definition, ...]
    parameters: Callable[[ProfileParameters], Mapping[str, Any]]
    scores: Callable[[Learnt], tuple[str, ...]]
    init: Callable[[Learnt, ProfileParameters], Any]
    update: Callable[[Any, Observed], tuple[Any, npt.NDArray[np.float64]]]
    merge: Callable[[Any, Any], Any]
    compute: Callable[[Any], Sequence[Table]]
    items: Callable[[Any], Mapping[str, tuple[int, ...]]]
    covered_by_each: Callable[[Any, Observed], Mapping[str, tuple[Items, ...]]]
    stored: Callable[[Any], dict[str, Any]]
    restored: Callable[[Any, Mapping[str, Any]], Any]
    gathered: bool = False


def rows_of_flags(flags: npt.NDArray[np.bool_]) -> Items:
    """Return, for each row of ``(B, N)`` booleans, where it is true."""
    return [np.flatnonzero(row).astype(np.int64, copy=False) for row in flags]
