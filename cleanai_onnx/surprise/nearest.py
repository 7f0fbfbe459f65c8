"""The nearest training trace of the same class, and of another one: distance-based surprise.

All distances are ranked by products of matrices in float32, as x·t - |t|²/2, and a block of them is
looked through while it is still in the processor's cache. What could be nearest within the rounding
of these products is then measured again in float64 from the differences, so that neither the
neighbour nor its distance depends on the cancellation, nor on the size of a batch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["NearestTraces"]

_TRAIN_ROWS = 4096
_QUERIES = 256
_STRIP = 32
"""The largest product is first known of each strip of so many training traces."""
_CHUNK = 1 << 22
"""Elements of differences that are held at once."""
_FAR = 1e15
"""Queries with values this many times those of the training traces are measured exactly at once."""

Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


class NearestTraces:
    """Training traces, arranged by class, to look for neighbours in.

    Parameters
    ----------
    traces
        ``(n, C)`` float32, finite.
    classes
        ``(n,)`` int64, the class that the model predicts for each.
    """

    def __init__(self, traces: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]) -> None:
        order = np.argsort(classes, kind="stable")
        self.traces = np.ascontiguousarray(traces[order])
        self.classes = classes[order]
        labels, first, counts = np.unique(self.classes, return_index=True, return_counts=True)
        self.ranges = {
            int(label): (int(start), int(start + count))
            for label, start, count in zip(labels, first, counts, strict=True)
        }
        exact = self.traces.astype(np.float64)
        # Small numbers lose less: what is ranked are differences from the mean, over a power of 2.
        self._centre = exact.mean(axis=0) if len(exact) else np.zeros(traces.shape[1])
        exact -= self._centre
        largest = float(np.abs(exact).max(initial=0.0))
        self._scale = 2.0 ** -np.frexp(largest)[1] if largest else 1.0
        # A last column, for which a query has a 1, subtracts |t|²/2.
        self._ranked = np.empty((len(exact), exact.shape[1] + 1), np.float32)
        self._ranked[:, :-1] = exact * self._scale
        lengths = np.einsum("ij,ij->i", *(self._ranked[:, :-1],) * 2, dtype=np.float64)
        self._ranked[:, -1] = -lengths / 2
        self._longest = float(np.sqrt(lengths.max(initial=0.0)))
        self._others = np.full(len(traces), np.nan)

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
        known = np.isfinite(traces).all(axis=1) & np.isin(classes, list(self.ranges))
        if len(self.ranges) < 2 or not known.any():
            return found
        rows = np.flatnonzero(known)
        neighbours, distances = self._nearest(traces[rows], classes[rows], same=True)
        fresh = np.unique(neighbours[np.isnan(self._others[neighbours])])
        if len(fresh):
            queries = self.traces[fresh]
            self._others[fresh] = self._nearest(queries, self.classes[fresh], same=False)[1]
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
        """Return the nearest trace of the same class, or of the others: places and distances."""
        places = np.zeros(len(queries), np.int64)
        distances = np.zeros(len(queries))
        labels = np.unique(classes)
        groups = [np.flatnonzero(classes == label) for label in labels] if same else []
        for group in groups or [np.arange(len(queries))]:
            for first in range(0, len(group), _QUERIES):
                part = group[first : first + _QUERIES]
                if same:
                    found = self._search(queries[part], *self.ranges[int(classes[part[0]])], None)
                else:
                    found = self._search(queries[part], 0, len(self.traces), classes[part])
                places[part], distances[part] = found
        return places, distances

    def _search(
        self,
        queries: npt.NDArray[np.float32],
        start: int,
        stop: int,
        without: npt.NDArray[np.int64] | None,
    ) -> Found:
        """Search the traces from `start` to `stop`, for each query without those of one class."""
        with np.errstate(over="ignore", invalid="ignore"):
            ranked = ((queries.astype(np.float64) - self._centre) * self._scale).astype(np.float32)
            lengths = np.sqrt(np.einsum("ij,ij->i", ranked, ranked, dtype=np.float64))
        far = ~(lengths < _FAR)
        ranked[far] = 0
        # Twice what rounding can do to the difference of two scores, in a sum of C products.
        slack = (queries.shape[1] + 5) * 2.0**-22 * (lengths + self._longest) * self._longest
        slack[far] = np.inf
        columns = np.ones((ranked.shape[1] + 1, len(ranked)), np.float32)
        columns[:-1] = ranked.T
        best = np.full(len(queries), -np.inf, np.float32)
        near: list[
            tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]
        ] = []
        buffer = np.empty((min(_TRAIN_ROWS, stop - start), len(queries)), np.float32)
        for first in range(start, stop, _TRAIN_ROWS):
            last = min(first + _TRAIN_ROWS, stop)
            scores = buffer[: last - first]
            np.matmul(self._ranked[first:last], columns, out=scores)
            if without is not None:
                for column, label in enumerate(without.tolist()):
                    low, high = self.ranges[label]
                    scores[max(low - first, 0) : max(high - first, 0), column] = -np.inf
            strips = _largest_of_strips(scores)
            best = np.maximum(best, strips.max(axis=0))
            strip, query = np.nonzero(strips >= best - slack)
            rows = strip[:, None] * _STRIP + np.arange(_STRIP)
            inside = rows < last - first
            values = scores[np.minimum(rows, last - first - 1), query[:, None]]
            close = inside & (values >= (best - slack)[query, None]) & (values > -np.inf)
            which, place = np.nonzero(close)
            near.append((rows[which, place] + first, query[which], values[which, place]))
        found, owners, scored = (np.concatenate(parts) for parts in zip(*near, strict=True))
        close = scored >= (best - slack)[owners]
        return self._exactly(queries, found[close], owners[close])

    def _exactly(
        self,
        queries: npt.NDArray[np.float32],
        rows: npt.NDArray[np.int64],
        query: npt.NDArray[np.int64],
    ) -> Found:
        """Return the nearest of the candidates of each query; of equally near ones the first."""
        squared = np.empty(len(rows))
        step = max(_CHUNK // queries.shape[1], 1)
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            difference = self.traces[rows[part]].astype(np.float64) - queries[query[part]]
            squared[part] = np.einsum("ij,ij->i", difference, difference)
        order = np.lexsort((rows, squared, query))
        owners, firsts = np.unique(query[order], return_index=True)
        places = np.zeros(len(queries), np.int64)
        distances = np.full(len(queries), np.nan)
        places[owners] = rows[order][firsts]
        distances[owners] = np.sqrt(squared[order][firsts])
        return places, distances


def _largest_of_strips(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the largest of each `_STRIP` rows of ``(R, Q)``, and of what is left of them."""
    whole = len(scores) // _STRIP
    parts = scores[: whole * _STRIP].reshape(whole, _STRIP, scores.shape[1])
    strips: npt.NDArray[np.float32] = parts.max(axis=1)
    if whole * _STRIP == len(scores):
        return strips
    return np.concatenate([strips, scores[whole * _STRIP :].max(axis=0, keepdims=True)])
