"""The important neurons of a layer, and the clusters of their activations.

Gerasimou et al., Importance-Driven Deep Learning System Testing (ICSE 2020), section 3: the m
neurons with the largest relevance summed over the training images (3.1), and for each of them the
clusters of its activations over these images, as many as give the largest silhouette (3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cleanai_onnx.importance.clustering import cluster
from cleanai_onnx.importance.silhouette import silhouette

__all__ = ["BINS", "UNKNOWN", "ImportantNeuron", "important_neurons", "nearest"]

BINS = 48
"""Of the histogram of a neuron's activations."""
UNKNOWN = -1
"""The cluster of an activation that is not a number."""


@dataclass(frozen=True, eq=False)
class ImportantNeuron:
    """A neuron and the clusters of its activations.

    Attributes
    ----------
    index
        Its number in the layer.
    relevance
        Summed over the training images.
    values
        How many activations were clustered.
    centroids
        ``(k,)`` float64, ascending. One where there were too few different activations to choose.
    silhouettes
        The mean silhouette for each number of clusters that was tried.
    zeros, not_finite
        How many activations were left out because they are exactly 0, or not finite.
    low, high
        The extrema of the activations that were clustered; NaN without any.
    histogram
        How many of these lie in each of `BINS` equal intervals from `low` to `high`.
    """

    index: int
    relevance: float
    values: int
    centroids: npt.NDArray[np.float64]
    silhouettes: dict[int, float]
    zeros: int = 0
    not_finite: int = 0
    low: float = np.nan
    high: float = np.nan
    histogram: tuple[int, ...] = ()

    @property
    def borders(self) -> npt.NDArray[np.float64]:
        """``(k - 1,)`` float64, the midpoints of neighbouring centroids."""
        return self.centroids[:-1] + np.diff(self.centroids) / 2


def important_neurons(
    relevance: npt.NDArray[np.float64],
    traces: npt.NDArray[np.float32],
    count: int,
    clusters: tuple[int, int],
    *,
    drop_zeros: bool,
) -> tuple[ImportantNeuron, ...]:
    """Return the `count` neurons of the largest relevance, the most relevant first.

    Parameters
    ----------
    relevance
        ``(C,)``, summed over the training images. Of equal ones, the lower index comes first.
    traces
        ``(n, C)``, their activations over training images.
    count
        m; at most C.
    clusters
        The least and the most number of clusters.
    drop_zeros
        Whether activations that are exactly 0 are left out, as the authors do in fully connected
        layers: a unit that a ReLU silences has no behaviour of its own there.
    """
    order = np.argsort(-relevance, kind="stable")[:count].tolist()
    return tuple(
        _clustered(index, float(relevance[index]), traces[:, index], clusters, drop_zeros)
        for index in order
    )


def _clustered(
    index: int,
    relevance: float,
    trace: npt.NDArray[np.float32],
    clusters: tuple[int, int],
    drop_zeros: bool,
) -> ImportantNeuron:
    finite = np.isfinite(trace)
    values = trace[finite].astype(np.float64)
    not_finite, zeros = len(trace) - len(values), 0
    if drop_zeros and values.any():
        zeros = len(values) - int(np.count_nonzero(values))
        values = values[values != 0]
    values = np.sort(values)
    if not len(values):
        return ImportantNeuron(index, relevance, 0, np.zeros(1), {}, zeros, not_finite)
    least, most = clusters
    found = cluster(values, most)
    scores = {one.k: silhouette(values, one.sizes) for one in found if least <= one.k < len(values)}
    # Of equal silhouettes the fewer clusters.
    best = max(scores, key=lambda k: (scores[k], -k)) if scores else 1
    return ImportantNeuron(
        index,
        relevance,
        len(values),
        found[best - 1].centroids,
        scores,
        zeros,
        not_finite,
        float(values[0]),
        float(values[-1]),
        _histogram(values),
    )


def _histogram(ascending: npt.NDArray[np.float64]) -> tuple[int, ...]:
    low, high = float(ascending[0]), float(ascending[-1])
    if low == high:
        return (len(ascending), *(0,) * (BINS - 1))
    bins = np.minimum((ascending - low) / (high - low) * BINS, BINS - 1).astype(np.int64)
    return tuple(np.bincount(bins, minlength=BINS).tolist())


def nearest(
    centroids: npt.NDArray[np.float64], values: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Return the number of the nearest centroid for each value; of two as near, the lower.

    What is not a number is near no centroid: its number is `UNKNOWN`.
    """
    middles = centroids[:-1] + np.diff(centroids) / 2
    found = np.searchsorted(middles, values.astype(np.float64), side="left")
    return np.where(np.isnan(values), UNKNOWN, found)
