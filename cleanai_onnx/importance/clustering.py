"""Exact k-means in one dimension, for every number of clusters up to a limit.

In one dimension the clusters of an optimal solution are intervals of the sorted values, so the best
partition of the first j values into k intervals follows from those into k - 1 (Wang and Song,
Ckmeans.1d.dp, The R Journal 2011, equation 1). The sum of squares of centred values is the inertia
plus what the clusters explain of it, the sum over clusters of (sum of values)^2 / (number of
values); to minimise the one is to maximise the other, which needs no difference of large squares:

    E_k(j) = max over i < j of E_{k-1}(i) + (L_j - L_i)^2 / (W_j - W_i)

where L and W are prefix sums of the values and of their weights, for equal values are one value
with a weight. The optimal i does not fall as j grows, so a row between two rows that are solved
needs only the candidates between their optima: on each level of this recursion there is at most
one candidate for each value and one more for each row, and all of a level are evaluated at once:
O(K n log n) in all (Gronlund et al., Fast Exact k-Means, k-Medians and Bregman Divergence
Clustering in 1D, arXiv:1701.07204, section 2.1), where n is the number of distinct values.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

__all__ = ["Clustering", "cluster"]

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int], np.dtype[np.int64]]

_LARGEST_EXPONENT = 200
"""Binary; float32 values, whose squares float64 holds, are not scaled."""


@dataclass(frozen=True, eq=False)
class Clustering:
    """Values of one neuron in k groups, each an interval, in ascending order.

    Attributes
    ----------
    centroids : numpy.ndarray, shape (k,), float64
        Mean of each cluster.
    sizes : numpy.ndarray, shape (k,), int64
        How many values each cluster has: the first `sizes[0]` of the sorted values, and so on.
    boundaries : numpy.ndarray, shape (k - 1,), float64
        The midpoints of neighbouring centroids: a value up to and including `boundaries[0]` is
        nearest to the first centroid.
    inertia : float
        Sum over the values of the squared distance to the centroid of their cluster.
    """

    centroids: Floats
    sizes: Integers
    inertia: float

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.centroids)

    @property
    def boundaries(self) -> Floats:
        """Midpoints of neighbouring centroids, shape (k - 1,)."""
        return self.centroids[:-1] + np.diff(self.centroids) / 2


def cluster(values: np.ndarray, most: int) -> tuple[Clustering, ...]:
    """Partition values so that the inertia is as small as it can be, for each k up to `most`.

    Parameters
    ----------
    values : numpy.ndarray, shape (N,), any real dtype
        In any order; equal values are never separated.
    most : int
        The largest number of clusters, at least 1.

    Returns
    -------
    tuple of Clustering
        For k = 1, 2, ... up to `most`, or to the number of distinct values where that is smaller.
        Of partitions that are equally good, the one whose last cluster begins first. Inertia is
        minimal to the rounding of the prefix sums: about 1e-15 of the inertia for k = 1. Values
        of any size are clustered; an inertia that float64 cannot hold (from values beyond about
        1e154) is infinite.

    Raises
    ------
    ValueError
        There are no values, they are not one-dimensional, one of them is not finite, or `most` is
        below 1.
    """
    if most < 1:
        raise ValueError(f"the largest number of clusters is {most}; it must be at least 1")
    distinct, weights = np.unique(_finite(values), return_counts=True)
    most = min(most, len(distinct))
    # Squares of the values must neither overflow nor vanish. Powers of two cost no digits.
    exponent = int(np.frexp(np.abs(distinct).max())[1])
    exponent = exponent if abs(exponent) > _LARGEST_EXPONENT else 0
    scaled = np.ldexp(distinct, -exponent)
    partitions = _Prefix.of(scaled, weights).partitions(most)
    return tuple(_clustering(scaled, weights, starts, exponent) for starts in partitions)


def _finite(values: np.ndarray) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or not given.size:
        raise ValueError(f"values to cluster have shape {given.shape}, not (N,) with N at least 1")
    if not np.isfinite(given).all():
        where = int(np.flatnonzero(~np.isfinite(given))[0])
        raise ValueError(
            f"value {where} of those to cluster is {given[where]}; leave out what is not finite"
        )
    return given


def _clustering(
    distinct: Floats, weights: Integers, starts: list[int], exponent: int
) -> Clustering:
    """Describe a partition, with means and inertia summed around the values themselves."""
    centroids, sizes, inertia = [], [], 0.0
    for first, end in pairwise([*starts, len(distinct)]):
        group, counts = distinct[first:end], weights[first:end]
        size = int(counts.sum())
        # Around one of its own values a cluster far from 0 loses no digits.
        mean = float(group[0] + ((group - group[0]) * counts).sum() / size)
        centroids.append(mean)
        sizes.append(size)
        inertia += float((np.square(group - mean) * counts).sum())
    with np.errstate(over="ignore"):
        inertia = float(np.ldexp(inertia, 2 * exponent))
    return Clustering(
        np.ldexp(np.array(centroids), exponent), np.array(sizes, dtype=np.int64), inertia
    )


@dataclass(frozen=True, eq=False)
class _Prefix:
    """Sums over the first 0, 1, ..., n distinct values, which are centred: arrays of n + 1."""

    linear: Floats
    weight: Floats

    @classmethod
    def of(cls, distinct: Floats, weights: Integers) -> Self:
        # Around one of the values first: digits that all of them share would be lost in the sums.
        near = distinct - distinct[len(distinct) // 2]
        centred = near - np.average(near, weights=weights)
        sums = np.zeros((2, len(distinct) + 1))
        np.cumsum([centred * weights, weights], axis=1, out=sums[:, 1:])
        return cls(*sums)

    def partitions(self, most: int) -> list[list[int]]:
        """Return, for k = 1 to `most`, where the clusters of the best partition begin."""
        n = len(self.weight) - 1
        found = [[0]]
        explained = np.square(self.linear) / np.maximum(self.weight, 1.0)
        splits: list[Integers] = []
        for k in range(2, most + 1):
            _, last = self._rows(explained, np.array([n]), np.array([k - 1]), np.array([n - 1]))
            starts = [int(last[0])]
            for split in reversed(splits):
                starts.append(int(split[starts[-1]]))
            found.append([0, *reversed(starts)])
            if k < most:
                explained, split = self._layer(explained, k)
                splits.append(split)
        return found

    def _layer(self, explained: Floats, k: int) -> tuple[Floats, Integers]:
        """Return E_k(j), and the i that it comes from, for j = 0 to n, given E_{k-1}.

        Fewer than k values have no k clusters: what is returned for them means nothing.
        """
        n = len(explained) - 1
        rows = n - k + 1
        best = np.zeros(n + 1)
        # Row r is j = k - 1 + r. Row 0 and the rows after the last are there to bound the others.
        stride = 1 << rows.bit_length()
        split = np.full(stride + 1, n - 1)
        split[0] = k - 1
        while stride := stride // 2:
            row = np.arange(stride, rows + 1, 2 * stride)
            j = row + (k - 1)
            high = np.minimum(split[row + stride], j - 1)
            best[j], split[row] = self._rows(explained, j, split[row - stride], high)
        return best, np.concatenate([np.zeros(k, dtype=np.int64), split[1 : rows + 1]])

    def _rows(
        self, explained: Floats, j: Integers, low: Integers, high: Integers
    ) -> tuple[Floats, Integers]:
        """Return E_k(j) of each j over the candidates low <= i <= high, and the first best i."""
        counts = high - low + 1
        begins = np.cumsum(counts) - counts
        row = np.repeat(np.arange(len(j)), counts)
        i = np.arange(len(row)) - (begins - low)[row]
        candidates = self.linear[j][row] - self.linear[i]
        candidates *= candidates
        candidates /= self.weight[j][row] - self.weight[i]
        candidates += explained[i]
        best = np.maximum.reduceat(candidates, begins)
        attained = np.flatnonzero(candidates == best[row])
        return best, i[attained[np.searchsorted(attained, begins)]]
