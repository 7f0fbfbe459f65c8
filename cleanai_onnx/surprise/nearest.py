"""The nearest training trace of the same class, and of another one: distance-based surprise.

What can be nearest is found by products of matrices (`cleanai_onnx.surprise.ranking`), and then
measured in float64 from the differences, so that neither the neighbour nor its distance depends on
the rounding of the products, nor on the size of a batch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cleanai_onnx.surprise.ranking import Ranking

__all__ = ["NearestTraces"]

_CHUNK = 1 << 22
"""Elements of differences that are held at once."""

Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


class NearestTraces:
    """Training traces to look for neighbours in.

    Of traces of one class that are identical (a layer that is dead, images that came twice) the
    first stands for all: nothing is nearer, and ties are not measured one by one.

    Parameters
    ----------
    traces
        ``(n, C)`` float32, finite. They are kept, and a copy of those that differ.
    classes
        ``(n,)`` int64, the class that the model predicts for each.
    """

    def __init__(self, traces: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]) -> None:
        self._traces = traces
        self._labels, numbers = np.unique(classes, return_inverse=True)
        self._order = _distinct(traces, numbers, len(self._labels))
        self._numbers = numbers[self._order]
        self._ranking = Ranking(traces, self._order, self._numbers)
        self._others = np.full(len(self._order), np.nan)

    @property
    def distinct(self) -> int:
        """How many training traces are looked through: those that differ, class by class."""
        return len(self._order)

    @property
    def neighbours(self) -> int:
        """How many training traces were the nearest of their class to some input so far."""
        return int(np.count_nonzero(~np.isnan(self._others)))

    def surprise(
        self, traces: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Return distance-based surprise adequacy (Kim et al., section 3.3, equations 3 to 5).

        The distance to the nearest training trace of the same class, over the distance from that
        trace to the nearest one of another class.

        Parameters
        ----------
        traces
            ``(B, C)`` float32.
        classes
            ``(B,)`` int64, the predicted classes.

        Returns
        -------
        array
            ``(B,)`` float64; infinite where the traces of two classes coincide; NaN where a trace
            is not finite, its class has no training trace or there is no other class, and for 0/0.
        """
        found = np.full(len(traces), np.nan)
        known = np.isfinite(traces).all(axis=1) & np.isin(classes, self._labels)
        if len(self._labels) < 2 or not known.any():
            return found
        rows = np.flatnonzero(known)
        queries, numbers = traces[rows], np.searchsorted(self._labels, classes[rows])
        neighbours, distances = self._nearest(queries, numbers, same=True)
        fresh = np.unique(neighbours[np.isnan(self._others[neighbours])])
        if len(fresh):
            queries, numbers = self._traces[self._order[fresh]], self._numbers[fresh]
            self._others[fresh] = self._nearest(queries, numbers, same=False)[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            found[rows] = distances / self._others[neighbours]
        return found

    def _nearest(
        self,
        queries: npt.NDArray[np.float32],
        classes: npt.NDArray[np.int64],
        *,
        same: bool,
    ) -> Found:
        """Return the nearest trace of the same class, or of the others: places and distances.

        Of equally near ones the first is taken.
        """
        rows, query = self._ranking.candidates(queries, classes, same=same)
        squared = np.empty(len(rows))
        step = max(_CHUNK // queries.shape[1], 1)
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            training = self._traces[self._order[rows[part]]].astype(np.float64)
            difference = training - queries[query[part]]
            squared[part] = np.einsum("ij,ij->i", difference, difference)
        order = np.lexsort((rows, squared, query))
        owners, firsts = np.unique(query[order], return_index=True)
        places = np.zeros(len(queries), np.int64)
        distances = np.full(len(queries), np.nan)
        places[owners] = rows[order][firsts]
        distances[owners] = np.sqrt(squared[order][firsts])
        return places, distances


def _distinct(
    traces: npt.NDArray[np.float32], classes: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.intp]:
    """Return the first of the traces that are identical within a class, class by class.

    `classes` are numbered from 0 to `count` - 1.
    """
    chosen = []
    for rows in np.split(
        np.argsort(classes, kind="stable"), np.cumsum(np.bincount(classes, minlength=count))[:-1]
    ):
        own = np.ascontiguousarray(traces[rows])
        values = own.view(np.dtype((np.void, own.itemsize * own.shape[1]))).ravel()
        chosen.append(rows[np.sort(np.unique(values, return_index=True)[1])])
    return np.concatenate([np.zeros(0, np.intp), *chosen])
