"""The exact mean silhouette of clusters that are intervals of a line, in O(N log N).

For a value x of cluster A, a is the mean distance to the other values of A, b the smallest mean
distance to the values of another cluster, and its silhouette (b - a) / max(a, b); 0 where A has one
value (Rousseeuw, Silhouettes, J. Comput. Appl. Math. 20, 1987, section 2). The mean distance to a
cluster that lies wholly on one side of x is the distance to that cluster's mean, so the nearest
other cluster is a neighbour; and the sum of distances within A follows from prefix sums of the
sorted values.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["silhouette"]


def silhouette(ascending: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]) -> float:
    """Return the mean silhouette of sorted values.

    Parameters
    ----------
    ascending
        ``(N,)`` float64, sorted.
    sizes
        ``(k,)`` how many values each cluster has, at least one: the first ``sizes[0]``, and so on.
        k is from 2 to N - 1, as scikit-learn demands it.

    Returns
    -------
    float
        From -1 to 1.

    Raises
    ------
    ValueError
        The values are not finite and ascending, or the sizes are not those of 2 to N - 1 clusters
        of all of them.
    """
    ascending, sizes = _checked(ascending, sizes)
    values = ascending - ascending.mean()
    ends = np.cumsum(sizes)
    starts = ends - sizes
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means = (sums[ends] - sums[starts]) / sizes
    of = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(values))
    before, after = place - starts[of], ends[of] - 1 - place
    below = sums[place] - sums[starts[of]]
    above = sums[ends[of]] - sums[place + 1]
    within = values * before - below + above - values * after
    others = sizes[of] - 1
    a = within / np.maximum(others, 1)
    left = np.where(of > 0, np.abs(values - means[np.maximum(of - 1, 0)]), np.inf)
    last = len(sizes) - 1
    right = np.where(of < last, np.abs(means[np.minimum(of + 1, last)] - values), np.inf)
    b = np.minimum(left, right)
    larger = np.maximum(a, b)
    scores = np.where((others > 0) & (larger > 0), (b - a) / np.where(larger > 0, larger, 1), 0.0)
    return float(scores.mean())


def _checked(
    ascending: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    values, counts = np.asarray(ascending, np.float64), np.asarray(sizes)
    if values.ndim != 1 or counts.ndim != 1 or counts.dtype.kind not in "iu":
        raise ValueError(
            f"values of shape {values.shape} in clusters of sizes {counts.dtype} {counts.shape}: "
            "both must have one dimension, and sizes are whole numbers"
        )
    if not np.isfinite(values).all() or (values[1:] < values[:-1]).any():
        raise ValueError("values of a silhouette must be finite and ascending")
    if not 2 <= len(counts) < len(values):
        raise ValueError(
            f"{len(values)} values in {len(counts)} clusters have no silhouette: it takes 2 to "
            "N - 1 clusters of N values"
        )
    if (counts < 1).any() or int(counts.sum()) != len(values):
        raise ValueError(
            f"sizes of clusters must be at least 1 and add up to the {len(values)} values, not "
            f"{counts[:10].tolist()}"
        )
    # Around 0 and at most 1, sums of any finite values are finite; a silhouette has no unit.
    largest = np.abs(values).max()
    return (values / largest if largest else values), counts.astype(np.int64)
