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

__all__ = ["ImportantNeuron", "important_neurons", "nearest"]


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
    """

    index: int
    relevance: float
    values: int
    centroids: npt.NDArray[np.float64]
    silhouettes: dict[int, float]


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
    values = trace[np.isfinite(trace)].astype(np.float64)
    if drop_zeros and values.any():
        values = values[values != 0]
    values = np.sort(values)
    if not len(values):
        return ImportantNeuron(index, relevance, 0, np.zeros(1), {})
    least, most = clusters
    found = cluster(values, most)
    scores = {one.k: silhouette(values, one.sizes) for one in found if least <= one.k < len(values)}
    # Of equal silhouettes the fewer clusters.
    best = max(scores, key=lambda k: (scores[k], -k)) if scores else 1
    return ImportantNeuron(index, relevance, len(values), found[best - 1].centroids, scores)


def nearest(
    centroids: npt.NDArray[np.float64], values: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Return the number of the nearest centroid for each value; of two as near, the lower."""
    middles = centroids[:-1] + np.diff(centroids) / 2
    return np.searchsorted(middles, values.astype(np.float64), side="left")
